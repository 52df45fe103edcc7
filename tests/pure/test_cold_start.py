"""The remark that the first streams of a run were slower than the rest: how often it is wrong, and when it is right."""

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.verdict import cold_start
from streamgauge.harness.judge.verdict.cold_start import FirstStreams

SECONDS = 60.0
RUNS = 600


def remark(due: Floats, ttft: Floats, lasted: float = 2_000.0) -> str:
    """Of a run of SECONDS with these streams, which end this many ms after their first content."""
    first = FirstStreams()
    start = due * 1e9
    first._batches.append((start, start, start + (ttft + lasted) * 1e6, ttft))
    return first.remark(SECONDS)


def noise(draw: Generator, n: int) -> Floats:
    return 400 * np.exp(draw.normal(0, 0.4, n))


def independent(draw: Generator) -> str:
    """As a steady server serves."""
    n = 300
    return remark(np.sort(draw.uniform(0, SECONDS, n)), noise(draw, n))


def alike_in_time(draw: Generator) -> str:
    """A server that is slow or fast for some seconds at a time: streams near in time are alike."""
    n = 300
    due = np.sort(draw.uniform(0, SECONDS, n))
    phases = draw.normal(0, 0.3, int(SECONDS / 2) + 1)
    return remark(due, noise(draw, n) * np.exp(phases[(due / 2).astype(int)]))


def arriving(draw: Generator) -> str:
    """Users arrive for a third of the run, and the server is the slower the more there are."""
    due = np.sort(SECONDS * np.concatenate([np.sqrt(draw.uniform(0, 1, 100)) / 3, draw.uniform(1 / 3, 1, 400)]))
    return remark(due, noise(draw, 500) * np.minimum(1, 0.3 + due / SECONDS * 2.1))


def leaving(draw: Generator) -> str:
    """The load falls, and with it the TTFT: the first streams are slower, but under more load."""
    due = np.sort(SECONDS * (1 - np.sqrt(draw.uniform(0, 1, 600))))
    return remark(due, noise(draw, 600) * (1.6 - due / SECONDS))


@pytest.mark.parametrize("run", [independent, alike_in_time, arriving, leaving])
def test_a_run_without_a_cold_start_is_remarked_upon_in_less_than_one_case_of_a_hundred(run: object) -> None:
    draw = default_rng(7)
    alarms = sum(bool(run(draw)) for _ in range(RUNS))  # type: ignore[operator]
    assert alarms <= 6, "1 % of them"


def test_a_cold_start_is_found_and_its_length_told() -> None:
    draw = default_rng(7)
    found = 0
    for _ in range(100):
        due = np.sort(draw.uniform(0, SECONDS, 400))
        said = remark(due, noise(draw, 400) * np.where(due < 9, 3, 1))
        found += said.startswith("the first 9.00 s were slower than the rest, beyond chance: median TTFT 1.")
    assert found > 60, "in most of them to the block"
    assert "with --warm-up 9s or longer they would be in no figure" in said


def test_failures_at_first_are_a_cold_start() -> None:
    draw = default_rng(7)
    due = np.sort(draw.uniform(0, SECONDS, 400))
    assert "median TTFT ∞" in remark(due, np.where(due < 6, np.inf, noise(draw, 400)))


def test_a_run_of_few_streams_is_not_remarked_upon() -> None:
    draw = default_rng(7)
    due = np.sort(draw.uniform(0, SECONDS, 80))
    assert remark(due, noise(draw, 80) * np.where(due < 9, 30, 1)) == ""


def test_a_long_run_is_thinned_evenly() -> None:
    assert FirstStreams.of(cold_start.MOST).step == 1
    assert FirstStreams.of(10 * cold_start.MOST).step == 10
