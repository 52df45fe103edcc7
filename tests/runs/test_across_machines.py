"""Master and workers on machines of their own, 40 ± 10 ms apart, and what becomes of a run when a link goes down.

The machines are network namespaces. One worker's monotonic clock is a day ahead, as if its machine had run for longer.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.busy import first
from tests.support.command import (
    BIN,
    PATIENCE,
    RULES,
    Running,
    count,
    enough,
    free_port,
    rows,
    running,
    started,
    until,
    until_told,
)
from tests.support.forking import SPACE, move_to
from tests.support.killed import sent_to
from tests.support.machines import Machine, Machines, machines
from tests.support.reference import reference_server

TOKEN = "the secret of these tests"
DAY = 86_400  # seconds
DELAY, JITTER = 0.04, 0.01  # seconds, each way between master and workers


@dataclass(frozen=True)
class Ended:
    database: Path
    exit_code: int
    said: str  # on standard error
    sent: dict[str, dict[str, Any]]  # the truth log's rows, by request id

    @property
    def instrument(self) -> dict[str, Any]:
        """What the record says of the instrument."""
        ((facts,),) = rows(self.database, "SELECT instrument FROM runs")
        found: dict[str, Any] = json.loads(facts)
        return found

    @property
    def workers(self) -> dict[str, dict[str, Any]]:
        """What it says of each worker."""
        found: dict[str, dict[str, Any]] = self.instrument["workers"]
        return found


class Run:
    """A run while it goes on."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        folder.mkdir()
        (folder / "hasty.py").write_text(until_told())
        (folder / "rules.toml").write_text(RULES + f'[target.headers]\nx-gauge-stream = "{folder.name}"\n')
        self._stack, self._folder, self._port = stack, folder, free_port()
        self.database = folder / "run.db"

    def begin(self, master: Machine, workers: int, url: str) -> None:
        """Start its master, which waits for so many workers. The run goes on until it is told to end."""
        self.master = self._running(
            master, "--headless", "-u", 4, "-r", 4, "-H", url, "--master",
            "--expect-workers", workers,
            "--master-bind-port", self._port, "--gauge-config", "rules.toml", "--gauge-db", "run.db",
        )  # fmt: skip

    def worker(self, machine: Machine) -> Running:
        return self._running(machine, *self._of_worker(machine))

    def worker_up_for(self, seconds: int, machine: Machine) -> "subprocess.Popen[str]":
        """A worker on a machine that has run for so long. Waits until it begins to look for its master."""
        words = machine.up_for(seconds, BIN / "locust", "-f", "hasty.py", *self._of_worker(machine))
        process = self._stack.enter_context(started(words, cwd=self._folder, stderr=subprocess.PIPE))
        assert process.stderr is not None
        assert "Starting Locust" in process.stderr.readline()
        return process

    def _of_worker(self, machine: Machine) -> list[object]:
        return ["--worker", "--master-host", machine.master, "--master-port", self._port]

    def _running(self, machine: Machine, *words: object) -> Running:
        program = running("locust", "-f", "hasty.py", *words, cwd=self._folder, **{SPACE: machine.space})
        return self._stack.enter_context(program)

    def of_worker(self, name: str) -> int:
        """How many of this worker's streams are stored."""
        return count(self.database, f"streams WHERE worker = '{name}'")

    def ended(self) -> Ended:
        """Tell it to end, and wait for that."""
        enough(self._folder)
        said = self.master.communicate()[1]
        assert self.master.returncode is not None
        return Ended(self.database, self.master.returncode, said, {})


def run_with_return(run: Run, there: Machines, url: str, first: Machine, other: Machine) -> Ended:
    """The other worker joins in the middle, and then its link is down until the master misses it."""
    other.unplug()
    joined = run.worker_up_for(DAY, other)
    run.begin(there.master, 1, url)
    run.worker(first)
    until(lambda: run.of_worker("worker-0"))
    other.plug_in()
    until(lambda: run.of_worker("worker-1"))
    other.unplug()
    until(lambda: "nothing has come from worker-1" in run.master.said)
    stored = run.of_worker("worker-1")
    other.plug_in()
    until(lambda: "worker-1 is back" in run.master.said and run.of_worker("worker-1") > stored)
    ended = run.ended()
    assert joined.wait(PATIENCE) == 0
    return ended


def run_with_loss(run: Run, there: Machines, url: str, first: Machine, other: Machine) -> Ended:
    """The other worker's link goes down, and stays so for longer than both have worked."""
    began = time.monotonic()
    run.begin(there.master, 2, url)
    run.worker(first)
    run.worker(other)
    until(lambda: run.of_worker("worker-0") and run.of_worker("worker-1"))
    other.unplug()
    time.sleep(8 + time.monotonic() - began)  # in which half of the load is missing, and nobody takes it over
    return run.ended()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ended, Ended]]:
    place = tmp_path_factory.mktemp("machines")
    with pytest.MonkeyPatch.context() as patch, first(), ExitStack() as stack, machines(4, DELAY, JITTER) as there:
        patch.setenv("STREAMGAUGE_TOKEN", TOKEN)
        yield _runs(stack, place, there)


def _runs(stack: ExitStack, place: Path, there: Machines) -> tuple[Ended, Ended]:
    exact = ("--preset", "exact", "--ttft", "100ms", "--itl", "80ms")
    elsewhere = {SPACE: there.server.space}
    server = stack.enter_context(reference_server("--host", there.address, *exact, environment=elsewhere))
    returns, loses = Run(stack, place / "returns"), Run(stack, place / "loses")
    with ThreadPoolExecutor() as pool:
        ended = [
            pool.submit(run_with_return, returns, there, server.url, *there.workers[:2]),
            pool.submit(run_with_loss, loses, there, server.url, *there.workers[2:]),
        ]
        first, second = (each.result() for each in ended)
    with ThreadPoolExecutor(initializer=move_to, initargs=(there.server.space,)) as pool:
        truth = pool.submit(server.truth).result()
    return _with_truth(first, truth), _with_truth(second, truth)


def _with_truth(ended: Ended, truth: list[dict[str, Any]]) -> Ended:
    return Ended(ended.database, ended.exit_code, ended.said, sent_to(ended.database.parent.name, truth))


@pytest.fixture
def returned(both: tuple[Ended, Ended]) -> Ended:
    return both[0]


@pytest.fixture
def lost(both: tuple[Ended, Ended]) -> Ended:
    return both[1]


def test_a_run_keeps_every_stream_of_a_worker_whose_link_was_down_for_a_while(returned: Ended) -> None:
    # Its exit code is not asked: a busy machine alone can make it invalid.
    assert rows(returned.database, "SELECT status, notes FROM runs") == [("finished", "[]")]
    assert "load_missing" not in returned.instrument
    stored = [name for (name,) in rows(returned.database, "SELECT request_id FROM streams")]
    known = [name for name in stored if name is not None]  # the end of the run cut some off before their headers
    assert len(known) == len(set(known))
    missing = returned.sent.keys() - set(known)
    assert len(missing) <= stored.count(None)
    for worker in ("worker-0", "worker-1"):
        found = rows(returned.database, f"SELECT sequence FROM streams WHERE worker = '{worker}' ORDER BY sequence")
        assert [number for (number,) in found] == list(range(1, len(found) + 1))


def test_the_loss_of_a_worker_and_its_return_are_told(returned: Ended) -> None:
    assert "nothing has come from worker-1 for 3 s; if only its connection is down, it goes on" in returned.said
    assert re.search(r"worker-1 is back after \d+ s, and sends what it kept", returned.said)
    assert returned.workers["worker-1"]["silent_seconds"] >= 3
    assert "silent_seconds" not in returned.workers["worker-0"]


def test_the_way_to_the_master_is_no_part_of_any_latency(returned: Ended) -> None:
    """The least of each, which a busy machine does not change."""
    for worker in ("worker-0", "worker-1"):
        sql = f"SELECT min(ttft_ms) FROM stream_metrics WHERE worker = '{worker}'"
        ((ttft,),) = rows(returned.database, sql)
        assert 100 <= ttft < 100 + (DELAY - JITTER) * 1e3


def test_streams_of_all_machines_are_on_the_masters_time_axis(returned: Ended) -> None:
    ((ended,),) = rows(returned.database, "SELECT ended_ns FROM runs")
    for worker, least, most in rows(
        returned.database, "SELECT worker, min(due_at), max(due_at) FROM streams GROUP BY 1"
    ):
        # They still ask until the message of the end has come, but not for a day.
        assert 0 < least < most < ended + 60e9, worker


def test_the_clock_of_a_worker_that_joins_in_the_middle_is_compared_first(returned: Ended) -> None:
    for worker in returned.workers.values():
        assert worker["clock_offset_ns"] == 0, "one kernel has one wall clock"
        assert worker["clock_doubt_ns"] > (DELAY - JITTER) * 1e9, "half of the way there and back"


def test_a_run_that_loses_a_worker_for_good_is_invalid_and_says_how_much_is_missing(lost: Ended) -> None:
    assert lost.exit_code == 3, lost.said
    assert rows(lost.database, "SELECT status FROM runs") == [("finished",)]
    ((notes,),) = rows(lost.database, "SELECT notes FROM runs")
    assert lost.instrument["load_missing"] > 0.2, "half of the users, for at least half of the time"
    told = re.search(r"(worker-[01]) was lost, and with it (\d+) to (\d+) streams: .* without a connection", notes)
    assert told is not None, notes
    names = [name for (name,) in rows(lost.database, "SELECT request_id FROM streams")]
    missing = len(lost.sent.keys() - set(names)) - names.count(None)
    assert int(told[2]) <= missing <= int(told[3])
