"""Quantiles and intervals against textbook values, and against how often they cover the truth in simulations."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.statistics import Interval


def counted(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, counts = np.unique(samples, return_counts=True)
    return values, counts.astype(np.int64)


@given(st.lists(st.integers(0, 50), min_size=1), st.sampled_from([0.01, 0.07, 0.5, 0.95, 0.99, 0.999]))
def test_a_quantile_is_the_smallest_sample_that_a_share_of_q_does_not_exceed(samples: list[int], q: float) -> None:
    found = statistics.quantile(*counted(np.array(samples, np.float64)), q)
    reaching = [
        value for value in sorted(samples) if sum(other <= value for other in samples) >= q * len(samples) - 1e-9
    ]
    assert found == reaching[0]


def test_no_samples_have_no_quantile_and_no_interval() -> None:
    nothing = counted(np.zeros(0))
    assert statistics.quantile(*nothing, 0.95) is None
    assert statistics.mean(*nothing) is None
    assert statistics.quantile_interval(*nothing, 0.95) == Interval(None, None)
    assert statistics.mean_interval(*nothing) == Interval(None, None)
    assert statistics.ratio_interval(0, 0) == Interval(None, None)


@pytest.mark.parametrize(("q", "enough"), [(0.95, 72), (0.99, 368)])
def test_an_upper_end_exists_only_from_enough_samples_on(q: float, enough: int) -> None:
    assert statistics.quantile_interval(*counted(np.arange(enough - 1.0)), q).high is None
    assert statistics.quantile_interval(*counted(np.arange(float(enough))), q).high == enough - 1


def test_the_ranks_of_an_interval_are_those_of_the_textbook() -> None:
    # The median of 20 samples: order statistics 6 and 15 (95.9 %).
    assert statistics.quantile_interval(*counted(np.arange(1.0, 21)), 0.5) == Interval(6, 15)


def test_infinity_is_a_value_like_any_other() -> None:
    samples = counted(np.array([*np.arange(80.0), *[math.inf] * 20]))
    assert statistics.quantile(*samples, 0.95) == math.inf
    assert statistics.quantile_interval(*samples, 0.95).low == math.inf
    assert statistics.mean(*samples) == math.inf
    assert statistics.mean_interval(*samples) == Interval(None, None)


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_an_interval_covers_the_true_quantile_with_its_confidence(q: float) -> None:
    n, times = 2_000, 4_000
    uniform = np.sort(np.random.default_rng(7).random((times, n)), axis=1)
    found = statistics.quantile_interval(*counted(np.arange(1.0, n + 1)), q)  # each value is its rank
    assert found.low is not None
    assert found.high is not None
    covered = (uniform[:, int(found.low) - 1] <= q) & (q <= uniform[:, int(found.high) - 1])
    # With 4,000 repetitions the observed coverage is accurate to ± 0.7 %.
    assert 0.94 <= covered.mean() <= 0.97


def test_the_interval_of_pooled_gaps_has_its_coverage_although_gaps_of_a_stream_are_correlated() -> None:
    rng, streams, gaps, times, q = np.random.default_rng(11), 200, 50, 1_500, 0.95
    # Each stream has a pace of its own, as on a busy server: log-normal between streams and within one.
    truth = math.exp(NormalDist().inv_cdf(q) * math.hypot(0.3, 0.4))
    covered, naive = 0, 0
    owners = np.repeat(np.arange(streams), gaps)
    for _ in range(times):
        samples = np.exp(np.repeat(rng.normal(0, 0.3, streams), gaps) + rng.normal(0, 0.4, streams * gaps))
        values, counts = counted(samples)
        at = statistics.quantile(values, counts, q)
        effective = statistics.effective_samples(len(samples), (samples <= at).astype(float), owners)
        covered += _covers(statistics.quantile_interval(values, counts, q, effective), truth)
        naive += _covers(statistics.quantile_interval(values, counts, q), truth)
    assert 0.94 <= covered / times <= 0.97  # with 1,500 repetitions accurate to ± 1.1 %
    assert naive / times < 0.75  # without the correction for correlated gaps


def _covers(interval: Interval, truth: float) -> bool:
    return interval.low is not None and interval.high is not None and interval.low <= truth <= interval.high


def test_independent_samples_are_worth_nearly_their_number() -> None:
    rng = np.random.default_rng(3)
    owners = np.repeat(np.arange(500), 40)
    assert statistics.effective_samples(20_000, rng.normal(size=20_000), owners) > 17_000


def test_streams_whose_gaps_are_all_the_same_are_worth_one_sample_each() -> None:
    owners = np.repeat(np.arange(100), 50)
    values = np.repeat(np.random.default_rng(5).normal(size=100), 50)
    assert 90 < statistics.effective_samples(5_000, values, owners) < 101


def test_one_stream_alone_supports_no_interval() -> None:
    assert statistics.effective_samples(500, np.arange(500.0), np.zeros(500, np.int64)) == 1


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 20, 0.0, 0.168433), (10, 10, 0.691503, 1.0), (5, 20, 0.086571, 0.491046)]
)
def test_the_interval_of_a_ratio_is_clopper_and_pearson_s(hits: int, n: int, low: float, high: float) -> None:
    assert statistics.ratio_interval(hits, n) == pytest.approx((low, high), abs=1e-6)


def test_the_reported_number_of_samples_settles_a_rule_about_a_quantile() -> None:
    # 97 % keep the limit and 95 % must: with this many samples the interval of the share ends just above 95 %.
    needed = statistics.samples_for_quantile(0.95, 0.97)
    assert needed is not None
    hits = round(0.97 * needed)
    assert statistics.ratio_interval(hits, needed).low == pytest.approx(0.95, abs=0.003)
    assert statistics.samples_for_quantile(0.95, 0.95) is None


def test_the_reported_number_of_samples_settles_a_rule_about_a_ratio_of_0() -> None:
    needed = statistics.samples_for_ratio(0.0, 0.01)
    assert needed is not None
    before, after = statistics.ratio_interval(0, needed - 1).high, statistics.ratio_interval(0, needed).high
    assert before is not None
    assert after is not None
    assert after < 0.01 < before
    assert statistics.samples_for_ratio(0.0, 0.0) is None
