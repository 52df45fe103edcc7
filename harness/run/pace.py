"""The pace of an open load that a search for a capacity changes while the run goes on."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from locust.env import Environment


@dataclass
class Pace:
    """A Poisson process. The next gap is drawn by the rate that it has then."""

    per_second: float

    def times(self, random: Random) -> Iterator[float]:
        """When streams are due, s after the first could be."""
        at = 0.0
        while True:
            at += random.expovariate(self.per_second)
            yield at


def set_pace(environment: Environment, pace: Pace) -> None:
    vars(environment)["gauge_pace"] = pace


def pace_of(environment: Environment) -> Pace | None:
    """None: no search decides how many streams are due."""
    found: Pace | None = vars(environment).get("gauge_pace")
    return found
