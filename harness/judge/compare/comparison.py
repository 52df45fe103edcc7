"""The verdict of the regression gate, from the figures of a baseline's runs and of a candidate's runs. Pure.

`regression` decides which metrics are worse or better. This module gives each metric a row with a status and a reason.
OK means that the runs rule out a regression larger than `may_hide`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from streamgauge.harness.exit_codes import Exit, ForInconclusive, of_inconclusive
from streamgauge.harness.judge.compare import regression
from streamgauge.harness.judge.compare.gate import Gate, GatedMetric, RunFigure
from streamgauge.harness.judge.compare.regression import FEWEST_PAIRS, Mask, Settings
from streamgauge.harness.judge.figures import change, some
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.statistics import Interval, Shift, Values

Figures = Mapping[str, RunFigure]  # of one run, by metric as the config writes it; a metric not observed is absent
Runs = Mapping[str, Figures]  # by the run's id, oldest first


class GateStatus(StrEnum):
    OK = "ok"
    REGRESSED = "regressed"
    IMPROVED = "improved"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"  # a candidate run measured the generator and not the server: nothing is compared


@dataclass(frozen=True)
class Row:
    """One gated metric."""

    subject: str  # as the config writes it: "p95(ttft)"
    unit: str
    status: GateStatus
    baseline: float | None  # typical of its runs; +∞: too many streams failed. None: not compared
    candidate: float | None
    change: float | None  # candidate / baseline, or for a share the difference
    interval: Interval  # of the change, 95 %
    reason: str  # one sentence


@dataclass(frozen=True)
class Comparison:
    baseline: str  # its name
    status: GateStatus  # the worst row's
    reason: str  # one sentence
    rows: list[Row]  # one for each gated metric, in the order of the config; none if INVALID
    baseline_runs: list[str]  # ids, oldest first
    first_runs: list[str]  # of the candidate
    fresh_runs: list[str]  # of stage 2; empty if there was none
    wanted: int = 0  # how many more candidate runs the decision needs
    is_clear: bool = True  # the first stage needs no more runs
    notes: tuple[str, ...] = ()  # what else to know about the runs, a sentence each


def compare(name: str, baseline: Runs, candidate: Runs, gate: Gate) -> Comparison:
    """Compare a candidate's runs with the runs of the baseline called `name`.

    The first candidate runs are stage 1, the next ones stage 2; further runs are ignored. Stage 1 takes fewer runs than
    the gate says if they are clear.
    """
    ids = list(candidate)[: gate.first_runs + gate.fresh_runs]
    sides = _Sides(baseline, {run: candidate[run] for run in ids}, gate.metrics)
    decision = _decide_in_stages(sides, gate)
    too_few = _too_few_runs(name, len(baseline), len(ids), gate, decision)
    first, wanted = gate.first_runs, max(gate.first_runs - len(ids), 0)
    if decision is not None and too_few is None:
        first, wanted = decision.first, decision.wanted
    rows = _rows(sides, decision, too_few)
    status, reason = _overall(rows, too_few)
    ids = ids[: first + gate.fresh_runs]
    return Comparison(name, status, reason, rows, list(baseline), ids[:first], ids[first:], wanted, too_few is None)


def compare_in_turns(name: str, before: Runs, after: Runs, gate: Gate) -> Comparison:
    """Compare runs that took turns in pairs: the n-th of `after` with the n-th of `before`, the side called `name`.

    One stage, at α = 0.01: Student's t on the differences of the pairs, so that a drift of both sides cancels out.
    """
    pairs = len(before)
    too_few = f"{pairs} of the {FEWEST_PAIRS} pairs that a verdict needs" if pairs < FEWEST_PAIRS else None
    sides = _Sides(before, after, gate.metrics)
    rows = _rows(sides, _decide_in_turns(sides), too_few)
    status, reason = _overall(rows, too_few)
    return Comparison(name, status, reason, rows, list(before), list(after), [])


def invalid(name: str, baseline: Sequence[str], candidate: Sequence[str], faults: Mapping[str, str]) -> Comparison:
    """The comparison if runs cannot be compared, each for its reason in `faults` (at least one)."""
    reason, *more = [f"{run} is invalid: {why}" for run, why in faults.items()]
    return Comparison(name, GateStatus.INVALID, reason, [], list(baseline), list(candidate), [], notes=tuple(more))


def exit_code(comparison: Comparison, inconclusive: ForInconclusive | None = None) -> Exit:
    if comparison.status in {GateStatus.OK, GateStatus.IMPROVED}:
        return Exit.MET
    if comparison.status is GateStatus.REGRESSED:
        return Exit.MISSED
    return of_inconclusive(inconclusive, invalid=comparison.status is GateStatus.INVALID)


# The decision


class _Sides(NamedTuple):
    """What is compared."""

    before: Runs
    after: Runs
    metrics: Sequence[GatedMetric]

    def faults(self) -> list[str | None]:
        """For each metric why the runs cannot be compared by it; None if they can."""
        return [_fault(metric, {**self.before, **self.after}) for metric in self.metrics]

    def comparable(self) -> list[GatedMetric]:
        return [metric for metric, fault in zip(self.metrics, self.faults(), strict=True) if fault is None]

    def scaled(self) -> tuple[Values, Values] | None:
        """The y of both sides by comparable metric and run; None if there is nothing to test."""
        metrics = self.comparable()
        if not metrics or len(self.before) < 2 or not self.after:
            return None
        before, after = (
            np.array([metric.scaled([run[metric.subject.text] for run in side.values()]) for metric in metrics])
            for side in (self.before, self.after)
        )
        return before, after

    def with_chance(self, shift: Shift) -> Shift:
        """The shift, whose upper end is no lower than what the streams alone can tell of a share.

        Runs in which no stream failed are all equal, however few streams they had: their variance would rule out any
        change. So the upper end is at least that of the candidate's exact interval (Clopper and Pearson).
        """
        least = [self._least(metric) for metric in self.comparable()]
        return shift._replace(high=np.maximum(shift.high, least))

    def _least(self, metric: GatedMetric) -> float:
        if metric.subject.aggregation is not None or not metric.is_share:
            return -math.inf
        before, after = ([run[metric.subject.text] for run in side.values()] for side in (self.before, self.after))
        n = int(sum(each.samples for each in after))
        hits = sum((each.value or 0.0) * each.samples for each in after)
        worst = statistics.ratio_interval(min(n, max(0, round(hits))), n)
        end = worst.high if metric.sign > 0 else worst.low
        return -math.inf if end is None else metric.sign * end - float(metric.scaled(before).mean())


@dataclass(frozen=True)
class _Decision:
    """Arrays have one entry for each comparable metric."""

    before: Values  # y of all runs
    after: Values
    shift: Shift  # of all candidate runs together, to report
    suspicious: Mask
    confirmed: Mask
    improved: Mask
    proof: str  # why the confirmed metrics are confirmed, for people
    first: int  # candidate runs of stage 1
    fresh: int = 0  # candidate runs of stage 2
    wanted: int = 0  # fresh runs that would confirm or reject a suspicion
    clear: bool = False  # the runs are enough, even if stage 1 could have had more


def _decide_in_stages(sides: _Sides, gate: Gate) -> _Decision | None:
    scaled = sides.scaled()
    if scaled is None:
        return None
    before, after = scaled
    comparable = sides.comparable()
    settings = Settings(
        margin=np.array([metric.margin for metric in comparable]),
        clear=np.array([metric.clear for metric in comparable]),
        test=gate.test,
        first_runs=gate.first_runs,
        fresh_runs=gate.fresh_runs,
    )
    first, suspicious = regression.first_stage(before, after, settings)
    after = after[:, : first + gate.fresh_runs]
    fresh = after.shape[-1] - first
    wanted = gate.fresh_runs - fresh if suspicious.any() else 0
    confirmed = np.zeros(len(before), bool)
    if suspicious.any() and not wanted:
        confirmed = regression.confirmed(before, after[:, first:], suspicious, settings)
    overall = sides.with_chance(regression.shift(before, after, gate.test))
    is_fine = len(comparable) == len(sides.metrics) and bool(regression.clearly_fine(overall, settings.clear))
    return _Decision(
        before=before,
        after=after,
        shift=overall,
        suspicious=suspicious,
        confirmed=confirmed,
        improved=regression.better(overall, settings.margin),
        proof=f"worse in the first {'run' if first == 1 else f'{first} runs'}, and in {fresh} fresh ones",
        first=first,
        fresh=fresh,
        wanted=wanted,
        clear=bool(suspicious.any()) or is_fine,
    )


def _decide_in_turns(sides: _Sides) -> _Decision | None:
    scaled = sides.scaled()
    if scaled is None:
        return None
    before, after = scaled
    margin = np.array([metric.margin for metric in sides.comparable()])
    overall = sides.with_chance(regression.shift_in_turns(before, after))
    return _Decision(
        before=before,
        after=after,
        shift=overall,
        suspicious=np.zeros(len(before), bool),
        confirmed=regression.regressed_in_turns(before, after, margin),
        improved=regression.better(overall, margin),
        proof=f"worse in {before.shape[-1]} pairs of runs that took turns",
        first=after.shape[-1],
    )


def _too_few_runs(name: str, baseline: int, candidate: int, gate: Gate, decision: _Decision | None) -> str | None:
    """Why there are too few runs for a verdict; None if there are enough."""
    if baseline < gate.fewest_baseline_runs:
        return f"{name} has {some(baseline, 'comparable run')} of the {gate.fewest_baseline_runs} that a gate needs"
    if candidate >= gate.first_runs or (decision is not None and decision.clear):
        return None
    return f"{candidate} of the {gate.first_runs} runs that a gate needs"


def _fault(metric: GatedMetric, runs: Runs) -> str | None:
    """Why the runs cannot be compared by this metric; None if they can."""
    text = metric.subject.text
    without = [run for run, figures in runs.items() if text not in figures]
    if without:
        return f"was not observed in {_first_of(without)}"
    small = [run for run, figures in runs.items() if figures[text].samples < metric.fewest_samples]
    if small:
        fewest = min(runs[run][text].samples for run in small)
        return f"needs {metric.fewest_samples:,} independent samples a run; {_first_of(small)} had {fewest:,.0f}"
    return None


def _first_of(runs: Sequence[str]) -> str:
    return runs[0] if len(runs) == 1 else f"{runs[0]} and {len(runs) - 1} more"


# Rows


def _rows(sides: _Sides, decision: _Decision | None, too_few: str | None) -> list[Row]:
    """A row for each gated metric."""
    faults = sides.faults()
    if decision is None:
        return [
            _row_without_test(metric, fault or too_few or "")
            for metric, fault in zip(sides.metrics, faults, strict=True)
        ]
    places = {metric.subject.text: place for place, metric in enumerate(sides.comparable())}
    return [
        _row_without_test(metric, fault)
        if fault is not None
        else _row(metric, decision, places[metric.subject.text], too_few)
        for metric, fault in zip(sides.metrics, faults, strict=True)
    ]


def _row(metric: GatedMetric, decision: _Decision, place: int, too_few: str | None) -> Row:
    by, low, high = (float(each[place]) for each in (decision.shift.by, decision.shift.low, decision.shift.high))
    status, reason = _status(metric, decision, place, high, too_few)
    ends = sorted((metric.unscaled(low), metric.unscaled(high)))
    return Row(
        metric.subject.text,
        metric.subject.unit,
        status,
        _typical(metric, decision.before[place]),
        _typical(metric, decision.after[place]),
        None if math.isnan(by) else metric.unscaled(by),
        Interval(*(None if math.isnan(end) else end for end in ends)),
        reason,
    )


def _status(
    metric: GatedMetric, decision: _Decision, place: int, high: float, too_few: str | None
) -> tuple[GateStatus, str]:
    """`high` is the upper end of the change's interval, in y."""
    if too_few is not None:
        return GateStatus.INCONCLUSIVE, f"{too_few}; {_hidden(metric, high)}"
    suspicious = bool(decision.suspicious[place])
    if decision.confirmed[place]:
        return GateStatus.REGRESSED, decision.proof
    if suspicious and decision.wanted:
        fresh = some(decision.wanted, "fresh run")
        return GateStatus.INCONCLUSIVE, f"suspicious; {fresh} would tell (run --gate makes them)"
    if decision.improved[place]:
        return GateStatus.IMPROVED, "better by more than the margin"
    calm = f"{decision.fresh} fresh runs did not confirm a suspicion" if suspicious else "no regression seen"
    if high <= metric.may_hide:
        return GateStatus.OK, f"{calm}; {_hidden(metric, high)}"
    return GateStatus.INCONCLUSIVE, f"{calm}, but {_hidden(metric, high)}"


def _row_without_test(metric: GatedMetric, reason: str) -> Row:
    nothing = Interval(None, None)
    subject = metric.subject
    return Row(subject.text, subject.unit, GateStatus.INCONCLUSIVE, None, None, None, nothing, reason)


def _hidden(metric: GatedMetric, high: float) -> str:
    """The worst regression that the runs do not rule out."""
    if not math.isfinite(high):
        return "these runs could hide any change"
    return f"these runs could hide up to {change(metric.unscaled(max(high, 0.0)), metric.subject.unit)}"


def _typical(metric: GatedMetric, y: Values) -> float:
    return metric.unscaled(float(y.mean() if np.isfinite(y).all() else np.median(y)))


def _overall(rows: Sequence[Row], too_few: str | None) -> tuple[GateStatus, str]:
    """The worst row's status, with the reasons of all rows that have it."""
    for status in (GateStatus.REGRESSED, GateStatus.INCONCLUSIVE, GateStatus.IMPROVED):
        affected = [row for row in rows if row.status is status]
        if affected:
            return status, too_few or "; ".join(f"{row.subject}{_by(row)} {row.reason}" for row in affected)
    return GateStatus.OK, "no metric has regressed"


def _by(row: Row) -> str:
    return "" if row.change is None else f" {change(row.change, row.unit)}:"
