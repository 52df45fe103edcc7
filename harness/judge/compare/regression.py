"""Is this build worse than the last? Figures of runs → a verdict. Pure: nothing is read or printed.

The run is the unit, not the stream: the streams of one run are alike. Each run has one figure for a metric, and y is
its logarithm (for a share, the share itself). Worse is told in two stages, both at α = 0.05:

    stage 1   the first 3 candidate runs against the baseline's: one-sided t test with pooled variance, Holm over the
              metrics, and the change itself beyond the margin. If no metric is suspicious, nothing has regressed.
    stage 2   5 fresh runs, tested alone in the same way, Holm over the suspicious metrics. Both stages must reject.

Runs of two builds that took turns are compared in pairs, in one stage at α = 0.01.
IMPROVED takes one stage at α = 0.01: it stops nobody. OK needs runs that rule out a regression beyond `may_hide`.
tests/pure/test_gate_simulation.py measures how often this is wrong; docs/concepts/regression.md explains it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.config.schema import FEWEST_BASELINE_RUNS, Regression
from streamgauge.harness.exit_codes import Exit, ForInconclusive
from streamgauge.harness.judge.figures import change, some
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.statistics import Interval, Shift, Values
from streamgauge.harness.judge.verdict import subjects
from streamgauge.harness.judge.verdict.subjects import Subject

FIRST_RUNS, FRESH_RUNS = 3, 5
FEWEST_PAIRS = 4
_ALPHA = 0.05
_ALPHA_ALONE = 0.01  # of a verdict that has only one stage
_RARE, _RARE_NEEDS = 0.99, 5_000  # from this percentile on, a run needs so many samples
_HIGH_IS_GOOD = {"output_tps", "stream_rate", "completion_rate", "cache_hit_rate", "cache_read_tokens", "goodput"}

Mask = NDArray[np.bool_]
_Positive = Annotated[float, msgspec.Meta(ge=0)]


class Status(StrEnum):
    OK = "ok"
    REGRESSED = "regressed"
    IMPROVED = "improved"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"  # a candidate run measured its generator: nothing is compared


class Reading(NamedTuple):
    """What one run had of one metric."""

    value: _Positive | None  # in the metric's unit; None: it never came (+∞), so many streams failed
    samples: _Positive  # independent ones, about


Figures = Mapping[str, Reading]  # of one run, by the metric as the config writes it; absent: not observed


@dataclass(frozen=True)
class Row:
    """One gating metric."""

    subject: str  # as the config writes it: "p95(ttft)"
    unit: str
    status: Status
    baseline: float | None  # typical of its runs; +∞: it never came. None: not observed
    candidate: float | None
    change: float | None  # candidate / baseline, or for a share the difference
    interval: Interval  # of the change, 95 %
    reason: str  # one sentence


@dataclass(frozen=True)
class Comparison:
    """What the gate says: `status` first, the rest is why."""

    baseline: str  # its name
    status: Status
    reason: str  # one sentence
    rows: list[Row]  # one for each gating metric, in the order of the config; none when INVALID
    baseline_runs: list[str]  # ids, oldest first
    first_runs: list[str]  # of the candidate
    fresh_runs: list[str]  # of stage 2, if it came to that
    wanted: int = 0  # so many more candidate runs would get it further
    notes: tuple[str, ...] = ()  # what else to know of the runs, a sentence each


@dataclass(frozen=True)
class Gate:
    """A metric that may not get worse, and what that means for it."""

    subject: Subject
    margin: float  # on the scale of y, as is the next
    may_hide: float

    @property
    def sign(self) -> int:
        """y is turned so that larger is worse."""
        return -1 if self.subject.name in _HIGH_IS_GOOD else 1

    @property
    def share(self) -> bool:
        return self.subject.unit == "ratio"

    @property
    def fewest(self) -> int:
        """Samples that each run must have."""
        q = self.subject.quantile
        if q is None:
            return 1
        return _RARE_NEEDS if q >= _RARE else statistics.samples_for_quantile(q, 1) or 1

    def scaled(self, readings: Sequence[Reading]) -> Values:
        values = np.array([math.inf if each.value is None else each.value for each in readings], np.float64)
        with np.errstate(divide="ignore"):
            return self.sign * (values if self.share else np.log(values))

    def unscaled(self, y: float) -> float:
        """A figure from its y, or a change from a difference of two."""
        return self.sign * y if self.share else math.exp(self.sign * y)


def gates(settings: Regression) -> list[Gate]:
    """RuleError for a metric that does not exist."""
    found = []
    for text in settings.metrics:
        subject = subjects.parse(text)
        if subject.unit == "ratio":
            found.append(Gate(subject, settings.margin_points, settings.may_hide_points))
        else:
            found.append(Gate(subject, math.log1p(settings.margin), math.log1p(settings.may_hide)))
    return found


# The decision. y has the shape (…, metrics, runs), so that thousands of simulated ones go the same way.


def shift(baseline: Values, candidate: Values, test: str) -> Shift:
    """By the test that is asked for. Where a run's y is not finite, only ranks have an answer."""
    if test == "mann_whitney":
        return statistics.shift_of_ranks(baseline, candidate)
    finite = np.isfinite(baseline).all(-1) & np.isfinite(candidate).all(-1)
    if finite.all():
        return statistics.shift_of_means(baseline, candidate)
    ranks = statistics.shift_of_ranks(baseline, candidate)
    with np.errstate(invalid="ignore"):
        means = statistics.shift_of_means(baseline, candidate)
    return Shift(*(np.where(finite, ours, theirs) for ours, theirs in zip(means, ranks, strict=True)))


def worse(found: Shift, margin: Values, among: Mask | None = None, alpha: float = _ALPHA) -> Mask:
    """One stage: which metrics are surely worse, and by more than the margin. The family is `among`, or all."""
    family = np.ones(found.by.shape, bool) if among is None else among
    return statistics.holm(found.above, alpha, family) & (found.by > margin)


def better(found: Shift, margin: Values) -> Mask:
    return worse(Shift(-found.by, found.below, found.above, -found.high, -found.low), margin, alpha=_ALPHA_ALONE)


def regressed(baseline: Values, first: Values, fresh: Values, margin: Values, test: str = "t") -> Mask:
    """Both stages."""
    suspicious = worse(shift(baseline, first, test), margin)
    return worse(shift(baseline, fresh, test), margin, suspicious)


def shift_in_turns(before: Values, after: Values) -> Shift:
    """Of runs in pairs. Where a run's y is not finite, ranks decide, and the pairs are given up."""
    finite = np.isfinite(before).all(-1) & np.isfinite(after).all(-1)
    with np.errstate(invalid="ignore"):
        pairs = statistics.shift_of_pairs(after - before)
    ranks = statistics.shift_of_ranks(before, after)
    return Shift(*(np.where(finite, ours, theirs) for ours, theirs in zip(pairs, ranks, strict=True)))


def regressed_in_turns(before: Values, after: Values, margin: Values) -> Mask:
    return worse(shift_in_turns(before, after), margin, alpha=_ALPHA_ALONE)


# One comparison, and how it is told


def compare(
    name: str, baseline: Mapping[str, Figures], candidate: Mapping[str, Figures], settings: Regression
) -> Comparison:
    """Judge a candidate's runs by those of the baseline called `name`; both by run id, oldest first. RuleError.

    The first 3 candidate runs are stage 1, the next 5 stage 2, and no more are looked at.
    """
    runs = list(candidate)[: FIRST_RUNS + FRESH_RUNS]
    short = _short(name, len(baseline), len(runs))
    decide = partial(_in_stages, test=settings.test)
    rows, wanted = _rows(baseline, {run: candidate[run] for run in runs}, settings, short, decide)
    status, reason = _overall(rows, short)
    wanted = max(FIRST_RUNS - len(runs), 0) or wanted
    return Comparison(name, status, reason, rows, list(baseline), runs[:FIRST_RUNS], runs[FIRST_RUNS:], wanted)


def compare_pairs(
    name: str, before: Mapping[str, Figures], after: Mapping[str, Figures], settings: Regression
) -> Comparison:
    """Judge runs that took turns, as many `after` as `before` (the side called `name`); by run id, in pairs. RuleError.

    One stage, at α = 0.01: Student's t on the pairs' differences, so that a drift that both sides share falls out.
    """
    pairs = len(before)
    short = f"{pairs} of the {FEWEST_PAIRS} pairs that a verdict needs" if pairs < FEWEST_PAIRS else None
    rows, _ = _rows(before, after, settings, short, _in_turns)
    status, reason = _overall(rows, short)
    return Comparison(name, status, reason, rows, list(before), list(after), [])


def invalid(name: str, run: str, why: str) -> Comparison:
    """The comparison that a run with numbers of no worth has spoilt."""
    return Comparison(name, Status.INVALID, f"{run} is invalid: {why}", [], [], [run], [])


def exit_code(comparison: Comparison, inconclusive: ForInconclusive | None = None) -> Exit:
    """The comparison's status as an exit code; `inconclusive` as in judgement.exit_code."""
    if comparison.status is Status.INCONCLUSIVE and inconclusive == "pass":
        return Exit.MET
    known = {Status.OK: Exit.MET, Status.IMPROVED: Exit.MET, Status.REGRESSED: Exit.MISSED}
    code = known.get(comparison.status, Exit.INCONCLUSIVE)
    return Exit.MISSED if code is Exit.INCONCLUSIVE and inconclusive == "fail" else code


class _Decided(NamedTuple):
    """Arrays have one entry for each metric."""

    before: Values  # y of all runs
    after: Values
    seen: Shift  # of all candidate runs together, for the telling
    suspicious: Mask
    confirmed: Mask
    improved: Mask
    wanted: int  # fresh runs that would tell what a suspicion is worth
    proof: str  # of what is confirmed


def _in_stages(before: Values, after: Values, margin: Values, test: str) -> _Decided:
    suspicious = worse(shift(before, after[:, :FIRST_RUNS], test), margin)
    wanted = FIRST_RUNS + FRESH_RUNS - after.shape[-1] if suspicious.any() else 0
    confirmed = np.zeros(len(before), bool)
    if suspicious.any() and not wanted:
        confirmed = worse(shift(before, after[:, FIRST_RUNS:], test), margin, suspicious)
    seen = shift(before, after, test)
    proof = f"worse in the first {FIRST_RUNS} runs, and in {FRESH_RUNS} fresh ones"
    return _Decided(before, after, seen, suspicious, confirmed, better(seen, margin), wanted, proof)


def _in_turns(before: Values, after: Values, margin: Values) -> _Decided:
    seen = shift_in_turns(before, after)
    confirmed = regressed_in_turns(before, after, margin)
    none = np.zeros(len(before), bool)
    proof = f"worse in {before.shape[-1]} pairs of runs that took turns"
    return _Decided(before, after, seen, none, confirmed, better(seen, margin), 0, proof)


def _rows(
    before: Mapping[str, Figures],
    after: Mapping[str, Figures],
    settings: Regression,
    short: str | None,
    decide: Callable[[Values, Values, Values], _Decided],
) -> tuple[list[Row], int]:
    """A row for each gating metric, and how many more runs the decision wants."""
    found = gates(settings)
    faults = {gate: _fault(gate, {**before, **after}) for gate in found}
    usable = [gate for gate in found if faults[gate] is None and len(before) > 1 and after]
    if not usable:
        return [_untested(gate, faults[gate] or short or "") for gate in found], 0
    old, new = (
        np.array([gate.scaled([run[gate.subject.text] for run in side.values()]) for gate in usable])
        for side in (before, after)
    )
    decided = decide(old, new, np.array([gate.margin for gate in usable]))
    rows = [
        _row(gate, decided, usable.index(gate), short) if gate in usable else _untested(gate, faults[gate] or "")
        for gate in found
    ]
    return rows, decided.wanted if short is None else 0


def _row(gate: Gate, decided: _Decided, place: int, short: str | None) -> Row:
    by, low, high = (float(each[place]) for each in (decided.seen.by, decided.seen.low, decided.seen.high))
    calm = f"{FRESH_RUNS} fresh runs did not confirm a suspicion" if decided.suspicious[place] else "no regression seen"
    status, reason = Status.INCONCLUSIVE, f"{calm}, but {_hidden(gate, high)}"
    if short is not None:
        reason = f"{short}; {_hidden(gate, high)}"
    elif decided.confirmed[place]:
        status, reason = Status.REGRESSED, decided.proof
    elif decided.suspicious[place] and decided.wanted:
        reason = f"suspicious; {some(decided.wanted, 'fresh run')} would tell (run --gate makes them)"
    elif decided.improved[place]:
        status, reason = Status.IMPROVED, "better by more than the margin"
    elif high <= gate.may_hide:
        status, reason = Status.OK, f"{calm}; {_hidden(gate, high)}"
    ends = sorted((gate.unscaled(low), gate.unscaled(high)))
    return Row(
        gate.subject.text,
        gate.subject.unit,
        status,
        _typical(gate, decided.before[place]),
        _typical(gate, decided.after[place]),
        None if math.isnan(by) else gate.unscaled(by),
        Interval(*(None if math.isnan(end) else end for end in ends)),
        reason,
    )


def _untested(gate: Gate, reason: str) -> Row:
    nothing = Interval(None, None)
    return Row(gate.subject.text, gate.subject.unit, Status.INCONCLUSIVE, None, None, None, nothing, reason)


def _hidden(gate: Gate, high: float) -> str:
    """The worst that the runs do not rule out."""
    if not math.isfinite(high):
        return "these runs could hide any change"
    return f"these runs could hide up to {change(gate.unscaled(max(high, 0.0)), gate.subject.unit)}"


def _typical(gate: Gate, y: Values) -> float:
    return gate.unscaled(float(y.mean() if np.isfinite(y).all() else np.median(y)))


def _short(name: str, baseline: int, candidate: int) -> str | None:
    """Why so few runs are no gate."""
    if baseline < FEWEST_BASELINE_RUNS:
        return f"{name} has {baseline} comparable runs of the {FEWEST_BASELINE_RUNS} that a gate needs"
    if candidate < FIRST_RUNS:
        return f"{candidate} of the {FIRST_RUNS} runs that a gate needs; one alone is a look, not a gate"
    return None


def _fault(gate: Gate, runs: Mapping[str, Figures]) -> str | None:
    """Why the runs cannot be compared by this metric."""
    text = gate.subject.text
    without = [run for run, figures in runs.items() if text not in figures]
    if without:
        return f"was not observed in {_few(without)}"
    small = [run for run, figures in runs.items() if figures[text].samples < gate.fewest]
    if small:
        fewest = min(runs[run][text].samples for run in small)
        return f"needs {gate.fewest:,} independent samples a run; {_few(small)} had {fewest:,.0f}"
    return None


def _few(runs: Sequence[str]) -> str:
    return runs[0] if len(runs) == 1 else f"{runs[0]} and {len(runs) - 1} more"


def _overall(rows: Sequence[Row], short: str | None) -> tuple[Status, str]:
    """The worst row's."""
    of = {status: [row for row in rows if row.status is status] for status in Status}
    for status in (Status.REGRESSED, Status.INCONCLUSIVE, Status.IMPROVED):
        if found := of[status]:
            if short is not None:
                return status, short
            told = "; ".join(f"{row.subject}{_by(row)} {row.reason}" for row in found)
            return status, told
    return Status.OK, "no metric has regressed"


def _by(row: Row) -> str:
    return "" if row.change is None else f" {change(row.change, row.unit)}:"
