"""The reference server as tests use it: the real process, on a free port, with its truth log."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.command import PATIENCE, REPOSITORY
from tests.support.forking import FIRST
from tests.support.forks import Forked, forks
from tests.support.late import Late

_main = Late("streamgauge.reference_server.__main__")


@dataclass(frozen=True)
class ReferenceServer:
    url: str
    process: Forked
    log: Path

    def truth(self) -> list[dict[str, Any]]:
        """The rows of all streams (`reference_server.truth.Row`), in the order of their ends.

        Waits until no answer is on its way, so that every stream's row is there; AssertionError after minutes of that.
        """
        wait_for(lambda: not self.active())
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def active(self) -> int:
        """How many answers are on their way."""
        with urllib.request.urlopen(f"{self.url}/healthz") as response:
            count: int = json.load(response)["active"]
        return count


@contextlib.contextmanager
def reference_server(*args: str, environment: Mapping[str, str] | None = None) -> Iterator[ReferenceServer]:
    """A server started with `args` (as `streamgauge serve` takes them), stopped on leaving.

    Where the tests compute before other programs, it computes before the tests: it logs when a token was sent once
    `send` has returned, so a client that took its core in between would make the log wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "truth.jsonl"
        words = ["streamgauge serve", "--port", "0", "--truth", str(log), *args]
        listening, output = os.pipe()
        with open(listening) as told:  # noqa: PTH123 - a descriptor
            around = {**({FIRST: "2"} if FIRST in os.environ else {}), **(environment or {})}
            process = Forked(forks("server").order(words, (output, 2), REPOSITORY, around))
            os.close(output)
            try:
                line = told.readline()
                assert line, f"{' '.join(words)} ended before it listened"
                yield ReferenceServer(line.rpartition(" ")[2].strip(), process, log)
            finally:
                _stop(process)


def _stop(process: Forked) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Said:
    returncode: int
    stdout: str
    stderr: str


def refused(*words: str) -> Said:
    """`python -m streamgauge.reference_server …` in this process, for options that end it before it listens."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    output, errors, arguments = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["streamgauge serve", *words]
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            _main.run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.argv = arguments
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Said(code, output.getvalue(), errors.getvalue())


def counts(url: str, key: str = "") -> dict[str, float]:
    """The samples of /metrics by name, with the labels' values after it; `key` where the server asks for one."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/metrics", headers={"x-api-key": key})) as response:
        families = text_string_to_metric_families(response.read().decode())
    return {":".join([s.name, *s.labels.values()]): s.value for family in families for s in family.samples}


def met(server: ReferenceServer) -> dict[str, float]:
    """How often each fault has happened."""
    name = "reference_faults_total:"
    return {key.removeprefix(name): value for key, value in counts(server.url).items() if key.startswith(name)}


def wait_for(true: Callable[[], bool]) -> None:
    """AssertionError when it is not true within minutes, in which a program starts on any machine."""
    give_up_at = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < give_up_at, "waited for too long"
        time.sleep(0.01)  # leave the core to what is waited for


def events(text: str) -> list[tuple[str, str]]:
    """Name and data of each server-sent event."""
    found = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n")]
        name = "".join(value for field, _, value in lines if field == "event")
        found.append((name, "\n".join(value for field, _, value in lines if field == "data")))
    return found


def whole_events(text: str) -> list[str]:
    """Each server-sent event as it was sent, with its blank line."""
    return [f"{event}\n\n" for event in text.removesuffix("\n\n").split("\n\n")]


def named(answer: httpx.Response) -> str:
    """The id of the stream that this is."""
    return answer.headers.get("request-id") or answer.headers["x-request-id"]
