"""Standard output that cannot be written: closed, a full disk, a reader that went away. It is told in one line.

Without this, click and Python exit with 1 or 120, and 1 means that a rule was missed.
"""

import errno
import io
import os
import sys
from typing import cast


class OutputLost(OSError):
    """A write to standard output failed; other errors of the system are errors of other files."""


class _Output(io.FileIO):
    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]
        try:
            return super().write(data) or 0
        except OSError as fault:
            raise OutputLost(fault.errno, fault.strerror) from None


def watch() -> None:
    """From now on, a failed write raises OutputLost, and no character does.

    Ends the process if standard output is closed already.
    """
    if sys.stdout is None:
        os.write(2, b"streamgauge: standard output is closed; where nobody reads it, write >/dev/null\n")
        sys.exit(2)  # Exit.MISTAKE
    before = cast("io.TextIOWrapper", sys.stdout)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(before.fileno(), "w", closefd=False)),
        encoding=before.encoding,
        errors="replace",  # a terminal that has no ✓ gets a question mark
        line_buffering=before.line_buffering,
    )


def lost(fault: OSError) -> str:
    """What happened to it. Also stops using it: Python flushes it once more at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if fault.errno == errno.EPIPE:  # such as `streamgauge runs run.db | head`
        return "the output was closed before its end"
    return f"standard output: cannot be written: {fault.strerror}"
