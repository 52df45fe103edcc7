"""Processes as forks of one that has imported what they need: importing it costs more of a core than most tests do.

A fork is a real process with its own memory, files and signals, but its imports are done. Tests of how a program starts
start it themselves.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

_OF_A_RUN = (  # all that a run imports, also for its verdict and its report
    "streamgauge.scenario", "streamgauge.harness.run.keeper", "streamgauge.harness.run.conclusion",
    "streamgauge.harness.drive.server_metrics", "streamgauge.reports.page", "scipy.special", "plotly.io",
    "plotly.graph_objs.bar", "plotly.graph_objs.scatter", "plotly.graph_objs.layout", "rich.live", "rich.progress",
    "httpx",
)  # fmt: skip
PROGRAMS = {  # for each program: its `main`, and what is imported before it is forked
    "server": (
        "streamgauge.reference_server.__main__:run", "pydantic.v1", "uvicorn.lifespan.off", "encodings.idna",
    ),
    "locust": (
        "locust.main:main", *_OF_A_RUN,
    ),
    "run": (
        "streamgauge.harness.run.__main__:main", "streamgauge.harness.run.process", *_OF_A_RUN,
    ),
    "streamgauge": (
        "streamgauge.harness.entry:main", "streamgauge.harness.cli", "streamgauge.harness.commands.run",
        "streamgauge.harness.commands.several_runs", "streamgauge.harness.commands.noise",
        "streamgauge.harness.commands.ab", "scipy.special", "rich.progress",
    ),
}  # fmt: skip
# What some forks import, for more than a second: not before tests of a single file, of which most have no use for it.
_IF_SHARED = {"server": ("streamgauge.reference_server.upstream.anthropic",)}
_SHARED = "STREAMGAUGE_TEST_FORKS"  # in the environment: the folder with the doors of all programs, once there is one
_HERE = Path(__file__).parent
_STAND_IN = """#!{python} -IS
import sys
sys.path.append({here!r})
from stand_in import main
main({door!r}, {python!r}, {begin!r})
"""


class Forked:
    """A process that `Forks` started, with the methods of `subprocess.Popen`. It ends with this object."""

    def __init__(self, order: socket.socket) -> None:
        """`order`: as `Forks.order` returns it."""
        self._order = order
        self.pid = int(order.recv(32))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, negative for a signal; subprocess.TimeoutExpired if it still runs after so many seconds."""
        if self.returncode is None:
            ended = select.poll()  # not `select`, which takes no descriptor above 1023: some tests open many
            ended.register(self._order, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1e3):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            with self._order:
                self.returncode = int(self._order.recv(32))
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """Where one of `PROGRAMS` is forked."""

    def __init__(self, door: Path) -> None:
        self._door = str(door)

    def order(
        self,
        words: Sequence[object],
        to: tuple[int, int],
        cwd: Path,
        environment: Mapping[str, str],
        python: str = "",
    ) -> socket.socket:
        """Have `main` called with these words in `sys.argv`; the connection is for `Forked`.

        `to`: file descriptors for its standard output and its errors. `environment`: what is in it besides our own.
        `python`: what it finds as `sys.executable`, if not the Python that runs it.
        """
        order = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        order.connect(self._door)
        around = {**os.environ, **environment}
        what = {"words": list(map(str, words)), "cwd": str(cwd), "environment": around, "python": python}
        with Path(os.devnull).open() as nothing:
            socket.send_fds(order, [json.dumps(what).encode()], (nothing.fileno(), *to))
        return order

    def python(self, begin: Sequence[str] = ("-m", "streamgauge.harness.run")) -> str:
        """A program that forks here if the words behind `python` begin so, and is Python for all else."""
        program = Path(f"{self._door}-python")
        if not program.exists():
            new = program.with_name(f"{program.name}-{os.getpid()}")  # another worker could start a half-written one
            new.write_text(_STAND_IN.format(python=sys.executable, here=str(_HERE), door=self._door, begin=list(begin)))
            new.chmod(0o700)
            new.rename(program)
        return str(program)


@cache
def forks(program: str) -> Forks:
    """Of one of `PROGRAMS`."""
    if _SHARED not in os.environ:
        return Forks(_started(program, tempfile.TemporaryDirectory(prefix="forks-")))
    return Forks(Path(os.environ[_SHARED], program))


def share() -> list[Path]:
    """Make all that this process starts from now on fork from the same processes, which are children of this one.

    Returns their doors.
    """
    folder = tempfile.TemporaryDirectory(prefix="forks-")
    os.environ[_SHARED] = folder.name
    return [_started(program, folder, _IF_SHARED.get(program, ())) for program in PROGRAMS]


def prepare(doors: Sequence[Path]) -> None:
    """Have the processes behind these doors import, one after the other, while this process goes on."""

    def in_turn() -> None:
        for door in doors:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as order:
                order.connect(str(door))
                order.shutdown(socket.SHUT_WR)  # an order of nothing
                order.recv(1)  # returns when the imports are done

    threading.Thread(target=in_turn, daemon=True).start()


def workers(arguments: Sequence[str]) -> Forks:
    """Where workers are forked of a pytest with these arguments."""
    folder = tempfile.TemporaryDirectory(prefix="forks-")
    return Forks(_prepared(folder, "pytest", ["-m", "tests.support.workers"], arguments))


def _started(program: str, folder: "tempfile.TemporaryDirectory[str]", also: Sequence[str] = ()) -> Path:
    """The door of a process that forks this program. It imports nothing before the first order."""
    return _prepared(folder, program, [str(_HERE / "forking.py")], [*PROGRAMS[program], *also])


def _prepared(
    folder: "tempfile.TemporaryDirectory[str]", name: str, forking: Sequence[str], words: Sequence[str]
) -> Path:
    path = Path(folder.name, name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(str(path))
        door.listen(64)
        command = [sys.executable, *forking, str(door.fileno()), *words]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[door.fileno()])

    def end() -> None:
        assert process.stdin is not None
        process.stdin.close()  # which ends the process
        process.wait()
        folder.cleanup()

    atexit.register(end)
    return path
