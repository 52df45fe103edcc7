"""A terminal as people see it, and a program that runs in one."""

import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from select import select

from tests.support.command import PATIENCE
from tests.support.priority import ordinary

_PIECES = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[[\d;]*m|([\r\n])|([^\x1b\r\n]+)")


class Terminal:
    """What is on a terminal's screen and above it: knows the few control sequences that a screen of ours needs."""

    def __init__(self, columns: int = 80) -> None:
        self.columns = columns
        self.rows = [""]
        self._row = self._column = 0

    def write(self, text: str) -> None:
        for found in _PIECES.finditer(text):
            number, letter, newline, plain = found.groups()
            if letter == "A":
                self._row = max(0, self._row - int(number or 1))
            elif letter == "K":
                self.rows[self._row] = self.rows[self._row][: self._column]
            elif letter == "J":
                self.rows[self._row :] = [self.rows[self._row][: self._column]]
            elif newline == "\r":
                self._column = 0
            elif newline == "\n":
                self._down()
            for character in plain or "":
                self._put(character)

    def _put(self, character: str) -> None:
        if self._column == self.columns:
            self._down()
            self._column = 0
        row = self.rows[self._row].ljust(self._column)
        self.rows[self._row] = row[: self._column] + character + row[self._column + 1 :]
        self._column += 1

    def _down(self) -> None:
        self._row += 1
        self.rows += [""] * (self._row + 1 - len(self.rows))

    def resize(self, columns: int) -> None:
        """Break the rows that are wider, as most terminals do."""
        self.columns = columns
        broken = [[row[at : at + columns] for at in range(0, max(len(row), 1), columns)] for row in self.rows]
        self._row = sum(map(len, broken[: self._row]))
        self.rows = [part for parts in broken for part in parts]

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows)


class Program:
    """A program whose standard streams are a terminal of 80×24."""

    def __init__(self, words: Sequence[object], cwd: Path, environment: Mapping[str, str]) -> None:
        self.terminal = Terminal()
        self.written = ""
        around = {**os.environ, **environment}
        self._pid, self._file = ordinary(lambda: _begun([sys.executable, *map(str, words)], cwd, around))
        self.resize(80, 24)

    def resize(self, columns: int, rows: int) -> None:
        self.terminal.resize(columns)
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, seen: Callable[[str], bool]) -> None:
        """Read until the terminal shows this."""
        give_up_at = time.monotonic() + PATIENCE
        while not seen(self.terminal.text):
            if time.monotonic() > give_up_at or not self._read():
                raise AssertionError(self.terminal.text)

    def press(self, key: bytes) -> None:
        os.write(self._file, key)

    def end(self) -> int:
        """Read to its end; its exit code."""
        give_up_at = time.monotonic() + PATIENCE
        while self._read():
            if time.monotonic() > give_up_at:
                os.kill(self._pid, signal.SIGKILL)
        os.close(self._file)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> bool:
        if not select([self._file], [], [], PATIENCE)[0]:
            return False
        try:
            data = os.read(self._file, 65_536).decode(errors="replace")
        except OSError:  # the program has ended
            return False
        self.written += data
        self.terminal.write(data)
        return bool(data)


def _begun(words: list[str], cwd: Path, environment: Mapping[str, str]) -> tuple[int, int]:
    """The process id of a program in a terminal of its own, and the terminal's file descriptor."""
    pid, file = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(words[0], words, environment)
    return pid, file
