"""What a comparison page shows: the same of a gate's comparison and of two single runs. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.judge.compare import same_work, two_runs
from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gate import Gate, GatedMetric
from streamgauge.harness.judge.compare.run_shapes import RunShape, RunShapes
from streamgauge.harness.judge.figures import change, changes, figure
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.store import Run
from streamgauge.harness.judge.verdict.judgement import Judgement


class Change(NamedTuple):
    """One metric; `change` and `interval` as in comparison.Row."""

    metric: GatedMetric
    status: str | None  # a GateStatus; None: nothing was judged
    before: float | None
    after: float | None
    change: float | None
    interval: Interval
    reason: str

    @property
    def subject(self) -> str:
        return self.metric.subject.text

    @property
    def unit(self) -> str:
        return self.metric.subject.unit

    @property
    def worse_by(self) -> float:
        """In margins: 1 is as much worse as the margin, negative is better. −∞ without a change."""
        if self.change is None or math.isnan(self.change):
            return -math.inf
        y = self.change if self.metric.is_share else math.log(self.change) if self.change > 0 else -math.inf
        return self.metric.sign * y / (self.metric.margin or 1e-9)

    @property
    def told(self) -> str:
        """`p95(ttft) 412 ms → 447 ms: +8.5 % (+5.2 % to +11 %)`."""
        if self.change is None:
            return self.subject
        by = changes(self.interval, self.unit)
        return (
            f"{self.subject} {figure(self.before, self.unit)} → {figure(self.after, self.unit)}: "
            f"{change(self.change, self.unit)}{f' ({by})' if by else ''}"
        )


class Side(NamedTuple):
    name: str
    runs: Sequence[str]  # ids, oldest first
    shapes: Sequence[RunShape]  # of those whose streams are at hand

    @property
    def newest(self) -> Run | None:
        return self.shapes[-1].run if self.shapes else None


@dataclass(frozen=True)
class Compared:
    before: Side
    after: Side
    status: str | None  # a GateStatus; None: two single runs, which give no verdict
    reason: str
    rows: Sequence[Change]
    notes: Sequence[str]

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.before, self.after

    def worst(self, status: str | None) -> list[Change]:
        """The rows of this status, the worst first."""
        return sorted((row for row in self.rows if row.status == status), key=lambda row: -row.worse_by)


def of_gate(comparison: Comparison, gate: Gate, shapes: RunShapes, candidate: str = "candidate") -> Compared:
    metrics = {metric.subject.text: metric for metric in gate.metrics}
    rows = [
        Change(metrics[row.subject], row.status, row.baseline, row.candidate, row.change, row.interval, row.reason)
        for row in comparison.rows
    ]
    accepted, candidates = comparison.baseline_runs, [*comparison.first_runs, *comparison.fresh_runs]
    return Compared(
        before=Side(comparison.baseline, accepted, shapes.of(accepted)),
        after=Side(candidate, candidates, shapes.of(candidates)),
        status=comparison.status,
        reason=comparison.reason,
        rows=rows,
        notes=comparison.notes,
    )


def of_two_runs(before: Judgement, after: Judgement, settings: Regression) -> Compared:
    found = two_runs.differences(before, after)
    gate = Gate.of(msgspec.structs.replace(settings, metrics=tuple(each.subject for each in found)))
    differing = same_work.differences(before.run.fingerprint, after.run.fingerprint)
    work = f"not the same work ({differing[0]}): a difference need not be the server’s" if differing else ""
    return Compared(
        before=_single("before", before),
        after=_single("now", after),
        status=None,
        reason=work or "with one run on each side, a change of the server looks like chance",
        rows=[
            Change(metric, None, each.before, each.after, each.change, each.interval, "")
            for metric, each in zip(gate.metrics, found, strict=True)
        ],
        notes=[
            *two_runs.only_on_one_side(before, after),
            *(
                f"{name}: {judged.run.id}, {judged.validity}, {judged.verdict}"
                for name, judged in (("before", before), ("now", after))
            ),
        ],
    )


def _single(name: str, judged: Judgement) -> Side:
    """A side of its own: another database may have a run of the same id."""
    shapes = RunShapes()
    shapes.take(judged)
    return Side(name, [judged.run.id], shapes.of([judged.run.id]))
