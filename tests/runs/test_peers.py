"""Who may take part in a run of several processes: a master with an honest worker, and peers that are none."""

import contextlib
import math
import os
import socket
import subprocess
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psutil
import pytest

from streamgauge import __version__
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run import messages
from streamgauge.harness.run.messages import (
    Batch,
    Done,
    Join,
    Machine,
    Message,
    Ping,
    Pong,
    Ready,
    Refused,
    StartRun,
    Stored,
    Unfit,
)
from streamgauge.harness.run.scenario_file import content_hash
from tests.support.busy import ended_well
from tests.support.command import (
    BIN,
    PATIENCE,
    RULES,
    Running,
    command,
    count,
    enough,
    free_port,
    invoke,
    rows,
    running,
    started,
    until,
    until_told,
)
from tests.support.record import observation
from tests.support.reference import ReferenceServer
from tests.support.rogue import Rogue, rogue, rogue_master

pytestmark = pytest.mark.usefixtures("before_others")

TOKEN = "the secret of these tests"
# What Locust's own workers send, and what ours do.
LOCUSTS = (
    "client_ready", "client_stopped", "heartbeat", "stats", "spawning", "spawning_complete", "logs", "quit",
    "exception", "locustfile",
)  # fmt: skip
KINDS = (*LOCUSTS, *(kind.name for kind in (Join, Ready, Batch, Done, Refused, Ping)))
WRONG: tuple[Any, ...] = (
    None, True, -1, 2**63, 1e300, "", "\x1b]0;owned\x07" * 99, b"", b"\xff" * 99, [], [[[]]], {}, {"state": 7},
    {"version": None}, {"user_classes_count": {"Hasty": -9}}, {"msg": 1, "traceback": 2}, {1: 2},
)  # fmt: skip
# Just before its master opens its port.
TRIES_THE_PORT = """
import socket, sys
from locust.env import Environment
opens = Environment.create_master_runner

def tries(self, **at):
    try:
        socket.socket().bind((at["master_bind_host"], at["master_bind_port"]))
    except OSError:
        print("nobody else gets the port", file=sys.stderr)
    return opens(self, **at)

Environment.create_master_runner = tries
"""
BEAT = ("heartbeat", {"state": "ready", "current_cpu_usage": 1.0})

LIES: tuple[tuple[list[StreamObservation], list[VitalSample]], ...] = (
    ([observation(arrivals=b"\xff" * 32)], []),
    ([observation(user="u" * 99_999)], []),
    ([observation(request_id="i" * 99_999)], []),
    ([observation(worker="worker-7")], []),
    ([], [VitalSample(1, Vital.CPU_PERCENT, math.inf)]),
    ([], [VitalSample(1, Vital.STREAMS_BEGUN, 1e308)]),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMGAUGE_TOKEN", TOKEN)
    (tmp_path / "hasty.py").write_text(until_told())
    (tmp_path / "rules.toml").write_text(RULES)
    return tmp_path


def master(
    server: ReferenceServer, folder: Path, port: int, workers: int = 1
) -> contextlib.AbstractContextManager[Running]:
    """It goes on until it is told to end."""
    return running(
        "locust", "-f", "hasty.py", "--headless", "-u", 3, "-r", 3, "-H", server.url,
        "--master", "--master-bind-port", port, "--expect-workers", workers, "--gauge-config", "rules.toml",
        "--gauge-db", "run.db",
        cwd=folder,
    )  # fmt: skip


def worker(folder: Path, port: int, scenario: str = "hasty.py") -> contextlib.AbstractContextManager[Running]:
    return running("locust", "-f", scenario, "--worker", "--master-port", port, cwd=folder)


def test_peers_without_the_secret_or_with_wrong_messages_change_nothing(server: ReferenceServer, folder: Path) -> None:
    port = free_port()
    with master(server, folder, port) as host, worker(folder, port) as honest:
        until(lambda: count(folder / "run.db", "streams") > 0)
        ((run,),) = rows(folder / "run.db", "SELECT id FROM runs")
        _speak_tcp(port)
        for token in (None, "another secret of that length"):
            with rogue(port, token) as stranger:
                _say_all(stranger, run, KINDS)
                assert stranger.heard(0.2) == [], "nothing is told to a stranger"
        with rogue(port, TOKEN, "a-peer") as peer:
            _say_all(peer, run, KINDS)  # it has not introduced itself
            peer.send(Join.name, messages.encode(Join("0.0.1", "?", "\x1b[31mfar away")))
            assert {kind for kind, *_ in peer.heard(PATIENCE)} == {"gauge_unfit"}
            peer.send(Join.name, messages.encode(Join(__version__, content_hash([str(folder / "hasty.py")]), "here")))
            # Not `client_ready`: with the secret and the scenario, that makes it a worker, and Locust gives it users.
            _say_all(peer, run, [kind for kind in KINDS if kind not in {"client_ready", Join.name}])
            until(lambda: _is_refused(peer))  # which the master does when it has read all that
            peer.send_bytes(bytes(40 * 2**20))
        enough(folder)
        shown, said = host.communicate()
        assert honest.wait(PATIENCE) == 0
    assert ended_well(host.returncode, folder / "run.db"), shown + said
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert "a peer without the master's STREAMGAUGE_TOKEN was refused" in said
    found = rows(folder / "run.db", "SELECT worker, sequence FROM streams ORDER BY sequence")
    assert found == [("worker-0", place + 1) for place in range(len(found))], "each stream is there, once"
    assert rows(folder / "run.db", "SELECT count(*), status, notes FROM runs") == [(1, "finished", "[]")]


def _is_refused(peer: Rogue) -> bool:
    """Whether the master refuses a peer of another version."""
    peer.send(Join.name, messages.encode(Join("0.0.1", "?", "here")))
    return "gauge_unfit" in {kind for kind, *_ in peer.heard(1)}


def _say_all(peer: Rogue, run: str, kinds: Sequence[str]) -> None:
    """These kinds of messages and unknown ones: right ones, wrong data, wrong names, in any order, and some twice."""
    words: list[tuple[Any, Any]] = [
        (kind, data) for kind in (*kinds, "unheard of", 7, None, ["gauge_batch"]) for data in WRONG
    ]
    right = _right_ones(run)
    words += right
    words += [(kind, data[:-3]) for kind, data in right]
    Random(13).shuffle(words)
    for kind, data in words + words[:50]:
        peer.send(kind, data)
    for name in ("worker-0", "", 7, ["x"], "\x1b[31m"):
        peer.send("quit", None, name)
    for frames in ([b""], [b"\xc1"], [b"\xff" * 99], [b"\x93"], [b"\x80"], [b"\x93\xa4quit"], [b"", b"", b""]):
        peer.send_bytes(*frames)


@cache  # three peers say them; encoding them costs a second of a core, which the honest worker needs
def _right_ones(run: str) -> list[tuple[Any, bytes]]:
    """Messages that an honest worker could send, by kind."""
    stolen = [observation(worker="worker-0", sequence=number, arrivals=b"\xff" * 32) for number in range(2_000)]
    real: list[Message] = [
        Ready(run, "worker-0", Machine("\x1b[2J" * 999, 1, 1, "kernel", "compiled"), None, None),
        *(Batch(run, name, number, stolen, []) for name in ("worker-0", "worker-1", "local") for number in (1, 2, 7)),
        Refused(run, "\x1b]0;owned\x07"), Done(run), Ping(-(2**63)),
    ]  # fmt: skip
    return [(message.name, messages.encode(message)) for message in real]


def test_a_worker_with_the_secret_that_lies_changes_nothing_of_what_others_measured(
    server: ReferenceServer, folder: Path
) -> None:
    port = free_port()
    with (
        master(server, folder, port, workers=2) as host,
        worker(folder, port),
        rogue(port, TOKEN, "liar") as liar,
    ):
        liar.send(Join.name, messages.encode(Join(__version__, content_hash([str(folder / "hasty.py")]), "here")))
        liar.send("client_ready", -1)
        liar.send("client_ready", "2.47.0")
        order = _order(liar)
        until(lambda: _beaten(liar) and count(folder / "run.db", "streams") > 0)
        for name in ("worker-0", "worker-1"):
            huge = Machine("\x1b[2J" * 1_000_000, 2**62, 2**62, "kernel", "compiled")
            liar.send(Ready.name, messages.encode(Ready(order.run, name, huge, 2**62, -(2**62))))
            for (streams, vitals), number in product(LIES, (1, 2, 7)):
                batch = Batch(order.run, name, number, [_of(name, stream) for stream in streams], vitals, 2**62)
                liar.send(Batch.name, messages.encode(batch))
                liar.send(*BEAT)
        for kind in set(KINDS) - {"quit", "client_stopped", Join.name, "exception", "client_ready"}:
            for data in (*WRONG, {"stats": [{"name": "x"}], "stats_total": {}, "errors": {"a": {}}, "user_count": 1}):
                liar.send(kind, data)
        liar.send(Done.name, messages.encode(Done(order.run)))
        liar.send(Ping.name, messages.encode(Ping(13)))
        until(lambda: _is_answered(liar, 13))  # the master has read all that
        liar.send("quit", None)
        enough(folder)
        _, said = host.communicate()
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert said.count("sent what cannot be read, and is not stored") == 1
    ((honest,),) = rows(folder / "run.db", "SELECT DISTINCT worker FROM streams")
    ((notes, instrument),) = rows(folder / "run.db", "SELECT notes, instrument FROM runs")
    assert honest in instrument
    assert len(instrument) < 5_000
    assert "lost" not in notes
    assert host.returncode in {0, 3}, said  # 3: half of the load is missing
    assert invoke("judge", folder / "run.db").exit_code == host.returncode


def _of(worker: str, seen: StreamObservation) -> StreamObservation:
    return msgspec.structs.replace(seen, worker=worker) if seen.worker == "local" else seen


def _is_answered(peer: Rogue, ping: int) -> bool:
    pongs = [messages.decode(Pong, data) for kind, data, _ in peer.heard(1) if kind == Pong.name]
    return ping in {pong.asked for pong in pongs}


def _beaten(peer: Rogue) -> bool:
    """Says that this worker is there."""
    peer.send(*BEAT)
    return True


def _order(peer: Rogue) -> StartRun:
    while True:
        for kind, data, _ in peer.heard(1, 0.1):
            if kind == StartRun.name:
                return messages.decode(StartRun, data)
        peer.send(*BEAT)


def test_a_worker_takes_no_wrong_message_of_a_master_and_none_without_the_secret(folder: Path) -> None:
    port = free_port()
    with rogue_master(port, None) as stranger, worker(folder, port) as alone:
        assert stranger.heard(4) == [], "it sends nothing that a stranger could read"
        assert alone.poll() is None
    with rogue_master(port, TOKEN) as trusted, worker(folder, port) as honest:
        assert trusted.heard(PATIENCE)[0][0] == Join.name
        trusted.send("ack", {"index": 0})
        for kind in ("spawn", "ack", "unheard of", *(each.name for each in (Unfit, StartRun, Stored, Pong))):
            for data in WRONG if kind != Unfit.name else ():
                trusted.send(kind, data)
        for frames in ([b""], [b"\xc1"], [b"\xff" * 99], [b"\x93"], [b"\x80"], [b"\x93\xa4quit"]):
            trusted.send_bytes(*frames)
        trusted.heard(1)
        assert honest.poll() is None, "it goes on"
        trusted.send("quit", None)
        _, said = honest.communicate()
    assert honest.returncode == 0, said
    assert "Traceback" not in said
    assert "\x1b" not in said


def _speak_tcp(port: int) -> None:
    """Bytes that are no ZeroMQ, and the greeting of a peer that then says nothing."""
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4_096, b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL"):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(said)


def test_a_worker_with_another_scenario_is_refused_and_the_run_is_right(server: ReferenceServer, folder: Path) -> None:
    (folder / "other.py").write_text(until_told().replace("0.05)", "0.06)"))
    port = free_port()
    with master(server, folder, port) as host:
        with worker(folder, port, "other.py") as other:
            _, told = other.communicate()
            assert other.returncode == 2
        with worker(folder, port) as honest:
            until(lambda: count(folder / "run.db", "streams") > 0)
            enough(folder)
            shown, said = host.communicate()
            assert honest.wait(PATIENCE) == 0
    assert "has another scenario than the master: copy the master's file to it" in told
    assert "has another scenario than the master: copy the master's file to it; it was refused" in said
    assert ended_well(host.returncode, folder / "run.db"), shown + said
    assert rows(folder / "run.db", "SELECT DISTINCT worker FROM streams") == [("worker-0",)]
    assert rows(folder / "run.db", "SELECT notes FROM runs") == [("[]",)]


def test_a_master_that_gives_up_waiting_for_workers_is_a_mistake_and_no_missed_rule(folder: Path) -> None:
    ended = command(
        "locust", "-f", "hasty.py", "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", free_port(),
        "--expect-workers", 1, "--expect-workers-max-wait", 1, "--headless", "-t", "2s", "-H", "http://127.0.0.1:9",
        cwd=folder, STREAMGAUGE_TOKEN="0123456789abcdef" * 2,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "Gave up waiting for workers to connect" in ended.stderr


@pytest.mark.parametrize("role", ["--master", "--worker"])
@pytest.mark.parametrize(
    ("token", "line"),
    [
        ("", "need a shared secret in the environment variable STREAMGAUGE_TOKEN"),
        ("abc", "STREAMGAUGE_TOKEN is too short"),
    ],
)
def test_without_a_secret_there_is_neither_master_nor_worker(folder: Path, role: str, token: str, line: str) -> None:
    ended = command("locust", "-f", "hasty.py", role, cwd=folder, STREAMGAUGE_TOKEN=token)
    assert ended.returncode == 2
    assert line in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = command(
            "locust", "-f", "hasty.py", "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
            "--loglevel", "WARNING", cwd=folder,
        )  # fmt: skip
    assert ended.returncode == 2
    assert f"streamgauge: the master's port 127.0.0.1:{port} cannot be opened: Address already in use" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_two_runs_with_processes_at_once_are_two_runs_on_this_machine_alone(
    server: ReferenceServer, folder: Path
) -> None:
    (folder / "tries.py").write_text(until_told() + TRIES_THE_PORT)

    def run(name: str) -> contextlib.AbstractContextManager[Any]:
        words = [
            BIN / "streamgauge", "run", "tries.py", "--host", server.url, "--users", 2, "--spawn-rate", 2,
            "--config", "rules.toml", "--db", f"{name}.db", "--", "--processes", 1,
        ]  # fmt: skip
        return started(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)

    environment = {name: value for name, value in os.environ.items() if name != "STREAMGAUGE_TOKEN"}
    with run("one") as first, run("two") as second:
        begun = [folder / "one.db", folder / "two.db"]
        until(lambda: all(count(each, "streams") for each in begun) or {first.poll(), second.poll()} != {None})
        assert {first.poll(), second.poll()} == {None}, "a run ended by itself"
        assert len(_listening(first.pid)) == len(_listening(second.pid)) == 1
        assert {host for pid in (first.pid, second.pid) for host in _listening(pid)} == {"127.0.0.1"}
        enough(folder)
        for each, name in ((first, "one"), (second, "two")):
            shown, said = each.communicate(timeout=PATIENCE)
            assert ended_well(each.returncode, folder / f"{name}.db"), shown + said
            assert "Traceback" not in said
            assert "nobody else gets the port" in said
    for name in ("one", "two"):
        assert rows(folder / f"{name}.db", "SELECT DISTINCT worker FROM streams") == [("worker-0",)]


def _listening(pid: int) -> list[str]:
    """Where the processes below this one listen."""
    return [
        line.laddr.ip
        for child in psutil.Process(pid).children(recursive=True)
        for line in child.net_connections()
        if line.status == psutil.CONN_LISTEN
    ]
