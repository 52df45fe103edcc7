"""Writes to the database from a thread of its own, so that the loop that drives users never waits for a disk or a lock.

What is to be stored waits in memory. `full` bounds it: whoever makes new rows must then stop. Everything here runs in
the loop, except the functions that `in_thread` passes to the one thread that uses the store.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool

from streamgauge.harness.errors import RowError, StoreError
from streamgauge.harness.judge.store import Store, VitalRow
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.run.terminal import say

_ROOM = 64 * 2**20  # bytes that wait, about 50,000 streams; above this, no new streams should begin
_ROW = 1_000  # approximate bytes of a stream in memory, without its arrivals
_RETRY = 0.5  # seconds between two attempts to store the same rows
_TICK = 0.25  # seconds between two looks at how long rows have waited
_HANGS = 15.0  # seconds after which a call of the store counts as hanging; longer than SQLite waits for a lock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rows:
    """What is stored in one transaction."""

    streams: Sequence[StreamObservation]
    vitals: Sequence[VitalRow]
    stored: Callable[[], None]  # called in the loop when the rows are in the database

    @property
    def size(self) -> int:
        return sum(_ROW + len(seen.arrivals) for seen in self.streams)


@dataclass(frozen=True, slots=True)
class Patience:
    during: float = 60.0  # seconds in which nothing could be stored, after which the run is ended
    after: float = 20.0  # seconds that the end of a run waits until all is stored


class Writer:
    def __init__(
        self, store: Store, run_id: str, give_up: Callable[[str], None], patience: Patience | None = None
    ) -> None:
        """`give_up` is called with the reason, once, when nothing could be stored for too long.

        Until the first `put`, nothing runs: a run that cannot begin leaves nothing that goes on.
        """
        self._store = store
        self._run_id = run_id
        self._give_up = give_up
        self._patience = patience or Patience()
        self._pool = ThreadPool(1)
        self._waiting: deque[Rows] = deque()
        self._size = 0  # bytes that wait
        self._changed = Event()
        self._waited = 0.0  # seconds for which the first of the waiting rows has been the first
        self._over = False
        self.fault = ""  # why rows wait for longer than usual; "" if they do not
        self.unstorable = 0  # streams with a value that SQLite does not take
        self._greenlet = gevent.Greenlet(self._run)  # like the next one, started by the first `put`
        self._watcher = gevent.Greenlet(self._watch)

    @property
    def full(self) -> bool:
        """Whether the caller should stop making rows. `put` still accepts some."""
        return self._size > _ROOM

    @property
    def unsaved(self) -> int:
        """Streams that are not in the database."""
        return self.unstorable + sum(len(rows.streams) for rows in self._waiting)

    def put(self, rows: Rows) -> None:
        self._waiting.append(rows)
        self._size += rows.size
        self._changed.set()
        self._greenlet.start()  # like the next line, does nothing if it was started or killed before
        self._watcher.start()

    def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that uses the store in the thread, and wait for it. StoreError if the call hangs.

        A function that hangs may still be carried out later.
        """
        with gevent.Timeout(_HANGS, StoreError(self._hangs)):
            return self._called(function, *arguments)

    def never_give_up(self) -> None:
        """Do not call `give_up` from here on: the run ends anyway, and what cannot be stored will be `unsaved`."""
        self._watcher.kill()

    def finish(self) -> None:
        """Store what waits, within limits. Afterwards nothing may be `put`."""
        self.never_give_up()
        give_up_at = time.monotonic() + self._patience.after
        while self._waiting and time.monotonic() < give_up_at:
            gevent.sleep(0.01)
        self._over = True
        self._changed.set()
        self._greenlet.start()  # if nothing was `put`, it ends at once
        self._greenlet.join(_HANGS)
        if not self._greenlet.dead:
            self.fault = self._hangs

    def end(self) -> None:
        """End the thread. StoreError if a call hangs in it: then nobody may use the store."""
        self.in_thread(_nothing)
        self._pool.kill()

    @property
    def _hangs(self) -> str:
        return f"{self._store.path}: the disk does not answer"

    def _called(self, function: Callable[..., T], *arguments: Any) -> T:
        def attempt() -> T | Exception:
            try:
                return function(*arguments)
            except Exception as fault:  # noqa: BLE001 - raised below: gevent would print a traceback of the thread
                return fault

        result: T | Exception = self._pool.apply(attempt)
        if isinstance(result, Exception):
            raise result
        return result

    def _watch(self) -> None:
        """Give up once the first of the waiting rows has waited for too long, whether or not more are `put`."""
        ticked = time.monotonic()
        while self._waited <= self._patience.during:
            gevent.sleep(_TICK)
            now = time.monotonic()
            if self._waiting:
                self._waited += min(now - ticked, 2 * _TICK)  # while this process was stopped, nothing could be stored
            ticked = now
        self._give_up(self.fault or self._hangs)

    def _run(self) -> None:
        while not self._over:
            self._changed.wait()
            self._changed.clear()
            while self._waiting and not self._over:
                self._store_first()

    def _store_first(self) -> None:
        rows = self._waiting[0]
        try:
            # Without a limit of time: a second attempt beside one that hangs could store the rows twice.
            self._called(self._store.append, self._run_id, rows.streams, rows.vitals)
        except (RowError, OverflowError, UnicodeError) as fault:  # such as a number over 64 bits
            self._take_apart(rows, str(fault))
        except Exception as fault:  # noqa: BLE001 - whatever it is, this greenlet must go on, and the user must know
            if not self.fault:
                say(f"streamgauge: {fault}; streams wait in memory until they can be stored")
            self.fault = str(fault)
            gevent.sleep(_RETRY)
        else:
            self._taken(rows)
            if self.fault:
                say(f"streamgauge: {self._store.path}: streams are stored again")
                self.fault = ""

    def _taken(self, rows: Rows) -> None:
        self._waiting.popleft()
        self._size -= rows.size
        self._waited = 0.0
        try:
            rows.stored()
        except Exception as fault:  # noqa: BLE001 - such as a lost connection to a worker, which will ask again
            say(f"streamgauge: what was stored could not be acknowledged: {fault}")

    def _take_apart(self, rows: Rows, fault: str) -> None:
        """Prepare to store these rows one by one, so that only those are left out that cannot be stored."""
        if len(rows.streams) + len(rows.vitals) <= 1:
            if not self.unstorable:
                say(f"streamgauge: {self._store.path}: a row that cannot be stored is left out: {fault}")
            self.unstorable += len(rows.streams)
            self._taken(rows)
            return
        self._waiting.popleft()
        singles = [Rows([seen], (), _nothing) for seen in rows.streams]
        singles += [Rows((), [vital], _nothing) for vital in rows.vitals]
        self._waiting.extendleft(reversed([*singles, Rows((), (), rows.stored)]))


def _nothing() -> None:
    pass
