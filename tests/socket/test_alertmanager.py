"""A real Alertmanager: alerts fire, stay, resolve, and are one alert however often they are sent."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.config.alerts import Alertmanager
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.receivers import Filled
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.store.connection import connect, transaction
from streamgauge.harness.monitor.alerts.deliverer import Deliverer
from streamgauge.harness.monitor.alerts.message import Alert
from streamgauge.harness.monitor.alerts.outbox import Outbox, prepare
from tests.support.alert_servers import Receiver, http_receiver
from tests.support.alertmanager import alertmanager, needs_alertmanager
from tests.support.alerts import firing, resolved
from tests.support.command import PATIENCE

pytestmark = needs_alertmanager


@pytest.fixture(scope="module")
def notified() -> Iterator[Receiver]:
    """Gets Alertmanager's own notifications."""
    with http_receiver() as started:
        yield started


@pytest.fixture(scope="module")
def manager(notified: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with alertmanager(tmp_path_factory.mktemp("alertmanager"), notified.url) as url:
        yield url


def wait_for(look: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if seen := look():
            return seen
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def alerts(manager: str, slo: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{manager}/api/v2/alerts", timeout=PATIENCE) as answer:
        return [alert for alert in json.load(answer) if alert["labels"]["slo"] == slo]


class Monitor:
    def __init__(self, folder: Path, manager: str) -> None:
        self.table = Alertmanager(url=manager, every=Duration.parse("5s"), labels={"team": "chat"})
        self.path = folder / "monitor.db"
        Store.create(self.path).close()
        self.said: list[str] = []
        self.deliverer = Deliverer(self.path, Filled((self.table,), Redaction([])), self.said.append)
        self.deliverer.start()

    def put(self, alert: Alert) -> None:
        database = connect(self.path, "rw")
        with transaction(database):
            prepare(database.conn)
            Outbox(database.conn, [self.table]).put(alert, time.time())
        database.close()
        self.deliverer.wake()


def test_an_alert_fires_stays_and_resolves_once_in_a_real_alertmanager(
    manager: str, notified: Receiver, tmp_path: Path
) -> None:
    began = time.time() - 60
    monitor = Monitor(tmp_path, manager)
    try:
        monitor.put(firing("k1", slo="fires", since=began))
        (first,) = wait_for(lambda: alerts(manager, "fires"))
        assert first["labels"] == {
            "alertname": "StreamgaugeSLO", "slo": "fires", "severity": "page", "target": "staging-eu", "team": "chat",
        }  # fmt: skip
        assert "staging-eu" not in first["annotations"]["summary"]
        assert "stream 12" in first["annotations"]["description"]
        (later,) = wait_for(lambda: [each for each in alerts(manager, "fires") if each["endsAt"] > first["endsAt"]])
        assert later["fingerprint"] == first["fingerprint"], "sent again, it is the same alert"
        assert later["startsAt"] == first["startsAt"]
        monitor.put(resolved("k1", slo="fires", since=began, until=time.time() - 1))
        wait_for(lambda: not alerts(manager, "fires"))
    finally:
        monitor.deliverer.stop(PATIENCE)
    told = [got.document for got in notified.wait_for(2)]
    assert [each["status"] for each in told if each["groupLabels"]["slo"] == "fires"] == ["firing", "resolved"]
    assert monitor.said == []
