"""The streamgauge command as tests call it, and what it left."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any

from click.testing import CliRunner, Result

from streamgauge.harness.cli import main

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


def ends_after(streams: int) -> str:
    """A scenario that ends with this many streams, however slow the machine is."""
    return _ENDS.format(streams=streams)


def command(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `streamgauge …` or `locust …` to its end."""
    program, *rest = map(str, words)
    return subprocess.run(
        [BIN / program, *rest],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


_LOCUST_IN_FORKS = """
import gc, os, sys
import locust.main, streamgauge.scenario

gc.freeze()  # otherwise each child copies all memory in its first collection
children = []
for number, line in enumerate(sys.stdin.read().splitlines()):
    children.append(os.fork())
    if children[-1] == 0:
        for stream, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"{sys.argv[1]}/{number}.{name}", os.O_CREAT | os.O_WRONLY), stream)
        sys.argv = ["locust", *line.split("\\0")]
        try:
            code = locust.main.main()
        except SystemExit as end:
            code = end.code
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code or 0)  # an ordinary exit would copy all memory, too
for child in children:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def locust_in_forks(orders: Sequence[Sequence[object]], cwd: Path) -> list["subprocess.CompletedProcess[str]"]:
    """Run `locust …` with each order's words, all at once, as forks of one process.

    Importing Locust costs more of a core than a short run does.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", _LOCUST_IN_FORKS, folder],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "200"},
            input="\n".join("\0".join(map(str, order)) for order in orders),
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )
        return [
            subprocess.CompletedProcess(
                list(map(str, order)),
                int(code),
                *(Path(folder, f"{number}.{name}").read_text() for name in ("stdout", "stderr")),
            )
            for number, (order, code) in enumerate(zip(orders, done.stdout.split(), strict=True))
        ]


def invoke(*words: object) -> Result:
    """`streamgauge …` in this process and its folder, for commands that start no other process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, [str(word) for word in words])


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as connection:
        found = connection.execute(sql).fetchall()
    connection.close()
    return found


@contextlib.contextmanager
def started(words: Sequence[object], **keywords: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process that is gone after the test, whatever the test came to."""
    process = subprocess.Popen(list(map(str, words)), text=True, **keywords)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def processes(number: int) -> list[str]:
    """Options for so many workers."""
    return ["--processes", str(number)]


def free_port() -> int:
    """A port to listen on later: below those that the kernel gives to outgoing connections, which could take it."""
    while True:
        port = SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def count(database: Path, table: str) -> int:
    """How many rows there are; 0 while there is no such table yet."""
    try:
        return int(rows(database, f"SELECT count(*) FROM {table}")[0][0]) if database.exists() else 0
    except sqlite3.OperationalError:
        return 0


def until(condition: Any) -> None:
    """Wait for something that another process does."""
    give_up_at = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come about"
        time.sleep(0.05)
