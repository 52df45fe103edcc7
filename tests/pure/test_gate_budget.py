"""What a gate is proposed to be within a time, from equal runs."""

import math
from dataclasses import replace

import numpy as np
import pytest

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.judge.compare.budget import Proposal, Recorded, propose
from streamgauge.harness.judge.compare.gate import Gate, RunFigure

SETTINGS = Regression()
GATE = Gate.of(SETTINGS)
P50, P95, ITL = (metric.subject.text for metric in GATE.metrics)


def recorded(
    of_run: dict[str, float], of_streams: dict[str, float], seconds: float = 30, samples: float = 600
) -> Recorded:
    """Twelve runs whose y scatter by the run's own part and by that of their streams, of which halves have more."""
    draw = np.random.default_rng(2)
    whole, halves = [], []
    for _ in range(12):
        both: tuple[dict[str, RunFigure], dict[str, RunFigure]] = ({}, {})
        figures = {}
        for name, its_own in of_run.items():
            own = draw.normal(0, its_own)
            parts = own + draw.normal(0, of_streams[name] * math.sqrt(2), 2)
            for half, y in zip(both, parts, strict=True):
                half[name] = RunFigure(400 * math.exp(y), samples / 2)
            figures[name] = RunFigure(400 * math.exp(parts.mean()), samples)
        whole.append(figures)
        halves.append(both)
    return Recorded(whole, halves, seconds, warm_up=5, pause=3)


def proposed(runs: Recorded, minutes: float) -> Proposal:
    return propose(runs, GATE, SETTINGS.margin, minutes * 60)


STEADY = recorded({P50: 0.01, P95: 0.01, ITL: 0.005}, {P50: 0.01, P95: 0.03, ITL: 0.01})
# What does not need several metrics is asked with one: each is simulated for every way to spend the time.
ONE = recorded({P95: 0.01}, {P95: 0.03})


def test_a_proposal_keeps_within_its_budget_and_says_what_it_finds() -> None:
    plan = proposed(STEADY, 5).plan
    assert plan is not None
    assert [metric.subject.text for metric in plan.gate.metrics] == [P50, P95, ITL]
    runs = plan.gate.first_runs + plan.gate.fresh_runs
    assert plan.longest == runs * (plan.run_time + 3) <= 300
    assert plan.usual < plan.longest / 2
    assert plan.run_time % 5 == 0
    assert plan.margin == SETTINGS.margin
    finds = {metric.subject.text: least for metric, least, _ in plan.promises}
    assert 1.05 < (finds[P50] or 0) < 1.10
    assert plan.false_alarms <= 0.01


@pytest.mark.parametrize(
    ("of_run", "of_streams", "steadier"),
    [(0, 0.03, 1.4), (0.01, 0, 1)],  # 12 runs show some of what is the streams' as if it were their own
    ids=["of the streams", "of the run"],
)
def test_longer_runs_are_steadier_down_to_what_is_the_runs_own(
    of_run: float, of_streams: float, steadier: float
) -> None:
    runs = recorded({P95: of_run}, {P95: of_streams})
    short, long = (proposed(runs, minutes).plan for minutes in (3, 15))
    assert short is not None
    assert long is not None
    assert long.run_time > 5 * short.run_time
    by = short.promises[0].spread / long.promises[0].spread
    assert by > steadier if steadier > 1 else by == pytest.approx(1)


def test_a_metric_that_no_run_of_this_time_can_judge_is_left_out_with_the_time_that_it_needs() -> None:
    noisy = recorded({P50: 0.01, P95: 0.02, ITL: 0.2}, {P50: 0.01, P95: 0.15, ITL: 0.01})
    found = proposed(noisy, 5)
    assert found.plan is not None
    assert [metric.subject.text for metric in found.plan.gate.metrics] == [P50]
    needed = found.needs[P95]
    assert needed is not None
    assert 300 < needed < 3600
    assert found.needs[ITL] is None, "no length makes runs alike that differ by themselves"


def test_a_margin_below_what_equal_builds_differ_by_is_raised() -> None:
    """A smaller one would not be found anyway."""
    wide = recorded({P95: 0.07}, {P95: 0.005})
    plan = proposed(wide, 15).plan
    assert plan is not None
    assert plan.margin > SETTINGS.margin
    assert round(100 * plan.margin, 6) % 1 == 0
    assert plan.gate.metrics[0].margin == pytest.approx(math.log1p(plan.margin))


def test_a_run_has_at_least_the_streams_that_its_percentiles_need() -> None:
    few = replace(ONE, runs=[{name: RunFigure(f.value, 60) for name, f in run.items()} for run in ONE.runs])
    plan = proposed(few, 10).plan
    assert plan is not None
    assert (plan.run_time - 5) * 60 / 30 > 72
    assert proposed(few, 2).plan is None


def test_without_enough_runs_nothing_is_proposed() -> None:
    found = proposed(replace(STEADY, runs=STEADY.runs[:3], halves=STEADY.halves[:3]), 5)
    assert found.plan is None
    assert f"{P50}: 3 runs had it; 5 are needed" in found.faults
