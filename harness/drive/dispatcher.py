"""Open load in one process: hands each arrival to a free user at the moment when it is due.

Arrivals never queue: when all users are busy, an arrival is dropped and counted. This module uses neither Locust nor
sockets. It identifies users only by their kind, the name of their class.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

import gevent
from gevent.event import AsyncResult


class Arrival(NamedTuple):
    random: Random  # seeded by the arrival's number, so that the request does not depend on who serves it
    due_at: int  # CLOCK_MONOTONIC ns


class Waiting(NamedTuple):
    """How a dispatcher waits; tests hand in time that passes at once."""

    now: Callable[[], int] = time.monotonic_ns
    sleep: Callable[[float], object] = gevent.sleep  # s; 0 lets the other greenlets run


class Unserved(NamedTuple):
    """What becomes of arrivals that are not served, where each must be in the record."""

    latest: int  # ns after it was due until which an arrival is handed out
    # Gets the kind, when it was due (CLOCK_MONOTONIC ns), and why it is not sent.
    record: Callable[[str, int, str], None]


class Dispatcher:
    def __init__(
        self,
        moments: Iterable[tuple[int, int]],
        seed: int,
        weights: Mapping[str, float],
        most: Callable[[], int],
        fetch: Callable[[str], None],
        waiting: Waiting = Waiting(),  # noqa: B008 - immutable
    ) -> None:
        """`moments`: number and due time (ns after `open`) of each arrival, in order. `weights`: share of each kind.

        `most` returns how many users may be busy at once. `fetch` starts another user, which will call `arrival`.
        """
        self._now, self._sleep = waiting
        self._moments = moments
        self._seed = seed
        self._weights = dict(weights)
        self._most = most
        self._fetch = fetch
        self._free: dict[str, list[AsyncResult]] = {kind: [] for kind in weights}
        # Arrivals for users that `fetch` is starting, which have not called `arrival` yet.
        self._ahead: dict[str, deque[Arrival]] = {kind: deque() for kind in weights}
        self._busy = 0
        # None: an arrival is handed out however late, and dropped ones are only counted.
        self.unserved: Unserved | None = None
        self.arrivals = 0  # due so far, after the warm-up
        self.dropped = 0  # of these, not handed out: every user was busy, or it was too late
        self._greenlet: gevent.Greenlet | None = None

    def open(self, at: int, counted_from: int = 0) -> None:
        """Start the schedule at this CLOCK_MONOTONIC time, ns. A second call has no effect.

        Arrivals that are due before `counted_from`, the end of the run's warm-up, are served but not counted.
        """
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run, at, counted_from)

    @property
    def busy(self) -> int:
        """How many users serve an arrival now."""
        return self._busy

    def close(self) -> None:
        """Hand out no more arrivals."""
        if self._greenlet is not None:
            self._greenlet.kill()

    @contextmanager
    def arrival(self, kind: str) -> Iterator[Arrival]:
        """Wait until an arrival is due for a user of this kind; the user counts as busy until the block ends."""
        mine = AsyncResult()
        if self._ahead[kind]:
            mine.set(self._ahead[kind].popleft())
        else:
            self._free[kind].append(mine)
        try:
            yield mine.get()
        finally:
            if mine.ready():
                self._busy -= 1
            else:  # the user was stopped while waiting
                self._free[kind].remove(mine)

    def _run(self, opened_at: int, counted_from: int) -> None:
        for number, after in self._moments:
            due_at = opened_at + after
            self._sleep(0)  # even when late: lets users that have finished become free
            while (early := due_at - self._now()) > 0:
                self._sleep(early / 1e9)
            counts = int(due_at >= counted_from)
            self.arrivals += counts
            random = Random(f"{self._seed}/{number}")
            (kind,) = random.choices(list(self._weights), list(self._weights.values()))
            if why := self._not_now(due_at):
                self.dropped += counts
                if self.unserved is not None:
                    self.unserved.record(kind, due_at, why)
                continue
            self._busy += 1
            if free := self._free[kind]:
                # The user that became free last: its connection has been idle for the shortest time.
                free.pop().set(Arrival(random, due_at))
            else:
                self._ahead[kind].append(Arrival(random, due_at))
                self._fetch(kind)

    def _not_now(self, due_at: int) -> str:
        """Why an arrival is not handed out; "" if it is."""
        late = self._now() - due_at
        if self.unserved is not None and late > self.unserved.latest:
            return f"the process that sends had no time for it until {late / 1e9:.1f} s after it was due"
        return f"all {self._busy} users still waited for their answers" if self._busy >= self._most() else ""
