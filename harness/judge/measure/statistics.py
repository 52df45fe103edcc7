"""Quantiles, ratios and means with their confidence intervals, and tests between groups of runs. Pure.

Samples are given as sorted distinct `values` and how often each occurred (`counts`), so that the same code serves 20
streams and 200 million gaps. +inf is an ordinary value: it stands for a failed stream. Intervals are two-sided, at
95 % unless a `confidence` is given. No other module imports scipy.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy  # imports scipy.special when that is first used: 0.2 s, which quantiles and plain lists need not wait for
from numpy.typing import NDArray

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2

Values = NDArray[np.float64]
Counts = NDArray[np.int64]


class Interval(NamedTuple):
    """A confidence interval. An end is None if there are too few samples for it."""

    low: float | None
    high: float | None


def prepare() -> None:
    """Import what intervals need now, instead of at the first one. For a caller that must not be held up then."""
    scipy.special.ndtri(1 - TAIL)


def quantile(values: Values, counts: Counts, q: float) -> float | None:
    """The order statistic of rank ⌈q n⌉ (Hyndman & Fan's definition 1), so always a sample. None without samples."""
    n = int(counts.sum())
    # 1e-9 absorbs the rounding of the product: 0.07 * 100 is 7.000000000000001, and the rank is 7.
    return _ranked(values, counts, math.ceil(q * n - 1e-9)) if n else None


def quantile_interval(
    values: Values, counts: Counts, q: float, effective: float | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """The two samples whose ranks enclose the true quantile (binomial; David & Nagaraja, Order Statistics, 7.1).

    `effective` is how many independent samples the correlated ones are worth: the ranks are computed for that number
    and scaled up (Woodruff 1952; Korn & Graubard 1998). The upper end exists from n = 72 for p95, from 368 for p99.
    """
    n = int(counts.sum())
    independent = n if effective is None else min(n, math.floor(effective))
    if independent < 1:
        return Interval(None, None)
    tail = (1 - confidence) / 2
    low = _binomial(tail, independent, q)
    high = _binomial(1 - tail, independent, q) + 1
    scale = n / independent
    return Interval(
        _ranked(values, counts, max(1, math.floor(low * scale))) if low >= 1 else None,
        _ranked(values, counts, min(n, math.ceil(high * scale))) if high <= independent else None,
    )


def _binomial(probability: float, n: int, q: float) -> int:
    """The smallest k such that a binomial variable (n trials, success q) is at most k with this probability."""
    k = math.ceil(float(scipy.special.bdtrik(probability, n, q)))
    return k - 1 if k > 0 and float(scipy.special.bdtr(k - 1, n, q)) >= probability else k


def ratio_interval(hits: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Clopper–Pearson: exact, it covers at least as often as its confidence says. Both may be effective numbers."""
    if n == 0:
        return Interval(None, None)
    tail = (1 - confidence) / 2
    return Interval(
        float(scipy.special.betaincinv(hits, n - hits + 1, tail)) if hits else 0.0,
        float(scipy.special.betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0,
    )


def t_quantile(probability: float, freedom: int) -> float:
    """Of Student's t distribution."""
    return float(scipy.special.stdtrit(freedom, probability))


def mean(values: Values, counts: Counts) -> float | None:
    n = int(counts.sum())
    return float(np.dot(values, counts) / n) if n else None


def mean_interval(
    values: Values, counts: Counts, effective: float | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """Student's t interval of the mean. No ends for fewer than two independent samples, or if a sample is +inf.

    Equal samples have no variance to compute an end from. Their interval is their value, but only once they show that
    more than half of all samples have it, as the interval of a median does: at 95 % from six samples on.
    """
    n = int(counts.sum())
    independent = n if effective is None else min(float(n), effective)
    centre = mean(values, counts)
    if centre is None or independent < 2 or not math.isfinite(centre):
        return Interval(None, None)
    if values[0] == values[-1] and 0.5**independent > (1 - confidence) / 2:
        return Interval(None, None)
    variance = float(np.dot((values - centre) ** 2, counts)) / (n - 1)
    half = float(scipy.special.stdtrit(independent - 1, (1 + confidence) / 2)) * math.sqrt(variance / independent)
    return Interval(centre - half, centre + half)


def effective_samples(n: int, values: Values, owners: NDArray[np.int64]) -> float:
    """How many independent samples `n` correlated ones are worth for their mean: n divided by the design effect.

    `values` are samples of some or all clusters; for a quantile x, give 1 for a sample of at most x and 0 for the
    others. `owners` holds each sample's cluster; the samples of a cluster are adjacent.

    The design effect is the linearised variance of the ratio mean between clusters over that of a simple random sample,
    at least 1 (Kish 1965; Woodruff 1971). An estimate from few clusters is uncertain, so the result is reduced by the
    ratio of the t quantiles (Korn & Graubard 1998). A single cluster is worth one sample.
    """
    return effective_samples_of(n, values, np.cumsum(np.diff(owners, prepend=owners[:1]) != 0))


def effective_samples_of(n: int, values: Values, cluster: NDArray[np.int64]) -> float:
    """The same, given for each sample the number of its cluster, counted from 0: many figures have them in common."""
    if len(values) == 0:
        return 0.0
    clusters = int(cluster[-1]) + 1
    if clusters < 2:
        return 1.0
    residuals = values - values.mean()
    within = float(np.dot(residuals, residuals))
    if within == 0:
        return float(min(n, clusters))  # nothing varies: no evidence that samples of a cluster are independent
    between = clusters / (clusters - 1) * float((np.bincount(cluster, residuals) ** 2).sum())
    shrink = scipy.special.stdtrit(max(len(values) - 1, 1), 1 - TAIL) / scipy.special.stdtrit(clusters - 1, 1 - TAIL)
    return n / max(1.0, between / within) * float(shrink**2)


def samples_for_quantile(q: float, share: float) -> int | None:
    """About how many independent samples separate the q-quantile from a limit, if `share` of the samples are within it.

    Normal approximation, n = z² q (1 − q) / (share − q)², but at least as many as an interval with an upper end needs.
    None if the quantile lies on the limit: no number of samples is enough.
    """
    if share == q:
        return None
    fewest = math.ceil(math.log(TAIL) / math.log(q))
    if share == 1:
        return fewest
    z = float(scipy.special.ndtri(1 - TAIL))
    return max(math.ceil(z**2 * q * (1 - q) / (share - q) ** 2), fewest)


def samples_for_ratio(ratio: float, limit: float) -> int | None:
    """About how many samples separate a ratio from a limit; None if no number does.

    For a ratio of 0 or 1: the smallest n whose Clopper–Pearson interval lies within the limit.
    """
    if ratio == limit or (ratio in {0.0, 1.0} and not 0 < limit < 1):
        return None
    if ratio == 0:
        return math.ceil(math.log(TAIL) / math.log1p(-limit))
    if ratio == 1:
        return math.ceil(math.log(TAIL) / math.log(limit))
    z = float(scipy.special.ndtri(1 - TAIL))
    return math.ceil(z**2 * ratio * (1 - ratio) / (ratio - limit) ** 2)


def share_at_most(values: Values, counts: Counts, limit: float) -> float | None:
    """The share of samples that are at most `limit`; None without samples."""
    n = int(counts.sum())
    return float(counts[: int(np.searchsorted(values, limit, side="right"))].sum() / n) if n else None


def deviation_interval(deviation: float, n: int) -> Interval:
    """The interval of a standard deviation of n normal samples, by χ². No ends for fewer than two samples."""
    if n < 2:
        return Interval(None, None)
    low, high = scipy.special.chdtri(n - 1, [TAIL, 1 - TAIL])
    return Interval(deviation * math.sqrt((n - 1) / low), deviation * math.sqrt((n - 1) / high))


def difference_interval(one: tuple[float, Interval], two: tuple[float, Interval]) -> Interval:
    """The interval of two − one, each an estimate with its interval (Zou & Donner, Statistics in Medicine 27, 2008).

    An end is None if one of the ends that it is computed from is None.
    """
    (a, (a_low, a_high)), (b, (b_low, b_high)) = one, two
    return Interval(
        None if b_low is None or a_high is None else b - a - math.hypot(b - b_low, a_high - a),
        None if b_high is None or a_low is None else b - a + math.hypot(b_high - b, a - a_low),
    )


class Shift(NamedTuple):
    """How far a group of candidate runs lies above a group of baseline runs, along the last axis; NaN if unknown."""

    by: Values
    above: Values  # one-sided p value of "the candidate is not above the baseline"
    below: Values  # one-sided p value of "the candidate is not below the baseline"
    low: Values  # of the 95 % interval of `by`; NaN or ∞ if that end does not exist
    high: Values


def shift_of_means(baseline: Values, candidate: Values) -> Shift:
    """Student's t test with pooled variance. Without any variance, every difference is significant."""
    k, m = baseline.shape[-1], candidate.shape[-1]
    by = candidate.mean(-1) - baseline.mean(-1)
    squares = baseline.var(-1) * k + candidate.var(-1) * m
    return _student(by, np.sqrt(squares / (k + m - 2) * (1 / k + 1 / m)), k + m - 2)


def shift_of_pairs(differences: Values) -> Shift:
    """Student's t test on the differences of pairs, candidate minus baseline."""
    pairs = differences.shape[-1]
    return _student(differences.mean(-1), differences.std(-1, ddof=1) / math.sqrt(pairs), pairs - 1)


def _student(by: Values, error: Values, freedom: int) -> Shift:
    by, error = np.asarray(by), np.asarray(error)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(by == 0, 0.0, by / error)  # ±∞ if there is no variance; stdtr accepts it
    half = float(scipy.special.stdtrit(freedom, 1 - TAIL)) * error
    tail = scipy.special.stdtr(freedom, -np.abs(t))  # one tail of two: it is most of what a simulation computes
    above, below = np.where(t > 0, tail, 1 - tail), np.where(t > 0, 1 - tail, tail)
    return Shift(by, above, below, by - half, by + half)


def shift_of_ranks(baseline: Values, candidate: Values) -> Shift:
    """Mann and Whitney's exact test; the shift and its interval are Hodges and Lehmann's (Biometrics 19, 1963).

    Accepts ±∞. A tie counts for neither side, which makes the test conservative.
    """
    k, m = baseline.shape[-1], candidate.shape[-1]
    ours, theirs = candidate[..., :, None], baseline[..., None, :]
    with np.errstate(invalid="ignore"):
        differences = np.where(ours == theirs, 0.0, ours - theirs).reshape(*candidate.shape[:-1], k * m)
    differences = np.sort(differences, -1)
    at_most = np.cumsum(_mann_whitney(k, m))
    at_least = np.concatenate([[1.0], 1 - at_most[:-1]])  # the probability of at least this many wins
    # The rank, counted from either end, of the difference that bounds the interval; 0: that end does not exist.
    cut = int(np.searchsorted(at_most, TAIL, side="right"))
    middle = differences[..., [(k * m - 1) // 2, k * m // 2]]
    with np.errstate(invalid="ignore"):
        by = np.where(middle[..., 0] == middle[..., 1], middle[..., 0], middle.mean(-1))
    infinite = np.full(by.shape, np.inf)
    return Shift(
        by,
        at_least[(differences > 0).sum(-1)],
        at_least[(differences < 0).sum(-1)],
        differences[..., cut - 1] if cut else -infinite,
        differences[..., -cut] if cut else infinite,
    )


def _mann_whitney(k: int, m: int) -> Values:
    """The probability of each number of wins from 0 to k·m if all orders of k and m samples are equally likely."""
    # A win is a pair in which the baseline sample is below the candidate's.
    ways = np.zeros((m + 1, k * m + 1))  # [candidate samples placed, wins]: number of orders
    ways[0, 0] = 1
    for below in range(k + 1):
        for placed in range(1, m + 1):  # ascending, so that several candidate samples may have this place
            ways[placed, below:] += ways[placed - 1, : k * m + 1 - below]
    chances: Values = ways[m] / ways[m].sum()
    return chances


def holm(p: Values, alpha: float, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which tests of a family reject (Holm 1979). The last axis is the family; `among` says which tests are in it."""
    p = np.where(among, p, np.inf)
    order = np.argsort(p, -1)
    left = among.sum(-1, keepdims=True) - np.arange(p.shape[-1])
    passes = np.take_along_axis(p, order, -1) <= alpha / np.maximum(left, 1)
    rejects = np.zeros(p.shape, bool)
    np.put_along_axis(rejects, order, np.logical_and.accumulate(passes, -1), -1)
    return rejects


def _ranked(values: Values, counts: Counts, rank: int) -> float:
    """The sample of this rank; ranks start at 1."""
    return float(values[int(np.searchsorted(np.cumsum(counts), rank))])
