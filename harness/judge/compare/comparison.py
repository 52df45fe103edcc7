"""The verdict of the regression gate, from the figures of a baseline's runs and of a candidate's runs. Pure.

`regression` decides which metrics are worse or better. This module gives each metric a row with a status and a reason.
OK means that the runs rule out a regression larger than `may_hide`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import numpy as np

from streamgauge.harness.config.schema import FEWEST_BASELINE_RUNS
from streamgauge.harness.exit_codes import Exit, ForInconclusive, without_verdict
from streamgauge.harness.judge.compare.gate import Gate, GatedMetric, RunFigure
from streamgauge.harness.judge.compare.regression import (
    FEWEST_PAIRS,
    FIRST_RUNS,
    FRESH_RUNS,
    Mask,
    better,
    regressed_in_turns,
    shift,
    shift_in_turns,
    worse,
)
from streamgauge.harness.judge.figures import change, some
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
    notes: tuple[str, ...] = ()  # what else to know about the runs, a sentence each


def compare(name: str, baseline: Runs, candidate: Runs, gate: Gate) -> Comparison:
    """Compare a candidate's runs with the runs of the baseline called `name`.

    The first 3 candidate runs are stage 1, the next 5 stage 2; further runs are ignored.
    """
    runs = list(candidate)[: FIRST_RUNS + FRESH_RUNS]
    too_few = _too_few_runs(name, len(baseline), len(runs))
    decide = partial(_decide_in_stages, test=gate.test)
    rows, wanted = _rows(baseline, {run: candidate[run] for run in runs}, gate, too_few, decide)
    status, reason = _overall(rows, too_few)
    wanted = max(FIRST_RUNS - len(runs), 0) or wanted
    return Comparison(name, status, reason, rows, list(baseline), runs[:FIRST_RUNS], runs[FIRST_RUNS:], wanted)


def compare_in_turns(name: str, before: Runs, after: Runs, gate: Gate) -> Comparison:
    """Compare runs that took turns in pairs: the n-th of `after` with the n-th of `before`, the side called `name`.

    One stage, at α = 0.01: Student's t on the differences of the pairs, so that a drift of both sides cancels out.
    """
    pairs = len(before)
    too_few = f"{pairs} of the {FEWEST_PAIRS} pairs that a verdict needs" if pairs < FEWEST_PAIRS else None
    rows, _ = _rows(before, after, gate, too_few, _decide_in_turns)
    status, reason = _overall(rows, too_few)
    return Comparison(name, status, reason, rows, list(before), list(after), [])


def invalid(name: str, run: str, why: str) -> Comparison:
    """The comparison if a candidate run is invalid, for the reason `why`."""
    return Comparison(name, GateStatus.INVALID, f"{run} is invalid: {why}", [], [], [run], [])


def exit_code(comparison: Comparison, inconclusive: ForInconclusive | None = None) -> Exit:
    if comparison.status in {GateStatus.OK, GateStatus.IMPROVED}:
        return Exit.MET
    if comparison.status is GateStatus.REGRESSED:
        return Exit.MISSED
    return without_verdict(inconclusive, invalid=comparison.status is GateStatus.INVALID)


# The decision


class _Decision(NamedTuple):
    """Arrays have one entry for each metric."""

    before: Values  # y of all runs
    after: Values
    shift: Shift  # of all candidate runs together, to report
    suspicious: Mask
    confirmed: Mask
    improved: Mask
    wanted: int  # fresh runs that would confirm or reject a suspicion
    proof: str  # why the confirmed metrics are confirmed, for people


def _decide_in_stages(before: Values, after: Values, margin: Values, test: str) -> _Decision:
    suspicious = worse(shift(before, after[:, :FIRST_RUNS], test), margin)
    wanted = FIRST_RUNS + FRESH_RUNS - after.shape[-1] if suspicious.any() else 0
    confirmed = np.zeros(len(before), bool)
    if suspicious.any() and not wanted:
        confirmed = worse(shift(before, after[:, FIRST_RUNS:], test), margin, suspicious)
    overall = shift(before, after, test)
    proof = f"worse in the first {FIRST_RUNS} runs, and in {FRESH_RUNS} fresh ones"
    return _Decision(before, after, overall, suspicious, confirmed, better(overall, margin), wanted, proof)


def _decide_in_turns(before: Values, after: Values, margin: Values) -> _Decision:
    overall = shift_in_turns(before, after)
    confirmed = regressed_in_turns(before, after, margin)
    none = np.zeros(len(before), bool)
    proof = f"worse in {before.shape[-1]} pairs of runs that took turns"
    return _Decision(before, after, overall, none, confirmed, better(overall, margin), 0, proof)


def _too_few_runs(name: str, baseline: int, candidate: int) -> str | None:
    """Why there are too few runs for a verdict; None if there are enough."""
    if baseline < FEWEST_BASELINE_RUNS:
        return f"{name} has {baseline} comparable runs of the {FEWEST_BASELINE_RUNS} that a gate needs"
    return f"{candidate} of the {FIRST_RUNS} runs that a gate needs" if candidate < FIRST_RUNS else None


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


def _rows(
    before: Runs,
    after: Runs,
    gate: Gate,
    too_few: str | None,
    decide: Callable[[Values, Values, Values], _Decision],
) -> tuple[list[Row], int]:
    """A row for each gated metric, and how many more runs the decision needs."""
    faults = [_fault(metric, {**before, **after}) for metric in gate.metrics]
    comparable = [metric for metric, fault in zip(gate.metrics, faults, strict=True) if fault is None]
    if not comparable or len(before) < 2 or not after:
        return [
            _row_without_test(each, fault or too_few or "") for each, fault in zip(gate.metrics, faults, strict=True)
        ], 0
    old, new = (
        np.array([metric.scaled([run[metric.subject.text] for run in side.values()]) for metric in comparable])
        for side in (before, after)
    )
    decision = decide(old, new, np.array([metric.margin for metric in comparable]))
    rows = [
        _row_without_test(metric, fault)
        if fault is not None
        else _row(metric, decision, comparable.index(metric), too_few)
        for metric, fault in zip(gate.metrics, faults, strict=True)
    ]
    return rows, decision.wanted if too_few is None else 0


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
    calm = f"{FRESH_RUNS} fresh runs did not confirm a suspicion" if suspicious else "no regression seen"
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
