"""How often the search for the capacity is wrong, in hundreds of simulated servers whose knee is known.

The search is the command's own code; only the streams are simulated. Seeded: the same figures each time.
"""

import math
from functools import cache
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import settings

from tests.support.simulated_capacity import SHARE, Level, World, search

INDEPENDENT = World()
ALIKE = World(alike=0.75, luck=0.15)  # as if 3 streams told as much as 1
VERY_ALIKE = World(alike=0.87, luck=0.3)  # 5 streams
# `make quick` tries a quarter of them, as of the examples of properties.
SEARCHES = {INDEPENDENT: 100, ALIKE: 40, VERY_ALIKE: 24}
UNSAFE = {INDEPENDENT: 0.01, ALIKE: 0.05, VERY_ALIKE: 0.05}  # share of the searches


class Found(NamedTuple):
    """Of one search, as multiples of the true knee."""

    proven: float
    at: float
    low: float
    high: float


def servers(world: World, count: int) -> list[tuple[float, Level]]:
    """Their knees, and what comes of a number of users."""
    random = Random(20)
    knees = [math.exp(random.uniform(math.log(40), math.log(160))) for _ in range(count)]
    return [(knee, world.level(knee, seed)) for seed, knee in enumerate(knees)]


@cache
def searched(world: World) -> list[Found]:
    found = []
    for knee, level in servers(world, SEARCHES[world] // (4 if settings().max_examples < 100 else 1)):
        result = search(level)
        fitted, proven = result.knee(), result.proven
        assert fitted is not None
        assert proven is not None
        found.append(Found(proven / knee, *(each / knee for each in fitted)))
    return found


@pytest.mark.parametrize("world", SEARCHES)
def test_what_is_proven_is_hardly_ever_beyond_the_knee(world: World) -> None:
    found = searched(world)
    assert sum(each.proven > 1 for each in found) <= UNSAFE[world] * len(found)
    assert sorted(each.proven for each in found)[len(found) // 10] > 0.85, "safe, but of no use"


@pytest.mark.parametrize("world", SEARCHES)
def test_the_fitted_knee_is_near_the_true_one(world: World) -> None:
    found = searched(world)
    assert sum(abs(each.at - 1) < 0.10 for each in found) >= 0.95 * len(found)
    assert sum(each.low <= 1 <= each.high for each in found) >= 0.80 * len(found), "approximate, and not more than that"


def bisected(level: Level, batches: int) -> int:
    """What is common: double, then bisect to 1 %, by whether the share of bad streams in one visit is within 5 %."""

    def is_good(users: int) -> bool:
        seen = [batch for _, batch in zip(range(batches), level(users), strict=False)]
        return sum(int(batch.bad.sum()) for batch in seen) <= SHARE * sum(map(len, seen))

    low, high = 1, 4
    while is_good(high):
        low, high = high, 2 * high
    while high > 1.01 * low and high - low > 1:
        middle = round(math.sqrt(low * high))
        low, high = (middle, high) if is_good(middle) else (low, middle)
    return low


@pytest.mark.parametrize("batches", [1, 4, 16])
def test_bisecting_on_the_share_of_bad_streams_would_fail_the_same_check(batches: int) -> None:
    unsafe = sum(bisected(level, batches) > knee for knee, level in servers(INDEPENDENT, 60))
    assert unsafe > 0.05 * 60
