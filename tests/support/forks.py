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
from collections.abc import Mapping, Sequence
from pathlib import Path

_HERE = Path(__file__).parent
_STAND_IN = """#!{python} -IS
import sys
sys.path.append({here!r})
from stand_in import main
main({door!r}, {python!r})
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
    """A program's `main`, as `module:function`, in forks of a process that has imported that module and `others`."""

    def __init__(self, main: str, *others: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="forks-")
        self._door = str(Path(self._folder.name, "door"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.bind(self._door)
            door.listen(64)
            command = [sys.executable, str(_HERE / "forking.py"), str(door.fileno()), main, *others]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[door.fileno()])
        atexit.register(self._end)

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # which ends the process
        self._process.wait()
        self._folder.cleanup()

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
        socket.send_fds(order, [json.dumps(what).encode()], to)
        return order

    def python(self) -> str:
        """A program that forks here for `python -m locust …`, and is Python for all else."""
        program = Path(self._folder.name, "python")
        if not program.exists():
            program.write_text(_STAND_IN.format(python=sys.executable, here=str(_HERE), door=self._door))
            program.chmod(0o700)
        return str(program)
