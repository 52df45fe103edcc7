"""Processes as forks of one that has imported what they need: importing it costs more of a core than most tests do.

A fork is a real process with its own memory, files and signals, but its imports are done. Tests of how a program starts
start it themselves.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

_PROGRAM = Path(__file__).with_name("forking.py")


class Forked:
    """A process that was started by `Forks.start`, with the methods of `subprocess.Popen`."""

    def __init__(self, news: TextIO) -> None:
        self._news = news
        self.pid = int(news.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, negative for a signal; subprocess.TimeoutExpired if it still runs after so many seconds."""
        if self.returncode is None:
            ended = select.poll()  # not `select`, which takes no descriptor above 1023: some tests open many
            ended.register(self._news, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1e3):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            with self._news:
                self.returncode = int(self._news.readline())
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """A program's `main`, as `module:function`, in forks of a process that has imported that module and `others`."""

    def __init__(self, main: str, *others: str) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, str(_PROGRAM), str(theirs.fileno()), main, *others]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        atexit.register(self._end)

    def _end(self) -> None:
        self._orders.close()  # which ends the process
        self._process.wait()

    def start(
        self, *words: object, output: int, errors: int = 2, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> Forked:
        """Call `main` with these words in `sys.argv`. `output`, `errors`: file descriptors for what it writes."""
        ours, theirs = socket.socketpair()
        around = {**os.environ, **(environment or {})}
        order = {"words": list(map(str, words)), "cwd": str(cwd), "environment": around}
        with theirs:
            socket.send_fds(self._orders, [json.dumps(order).encode()], [theirs.fileno(), output, errors])
        return Forked(open(ours.detach()))  # noqa: PTH123 - a descriptor; `wait` closes it
