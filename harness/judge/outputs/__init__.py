"""A verdict in the formats that people and CI systems read, one file for each. `dispatch` lists them.

kinds             the kinds of output, and `--output` parsed
dispatch          writes each format that is asked for
styles            the sign and colours of a verdict
cells             the cells of tables, as plain text
lines             what commands print besides tables
rich_text         rich's console and tables
terminal          a result for a terminal
terminal_tables   runs, baselines and histories for a terminal
json              the result document
junit             JUnit XML
markdown          Markdown
github            GitHub's summary and annotations
gitlab            GitLab's metrics report
badge             an SVG badge
history_csv       a history as CSV
exports           streams and chunks as CSV, JSON or Parquet
parquet           rows as Parquet
spreadsheet       text from outside as a cell of a CSV
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.outputs import lines
from streamgauge.harness.standard_output import lost

_SQLITE = b"SQLite format 3\0"  # how every file of SQLite begins


def save(text: str, path: str | os.PathLike[str]) -> None:
    """Write a file whole or not at all. StoreError if it cannot be written."""
    with whole_file(path) as file:
        file.write(text.encode())


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its place only when all is written.

    StoreError if it cannot be written, or would take the place of a database.
    """
    path = Path(path)
    try:
        if path.is_file() and _is_database(path):
            raise StoreError(f"{path}: is a database, and would be lost: name another file for the output")
        if path.exists() and not path.is_file():  # a device or a pipe, which nothing may take the place of
            with path.open("wb") as file:
                yield file
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                yield file
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as fault:
        raise StoreError(f"{path}: cannot be written: {fault.strerror}") from fault


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


@contextmanager
def standard_output() -> Iterator[IO[bytes]]:
    """Standard output for bytes. If it takes no more, the command line tells it (`harness/standard_output.py`)."""
    sys.stdout.flush()
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def write_each(writes: Iterable[Callable[[], None]]) -> None:
    """Call each of these functions, even after one has failed.

    The StoreError is that of the last one that failed; the others are told on standard error, in a line each.
    """
    last: StoreError | None = None
    for write in writes:
        try:
            write()
        except (StoreError, OSError) as fault:
            if last is not None:
                lines.warn(f"streamgauge: {last}")
            last = fault if isinstance(fault, StoreError) else StoreError(lost(fault))
    if last is not None:
        raise last
