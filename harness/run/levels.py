"""A run whose load a search for a capacity decides while it goes on. `orders` has what the two say."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.event import Event
from gevent.os import nb_read
from locust.env import Environment

from streamgauge.harness.run import orders
from streamgauge.harness.run.orders import Began, End, Ends, Lines, Rate, Reached, Users
from streamgauge.harness.run.pace import pace_of

_SPAWN_RATE = 100.0  # users a second; above that Locust warns of itself
_LOOK_EVERY = 0.02  # seconds between two looks at whether all users run
_AT_A_TIME = 65_536  # bytes


class Levels:
    """Of one run."""

    def __init__(self, ends: Ends, environment: Environment, now: Callable[[], int]) -> None:
        """`now`: the time on the run's clock, ns."""
        self._ends = ends
        self._runner = environment.runner
        self._pace = pace_of(environment)
        self._now = now
        self._wanted = 0  # users; 0: nothing was ordered yet
        self._changed = Event()
        self.found: dict[str, Any] = {}  # by the search, once it is over

    def follow(self, run: str, end: Callable[[], None]) -> None:
        """Carry out the orders. Calls `end` when the search is over, or gone."""
        os.set_blocking(self._ends.reads, False)
        self._ends.send(Began(run))
        changing = gevent.spawn(self._change)
        try:
            for order in self._orders():
                if isinstance(order, End):
                    self.found = order.found
                    return
                self._carry_out(order)
        finally:
            changing.kill()
            end()

    def _carry_out(self, order: Users | Rate) -> None:
        if isinstance(order, Users):
            self._wanted = order.users
            self._changed.set()
        elif self._pace is not None:
            self._pace.change(order.per_minute / 60)
            self._ends.send(Reached(order.per_minute, self._now()))

    def _orders(self) -> Iterator[orders.Order]:
        lines = Lines(orders.Order)
        while data := nb_read(self._ends.reads, _AT_A_TIME):
            yield from lines.messages(data)

    def _change(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            wanted = self._wanted
            self._runner.start(wanted, _SPAWN_RATE)
            while self._runner.user_count != wanted and not self._changed.is_set():
                gevent.sleep(_LOOK_EVERY)
            if not self._changed.is_set():
                self._ends.send(Reached(wanted, self._now()))
