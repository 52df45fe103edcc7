"""Reads a large run's streams in a second process, which makes columns of SQLite's rows while this one measures them.

Without compiled code, Python holds its global lock while it takes over value by value: a thread would not help. With
it, the second process still saves a twentieth of the time. The batches, and so all figures, are the same with and
without it.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import BinaryIO

from streamgauge.harness import cores
from streamgauge.harness.errors import StoreError, StreamgaugeError
from streamgauge.harness.judge.second_process import started
from streamgauge.harness.judge.store.database import BATCH, Store
from streamgauge.harness.judge.store.streams import Streams

FEWEST_BESIDE = 20_000  # streams for which a second process is worth its start


@contextmanager
def measured_streams(store: Store, run_id: str, count: int) -> Iterator[Iterator[Streams]]:
    """As `store.streams`, for a run of `count` streams, within the `with` block."""
    if count < FEWEST_BESIDE or cores.usable() < 2 or _has_own_views(store):
        yield store.streams(run_id)
        return
    with streams_beside(store, run_id) as batches:
        yield batches


def _has_own_views(store: Store) -> bool:
    """Whether the store is redacted: another process would read the tables themselves."""
    return bool(store._database.execute("SELECT count(*) FROM temp.sqlite_master").fetchone()[0])


@contextmanager
def streams_beside(store: Store, run_id: str, batch: int = BATCH) -> Iterator[Iterator[Streams]]:
    """As `store.streams`, from a second process, which begins at once: the store's, or a new one.

    StoreError if it ends before it has read them all.
    """
    early, store.second_process = store.second_process, None  # it reads only one run
    with started(store.path) if early is None else nullcontext(early) as process:
        process.read(run_id, batch)
        yield iter(lambda: _received(process.batches, store), None)


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
