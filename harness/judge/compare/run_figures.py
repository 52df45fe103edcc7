"""A run's figure of each gated metric, computed from its streams; and which runs are unfit to be compared."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from streamgauge.harness.judge.compare.gate import Gate, RunFigure
from streamgauge.harness.judge.figures import finite
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement, is_search, judge, unjudged_failures
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.judge.verdict.subjects import Subject
from streamgauge.harness.judge.verdict.summary import independent_samples
from streamgauge.harness.judge.verdict.validity import Validity


class FiguresOfRuns(NamedTuple):
    """The figures of several runs."""

    figures: dict[str, dict[str, RunFigure]]  # of each fit run, by its id and by metric
    faults: dict[str, str]  # why the other runs are unfit, by their id
    notes: list[str]  # what else to know about the fit runs, a sentence each


Taker = Callable[[Judgement], object]  # gets the judgement of each compared run, too, so that no run is judged twice


def nothing(_judged: Judgement) -> None:
    """The `Taker` of who needs only the figures."""


def figures_of_runs(store: Store, run_ids: Iterable[str], gate: Gate, also: Taker = nothing) -> FiguresOfRuns:
    found = FiguresOfRuns({}, {}, [])
    for run_id in run_ids:
        judged = judge(store, run_id, rules=[])
        also(judged)
        fault = unfit(judged)
        if fault is not None:
            found.faults[run_id] = fault
            continue
        if judged.validity is Validity.DEGRADED:
            found.notes.append(f"{run_id} is degraded: {judged.reasons[0]}")
        found.figures[run_id] = figures(judged, gate)
    return found


def unfit(judged: Judgement) -> str | None:
    """Why a run can neither be compared nor be accepted into a baseline; None if it can."""
    if judged.run.status in {"interrupted", "aborted"}:
        return f"the run is {judged.run.status}, not finished"
    if is_search(judged.run):
        return "it is a search for a capacity, which has many loads"
    if judged.validity is Validity.INVALID:
        return judged.reasons[0]
    return None if judged.totals.streams else "the run has no streams"


def not_good(judged: Judgement) -> str | None:
    """Why a run that can be compared is no example for others; None if it is one."""
    gating = [verdict for verdict in judged.verdicts if verdict.severity == "fail"]
    missed = next((verdict for verdict in gating if verdict.status is RuleStatus.MISSED), None)
    if missed is not None:
        return f"it missed {missed.rule}: {missed.reason}"
    met = [verdict for verdict in gating if verdict.status is RuleStatus.MET]
    return unjudged_failures(judged.totals, met) or None


def figures(judged: Judgement, gate: Gate) -> dict[str, RunFigure]:
    """By metric, with failed streams as +∞. A metric that was not observed is absent."""
    return figures_in(judged.measurements, judged.seconds, gate)


def figures_in(measurements: Measurements, seconds: float, gate: Gate) -> dict[str, RunFigure]:
    """As `figures`, of streams that were measured for so many seconds."""
    by_metric = {}
    for metric in gate.metrics:
        figure = _figure(metric.subject, measurements, seconds)
        if figure is not None:
            by_metric[metric.subject.text] = figure
    return by_metric


def _figure(subject: Subject, measurements: Measurements, seconds: float) -> RunFigure | None:
    if subject.aggregation is None:
        rate = RATES[subject.name].over(measurements.totals(), seconds)
        return None if rate.value is None else RunFigure(finite(rate.value), rate.n)
    distribution = measurements.distribution(subject.name)
    values, counts = distribution.gated()
    value = subject.aggregate(values, counts)
    if value is None:
        return None
    n = int(counts.sum())
    independent = independent_samples(distribution, n, value if subject.quantile is not None else None)
    return RunFigure(finite(value), n if independent is None else independent)
