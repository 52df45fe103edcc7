"""Servers with a known knee, simulated as the search sees them: the more users, the more streams are bad.

The log odds of a bad stream are linear in the logarithm of the load, and 5 % are bad at the knee. Streams that follow
each other are alike, and each visit has its own luck beyond that.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

from streamgauge.harness.capacity.path import Search, Visited
from streamgauge.harness.capacity.sequential import ROUNDS, Visit
from streamgauge.harness.capacity.streams import Batch, Limit
from streamgauge.harness.judge.measure.arrays import Floats, Mask

SHARE = 0.05
LIMITS = (Limit(SHARE, ("p95(ttft) < 1s",)),)
_AT_ONCE = 130  # streams of a batch

Level = Callable[[int], Iterator[Batch]]


@dataclass(frozen=True)
class World:
    slope: float = 10.0  # of the log odds: how suddenly the server gives way
    alike: float = 0.0  # correlation of a stream's wait with the next one's
    spread: float = 0.5  # standard deviation of the logarithm of a stream's wait
    luck: float = 0.0  # standard deviation of the log odds between visits

    def level(self, knee: float, seed: int) -> Level:
        """What comes of so many users, for as long as it is asked for."""
        rng = np.random.default_rng(seed)

        def level(users: int) -> Iterator[Batch]:
            odds = math.log(SHARE / (1 - SHARE)) + self.slope * math.log(users / knee) + self.luck * rng.normal()
            bad = 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))
            before = rng.normal()
            while True:
                wait = self._waits(rng, before)
                before = float(wait[-1])
                limit = NormalDist().inv_cdf(1 - bad)
                yield of_one_limit(wait > limit, np.exp(self.spread * (wait - limit)))

        return level

    def _waits(self, rng: np.random.Generator, before: float) -> Floats:
        """Each is `alike` times the one before, and chance."""
        steps = rng.standard_normal(_AT_ONCE) * math.sqrt(1 - self.alike**2)
        if not self.alike:
            return steps
        steps[0] += self.alike * before
        passed_on: Floats = _passed_on(self.alike) @ steps
        return passed_on


def of_one_limit(bad: Mask, score: Floats) -> Batch:
    return Batch(bad[None, :], np.ones((1, len(bad)), bool), score)


@cache
def _passed_on(alike: float) -> Floats:
    """How much of each step is in each wait."""
    places = np.arange(_AT_ONCE)
    return np.tril(alike ** np.maximum(0, places[:, None] - places[None, :]))


def search(level: Level, limits: Sequence[Limit] = LIMITS, most: int = 1000, ladder: Sequence[int] = ()) -> Search:
    """A whole search, by the code of the command."""
    found = Search(limits, most, ladder=ladder)
    while (order := found.next()) is not None:
        visit, among = Visit(ROUNDS * order.users, limits, order.rigour), order.among(limits)
        outcome = next(filter(None, (visit.after(batch, among) for batch in level(order.users))))
        found.visits.append(Visited(order, outcome, visit.counts()))
    return found
