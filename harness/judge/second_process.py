"""The process that reads a large run's streams while this one measures them, see `store/beside.py`.

It begins with imports that take as long as those of the command which needs it. So a command starts it first of all,
and this module imports nothing large.
"""

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from streamgauge.harness import cores
from streamgauge.harness.programs import running

LARGE = 16 * 2**20  # bytes of a database that may hold a run for which a second process is worth its start
_PIPE = 2**20  # bytes: with Linux's 64 KiB, the processes would wake each other a hundred times for a batch


class SecondProcess:
    """A process that waits to be told which run to read. It reads one."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._told = cast(TextIO, process.stdin)
        self.batches: BinaryIO = cast(TextIO, process.stdout).buffer  # pickled, see `store/__main__.py`

    def read(self, run_id: str, batch: int) -> None:
        """Have it read the measured streams of this run, so many at a time. If it has ended, `batches` has too."""
        with suppress(BrokenPipeError), self._told as told:
            told.write(json.dumps([run_id, batch]) + "\n")


@contextmanager
def started(path: Path) -> Iterator[SecondProcess]:
    """A second process for this database, for as long as the `with` block lasts."""
    # -P: no module that happens to lie in the working directory is imported.
    reader = [sys.executable, "-P", "-m", f"{__package__}.store", str(path)]
    with running(reader, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        second = SecondProcess(process)
        with suppress(OSError, AttributeError):  # a limit of the user's, or no Linux: it is slower, and works
            fcntl.fcntl(second.batches, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            yield second
        finally:
            process.kill()


@contextmanager
def started_early(path: str) -> Iterator[SecondProcess | None]:
    """As `started`, if this database may hold a large run and there is a core for the process; else None."""
    database = Path(path)
    if cores.usable() < 2 or not database.is_file() or database.stat().st_size < LARGE:
        yield None
        return
    with started(database) as second:
        yield second
