"""Figures as people read them: rounded, with a unit, a count and an interval."""

import math

import pytest

from streamgauge.harness.judge.figures import between, estimate, figure
from streamgauge.harness.judge.measure.statistics import Interval


def test_an_interval_that_reaches_a_second_is_in_seconds() -> None:
    assert between(Interval(389, 447), "ms") == "389–447"
    assert between(Interval(951, 1_240), "ms") == "0.951–1.24 s"
    assert between(Interval(5_159, math.inf), "ms") == "5.16–∞ s"
    assert between(Interval(None, 22_700), "ms") == "?–22.7 s"
    assert between(Interval(math.inf, math.inf), "ms") == "∞–∞"
    assert between(Interval(1_200, 1_300), "tokens/s") == "1,200–1,300"
    assert estimate(1_420, Interval(1_310, 1_560), 214, "ms") == "1.42 s (1.31–1.56 s, n = 214)"


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (411.98372, "ms", "412 ms"),
        (41.198, "ms", "41.2 ms"),
        (4.1198, "ms", "4.12 ms"),
        (0.0412, "ms", "0.041 ms"),
        (12_345.6, "ms", "12.3 s"),
        (999.4, "ms", "999 ms"),
        (999.6, "ms", "1.00 s"),
        (1_000.0, "ms", "1 s"),
        (1_500.0, "ms", "1.5 s"),
        (125_040.0, "ms", "125 s"),
        (0, "ms", "0 ms"),
        (float("inf"), "ms", "∞"),
        (None, "ms", "–"),
        (0.0042, "ratio", "0.42 %"),
        (0.5, "ratio", "50.0 %"),
        (1.0, "ratio", "100 %"),
        (0.99996, "ratio", "99.996 %"),
        (0.00001, "ratio", "0.001 %"),
        (0.0, "ratio", "0 %"),
        (1250.4, "tokens/s", "1,250 tokens/s"),
        (1250.0, "tokens", "1,250 tokens"),
        (3, "stalls", "3 stalls"),
        (1, "stalls", "1 stall"),
        (0.25, "stalls", "0.250 stalls"),
        (0, "chunks", "0 chunks"),
        (float("inf"), "chunks", "∞"),
    ],
)
def test_a_number_is_rounded_to_significant_digits(value: float | None, unit: str, expected: str) -> None:
    assert figure(value, unit) == expected


def test_an_estimate_has_its_unit_count_and_interval() -> None:
    assert estimate(412.3, Interval(389.2, 446.8), 1_200, "ms") == "412 ms (389–447, n = 1,200)"
    assert estimate(412.3, None, 3, "ms") == "412 ms (n = 3)"
    assert estimate(None, None, 0, "ms") == "– (n = 0)"
    assert between(Interval(389, None), "ms") == "389–?"
