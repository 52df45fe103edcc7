"""The lower part of a terminal, drawn anew each second while a run goes on; what is written meanwhile goes above it.

Nothing waits for the terminal: one that takes nothing (Ctrl-S, a slow connection) stops the screen and not the run. The
terminal's modes are not changed, so nothing has to be restored after a kill or Ctrl-Z.
"""

import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from io import TextIOBase
from typing import Any, TextIO

import gevent

Draw = Callable[[int, int], list[str]]  # from columns and rows to lines

_MOST_WAITING = 1_000  # lines to write above the screen while the terminal takes nothing
_LAST_WRITE = 2.0  # seconds that the end waits for a terminal that takes nothing
_UP, _TO_END, _REST = "\x1b[{}A", "\x1b[K", "\x1b[J"  # cursor up; erase to the line's end; erase all below


def possible() -> bool:
    """Whether standard output and standard error are a terminal that people look at."""
    if os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("CI"):
        return False
    return all(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))


def opened() -> "Screen | None":
    """A screen in place of standard output and standard error; None if it is not possible."""
    if not possible():
        return None
    try:
        # Opened anew: the flags of the descriptor that we have are shared with the shell.
        file = os.open(os.ttyname(sys.stderr.fileno()), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:  # such as that of another user, after `su`
        return None
    if _in_foreground(file):
        return Screen(file)
    os.close(file)
    return None


class Screen:
    def __init__(self, file: int) -> None:
        """`file`: the terminal's descriptor, on which a write does not wait."""
        self._file = file
        self._streams = sys.stdout, sys.stderr
        self._above: deque[str] = deque(maxlen=_MOST_WAITING)
        self._unfinished = ""  # the beginning of a line
        self._lines: list[str] = []  # of the screen
        self._drawn: list[int] = []  # columns of each of its lines on the terminal
        self._rest = b""  # that the terminal has not taken
        self._closed = False
        self._handlers = [handler for handler in _handlers() if handler.stream in self._streams]
        self._paused = gevent.signal_handler(signal.SIGTSTP, self._pause)
        replaced = _Above(self, sys.stderr)
        self._divert(replaced, replaced)

    def show(self, draw: Draw) -> None:
        """Draw it now, unless the terminal has not taken what was written before."""
        self._send()
        if not self._rest:
            size = self._size()
            self._lines = draw(max(size.columns - 1, 20), max(size.lines - 2, 1))
            self._write()

    def write_above(self, text: str) -> None:
        *whole, self._unfinished = (self._unfinished + text).split("\n")
        self._above.extend(whole)

    def flush(self) -> None:
        """Write what is to be above now, as far as the terminal takes it."""
        self._send()
        if self._above and not self._rest:
            self._write()

    def close(self) -> None:
        """Erase it, and write what still waits. Later calls do nothing."""
        if self._closed:
            return
        self._paused.cancel()
        self._lines = []
        self._above.extend(filter(None, [self._unfinished]))
        with gevent.Timeout(_LAST_WRITE, False):
            self._wait()
            self._write()
            self._wait()
        self._closed = True
        self._divert(*self._streams)
        os.close(self._file)

    def _wait(self) -> None:
        while self._rest:
            self._send()
            gevent.sleep(0.02 if self._rest else 0)

    def _write(self) -> None:
        """Put the lines above, and the screen, in the place of what is on the terminal."""
        columns = self._size().columns
        # A terminal that has become narrower has broken the lines that are wider.
        up = sum(max(1, -(-width // columns)) for width in self._drawn)
        lines = self._lines if _in_foreground(self._file) else []  # in the background, the terminal is the shell's
        text = "".join(f"{line}{_TO_END}\n" for line in (*self._above, *lines))
        self._above.clear()
        # It imports rich, which a run without a screen does not need.
        from streamgauge.harness.judge.outputs.rich_text import cells  # noqa: PLC0415

        self._drawn = [cells(line) for line in lines]
        if text or up:
            self._rest = f"\r{_UP.format(up) if up else ''}{text}{_REST}".encode(errors="replace")
            self._send()

    def _send(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._file, self._rest) :]
        except BlockingIOError:
            pass
        except OSError:  # the terminal is gone
            self._rest = b""

    def _size(self) -> os.terminal_size:
        with suppress(OSError):
            size = os.get_terminal_size(self._file)
            if size.columns and size.lines:  # both are 0 where nobody has set them
                return size
        return os.terminal_size((80, 24))

    def _pause(self) -> None:
        """Ctrl-Z. After `fg`, the next screen is drawn below what the shell has written."""
        self._drawn = []
        os.kill(os.getpid(), signal.SIGSTOP)

    def _divert(self, output: Any, errors: Any) -> None:
        sys.stdout, sys.stderr = output, errors
        for handler in self._handlers:
            handler.setStream(errors)


class _Above(TextIOBase):
    """Standard output and standard error while there is a screen. Whoever keeps it writes to the terminal later."""

    def __init__(self, screen: Screen, terminal: TextIO) -> None:
        self._screen = screen
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._terminal.encoding

    def write(self, text: str) -> int:
        if self._screen._closed:
            return self._terminal.write(text)
        self._screen.write_above(text)
        return len(text)

    def flush(self) -> None:
        self._terminal.flush() if self._screen._closed else self._screen.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._terminal.fileno()


def _in_foreground(file: int) -> bool:
    try:
        return os.tcgetpgrp(file) == os.getpgrp()
    except OSError:
        return False


def _handlers() -> list[Any]:
    """Those of all loggers that write to a stream."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    found = (handler for logger in loggers for handler in getattr(logger, "handlers", ()))
    return [*{id(handler): handler for handler in found if isinstance(handler, logging.StreamHandler)}.values()]
