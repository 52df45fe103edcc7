"""Runs by several processes: workers here and elsewhere, that die, hang or lose their line; and how a run ends."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from streamgauge.harness import cores
from streamgauge.harness.calibration import kept, machine
from streamgauge.harness.record.certificate import Certificate, Point
from tests.support.busy import ended_well
from tests.support.command import (
    BIN,
    HASTY,
    PATIENCE,
    RULES,
    command,
    count,
    enough,
    free_port,
    processes,
    rows,
    running,
    started,
    until,
    until_told,
)
from tests.support.reference import ReferenceServer

HOUR = 3_600_000_000_000  # ns
WRITES_DOWN_ITS_MODULES = """
import os, sys
from streamgauge.scenario import events

@events.quit.add_listener
def write_down(**_):
    with open(f"modules-{os.getpid()}", "w") as file:
        print(*sys.modules, file=file)
"""


@pytest.fixture(autouse=True, scope="module")
def token() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAMGAUGE_TOKEN", "the secret of these tests")
        yield


@pytest.fixture(scope="module")
def divided(server: ReferenceServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a run by two processes on a link of our own: as many as its certificate says that it needs."""
    if cores.usable() < 2:
        pytest.skip("a machine with one core has no use for a second process")
    folder = tmp_path_factory.mktemp("divided")
    scenario = HASTY.replace("between(0, 0.05)", 'between(1, 4)\n    network = "office"') + WRITES_DOWN_ITS_MODULES
    (folder / "office.py").write_text(until_told(scenario))
    (folder / "rules.toml").write_text(RULES + '[networks.office]\nrtt = "80ms"\ndown_kbit = 2000\nup_kbit = 1000\n')
    words = [
        BIN / "locust", "-f", "office.py", "--headless", "-u", 6, "-r", 6, "-H", server.url,
        "--gauge-config", "rules.toml", "--gauge-db", "run.db", "--processes", "auto",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        kept.keep(
            Certificate(made_at="2026-01-02", valid_for=machine.facts(), points=[certified(3, 1), certified(7, 2)])
        )
    # Not a fork: a test below asks what was imported.
    environ = {**os.environ, "XDG_STATE_HOME": str(folder)}
    with started(words, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as locust:
        until(lambda: all(_seen_at_work(folder / "run.db", f"worker-{number}") for number in range(2)))
        enough(folder)
        shown, said = locust.communicate(timeout=PATIENCE)
    assert ended_well(locust.returncode, folder / "run.db"), shown + said
    (folder / "said").write_text(said)
    return folder / "run.db"


def _seen_at_work(database: Path, worker: str) -> int:
    """Whether a stream of it is stored, and a sample with its three users."""
    of_it = f"worker = '{worker}'"
    samples = count(database, f"samples WHERE name = 'users' AND value = 3 AND {of_it}")
    return samples and count(database, f"streams WHERE {of_it}")


def certified(streams: int, processes: int) -> Point:
    return Point(
        streams=streams, processes=processes, tls=False, open=1, compared=1, ttft_error_p99=0.1, itl_error_p50=0.1,
        itl_error_p99=0.1, events_per_second=streams * 46, events_per_cpu_second=1, server_late_p99=0,
        saturated_share=0,
    )  # fmt: skip


class TestOfARunByTwoProcesses:
    def test_processes_share_one_database(self, divided: Path) -> None:
        workers = dict(rows(divided, "SELECT worker, count(*) FROM streams GROUP BY worker"))
        assert set(workers) == {"worker-0", "worker-1"}
        users = rows(divided, "SELECT worker, max(value) FROM samples WHERE name = 'users' GROUP BY worker")
        assert dict(users) == {"worker-0": 3, "worker-1": 3}
        told = instrument(divided)["workers"]
        assert {name: worker["streams"] for name, worker in told.items()} == workers
        assert len({worker["pid"] for worker in told.values()}) == 2
        for worker in told.values():
            assert worker["clock_offset_ns"] == 0, "one machine has one clock"
            assert worker["clock_doubt_ns"] > 0
            assert {"host", "cpus", "stamps", "cpu_max", "loop_lag_max_ms", "clock_drift_ns"} <= worker.keys()

    def test_the_certificate_says_how_many_processes_there_are_and_is_kept_with_the_run(self, divided: Path) -> None:
        said = (divided.parent / "said").read_text().splitlines()
        assert [line for line in said if line.startswith("streamgauge: ") and " worker-" not in line] == [
            "streamgauge: --processes auto: 2 for 6 users, by this machine's calibration",
            "streamgauge: 6 users in 2 processes: exact up to 6 on this machine, at 46 events/s each",
        ]
        told = instrument(divided)
        assert told["certificate"]["points"][1]["streams"] == 7
        assert told["resolution"].startswith("± 0.1 ms up to 3 streams of 46 events/s in 1 process; ")
        assert {worker["resolution"] for worker in told["workers"].values()} == {told["resolution"]}

    def test_a_users_own_network_is_used_by_its_name_and_identified_by_its_numbers(self, divided: Path) -> None:
        network, least = rows(divided, "SELECT network, min(ttft_ms) FROM stream_metrics")[0]
        assert network == "office"
        assert least > 100 + 80, "the server's first token, and the link's round trips"
        (fingerprint,) = rows(divided, "SELECT fingerprint FROM runs")[0]
        assert '"office#' in fingerprint.replace(": ", ":")

    def test_a_worker_imports_nothing_that_only_the_process_that_records_needs(self, divided: Path) -> None:
        workers = {worker["pid"] for worker in instrument(divided)["workers"].values()}
        modules = {
            int(path.name.removeprefix("modules-")): set(path.read_text().split())
            for path in divided.parent.glob("modules-*")
        }
        assert len(modules) == 3
        assert workers < modules.keys()
        for pid, imported in modules.items():
            masters = {"sqlite_utils", "scipy.special", "streamgauge.harness.judge.verdict.sla"}
            assert imported & masters == (set() if pid in workers else masters)
            assert not imported & {"anthropic", "httpx", "plotly"}, "no such client, no metrics page, and no report"


@pytest.fixture(scope="module")
def elsewhere(server: ReferenceServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run.db of a master whose only worker is in the folder `elsewhere`, an hour ahead."""
    folder = tmp_path_factory.mktemp("master")
    (folder / "elsewhere").mkdir()
    (folder / "rules.toml").write_text(RULES.replace("[target]", '[target]\nheaders = { "x-key" = "${A_KEY}" }'))
    ahead = "import os, time\nnow = time.time_ns\ntime.time_ns = lambda: now() + int(os.environ.get('AHEAD', 0))\n"
    (folder / "hasty.py").write_text(ahead + until_told())
    port = free_port()
    with running(
        "locust", "-f", folder / "hasty.py", "--worker", "--master-port", port,
        cwd=folder / "elsewhere", A_KEY="the workers own secret", AHEAD=str(HOUR),
    ) as worker, running(
        "locust", "-f", "hasty.py", "--headless", "-u", 3, "-r", 3, "-H", server.url, "--master",
        "--master-bind-port", port, "--expect-workers", 1, "--gauge-config", "rules.toml", "--gauge-db", "run.db",
        cwd=folder, A_KEY="the masters secret",
    ) as master:  # fmt: skip
        until(lambda: count(folder / "run.db", "streams") > 9)
        enough(folder)
        ended = master.ended()
        assert worker.wait(PATIENCE) == 0
    assert ended_well(ended.returncode, folder / "run.db"), ended.stdout + ended.stderr
    return folder


class TestOfAWorkerElsewhere:
    def test_it_gets_its_orders_from_the_master_which_alone_has_the_database(self, elsewhere: Path) -> None:
        assert rows(elsewhere / "run.db", "SELECT DISTINCT worker FROM streams") == [("worker-0",)]
        assert b"secret" not in (elsewhere / "run.db").read_bytes()
        assert list((elsewhere / "elsewhere").iterdir()) == []

    def test_it_uses_the_runs_time_axis_though_its_clock_is_wrong(self, elsewhere: Path) -> None:
        worker = instrument(elsewhere / "run.db")["workers"]["worker-0"]
        assert abs(worker["clock_offset_ns"] - HOUR) <= worker["clock_doubt_ns"]
        (due, ended) = rows(elsewhere / "run.db", "SELECT max(due_at), max(ended_ns) FROM streams, runs")[0]
        assert 0 < due < ended + 60e9, "users still ask while they are being stopped, but not for an hour"


def test_a_killed_worker_is_noted_and_the_other_streams_count(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    (tmp_path / "hasty.py").write_text(until_told())
    with running(
        "locust", "-f", "hasty.py", "--headless", "-u", 4, "-r", 4, "-H", server.url,
        "--gauge-config", rules, "--gauge-db", "run.db", *processes(2),
        cwd=tmp_path,
    ) as master:  # fmt: skip
        until(lambda: count(tmp_path / "run.db", "(SELECT DISTINCT worker FROM streams)") == 2)
        killed = psutil.Process(master.pid).children()[0].pid
        os.kill(killed, signal.SIGKILL)
        # The other one goes on for twice the time that both had: a third of the load is missing.
        ((had,),) = rows(tmp_path / "run.db", "SELECT max(due_at) FROM streams")
        until(lambda: rows(tmp_path / "run.db", "SELECT max(due_at) FROM streams")[0][0] > 3 * had + 3e9)
        enough(tmp_path)
        said = " ".join(" ".join(master.communicate()).split())
    assert re.search(r"\b[2345]\d(\.\d+)? % of the load that was asked for was missing, since workers left", said)
    assert master.returncode == 3
    lost = re.search(r"was lost, and with it (\d+) to (\d+) streams: ", said)
    assert lost is not None
    assert 0 <= int(lost[1]) < int(lost[2]) < 50
    assert rows(tmp_path / "run.db", "SELECT status FROM runs") == [("finished",)]
    (name,) = [name for name, worker in instrument(tmp_path / "run.db")["workers"].items() if worker["pid"] == killed]
    ended = dict(rows(tmp_path / "run.db", "SELECT worker, max(ended_at) FROM streams GROUP BY worker"))
    assert ended.pop(name) < min(ended.values()), "what it sent before it died stands, and the other went on"


def test_a_worker_that_gets_no_core_for_a_while_stays_in_the_run(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    """Locust gives up a worker after three seconds, and ends the run with the last one."""
    (tmp_path / "hasty.py").write_text(until_told())
    words = ("-f", "hasty.py", "--headless", "-u", 4, "-r", 4, "-H", server.url, "--gauge-config", rules)
    with running("locust", *words, "--gauge-db", "run.db", *processes(1), cwd=tmp_path) as master:
        until(lambda: count(tmp_path / "run.db", "streams"))
        (worker,) = psutil.Process(master.pid).children()
        worker.suspend()
        time.sleep(6)  # which is the point
        there = count(tmp_path / "run.db", "streams")
        worker.resume()
        until(lambda: count(tmp_path / "run.db", "streams") > there + 20 or master.poll() is not None)
        enough(tmp_path)
        said = master.communicate()[1]
    assert "Traceback" not in said
    assert rows(tmp_path / "run.db", "SELECT status, notes FROM runs") == [("finished", "[]")]
    assert "load_missing" not in instrument(tmp_path / "run.db")


@pytest.mark.usefixtures("before_others")  # after ten seconds of silence, they give each other up
def test_neither_a_broken_connection_to_the_master_nor_a_terminated_worker_loses_streams(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    (tmp_path / "hasty.py").write_text(HASTY)
    port = free_port()
    with frail_line(port) as line, running(
        "locust", "-f", "hasty.py", "--worker", "--master-port", line.port, cwd=tmp_path
    ) as worker, running(
        "locust", "-f", "hasty.py", "--headless", "-u", 4, "-r", 4, "-t", "20m", "-H", server.url,
        "--master", "--master-bind-port", port, "--expect-workers", 1, "--gauge-config", rules, "--gauge-db", "run.db",
        cwd=tmp_path,
    ) as master:  # fmt: skip
        until(lambda: count(tmp_path / "run.db", "streams") > 0)
        line.swallow()
        there = count(tmp_path / "run.db", "streams")
        until(lambda: line.swallowed > 4_000)  # bytes: some batches have gone nowhere
        line.cut()
        until(lambda: count(tmp_path / "run.db", "streams") > there)
        line.cut_ours()
        there = count(tmp_path / "run.db", "streams")
        until(lambda: count(tmp_path / "run.db", "streams") > there + 20)  # more than may have been on their way
        reconnected = sequences(tmp_path / "run.db")
        assert reconnected == list(range(1, len(reconnected) + 1)), "each is there, and once"
        worker.terminate()
        _, errors = master.communicate()
    assert master.returncode == 3, f"it was asked to load for 20 min: {errors}"
    found = sequences(tmp_path / "run.db")
    assert found == list(range(1, len(found) + 1))
    assert rows(tmp_path / "run.db", "SELECT notes FROM runs") == [
        ('["worker-0 finished early; all that it had seen is stored"]',)
    ]


def test_one_long_stop_of_the_event_loop_makes_a_run_invalid(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    hog = """
from gevent.monkey import get_original

class Hog(StreamUser):
    fixed_count = 1
    wait_time = between(60, 60)

    @task
    def block(self):
        get_original("time", "sleep")(3)
"""
    (tmp_path / "hog.py").write_text(HASTY + hog)
    ended = command(
        "streamgauge", "run", "hog.py", "--host", server.url, "--users", 5, "--spawn-rate", 5, "--run-time", "8s",
        "--config", rules, "--db", "run.db",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr
    said = " ".join(ended.stdout.split())
    stood_still = re.search(r"INVALID: the generator stood still for ([\d.]+) s", said)
    assert stood_still is not None, said
    assert float(stood_still[1]) >= 2.9
    assert "look for blocking code in the scenario" in said
    assert instrument(tmp_path / "run.db")["workers"]["local"]["loop_lag_max_ms"] > 2_900


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_ends_a_run_cleanly_with_its_data(
    server: ReferenceServer, rules: Path, tmp_path: Path, workers: int
) -> None:
    words = ["run", "chat", "--host", server.url, "--users", "4", "--spawn-rate", "4", "--config", str(rules)]
    with started(
        [BIN / "streamgauge", *words, "--db", "run.db", *(["--", *processes(workers)] if workers else [])],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as run:  # fmt: skip
        until(lambda: count(tmp_path / "run.db", "streams") > 0)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of them
        output, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 3, errors
    assert "Traceback" not in errors
    assert rows(tmp_path / "run.db", "SELECT status, notes FROM runs") == [("interrupted", "[]")]
    assert "the run was interrupted: " in output
    kept = dict(rows(tmp_path / "run.db", "SELECT outcome, count(*) FROM streams GROUP BY outcome"))
    assert kept["completed"] > 0


class FrailLine:
    """A TCP proxy before a master, through which a worker speaks; it can swallow what comes, and break."""

    def __init__(self, master_port: int) -> None:
        self._master_port = master_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._left: set[socket.socket] = set()  # ends that stay open when the other end breaks
        self._swallows = False
        self.swallowed = 0  # bytes
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                worker, _ = self._listener.accept()
                try:
                    master = socket.create_connection(("127.0.0.1", self._master_port))
                except ConnectionRefusedError:  # it is not there yet: the worker will try again
                    worker.close()
                    continue
                self._ends += [worker, master]
                for ends in ((worker, master), (master, worker)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self._swallows:
                    self.swallowed += len(data)
                else:
                    sink.sendall(data)
        for end in {source, sink} - self._left:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # a close would wait for the other thread, which waits for a byte

    def swallow(self) -> None:
        self._swallows = True

    def cut(self) -> None:
        """Break what is there now; a new connection works again."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._swallows = False

    def cut_ours(self) -> None:
        """Break the worker's side alone, as a firewall can: the master's side stays, and nothing comes by it."""
        worker, master = self._ends[-2:]
        self._left.add(master)
        with contextlib.suppress(OSError):
            worker.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for end in self._ends:
            end.close()


@contextlib.contextmanager
def frail_line(master_port: int) -> Iterator[FrailLine]:
    line = FrailLine(master_port)
    try:
        yield line
    finally:
        line.close()


def sequences(database: Path) -> list[int]:
    """The numbers that the only worker gave to its streams."""
    return [number for (number,) in rows(database, "SELECT sequence FROM streams ORDER BY sequence")]


def instrument(database: Path) -> dict[str, Any]:
    """The instrument's facts of the only run."""
    found: dict[str, Any] = json.loads(rows(database, "SELECT instrument FROM runs")[0][0])
    return found
