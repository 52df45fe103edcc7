"""The programs that a command starts: Locust, and the reference server.

Each runs as a process of its own: importing Locust monkey-patches the standard library, and the server must not share a
core or an interpreter with the load generator.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from streamgauge.harness.errors import TargetError

_REFERENCE_SERVER = (sys.executable, "-m", "streamgauge.reference_server")
_URL = re.compile(r"https?://\S+")


# How Locust starts: with one run at once, or with its web UI, which starts runs, for this machine only.
HEADLESS = ("--headless",)
WEB_UI = ("--web-host", "127.0.0.1")


def locust_command(locustfile: Path, *options: str) -> list[str]:
    """Locust without its tables. If an option is given twice, Locust takes the last one."""
    locust = [sys.executable, "-m", "locust", "--locustfile", str(locustfile)]
    return [*locust, "--gauge-progress", "--loglevel", "WARNING", *options]


def server_command(*options: str) -> list[str]:
    return [*_REFERENCE_SERVER, *options]


def wait(command: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run a process to its end and return its exit code. `environ` None is this process's environment.

    Ctrl-C is ignored here, because the terminal sends SIGINT to the child, too. SIGTERM is passed on to the child.
    """
    process = subprocess.Popen(command, env=environ)
    # Restore both handlers: a later child would inherit that SIGINT is ignored.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminate = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, terminate)


@contextmanager
def reference_server(*options: str, cores: Sequence[int] = ()) -> Iterator[str]:
    """A reference server on a free port, for as long as the `with` block lasts; gives its URL.

    TargetError if it does not start.
    """
    with subprocess.Popen(server_command("--port", "0", *options), stdout=subprocess.PIPE, text=True) as process:
        try:
            pin(process.pid, cores)
            assert process.stdout is not None
            url = _URL.search(process.stdout.readline())  # empty if the server died; its stderr has the reason
            if url is None:
                raise TargetError("the reference server did not start")
            yield url[0]
        finally:
            process.terminate()


def pin(process: int, cores: Sequence[int]) -> None:
    """Restrict a process to these cores; an empty sequence changes nothing."""
    if cores:
        os.sched_setaffinity(process, cores)
