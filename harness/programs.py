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
from typing import Any

from streamgauge.harness.errors import TargetError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.parent import end_with, watched

_REFERENCE_SERVER = (sys.executable, "-m", "streamgauge.reference_server")
_PATIENCE = 2  # requests to end after which a process is killed
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


@contextmanager
def running(command: Sequence[str], **how: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process that ends with this one, if not before. `how`: as for `subprocess.Popen`.

    It ignores SIGINT until it installs a handler of its own: Ctrl-C while it starts would print a traceback.
    """
    parent = os.getpid()

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_with(parent)

    with (
        # `begin` calls nothing that another thread could have locked.
        subprocess.Popen(command, text=True, preexec_fn=begin, **how) as process,  # noqa: PLW1509
        watched(process.pid),
    ):
        yield process


def wait(command: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run a process to its end and return its exit code. `environ` None is this process's environment.

    SIGINT and SIGTERM become SIGTERM for the process, which then ends its work cleanly; a third one kills it. Returns 2
    after a line on standard error if the process was killed or has no exit code of ours, and 3 if we had to end it.
    """
    stops = 0

    def stop(*_: object) -> None:
        nonlocal stops
        stops += 1
        process.kill() if stops > _PATIENCE else process.terminate()

    with running(command, env=environ) as process:
        handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = process.wait()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    if code in set(Exit):
        return code
    if stops:
        _say("interrupted before it could end cleanly")
        return Exit.INCONCLUSIVE
    called = repr(" ".join(command[1:3]))[1:-1]  # with escapes in place of control characters
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    _say(f"the process {called} {how}; a run that it made has no end and no verdict")
    return Exit.MISTAKE


@contextmanager
def reference_server(*options: str, cores: Sequence[int] = ()) -> Iterator[str]:
    """A reference server on a free port, for as long as the `with` block lasts; gives its URL.

    TargetError if it does not start.
    """
    with running(server_command("--port", "0", *options), stdout=subprocess.PIPE) as process:
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


def _say(line: str) -> None:
    sys.stderr.write(f"streamgauge: {line}\n")
