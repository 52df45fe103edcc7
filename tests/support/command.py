"""The streamgauge command as tests call it, and what it left."""

import contextlib
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any

import psutil
from click.testing import CliRunner, Result

from streamgauge.harness.cli import main
from tests.support.forks import Forked, forks
from tests.support.priority import ordinary

COLUMNS = 80  # of a narrow terminal
REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
RULES = """
[target]
max_tokens = 6
[[sla]]
rule = "max(ttft) < 20s"
[[sla]]
rule = "stream_rate > 0"
"""
PATIENCE = 300  # seconds that a program may take for anything, on a slow machine, too
FAILED = "outcome NOT IN ('completed', 'cancelled', 'interrupted')"  # in SQL, of a stream
HASTY = """
from streamgauge.scenario import StreamUser, between, task

class Hasty(StreamUser):
    wait_time = between(0, 0.05)

    @task
    def ask(self):
        self.stream()
"""
_ENDS = """
import gevent
from streamgauge.scenario import StreamUser, task

class Reader(StreamUser):
    asked = 0

    @task
    def ask(self):
        if Reader.asked == {streams}:
            gevent.spawn(self.environment.runner.quit)  # a user that stops all users would stop itself first
        Reader.asked += 1
        self.stream()
"""

_UNTIL_TOLD = """
import os
import gevent
from locust import events
from locust.runners import WorkerRunner

@events.test_start.add_listener
def end_when_told(environment, **_):
    if not isinstance(environment.runner, WorkerRunner):
        gevent.spawn(wait_for_the_word, environment.runner)

def wait_for_the_word(runner):
    while not os.path.exists("enough"):
        gevent.sleep(0.05)
    runner.quit()
"""


def until_told(scenario: str = HASTY) -> str:
    """This scenario, whose run goes on until there is `enough` in its folder: what a test asks has happened by then."""
    return scenario + _UNTIL_TOLD


def until_told_beside(folder: Path) -> Path:
    """A scenario file beside others, which makes their run one of `until_told`."""
    path = folder / "told.py"
    path.write_text(_UNTIL_TOLD)
    return path


def enough(folder: Path) -> None:
    """Tell a run of `until_told` to end as it would at the end of its time."""
    (folder / "enough").touch()


def ends_after(streams: int) -> str:
    """A scenario that ends with this many streams, however slow the machine is."""
    return _ENDS.format(streams=streams)


class Running(Forked):
    """`streamgauge …` or `locust …` as a fork, whose output goes to files in `folder`."""

    def __init__(self, words: Sequence[object], folder: Path, cwd: Path, environment: Mapping[str, str]) -> None:
        self.words = [str(word) for word in words]
        self._kept = (folder / "stdout", folder / "stderr")
        program = self.words[0]
        python = "" if program == "locust" else forks("run").python()
        with self._kept[0].open("w") as output, self._kept[1].open("w") as errors:
            to = output.fileno(), errors.fileno()
            super().__init__(forks(program).order(self.words, to, cwd, environment, python))

    def communicate(self, timeout: float = PATIENCE) -> tuple[str, str]:
        """Wait for its end. Returns what it wrote, to standard output and to standard error."""
        self.wait(timeout)
        output, errors = (path.read_text() for path in self._kept)
        return output, errors

    @property
    def shown(self) -> str:
        """What it wrote to standard output until now."""
        return self._kept[0].read_text()

    @property
    def said(self) -> str:
        """What it wrote to standard error until now."""
        return self._kept[1].read_text()

    def ended(self) -> "subprocess.CompletedProcess[str]":
        """Wait for its end."""
        output, errors = self.communicate()
        return subprocess.CompletedProcess(self.words[1:], self.wait(), output, errors)


@contextlib.contextmanager
def running(*words: object, cwd: Path, **environment: str) -> Iterator[Running]:
    """`streamgauge …` or `locust …`, which is gone after the test, whatever the test came to."""
    with tempfile.TemporaryDirectory() as folder:
        program = Running(words, Path(folder), cwd, environment)
        try:
            yield program
        finally:
            program.kill()
            program.wait()


def command(*words: object, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `streamgauge …` or `locust …` to its end."""
    with running(*words, cwd=cwd, **environment) as program:
        return program.ended()


def locust_in_forks(orders: Sequence[Sequence[object]], cwd: Path) -> list["subprocess.CompletedProcess[str]"]:
    """Run `locust …` with each order's words, all at once."""
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(running("locust", *order, cwd=cwd, COLUMNS="200")) for order in orders]
        return [program.ended() for program in programs]


def invoke(*words: object) -> Result:
    """`streamgauge …` in this process and its folder, for commands that start no other process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, [str(word) for word in words])


def try_(*words: object, **environment: str) -> Result:
    """`streamgauge try …` in this process, as a narrow terminal shows it."""
    runner = CliRunner(env={"COLUMNS": str(COLUMNS), "NO_COLOR": "1", **environment})
    result = runner.invoke(main, ["try", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database, timeout=PATIENCE) as connection:
        found = connection.execute(sql).fetchall()
    connection.close()
    return found


@contextlib.contextmanager
def started(words: Sequence[object], **keywords: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process that is gone after the test, whatever the test came to."""
    process = ordinary(lambda: subprocess.Popen(list(map(str, words)), text=True, **keywords))
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def processes(number: int) -> list[str]:
    """Options for so many workers."""
    return ["--processes", str(number)] if number else []


_taken: list[socket.socket] = []  # by this process: see `free_port`


def free_port() -> int:
    """A port to listen on later: below those that the kernel gives to outgoing connections, which could take it.

    No other process of the tests gets it. A name that the kernel keeps until this process ends says that it is taken.
    """
    while True:
        port, taken = SystemRandom().randrange(20_000, 32_000), socket.socket(socket.AF_UNIX)
        try:
            taken.bind(f"\0port {port} of streamgauge's tests")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            taken.close()
            continue
        _taken.append(taken)
        return port


def count(database: Path, table: str) -> int:
    """How many rows there are; 0 while there is no such table yet."""
    try:
        return int(rows(database, f"SELECT count(*) FROM {table}")[0][0]) if database.exists() else 0
    except sqlite3.OperationalError:
        return 0


def until(condition: Any) -> None:
    """Wait for something that another process does."""
    give_up_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come about"
        time.sleep(0.05)


def alive_after(seconds: float, those: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended within so many seconds. One that ended, and whom nobody waited for yet, has."""
    return [each for each in psutil.wait_procs(those, seconds)[1] if not _is_over(each)]


def _is_over(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
