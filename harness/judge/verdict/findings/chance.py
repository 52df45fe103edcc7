"""Could chance alone have done it? The tests that findings use, and the bound that all of them share. Pure.

A finding needs two things: an effect that matters to people, and evidence that chance hardly ever gives. Each finding
holds its tests to ALPHA together (several tests divide it: Bonferroni), so that all findings together are wrong in far
less than one run of a hundred: tests/pure/test_findings.py simulates it.
"""

import math
from typing import NamedTuple

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.measure.statistics import Interval, ratio_interval

ALPHA = 1e-4  # the chance, per finding, that a run without its cause shows it


class Ranks(NamedTuple):
    p: float  # one-sided
    above: float  # the chance that a sample of the first group is above one of the second; a tie counts half


def rank_sum(one: Floats, other: Floats) -> Ranks:
    """Is `one` above `other`? Mann and Whitney's test in its normal approximation, with corrections for ties and
    continuity (Annals of Mathematical Statistics 18, 1947; Hollander & Wolfe, Nonparametric Statistical Methods, 4.1).

    The approximation is good from about 10 samples a group; the effect is Vargha and Delaney's A (2000).
    """
    n, m = len(one), len(other)
    if not n or not m:
        return Ranks(1.0, 0.5)
    _, place, counts = np.unique(np.concatenate([one, other]), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = ((last - counts + 1 + last) / 2)[place]  # a tie has the mean of its ranks
    wins = float(ranks[:n].sum()) - n * (n + 1) / 2
    total = n + m
    ties = float((counts.astype(np.float64) ** 3 - counts).sum()) / (total * (total - 1)) if total > 1 else 0.0
    variance = n * m / 12 * (total + 1 - ties)
    if variance <= 0:
        return Ranks(1.0, wins / (n * m))
    z = (wins - n * m / 2 - 0.5) / math.sqrt(variance)
    return Ranks(0.5 * math.erfc(z / math.sqrt(2)), wins / (n * m))


class Division(NamedTuple):
    """A threshold between two groups of samples, and the share of each that is at it or above it."""

    at: float
    above_one: float
    above_other: float


def divided(one: Floats, other: Floats) -> Division:
    """At the largest distance of both distributions (Kolmogorov, Smirnov). Neither group may be empty."""
    one, other = np.sort(one), np.sort(other)
    at = np.unique(np.concatenate([one, other]))
    above_one = 1 - np.searchsorted(one, at) / len(one)
    above_other = 1 - np.searchsorted(other, at) / len(other)
    place = int(np.abs(above_one - above_other).argmax())
    return Division(float(at[place]), float(above_one[place]), float(above_other[place]))


def surely(hits: int, n: int, tests: int = 1) -> Interval:
    """The exact interval of a ratio (Clopper & Pearson 1934) that is wrong at each end in ALPHA / `tests` of cases."""
    return ratio_interval(hits, n, 1 - 2 * ALPHA / tests)


def more_often(hits: int, n: int, other_hits: int, other_n: int) -> float:
    """p value of "the first group hits no more often than the other": Fisher's exact test, one-sided."""
    total, all_hits = n + other_n, hits + other_hits
    most = min(n, all_hits)
    if not n or not other_n:
        return 1.0
    base = _log_choose(total, n)
    terms = [
        _log_choose(all_hits, k) + _log_choose(total - all_hits, n - k) - base
        for k in range(hits, most + 1)
        if n - k <= total - all_hits
    ]
    return min(1.0, sum(math.exp(term) for term in terms))


def at_least(hits: int, n: int, share: float) -> float:
    """The chance of this many hits or more among n, if each hits by itself with this share (binomial)."""
    if hits <= 0:
        return 1.0
    if share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    log_share, log_rest = math.log(share), math.log1p(-share)
    return min(1.0, sum(math.exp(_log_choose(n, k) + k * log_share + (n - k) * log_rest) for k in range(hits, n + 1)))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
