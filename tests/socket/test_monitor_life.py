"""A dead monitor is noticed: heartbeat, watchdog, systemd, /healthz."""

import os
import socket
from pathlib import Path

import pytest

from streamgauge.harness.config.alerts import Alertmanager
from streamgauge.harness.config.receivers import Filled
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.monitor import systemd
from streamgauge.harness.monitor.health import health
from streamgauge.harness.monitor.heartbeat import Heartbeat
from tests.support.alert_servers import Answer, Receiver, http_receiver
from tests.support.command import PATIENCE

NOBODY = Filled((), Redaction([]))


def test_a_beat_fetches_the_url_once_for_each_good_round(receiver: Receiver) -> None:
    heartbeat = Heartbeat(f"{receiver.url}/ping/abcdef", NOBODY, 60.0, print)
    heartbeat.beat()
    receiver.wait_for(1)
    assert heartbeat.wait(PATIENCE)
    heartbeat.beat()
    assert [got.path for got in receiver.wait_for(2)] == ["/ping/abcdef"] * 2


def test_a_heartbeat_that_fails_is_told_once_without_its_secret_and_so_is_its_return(receiver: Receiver) -> None:
    said: list[str] = []
    heartbeat = Heartbeat(f"{receiver.url}/ping/geheimnis-1", NOBODY, 60.0, said.append)
    receiver.answers.extend([Answer(404, body=b"no check at /ping/geheimnis-1"), Answer(404), Answer()])
    for round_ in range(1, 4):
        heartbeat.beat()
        receiver.wait_for(round_)
        heartbeat.wait(PATIENCE)
    assert [line.partition(":")[0] for line in said] == ["the heartbeat fails", "the heartbeat is sent again"]
    assert "geheimnis" not in str(said)


def test_a_heartbeat_without_an_answer_delays_no_round_and_no_other_heartbeat(receiver: Receiver) -> None:
    with http_receiver() as dead:
        dead.usual = Answer(hangs=True)
        table = Alertmanager(url=receiver.url, watchdog=True)
        heartbeat = Heartbeat(dead.url, Filled((table,), Redaction([])), 60.0, print)
        for round_ in range(1, 4):
            heartbeat.beat()
            (got, *_) = receiver.wait_for(round_)[-1:]
        assert got.document[0]["labels"] == {"alertname": "StreamgaugeWatchdog", "severity": "none"}
        assert len(dead.wait_for(1)) == 1
        dead.ended.set()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_gets_one_datagram(tmp_path: Path, abstract: bool) -> None:
    name = f"@streamgauge-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name[1:]}" if abstract else name)
        listening.settimeout(PATIENCE)
        assert systemd.notify(systemd.READY, {"NOTIFY_SOCKET": name})
        assert listening.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_sent(tmp_path: Path) -> None:
    assert not systemd.notify(systemd.READY, {})
    assert not systemd.notify(systemd.READY, {"NOTIFY_SOCKET": str(tmp_path / "gone")})


def test_the_watchdog_is_answered_twice_as_often_as_it_asks() -> None:
    mine = str(os.getpid())
    assert systemd.watchdog_every({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": mine}) == 7.5
    assert systemd.watchdog_every({"WATCHDOG_USEC": "30000000"}) == 7.5
    assert systemd.watchdog_every({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert systemd.watchdog_every({"WATCHDOG_USEC": "soon"}) is None
    assert systemd.watchdog_every({}) is None


@pytest.mark.parametrize(
    ("now", "last_round_at", "status", "state"),
    [
        (100.0, None, 200, "starting"),
        (341.0, None, 503, "late"),
        (110.0, 20.0, 200, "starting"),  # started again after a while
        (1000.0, 990.0, 200, "ok"),
        (1000.0, 761.0, 200, "ok"),
        (1000.0, 759.0, 503, "late"),
        (1000.0, 1005.0, 200, "ok"),  # the clock was set back a little,
        (1000.0, 90_000.0, 503, "late"),  # or by a day
    ],
)
def test_a_monitor_is_healthy_while_it_completes_rounds(
    now: float, last_round_at: float | None, status: int, state: str
) -> None:
    found = health(now, now - 100.0, last_round_at, every=60.0)
    assert (found.status, found.document["state"]) == (status, state)
