"""The pace of an open load that a search for a capacity changes while the run goes on."""

import time
from collections.abc import Iterator
from random import Random

from gevent.event import Event
from locust.env import Environment


class Pace:
    """A Poisson process. The next gap is drawn by the rate that it has then; with a rate of 0 nothing becomes due."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._flows = Event()
        self._flows.set()

    def change(self, per_second: float) -> None:
        self._per_second = per_second
        if per_second:
            self._flows.set()
        else:
            self._flows.clear()

    def times(self, random: Random) -> Iterator[float]:
        """When streams are due, s after the first could be. Waits while the rate is 0."""
        at = 0.0
        while True:
            if not self._flows.is_set():
                began = time.monotonic()
                self._flows.wait()
                at += time.monotonic() - began  # what was not due meanwhile is not made up for
            at += random.expovariate(self._per_second)
            yield at


def set_pace(environment: Environment, pace: Pace) -> None:
    vars(environment)["gauge_pace"] = pace


def pace_of(environment: Environment) -> Pace | None:
    """None: no search decides how many streams are due."""
    found: Pace | None = vars(environment).get("gauge_pace")
    return found
