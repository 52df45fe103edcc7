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
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from streamgauge.harness.errors import TargetError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.interrupt import endings, leave_closed_terminal
from streamgauge.harness.parent import ending_with_this_process

_REFERENCE_SERVER = (sys.executable, "-m", "streamgauge.reference_server")
_TOLD = "STREAMGAUGE_TOLD"  # in the environment of a run: the descriptor to which it writes its exit code
_PATIENCE = 2  # requests to end after which a process is killed
_URL = re.compile(r"https?://\S+")


# How Locust starts: with one run at once, or with its web UI, which starts runs, for this machine only.
HEADLESS = ("--headless",)
WEB_UI = ("--web-host", "127.0.0.1")


def locust_command(locustfile: Path, *options: str) -> list[str]:
    """Locust without its tables. If an option is given twice, Locust takes the last one."""
    locust = [sys.executable, "-m", "streamgauge.harness.run", "--locustfile", str(locustfile)]
    return [*locust, "--gauge-progress", "--loglevel", "WARNING", *options]


def server_command(*options: str) -> list[str]:
    return [*_REFERENCE_SERVER, *options]


@contextmanager
def running(command: Sequence[str], **how: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process that ends with this one, if not before. `how`: as for `subprocess.Popen`.

    It ignores SIGINT until it installs a handler of its own: Ctrl-C while it starts would print a traceback. It ignores
    SIGHUP, which a terminal that closes sends to all its processes: this one handles it, and ends the other.
    """
    with ending_with_this_process() as end_with_it:

        def begin() -> None:
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            end_with_it()

        # `begin` calls nothing that another thread could have locked.
        with subprocess.Popen(command, text=True, preexec_fn=begin, **how) as process:  # noqa: PLW1509
            yield process


def wait(command: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run a process to its end and return its exit code. `environ` None is this process's environment.

    Each of `interrupt.endings` becomes SIGTERM for the process, which then ends its work cleanly; a third one kills it.
    Returns 2 after a line on standard error if the process was killed or has no exit code of ours, and 3 if we had to
    end it.
    """
    code, interrupted = _end_of(command, env=environ)
    if code in set(Exit):
        return code
    return _interrupted() if interrupted else _died(command, code)


def wait_for_run(command: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """As `wait`, for a run: its exit code counts only if the run has told it itself (`tell`), or is a mistake's."""
    with _pipe() as (ear, mouth):
        environ = {**(os.environ if environ is None else environ), _TOLD: str(mouth.fileno())}
        code, interrupted = _end_of(command, env=environ, pass_fds=[mouth.fileno()])
        mouth.close()
        os.set_blocking(ear.fileno(), False)  # a process that the scenario left behind may hold the other end
        told = ear.read() or b""
    if code == Exit.MISTAKE or told == b"%d" % code:
        return code
    return _interrupted() if interrupted else _died(command, code)


def tell(code: Exit) -> None:
    """In the process of a run: tell the command that started it, if one did, what the exit code will be."""
    if mouth := os.environ.pop(_TOLD, None):
        with suppress(OSError, ValueError):  # the command is gone
            os.write(int(mouth), b"%d" % code)


def listened_to() -> bool:
    """In the process of a run: whether a command started it, which passes on each request to end as SIGTERM."""
    return _TOLD in os.environ


@contextmanager
def _pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    ear, mouth = os.pipe()
    with os.fdopen(ear, "rb", 0) as reading, os.fdopen(mouth, "wb", 0) as writing:
        yield reading, writing


def _end_of(command: Sequence[str], **how: Any) -> tuple[int, bool]:
    """The exit code of a process that runs to its end, and whether a signal to this process asked it to end."""
    stops = 0
    process: subprocess.Popen[str] | None = None

    def stop(*_: object) -> None:
        nonlocal stops
        stops += 1
        leave_closed_terminal()
        if process is not None:
            process.kill() if stops > _PATIENCE else process.terminate()

    handlers = {number: signal.signal(number, stop) for number in endings()}
    try:
        with running(command, **how) as process:
            if stops:  # it came while the process was being started
                process.terminate()
            return process.wait(), stops > 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _interrupted() -> Exit:
    _say("interrupted before it could end cleanly")
    return Exit.INCONCLUSIVE


def _died(command: Sequence[str], code: int) -> Exit:
    called = repr(" ".join(command[1:3]))[1:-1]  # with escapes in place of control characters
    _say(f"the process {called} {ending(code)}; a run that it made has no end and no verdict")
    return Exit.MISTAKE


def ending(code: int) -> str:
    """How a process ended, by its exit code, which is negative for a signal: `was killed by SIGKILL`."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


@contextmanager
def reference_server(*options: str) -> Iterator[str]:
    """A reference server on a free port, for as long as the `with` block lasts; gives its URL.

    TargetError if it does not start.
    """
    with _server("0", options, ()) as process:
        yield _url_of(process)


@contextmanager
def reference_servers(cores: Sequence[Sequence[int]], *options: str) -> Iterator[str]:
    """A reference server for each of these sequences of cores, all on one free port; gives their URL.

    TargetError if one does not start.
    """
    with ExitStack() as running_servers:
        shared = ("--share-port", *options) if len(cores) > 1 else options
        first, *others = cores
        url = _url_of(running_servers.enter_context(_server("0", shared, first)))
        port = url.rpartition(":")[2]
        started = [running_servers.enter_context(_server(port, shared, each)) for each in others]
        for process in started:  # all at once: each takes a second to start
            _url_of(process)
        yield url


@contextmanager
def _server(port: str, options: Sequence[str], cores: Sequence[int]) -> Iterator["subprocess.Popen[str]"]:
    with running(server_command("--port", port, *options), stdout=subprocess.PIPE) as process:
        try:
            pin(process.pid, cores)
            yield process
        finally:
            process.terminate()


def _url_of(server: "subprocess.Popen[str]") -> str:
    assert server.stdout is not None
    url = _URL.search(server.stdout.readline())  # empty if the server died; its stderr has the reason
    if url is None:
        raise TargetError("the reference server did not start")
    return url[0]


def pin(process: int, cores: Sequence[int]) -> None:
    """Restrict a process to these cores; an empty sequence changes nothing."""
    if cores:
        os.sched_setaffinity(process, cores)


def _say(line: str) -> None:
    sys.stderr.write(f"streamgauge: {line}\n")
