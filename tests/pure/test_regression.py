"""The regression gate's verdict on figures of runs."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.counting import some
from streamgauge.harness.errors import RuleError
from streamgauge.harness.judge.compare import noise
from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus, compare, compare_in_turns, exit_code
from streamgauge.harness.judge.compare.gate import Gate, RunFigure

# Ten runs of one build: 3 % apart, as a standard deviation.
BASELINE = [400, 412, 391, 405, 420, 388, 399, 410, 384, 402]
TTFT = Regression(metrics=("p95(ttft)",))


def runs(
    name: str, figures: Sequence[float | None], subject: str = "p95(ttft)", samples: float = 1_000
) -> dict[str, dict[str, RunFigure]]:
    return {f"{name}{place}": {subject: RunFigure(value, samples)} for place, value in enumerate(figures)}


def compared(
    candidate: Sequence[float | None], baseline: Sequence[float | None] = BASELINE, **settings: object
) -> Comparison:
    given = msgspec.convert({"metrics": ["p95(ttft)"], **settings}, Regression)
    (subject,) = given.metrics
    return compare("main", runs("old", baseline, subject), runs("new", candidate, subject), Gate.of(given))


def test_a_first_stage_ends_before_its_last_run_if_its_runs_are_clear() -> None:
    """Issue 17, 18: a gate need not take minutes for a build that is plainly the same, or plainly slower."""
    steady = [400, 402, 399, 401, 400, 398, 401, 400, 399, 402]
    fine = compared([400], steady)
    assert (fine.status, fine.is_clear, fine.wanted) == (GateStatus.OK, True, 0)
    assert fine.rows[0].reason.startswith("no regression seen; these runs could hide up to +0.")
    worse = compared([460], steady)
    assert (worse.status, worse.is_clear, worse.wanted) == (GateStatus.INCONCLUSIVE, True, 5)
    assert "suspicious; 5 fresh runs would tell" in worse.reason
    whole = compared([460, 461, 459, 462, 460, 458], steady)
    assert (whole.status, len(whole.first_runs), len(whole.fresh_runs)) == (GateStatus.REGRESSED, 1, 5)
    assert whole.reason == "p95(ttft) +15 %: worse in the first run, and in 5 fresh ones"


def test_a_first_stage_goes_on_while_one_run_says_too_little() -> None:
    for candidate in ([401], [401, 440], [430, 401]):
        found = compared(candidate)
        assert (found.status, found.is_clear, found.wanted) == (GateStatus.INCONCLUSIVE, False, 3 - len(candidate))


def test_a_metric_that_cannot_be_compared_keeps_the_first_stage_from_ending_early() -> None:
    steady = [400, 402, 399, 401, 400, 398, 401, 400, 399, 402]
    old, new = runs("old", steady), runs("new", [400])
    settings = Gate.of(Regression(metrics=("p95(ttft)", "p95(itl)")))
    assert not compare("main", old, new, settings).is_clear
    assert not compared([400], steady[:9]).is_clear, "nor do too few accepted runs"


def test_the_config_says_how_many_runs_the_stages_take() -> None:
    slower = [440, 452, 446, 451, 447]
    found = compared(slower, first_runs=2, fresh_runs=3)
    assert (found.status, len(found.first_runs), len(found.fresh_runs)) == (GateStatus.REGRESSED, 2, 3)
    assert compared(slower[:2], first_runs=2, fresh_runs=3).wanted == 3


def test_runs_like_those_of_the_baseline_are_ok_and_say_what_they_could_hide() -> None:
    found = compared([401, 395, 408])
    assert found.status is GateStatus.OK
    (row,) = found.rows
    assert row.change == pytest.approx(1.0, abs=0.01)
    assert row.interval.high is not None
    assert 1.0 < row.interval.high < 1.06
    assert row.reason == f"no regression seen; these runs could hide up to +{100 * row.interval.high - 100:.1f} %"
    assert exit_code(found) == 0


def test_a_suspicion_asks_for_fresh_runs_and_is_no_alarm_by_itself() -> None:
    found = compared([440, 452, 446])
    assert (found.status, found.wanted) == (GateStatus.INCONCLUSIVE, 5)
    assert "suspicious; 5 fresh runs would tell" in found.reason
    assert compared([430, 432, 428, 449, 450]).wanted == 3
    assert exit_code(found) == 3


def test_a_suspicion_that_fresh_runs_confirm_is_a_regression() -> None:
    found = compared([440, 452, 446, 451, 447, 443, 438, 455])
    assert (found.status, found.wanted) == (GateStatus.REGRESSED, 0)
    assert found.reason.startswith("p95(ttft) +11 %: worse in the first 3 runs, and in 5 fresh ones")
    assert found.first_runs == ["new0", "new1", "new2"]
    assert len(found.fresh_runs) == 5
    assert exit_code(found) == 1


def test_a_suspicion_that_fresh_runs_do_not_confirm_is_no_regression() -> None:
    found = compared([440, 452, 446, 401, 399, 405, 402, 396])
    assert found.status is GateStatus.OK
    assert "5 fresh runs did not confirm a suspicion" in found.rows[0].reason


def test_a_change_within_the_margin_is_not_worth_an_alarm_however_sure() -> None:
    steady = [400.0, 400.1, 399.9, 400.2, 399.8, 400, 400, 400.1, 399.9, 400]
    assert compared([412.0] * 8, steady).status is GateStatus.OK
    assert compared([412.0] * 8, steady, margin=0.02).status is GateStatus.REGRESSED


def test_faster_runs_have_improved() -> None:
    found = compared([350, 342, 356])
    assert found.status is GateStatus.IMPROVED
    assert exit_code(found) == 0


def test_a_lower_throughput_is_a_regression() -> None:
    assert compared([350, 342, 356] * 2 + [350, 350], metrics=["output_tps"]).status is GateStatus.REGRESSED
    found = compared([450, 462, 446], metrics=["output_tps"])
    assert found.status is GateStatus.IMPROVED
    low, high = found.rows[0].interval
    assert low is not None
    assert high is not None
    assert 1.05 < low < 1.13 < high


def test_a_share_is_compared_in_points() -> None:
    none = [0.0] * 10
    found = compared([0.03, 0.02, 0.025, 0.02, 0.03, 0.03, 0.025, 0.02], none, metrics=["error_rate"])
    assert found.status is GateStatus.REGRESSED
    assert found.reason.startswith("error_rate +2.5 points:")
    assert compared([0.0, 0.004, 0.0], none, metrics=["error_rate"]).status is GateStatus.OK
    assert compared([0.0] * 3, none, metrics=["error_rate"]).status is GateStatus.OK


def test_runs_without_a_failure_rule_out_no_more_than_their_streams_tell() -> None:
    """Runs of 20 streams without a failure are all equal, and would otherwise rule out any change after the first."""
    none = runs("old", [0.0] * 10, "error_rate", samples=20)
    gate = Gate.of(Regression(metrics=("error_rate",)))
    for count, status in ((1, GateStatus.INCONCLUSIVE), (3, GateStatus.INCONCLUSIVE), (4, GateStatus.OK)):
        found = compare("main", none, runs("new", [0.0] * count, "error_rate", samples=20), gate)
        assert (found.status, found.is_clear) == (status, count > 1), count
    whole = runs("new", [1.0], "completion_rate", samples=20)
    found = compare("main", runs("old", [1.0] * 10, "completion_rate", samples=20), whole,
                    Gate.of(Regression(metrics=("completion_rate",))))  # fmt: skip
    assert not found.is_clear
    assert compared([0.0], [0.0] * 10, metrics=["error_rate"]).is_clear, "1,000 streams tell"


def test_two_builds_of_which_too_many_streams_fail_are_not_called_equal() -> None:
    for candidate in ([None] * 3, [None] * 8):
        found = compared(candidate, [None] * 10)
        assert (found.status, exit_code(found)) == (GateStatus.INCONCLUSIVE, 3)
        assert "could hide any change" in found.reason
    gate = Gate.of(TTFT)
    assert compare_in_turns("a", runs("a", [None] * 4), runs("b", [None] * 4), gate).status is GateStatus.INCONCLUSIVE
    assert compared([400, 401, 402], [None] * 10).status is GateStatus.IMPROVED


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_too_few_baseline_runs_are_inconclusive_however_good_it_looks(n: int) -> None:
    found = compared([401, 395, 408], BASELINE[:n])
    assert found.status is GateStatus.INCONCLUSIVE
    assert found.reason == f"main has {some(n, 'comparable run')} of the 10 that a gate needs"


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_candidate_runs_are_inconclusive(n: int) -> None:
    found = compared([405, 410][:n])
    assert (found.status, found.wanted, found.is_clear) == (GateStatus.INCONCLUSIVE, 3 - n, False)


def test_runs_that_scatter_too_much_are_inconclusive() -> None:
    found = compared([410, 300, 520], [400, 520, 300, 610, 280, 450, 390, 330, 500, 420])
    assert found.status is GateStatus.INCONCLUSIVE
    assert "no regression seen, but these runs could hide up to +" in found.reason


def test_runs_in_which_all_streams_failed_are_worse_than_any_time() -> None:
    found = compared([None] * 8)
    assert found.status is GateStatus.REGRESSED
    assert found.rows[0].change == math.inf
    assert compared([None] * 3).wanted == 5


def test_one_run_in_which_all_streams_failed_is_no_alarm_and_no_pass() -> None:
    found = compared([401, None, 399])
    assert found.status is GateStatus.INCONCLUSIVE
    assert "could hide any change" in found.reason


def test_a_single_outlier_is_no_alarm() -> None:
    assert compared([401, 395, 700]).status is not GateStatus.REGRESSED
    assert compared([401, 395, 700, 398, 402, 406, 800, 390]).status is not GateStatus.REGRESSED


def test_a_metric_that_a_run_did_not_observe_is_inconclusive() -> None:
    old, new = runs("old", BASELINE), runs("new", [401, 395, 408])
    new["new1"] = {}
    found = compare("main", old, new, Gate.of(TTFT))
    assert found.status is GateStatus.INCONCLUSIVE
    assert found.rows[0].reason == "was not observed in new1"


@pytest.mark.parametrize(
    ("subject", "samples", "expected"),
    [
        ("p99(ttft)", 4_000, "needs 5,000 independent samples a run; old0 and 12 more had 4,000"),
        ("p95(ttft)", 40, "needs 72 independent samples a run; old0 and 12 more had 40"),
    ],
)
def test_a_percentile_of_too_few_samples_is_not_judged(subject: str, samples: float, expected: str) -> None:
    old, new = (runs(name, [400] * n, subject, samples) for name, n in (("old", 10), ("new", 3)))
    found = compare("main", old, new, Gate.of(Regression(metrics=(subject,))))
    assert found.status is GateStatus.INCONCLUSIVE
    assert expected in found.reason


def test_each_of_many_metrics_needs_more_evidence_than_a_single_one() -> None:
    wide, mild = [400 + 2 * (value - 401) for value in BASELINE], [435, 425, 440, 432, 428, 437, 433, 430]
    assert compared(mild, wide).status is GateStatus.REGRESSED
    subjects = ("p95(ttft)", *(f"p{percent}(e2e)" for percent in range(50, 60)))
    old, new = runs("old", wide), runs("new", mild)
    for run, value in zip((*old, *new), (*wide, *wide), strict=False):
        (old.get(run) or new[run]).update(dict.fromkeys(subjects[1:], RunFigure(value, 1_000)))
    found = compare("main", old, new, Gate.of(Regression(metrics=subjects)))
    assert {row.status for row in found.rows} == {GateStatus.OK}


def test_one_metric_that_regressed_is_the_verdict_whatever_the_others_say() -> None:
    old, new = runs("old", BASELINE), runs("new", [440, 452, 446, 451, 447, 443, 438, 455])
    for side, values in ((old, BASELINE), (new, [300] * 8)):
        for run, value in zip(side, values, strict=True):
            side[run]["p95(itl)"] = RunFigure(value, 1_000)
    found = compare("main", old, new, Gate.of(Regression(metrics=("p95(ttft)", "p95(itl)"))))
    assert [row.status for row in found.rows] == [GateStatus.REGRESSED, GateStatus.IMPROVED]
    assert found.status is GateStatus.REGRESSED


def test_the_config_can_choose_the_test_by_ranks() -> None:
    assert compared([440, 452, 446, 451, 447, 443, 438, 455], test="mann_whitney").status is GateStatus.REGRESSED
    assert compared([401, 395, 408], test="mann_whitney").status is GateStatus.OK


def test_an_unknown_metric_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(RuleError, match=r"no metric called 'ttfb'; there are ttft"):
        Gate.of(Regression(metrics=("p95(ttfb)",)))


# Runs that took turns


def in_turns(a: Sequence[float | None], b: Sequence[float | None]) -> Comparison:
    return compare_in_turns("a", runs("a", a), runs("b", b), Gate.of(TTFT))


def test_a_drift_that_both_builds_share_is_no_difference() -> None:
    drifting = [400, 430, 460, 490, 520, 550]
    assert in_turns(drifting, [value * 1.01 for value in drifting]).status is GateStatus.OK
    found = in_turns(drifting, [value * factor for value, factor in zip(drifting, (1.1, 1.12, 1.09) * 2, strict=True)])
    assert found.status is GateStatus.REGRESSED
    assert found.reason.startswith("p95(ttft) +10 %: worse in 6 pairs of runs that took turns")
    assert in_turns(
        drifting, [value * factor for value, factor in zip(drifting, (0.8, 0.82) * 3, strict=True)]
    ).status is (GateStatus.IMPROVED)


def test_few_pairs_are_inconclusive() -> None:
    found = in_turns([400, 401, 399], [800, 801, 799])
    assert (found.status, found.reason) == (GateStatus.INCONCLUSIVE, "3 of the 4 pairs that a verdict needs")
    assert in_turns([], []).status is GateStatus.INCONCLUSIVE


def test_a_build_on_which_all_streams_fail_is_worse_than_the_other() -> None:
    assert in_turns(BASELINE[:6], [None] * 6).status is GateStatus.REGRESSED
    assert in_turns(BASELINE[:6], [*BASELINE[:5], None]).status is GateStatus.INCONCLUSIVE


# Noise


def test_noise_shows_the_spread_of_runs_and_the_changes_that_a_gate_finds() -> None:
    gate, draw = Gate.of(TTFT), np.random.default_rng(1)

    def of(spread: float) -> tuple[noise.EqualRuns, noise.Resampled]:
        figures = [400 * math.exp(y) for y in draw.normal(0, spread, 200)]
        equal, faults = noise.equal_runs(runs("run", figures).values(), gate.metrics)
        assert equal is not None
        assert faults == []
        return equal, noise.Resampled(equal, gate, 10)

    equal, found = of(0.03)
    assert equal.spread == pytest.approx([0.03], rel=0.1)
    assert found.false_alarms() <= 0.01
    # In the simulation of the gate, 99 % of changes by +10 % are found at this spread; 90 % need a smaller change.
    assert found.detectable(0) == pytest.approx(1.08, abs=0.01)
    assert (of(0.1)[1].detectable(0) or 0) > 1.2


def test_noise_counts_what_all_gated_metrics_stop_together() -> None:
    """A metric of several needs more evidence, and each can raise a false alarm."""
    gate, draw = Gate.of(Regression()), np.random.default_rng(1)
    figures = [
        {metric.subject.text: RunFigure(400 * math.exp(draw.normal(0, 0.03)), 1_000) for metric in gate.metrics}
        for _ in range(50)
    ]
    equal, _ = noise.equal_runs(figures, gate.metrics)
    assert equal is not None
    found = noise.Resampled(equal, gate, 10)
    alone, _ = noise.equal_runs(figures, gate.metrics[:1])
    assert alone is not None
    assert (found.detectable(0) or 0) > (noise.Resampled(alone, gate, 10).detectable(0) or 0) > 1.05
    assert found.false_alarms() <= 0.01
    assert (found.passed() > 0.99).all()


def test_noise_of_too_few_runs_or_of_none_that_can_be_compared_says_so() -> None:
    gate = Gate.of(TTFT)

    def said(figures: Sequence[float | None]) -> list[str]:
        return noise.report_all(runs("run", figures).values(), gate)

    assert said([400] * 4) == ["p95(ttft): 4 runs had it; 5 are needed"]
    assert "some runs had 0 or ∞" in said([None, *[400] * 5])[0]
    first, second, _, last = said([400] * 6)
    assert first.startswith("p95(ttft): equal runs are 0 % apart")
    assert second.startswith("  10 accepted runs against 3 + 5 fresh: stops nine out of ten builds that changed by +5.")
    assert last.startswith("equal builds that this metric would stop: less than 0.10 % with 10 accepted runs, ")
