"""Open load in one process: each arrival goes, at the moment when it is due, to somebody who is free.

Nobody waits in line here: a person who is not there when an arrival is due makes it a dropped one, which is counted.
Knows neither Locust nor sockets, and of people only which kind they are of.
"""

import time
from collections.abc import Iterable, Mapping
from random import Random
from typing import NamedTuple

import gevent
from gevent.event import AsyncResult


class Arrival(NamedTuple):
    random: Random  # of this arrival alone: what it asks depends on its number, not on who serves it
    due_at: int  # CLOCK_MONOTONIC ns


class Turnstile:
    def __init__(self, moments: Iterable[tuple[int, int]], weights: Mapping[str, float], seed: int) -> None:
        """`moments`: number and due time (CLOCK_MONOTONIC ns) of each arrival, in order; `weights`: of each kind."""
        self._weights = dict(weights)
        self._seed = seed
        self._free: dict[str, list[AsyncResult]] = {kind: [] for kind in weights}
        self.arrivals = 0  # that were due so far
        self.dropped = 0  # of them, nobody was free
        self._greenlet = gevent.spawn(self._let_in, moments)

    def wait(self, kind: str) -> Arrival:
        """Be free for an arrival of this kind until one is due."""
        mine = AsyncResult()
        self._free[kind].append(mine)
        try:
            return mine.get()  # type: ignore[no-any-return]  # gevent ships no types
        finally:
            if not mine.ready():  # killed
                self._free[kind].remove(mine)

    def close(self) -> None:
        """Let nobody in any more."""
        self._greenlet.kill()

    def _let_in(self, moments: Iterable[tuple[int, int]]) -> None:
        for number, due_at in moments:
            gevent.sleep(0)  # behind time, too: who has become free must be able to say so
            while (early := due_at - time.monotonic_ns()) > 0:
                gevent.sleep(early / 1e9)
            random = Random(f"{self._seed}/{number}")
            (kind,) = random.choices(list(self._weights), list(self._weights.values()))
            self.arrivals += 1
            if free := self._free[kind]:
                free.pop().set(Arrival(random, due_at))  # the last one to become free: its connection is the freshest
            else:
                self.dropped += 1
