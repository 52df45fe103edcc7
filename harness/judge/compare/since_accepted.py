"""How a run's key figures changed against the accepted runs of the same work, for its report. No verdict.

Accepted runs are measured anew, the newest first, until they have MOST_STREAMS together: a report must not take as long
as a gate. An imported run has its figures, and is not measured.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.errors import BaselineError, StoreError
from streamgauge.harness.judge.compare import baseline
from streamgauge.harness.judge.compare.baseline_file import Member
from streamgauge.harness.judge.compare.comparison import Figures, compare
from streamgauge.harness.judge.compare.gate import Gate, GatedMetric
from streamgauge.harness.judge.compare.run_figures import figures, figures_in
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.store import Run, Store, Streams
from streamgauge.harness.judge.verdict.judgement import Judgement

SUBJECTS = ("p95(ttft)", "p95(itl)", "error_rate", "completion_rate")
MOST_STREAMS = 50_000  # of all accepted runs that are measured: with 200 chunks each, a second

Taker = Callable[[Streams], object]


class Change(NamedTuple):
    """As in comparison.Row."""

    by: float
    interval: Interval
    unit: str


@dataclass(frozen=True)
class Since:
    name: str  # of the baseline
    runs: list[str]  # ids of those that the run is compared with, oldest first
    changes: dict[str, Change]  # by the subject, of SUBJECTS


def since_accepted(store: Store, judged: Judgement, also: Taker) -> Since | None:
    """None if no earlier run of the same work was accepted, or all are too large.

    Of several baselines, the one that last accepted such a run. `also` gets the streams of the newest run that has some
    in this database.
    """
    settings = Regression(metrics=SUBJECTS)
    found = _newest(store, judged.run)
    if found is None:
        return None
    name, members = found
    gate = Gate.of(settings)
    old = _figures(store, members[-settings.window :], gate, also)
    if not old:
        return None
    new = {judged.run.id: figures(judged, gate)}
    rows = compare(name, old, new, gate).rows
    changes = {
        row.subject: Change(row.change, _doubt(row.change, row.interval), row.unit)
        for row in rows
        if row.change is not None and math.isfinite(row.change)
    }
    if len(old) == 1:
        changes = dict(_of_one(next(iter(old.values())), new[judged.run.id], gate.metrics))
    return Since(name, list(old), changes)


def _doubt(change: float, interval: Interval) -> Interval:
    """Accepted runs that are all alike, as those without a failure, do not tell how far equal runs are apart."""
    ends = [end for end in interval if end is not None]
    without = any(math.isclose(end, change, rel_tol=1e-9, abs_tol=1e-12) for end in ends)
    return Interval(None, None) if without else interval


def _newest(store: Store, run: Run) -> tuple[str, list[Member]] | None:
    """The baseline, and its comparable runs, oldest first."""
    candidates = []
    for name, accepted in store.accepted().items():
        with suppress(BaselineError, StoreError):
            members = [
                member
                for member in baseline.members(store, name).values()
                if member.fingerprint == run.fingerprint and member.run != run.id and member.started_at < run.started_at
            ]
            known = {member.run for member in members}
            if members:
                candidates.append((max(each.at for each in accepted if each.run in known), name, members))
    if not candidates:
        return None
    _, name, members = max(candidates, key=lambda each: each[0])
    return name, sorted(members, key=lambda member: member.started_at)


def _figures(store: Store, members: Sequence[Member], gate: Gate, also: Taker) -> dict[str, Figures]:
    """Of each run that fits into MOST_STREAMS, oldest first; a damaged one is left out."""
    found: dict[str, Figures] = {}
    left, take = MOST_STREAMS, also
    for member in reversed(members):
        if member.figures is not None:
            found[member.run] = member.figures
            continue
        with suppress(StoreError):
            left -= store.count(member.run)
            if left < 0:
                break
            found[member.run] = _measured(store, member.run, gate, take)
            take = _nothing
    return dict(reversed(found.items()))


def _measured(store: Store, run_id: str, gate: Gate, also: Taker) -> Figures:
    measurements = Measurements(only={metric.subject.name for metric in gate.metrics})
    for streams in store.streams(run_id):
        measurements.take(streams)
        also(streams)
    run = store.run(run_id)
    return figures_in(measurements, (store.duration(run) - (run.measured_from or 0)) / 1e9, gate)


def _nothing(_streams: Streams) -> None:
    pass


def _of_one(old: Figures, new: Figures, metrics: Sequence[GatedMetric]) -> Iterator[tuple[str, Change]]:
    """The changes against a single run, without intervals: one run does not tell how far equal runs are apart."""
    for metric in metrics:
        subject = metric.subject
        if subject.text in old and subject.text in new:
            before, after = metric.scaled([old[subject.text], new[subject.text]]).tolist()
            if math.isfinite(after - before):
                yield subject.text, Change(metric.unscaled(after - before), Interval(None, None), subject.unit)
