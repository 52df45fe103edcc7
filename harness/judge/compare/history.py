"""The runs of the same work over weeks: their TTFT by run and by day, accepted baselines, and change points."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.errors import DamagedRow
from streamgauge.harness.judge.compare.change_points import change_points
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.cost import Cost, cost_of, prices_of
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.store import Run, Store, Streams
from streamgauge.harness.judge.verdict.judgement import is_search, of_one_load
from streamgauge.harness.judge.verdict.validity import was_spent

EDGES_MS = tuple(125.0 * 2**power for power in range(10))  # of the daily histogram: up to 125 ms, 250 ms, … 64 s
STEPS = 64  # fine buckets for each doubling: 1.1 % wide
FINE_MS = tuple(125 / 16 * 2 ** (step / STEPS) for step in range(14 * STEPS + 1))  # every one of EDGES_MS is in it
_DAY_NS = 86_400 * 10**9

_Counts = NDArray[np.int64]  # streams by their TTFT: up to each of FINE_MS, then above, then failed ones


@dataclass(frozen=True)
class Point:
    """One run. Times are ms; +∞ if too many streams failed, None if nothing was observed."""

    run: Run
    streams: int
    failed: int  # streams that are +∞ in the gated `ttft`: they failed, or were left before the first token
    p50: float | None  # with failed streams as +∞
    p95: float | None  # with failed streams as +∞
    interval: Interval  # of the p95
    baselines: tuple[str, ...]  # into which it was accepted
    cost: Cost | None = None  # None: the config had no prices
    change: float | None = None  # of the p95: the level from here on / the level before; None: no change point
    change_p50: float | None = None  # the same of the p50
    level: float | None = None  # of the p95: the mean of the runs between two change points
    level_p50: float | None = None

    @property
    def release(self) -> str:
        """What its team calls the build: the label `release`, or `version`."""
        return self.run.labels.get("release") or self.run.labels.get("version") or ""


@dataclass(frozen=True)
class Day:
    date: str  # UTC
    counts: tuple[int, ...]  # streams by their TTFT: up to each of EDGES_MS, then above
    never: int  # the same of the streams of the day
    fine: tuple[int, ...]  # the same as counts, by FINE_MS
    p50: float | None  # with those streams as +∞; within 0.6 %
    p95: float | None


@dataclass(frozen=True)
class History:
    points: list[Point]  # oldest first
    days: list[Day]
    others: int  # such runs of the database that did other work
    damaged: list[str]  # a sentence for each row that was left out, with its run if it belongs to one

    @property
    def priced(self) -> bool:
        """Whether it is known of any run what it cost."""
        return any(point.cost is not None for point in self.points)


def read(store: Store, run_id: str | None = None, margin: float = 0.05) -> History:
    """The runs that did the same work as this one, finished or ended by their budget.

    `run_id`: None: the newest run of one load. StoreError.
    """
    fingerprint = of_one_load(store, run_id).fingerprint
    ended = [run for run in store.runs() if _counts(run)]
    alike = [run for run in ended if run.fingerprint == fingerprint]
    baselines: dict[str, list[str]] = {}
    for name, accepted in store.accepted().items():
        for each in accepted:
            baselines.setdefault(each.run, []).append(name)
    points: list[Point] = []
    days: dict[int, _Counts] = {}
    damaged = store.damaged()
    for run in alike:
        try:
            point, counts = _read_run(store, run, tuple(baselines.get(run.id, ())))
        except DamagedRow as fault:
            damaged.append(f"{run.id}: {fault}")
            continue
        points.append(point)
        for day, count in counts.items():
            days[day] = days.get(day, 0) + count
    return History(
        points=_with_changes(points, margin),
        days=[day_of(*one) for one in sorted(days.items())],
        others=len(ended) - len(alike),
        damaged=damaged,
    )


def _counts(run: Run) -> bool:
    """Whether it had one load, and ended as it was meant to: by itself, or because its budget was spent."""
    if is_search(run):
        return False
    return run.status == "finished" or (run.status == "aborted" and was_spent(run))


def _read_run(store: Store, run: Run, baselines: tuple[str, ...]) -> tuple[Point, dict[int, _Counts]]:
    """The run's point, and its streams by the day on which they were due."""
    measurements = Measurements(only=("ttft",))
    days: dict[int, _Counts] = {}
    for streams in store.streams(run.id):
        measurements.take(streams)
        for day, count in _by_day(streams, run.realtime_ns).items():
            days[day] = days.get(day, 0) + count
    ttft = measurements.distribution("ttft")
    values, counts = ttft.gated()
    point = Point(
        run=run,
        streams=measurements.totals().streams,
        failed=ttft.failed,
        p50=statistics.quantile(values, counts, 0.50),
        p95=statistics.quantile(values, counts, 0.95),
        interval=statistics.quantile_interval(values, counts, 0.95),
        baselines=baselines,
        cost=cost_of(measurements.totals(), prices_of(run.config)),
    )
    return point, days


def _by_day(streams: Streams, realtime_ns: int) -> dict[int, _Counts]:
    """The key is the number of days since 1970. A stream counts as in the metric `ttft`, or not at all as there."""
    seen = METRICS["ttft"].observe(streams)
    has_ttft, failed = streams.streamed & (seen.counts > 0), streams.streamed & seen.failed
    ttft = np.full(len(streams), np.nan)
    ttft[seen.counts > 0] = seen.ticks / 1e6
    bucket = np.where(failed, len(FINE_MS) + 1, np.searchsorted(FINE_MS, ttft))
    day = ((realtime_ns + streams.number["due_at"]) // _DAY_NS).astype(np.int64)
    counted = failed | has_ttft
    return {
        one: np.bincount(bucket[(day == one) & counted], minlength=len(FINE_MS) + 2) for one in np.unique(day).tolist()
    }


def day_of(number: int, counts: _Counts) -> Day:
    """`number`: days since 1970."""
    date = datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()
    upto = np.cumsum(counts)[[*np.searchsorted(FINE_MS, EDGES_MS), len(FINE_MS)]]
    return Day(
        date,
        tuple(np.diff(upto, prepend=0).tolist()),
        int(counts[-1]),
        tuple(counts[:-1].tolist()),
        _quantile(counts, 0.50),
        _quantile(counts, 0.95),
    )


def _quantile(counts: _Counts, q: float) -> float | None:
    """The middle of the bucket in which it lies; +∞ above the last edge, and where failed streams reach."""
    if not counts.any():
        return None
    place = int(np.searchsorted(np.cumsum(counts), max(1, math.ceil(q * int(counts.sum()) - 1e-9))))
    return FINE_MS[place] * 2 ** (-0.5 / STEPS) if place < len(FINE_MS) else math.inf


def _with_changes(points: Sequence[Point], margin: float) -> list[Point]:
    """The same points with their changes and levels filled in. A run without a finite figure belongs to no level."""
    marked = list(points)
    for place, level, change in _levels([point.p95 for point in points], margin):
        marked[place] = replace(marked[place], level=level, change=change)
    for place, level, change in _levels([point.p50 for point in points], margin):
        marked[place] = replace(marked[place], level_p50=level, change_p50=change)
    return marked


def _levels(values: Sequence[float | None], margin: float) -> Iterator[tuple[int, float, float | None]]:
    """(place, level, change) of each value that is finite; the change is None but where a level begins."""
    known = [place for place, value in enumerate(values) if value is not None and 0 < value < math.inf]
    y = np.log([values[place] or math.nan for place in known])
    bounds = [0, *change_points(y, math.log1p(margin)), len(y)]
    before = None
    for begins, ends in itertools.pairwise(bounds):
        if begins == ends:
            return
        level = float(np.exp(y[begins:ends].mean()))
        for place in known[begins:ends]:
            is_first = place == known[begins]
            yield place, level, level / before if is_first and before is not None else None
        before = level
