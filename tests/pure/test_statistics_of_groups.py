"""Tests between groups of runs, and the interval of a mean: the figures of scipy.stats, or those of a simulation.

Python loads scipy.stats when it is first used, here inside the tests: only the process that runs them spends the second
that it takes.
"""

import numpy as np
import pytest
import scipy
from numpy.typing import NDArray

from streamgauge.harness.judge.measure import statistics


def samples(*shape: int, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


def test_the_shift_of_means_is_student_s() -> None:
    old, new = samples(20, 10), samples(20, 4, seed=2)
    found = statistics.shift_of_means(old, new)
    theirs = scipy.stats.ttest_ind(new, old, axis=-1, alternative="greater")
    assert found.above == pytest.approx(theirs.pvalue)
    both = scipy.stats.ttest_ind(new, old, axis=-1).confidence_interval(0.95)
    assert found.low == pytest.approx(both.low)
    assert found.high == pytest.approx(both.high)


def test_the_shift_of_pairs_is_student_s_too() -> None:
    differences = samples(20, 6)
    found = statistics.shift_of_pairs(differences)
    assert found.above == pytest.approx(scipy.stats.ttest_1samp(differences, 0, axis=-1, alternative="greater").pvalue)


@pytest.mark.parametrize(("k", "m"), [(10, 3), (10, 5), (20, 5), (4, 4)])
def test_the_shift_of_ranks_is_mann_and_whitney_s_exact_one(k: int, m: int) -> None:
    old, new = samples(50, k), samples(50, m, seed=2)
    found = statistics.shift_of_ranks(old, new)
    theirs = (
        scipy.stats.mannwhitneyu(new, old, axis=-1, alternative=side, method="exact") for side in ("greater", "less")
    )
    assert [found.above, found.below] == [pytest.approx(each.pvalue) for each in theirs]


def test_the_interval_of_ranks_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    found = statistics.shift_of_ranks(rng.standard_t(3, (4_000, 10)), rng.standard_t(3, (4_000, 5)) + 1)
    assert 0.95 <= ((found.low <= 1) & (found.high >= 1)).mean() <= 0.97  # exact, so a little above


def test_groups_that_do_not_vary_differ_for_sure_or_not_at_all() -> None:
    still = np.full((1, 10), 4.0)
    assert statistics.shift_of_means(still, np.full((1, 3), 4.0)).above == 0.5
    assert statistics.shift_of_means(still, np.full((1, 3), 5.0)).above == 0.0
    assert statistics.shift_of_means(still, np.full((1, 3), 3.0)).above == 1.0


def test_holm_rejects_from_the_smallest_on_until_one_passes() -> None:
    everyone = np.ones(4, bool)
    assert statistics.holm(np.array([0.01, 0.04, 0.005, 0.03]), 0.05, everyone).tolist() == [True, False, True, False]
    two = np.array([True, False, True, False])
    assert statistics.holm(np.array([0.03, 0.0, 0.01, 0.0]), 0.05, two).tolist() == [True, False, True, False]


def test_the_interval_of_a_mean_is_student_s() -> None:
    drawn = np.array([4.0, 5.0, 6.0, 9.0])
    theirs = scipy.stats.t.interval(0.95, 3, loc=drawn.mean(), scale=scipy.stats.sem(drawn))
    assert statistics.mean_interval(drawn, np.ones(4, np.int64)) == pytest.approx(theirs)
