"""Reads a large run's streams in a second process, which makes columns of SQLite's rows while this one measures them.

SQLite hands over a row value by value, and holds Python's global lock while it does: a thread would not help. The
batches, and so all figures, are the same with and without the second process.
"""

import fcntl
import itertools
import pickle
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import BinaryIO, TextIO, cast

from streamgauge.harness import cores
from streamgauge.harness.errors import StoreError, StreamgaugeError
from streamgauge.harness.judge.store.database import BATCH, Store
from streamgauge.harness.judge.store.streams import Streams
from streamgauge.harness.programs import running

FEWEST_BESIDE = 20_000  # streams for which a second process is worth its start
_FIRST = 2  # batches that this process reads itself, while the other one starts
_PIPE = 2**20  # bytes: with Linux's 64 KiB, the processes would wake each other a hundred times for a batch


def measured_streams(store: Store, run_id: str, count: int) -> Iterator[Streams]:
    """As `store.streams`, for a run of `count` streams."""
    if count < FEWEST_BESIDE or cores.usable() < 2 or _has_own_views(store):
        return store.streams(run_id)
    return streams_beside(store, run_id)


def _has_own_views(store: Store) -> bool:
    """Whether the store is redacted: another process would read the tables themselves."""
    return bool(store._database.execute("SELECT count(*) FROM temp.sqlite_master").fetchone()[0])


def streams_beside(store: Store, run_id: str, batch: int = BATCH) -> Generator[Streams, None, None]:
    """As `store.streams`, from a second process. StoreError if that ends before it has read them all."""
    # -P: no module that happens to lie in the working directory is imported.
    reader = [sys.executable, "-P", "-m", __package__, str(store.path), run_id, str(batch)]
    with running(reader, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        told, batches = cast(TextIO, process.stdin), cast(TextIO, process.stdout).buffer
        with suppress(OSError, AttributeError):  # a limit of the user's, or no Linux: it is slower, and works
            fcntl.fcntl(batches, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            source = store.streams(run_id, batch=batch)
            first = list(itertools.islice(source, 1))
            yield from first  # its caller decodes it while this thread reads on
            first += itertools.islice(source, _FIRST - 1)
            with suppress(BrokenPipeError), told:  # it has ended; the other pipe tells
                told.write(f"{first[-1].id[-1] if first else -1}\n")
            yield from first[1:]
            while (streams := _received(batches, store)) is not None:
                yield streams
        finally:
            process.kill()


def _received(pipe: BinaryIO, store: Store) -> Streams | None:
    """The next batch; None after the last one."""
    try:
        received = pickle.load(pipe)  # noqa: S301 - from a process of our own
    except (EOFError, pickle.UnpicklingError):
        raise StoreError(
            f"{store.path}: the process that reads it was killed, so nothing is judged; is memory short? Try again"
        ) from None
    if isinstance(received, StreamgaugeError):
        raise received
    streams: Streams | None = received
    return streams
