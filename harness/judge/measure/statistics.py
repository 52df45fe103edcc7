"""Quantiles, ratios and means with their doubt. Pure; the only door to scipy.

Samples come as sorted distinct `values` and how often each occurred (`counts`), so that 200 million gaps and 20
stream times go the same way. +inf is a value like any other: what never came. All intervals are two-sided, and of 95 %
unless another confidence is asked for.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special  # not scipy.stats, which takes half a second to import

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2

Values = NDArray[np.float64]
Counts = NDArray[np.int64]


class Interval(NamedTuple):
    """None at an end that this many samples cannot support."""

    low: float | None
    high: float | None


def quantile(values: Values, counts: Counts, q: float) -> float | None:
    """The order statistic of rank ⌈q n⌉ (Hyndman & Fan's definition 1): a value that occurred. None without samples."""
    n = int(counts.sum())
    # 1e-9 forgives the float product: 0.07 * 100 is 7.000000000000001, whose rank is 7.
    return _ranked(values, counts, math.ceil(q * n - 1e-9)) if n else None


def quantile_interval(
    values: Values, counts: Counts, q: float, effective: float | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """Order statistics whose ranks enclose the true quantile (binomial; David & Nagaraja, Order Statistics, 7.1).

    `effective` is the number of independent samples that correlated ones are worth: the ranks are taken there and
    scaled up (Woodruff 1952; Korn & Graubard 1998). An end exists from n = 72 for p95 and from 368 for p99.
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
    """The least k for which a binomial of n trials at q is at most k with this probability."""
    k = math.ceil(float(special.bdtrik(probability, n, q)))
    return k - 1 if k > 0 and float(special.bdtr(k - 1, n, q)) >= probability else k


def ratio_interval(hits: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Clopper–Pearson, exact: never narrower than it says."""
    if n == 0:
        return Interval(None, None)
    tail = (1 - confidence) / 2
    return Interval(
        float(special.betaincinv(hits, n - hits + 1, tail)) if hits else 0.0,
        float(special.betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0,
    )


def mean(values: Values, counts: Counts) -> float | None:
    n = int(counts.sum())
    return float(np.dot(values, counts) / n) if n else None


def mean_interval(
    values: Values, counts: Counts, effective: float | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """Student's t on the mean. No ends for fewer than two independent samples, or when one of them is +inf."""
    n = int(counts.sum())
    independent = n if effective is None else min(float(n), effective)
    centre = mean(values, counts)
    if centre is None or independent < 2 or not math.isfinite(centre):
        return Interval(None, None)
    variance = float(np.dot((values - centre) ** 2, counts)) / (n - 1)
    half = float(special.stdtrit(independent - 1, (1 + confidence) / 2)) * math.sqrt(variance / independent)
    return Interval(centre - half, centre + half)


def effective_samples(n: int, values: Values, owners: NDArray[np.int64]) -> float:
    """How many independent samples `n` correlated ones are worth for their mean: n divided by the design effect.

    `values` are samples (or 0 and 1 for "at most x", where a quantile is wanted) and `owners` says which cluster each
    came from, those of one cluster together; a part of the clusters will do. The design effect is the ratio mean's
    linearised variance between clusters over that of a simple random sample, never below 1 (Kish 1965; Woodruff 1971).
    With few clusters it is itself unsure, so the result shrinks by the t quantiles' ratio (Korn & Graubard 1998). One
    cluster is worth one.
    """
    if len(values) == 0:
        return 0.0
    cluster = np.cumsum(np.diff(owners, prepend=owners[0]) != 0)
    clusters = int(cluster[-1]) + 1
    if clusters < 2:
        return 1.0
    residuals = values - values.mean()
    within = float(np.dot(residuals, residuals))
    if within == 0:
        return float(min(n, clusters))  # nothing varies: no evidence that clusters do not matter
    between = clusters / (clusters - 1) * float((np.bincount(cluster, residuals) ** 2).sum())
    shrink = (special.stdtrit(max(len(values) - 1, 1), 1 - _TAIL) / special.stdtrit(clusters - 1, 1 - _TAIL)) ** 2
    return n / max(1.0, between / within) * float(shrink)


def samples_for_quantile(q: float, share: float) -> int | None:
    """About how many independent samples tell the q-quantile from a limit that `share` of the samples keep.

    Normal approximation, n = z² q (1 − q) / (share − q)², but never fewer than an interval with an upper end needs.
    None when the samples lie on the limit itself: no number would do.
    """
    if share == q:
        return None
    fewest = math.ceil(math.log(_TAIL) / math.log(q))
    if share == 1:
        return fewest
    z = float(special.ndtri(1 - _TAIL))
    return max(math.ceil(z**2 * q * (1 - q) / (share - q) ** 2), fewest)


def samples_for_ratio(ratio: float, limit: float) -> int | None:
    """The same for a ratio; where nothing (or everything) was hit, the n at which Clopper–Pearson passes the limit."""
    if ratio == limit or (ratio in {0.0, 1.0} and limit in {0.0, 1.0}):
        return None
    if ratio == 0:
        return math.ceil(math.log(_TAIL) / math.log1p(-limit))
    if ratio == 1:
        return math.ceil(math.log(_TAIL) / math.log(limit))
    z = float(special.ndtri(1 - _TAIL))
    return math.ceil(z**2 * ratio * (1 - ratio) / (ratio - limit) ** 2)


def share_at_most(values: Values, counts: Counts, limit: float) -> float | None:
    """The share of samples that are no larger than `limit`."""
    n = int(counts.sum())
    return float(counts[: int(np.searchsorted(values, limit, side="right"))].sum() / n) if n else None


def deviation_interval(deviation: float, n: int) -> Interval:
    """Of a standard deviation from n normal samples, by χ². No ends for fewer than two."""
    if n < 2:
        return Interval(None, None)
    low, high = special.chdtri(n - 1, [_TAIL, 1 - _TAIL])
    return Interval(deviation * math.sqrt((n - 1) / low), deviation * math.sqrt((n - 1) / high))


def difference_interval(one: tuple[float, Interval], two: tuple[float, Interval]) -> Interval:
    """Of two − one, each an estimate with its interval (Zou & Donner, Statistics in Medicine 27, 2008). None where
    one of the ends that it is made of is None."""
    (a, (a_low, a_high)), (b, (b_low, b_high)) = one, two
    return Interval(
        None if b_low is None or a_high is None else b - a - math.hypot(b - b_low, a_high - a),
        None if b_high is None or a_low is None else b - a + math.hypot(b_high - b, a - a_low),
    )


class Shift(NamedTuple):
    """How far one group of runs lies above another, along the last axis of arrays of any shape; NaN where unknown."""

    by: Values
    above: Values  # one-sided p value of "the candidate is not above the baseline"
    below: Values  # and of "it is not below"
    low: Values  # of the 95 % interval of `by`; NaN or ∞ where there is no such end
    high: Values


def shift_of_means(baseline: Values, candidate: Values) -> Shift:
    """Student's t with pooled variance. Groups that do not vary at all differ for sure, or not at all."""
    k, m = baseline.shape[-1], candidate.shape[-1]
    by = candidate.mean(-1) - baseline.mean(-1)
    squares = baseline.var(-1) * k + candidate.var(-1) * m
    return _student(by, np.sqrt(squares / (k + m - 2) * (1 / k + 1 / m)), k + m - 2)


def shift_of_pairs(differences: Values) -> Shift:
    """Student's t on paired differences, candidate less baseline."""
    pairs = differences.shape[-1]
    return _student(differences.mean(-1), differences.std(-1, ddof=1) / math.sqrt(pairs), pairs - 1)


def _student(by: Values, error: Values, freedom: int) -> Shift:
    by, error = np.asarray(by), np.asarray(error)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(by == 0, 0.0, by / error)  # without spread ±∞, which stdtr takes
    half = float(special.stdtrit(freedom, 1 - _TAIL)) * error
    return Shift(by, special.stdtr(freedom, -t), special.stdtr(freedom, t), by - half, by + half)


def shift_of_ranks(baseline: Values, candidate: Values) -> Shift:
    """Mann and Whitney's exact test; the shift and its interval are Hodges and Lehmann's (Biometrics 19, 1963).

    Takes ±∞. A tie counts for neither side, which only ever makes the test more careful.
    """
    k, m = baseline.shape[-1], candidate.shape[-1]
    ours, theirs = candidate[..., :, None], baseline[..., None, :]
    with np.errstate(invalid="ignore"):
        differences = np.where(ours == theirs, 0.0, ours - theirs).reshape(*candidate.shape[:-1], k * m)
    differences = np.sort(differences, -1)
    at_most = np.cumsum(_mann_whitney(k, m))
    least = np.concatenate([[1.0], 1 - at_most[:-1]])  # the chance of so many wins, or more
    cut = int(np.searchsorted(at_most, _TAIL, side="right"))  # so many may be left out at each end
    middle = differences[..., [(k * m - 1) // 2, k * m // 2]]
    with np.errstate(invalid="ignore"):
        by = np.where(middle[..., 0] == middle[..., 1], middle[..., 0], middle.mean(-1))
    nowhere = np.full(by.shape, np.inf)
    return Shift(
        by,
        least[(differences > 0).sum(-1)],
        least[(differences < 0).sum(-1)],
        differences[..., cut - 1] if cut else -nowhere,
        differences[..., -cut] if cut else nowhere,
    )


def _mann_whitney(k: int, m: int) -> Values:
    """The chance of each number of wins from 0 to k·m, when all orders of k and m samples are equally likely."""
    ways = np.zeros((m + 1, k * m + 1))  # [members of the candidate so far, wins]; a win: one more baseline below it
    ways[0, 0] = 1
    for below in range(k + 1):
        for taken in range(1, m + 1):  # in rising order, so that any number of them may stand at this place
            ways[taken, below:] += ways[taken - 1, : k * m + 1 - below]
    chances: Values = ways[m] / ways[m].sum()
    return chances


def holm(p: Values, alpha: float, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which tests of a family reject (Holm 1979). The last axis is the family, `among` says who belongs to it."""
    p = np.where(among, p, np.inf)
    order = np.argsort(p, -1)
    left = among.sum(-1, keepdims=True) - np.arange(p.shape[-1])
    passes = np.take_along_axis(p, order, -1) <= alpha / np.maximum(left, 1)
    rejects = np.zeros(p.shape, bool)
    np.put_along_axis(rejects, order, np.logical_and.accumulate(passes, -1), -1)
    return rejects


def _ranked(values: Values, counts: Counts, rank: int) -> float:
    """The value of this rank, from 1."""
    return float(values[int(np.searchsorted(np.cumsum(counts), rank))])
