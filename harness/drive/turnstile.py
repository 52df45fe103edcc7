"""Open load in one process: each arrival goes, at the moment when it is due, to somebody who is free.

Nobody waits in line here. When as many as may be are busy, an arrival is dropped, which is counted. Knows neither
Locust nor sockets, and of people only which kind they are of.
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
    random: Random  # of this arrival alone: what it asks depends on its number, not on who serves it
    due_at: int  # CLOCK_MONOTONIC ns


class Turnstile:
    def __init__(
        self,
        moments: Iterable[tuple[int, int]],
        seed: int,
        weights: Mapping[str, float],
        most: Callable[[], int],
        fetch: Callable[[str], None],
    ) -> None:
        """`moments`: number and due time of each arrival, ns after the opening, in order. `weights`: of the kinds.

        `most`: how many may be busy at once. `fetch` brings one more of a kind, who comes to `arrival` by and by.
        """
        self._moments = moments
        self._seed = seed
        self._weights = dict(weights)
        self._most = most
        self._fetch = fetch
        self._free: dict[str, list[AsyncResult]] = {kind: [] for kind in weights}
        self._ahead: dict[str, deque[Arrival]] = {kind: deque() for kind in weights}  # for those who are being fetched
        self._busy = 0
        self.arrivals = 0  # that were due so far
        self.dropped = 0  # of them, nobody was free
        self._greenlet: gevent.Greenlet | None = None

    def open(self, at: int) -> None:
        """Let arrivals in from this moment on, CLOCK_MONOTONIC ns. Said again it changes nothing."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._let_in, at)

    def close(self) -> None:
        """Let nobody in any more."""
        if self._greenlet is not None:
            self._greenlet.kill()

    @contextmanager
    def arrival(self, kind: str) -> Iterator[Arrival]:
        """Be free until an arrival is due for somebody of this kind, and busy with it for the length of the block."""
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
            else:  # stopped while free
                self._free[kind].remove(mine)

    def _let_in(self, opened_at: int) -> None:
        for number, after in self._moments:
            due_at = opened_at + after
            gevent.sleep(0)  # behind time, too: who has become free must be able to say so
            while (early := due_at - time.monotonic_ns()) > 0:
                gevent.sleep(early / 1e9)
            self.arrivals += 1
            if self._busy >= self._most():
                self.dropped += 1
                continue
            random = Random(f"{self._seed}/{number}")
            (kind,) = random.choices(list(self._weights), list(self._weights.values()))
            self._busy += 1
            if free := self._free[kind]:
                free.pop().set(Arrival(random, due_at))  # the last one to become free: its connection is the freshest
            else:
                self._ahead[kind].append(Arrival(random, due_at))
                self._fetch(kind)
