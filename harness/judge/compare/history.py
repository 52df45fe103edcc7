"""How runs of the same work went over weeks: their TTFT by run and by day, accepted baselines, and where it changed.

A change point is where runs before and after differ for good: the best cut of the series into two levels, kept if
fewer than 1 % of random orders of the same runs have one as good, and if the levels are further apart than the margin;
then each part is searched again (binary segmentation with a permutation test; Vostrikova 1981, Matteson & James 2014).
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.measure.statistics import Interval, Values
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.record.observation import FAILURES

EDGES_MS = tuple(125.0 * 2**power for power in range(10))  # of the daily histogram: up to 125 ms, 250 ms, … 64 s
_FEWEST = 3  # runs on each side of a change
_ALPHA, _ORDERS = 0.01, 999
_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True)
class Point:
    """One run. Times in ms; +∞ where so many streams failed, None where nothing was observed."""

    run: Run
    streams: int
    failed: int  # of those with a TTFT that counts, how many never had one
    p50: float | None  # failed streams as +∞
    p95: float | None
    interval: Interval  # of the p95
    baselines: tuple[str, ...]  # that it was accepted into
    change: float | None = None  # the level from here on / the level before; None: no change point


@dataclass(frozen=True)
class Day:
    date: str  # UTC
    counts: tuple[int, ...]  # streams by their TTFT: up to each of EDGES_MS, then above
    failed: int


@dataclass(frozen=True)
class History:
    points: list[Point]  # oldest first
    days: list[Day]
    others: int  # runs of the database that did other work


def read(store: Store, run_id: str | None = None, margin: float = 0.05) -> History:
    """The finished runs of the same work as one of them (None: the newest). StoreError."""
    kind = store.run(run_id).fingerprint
    finished = [run for run in store.runs() if run.status == "finished"]
    alike = [run for run in finished if run.fingerprint == kind]
    accepted: dict[str, list[str]] = {}
    for name, runs in store.accepted().items():
        for each in runs:
            accepted.setdefault(each.run, []).append(name)
    days: dict[int, NDArray[np.int64]] = {}
    points = [_point(store, run, tuple(accepted.get(run.id, ())), days) for run in alike]
    return History(_marked(points, margin), [_day(*one) for one in sorted(days.items())], len(finished) - len(alike))


def _point(store: Store, run: Run, baselines: tuple[str, ...], days: dict[int, NDArray[np.int64]]) -> Point:
    measurements = Measurements(only=("ttft",))
    for streams in store.streams(run.id):
        measurements.take(streams)
        ttft = (streams.number["first_content_at"] - streams.number["due_at"]) / 1e6
        failed = np.isin(streams.outcome, [outcome.value for outcome in FAILURES])
        bucket = np.where(failed, len(EDGES_MS) + 1, np.searchsorted(EDGES_MS, ttft))
        on = ((run.realtime_ns + streams.number["due_at"]) // _DAY_NS).astype(np.int64)
        for day in np.unique(on):
            mine = (on == day) & (failed | ~np.isnan(ttft))
            counts = np.bincount(bucket[mine], minlength=len(EDGES_MS) + 2)
            days[int(day)] = days.get(int(day), np.zeros(len(EDGES_MS) + 2, np.int64)) + counts
    samples = measurements.distribution("ttft")
    values, counts = samples.gated()
    return Point(
        run=run,
        streams=measurements.totals().streams,
        failed=samples.failed,
        p50=statistics.quantile(values, counts, 0.50),
        p95=statistics.quantile(values, counts, 0.95),
        interval=statistics.quantile_interval(values, counts, 0.95),
        baselines=baselines,
    )


def _day(number: int, counts: NDArray[np.int64]) -> Day:
    date = datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()
    return Day(date, tuple(int(count) for count in counts[:-1]), int(counts[-1]))


def _marked(points: Sequence[Point], margin: float) -> list[Point]:
    """The same with their change points. A run without a finite p95 is no part of any level."""
    known = [place for place, point in enumerate(points) if point.p95 is not None and 0 < point.p95 < math.inf]
    y = np.log([points[place].p95 or math.nan for place in known])
    marked = list(points)
    bounds = [0, *change_points(y, math.log1p(margin)), len(y)]
    for before, at, after in zip(bounds, bounds[1:-1], bounds[2:], strict=False):
        change = float(np.exp(y[at:after].mean() - y[before:at].mean()))
        marked[known[at]] = replace(points[known[at]], change=change)
    return marked


def change_points(y: Values, margin: float) -> list[int]:
    """The places at which a new level of y begins, in order."""
    n = len(y)
    if n < 2 * _FEWEST:
        return []
    orders = np.random.default_rng(n).permuted(np.tile(y, (_ORDERS, 1)), axis=1)
    gains = _gains(y[None, :])[0]
    best = int(gains.argmax())
    cut = best + _FEWEST
    as_good = int((_gains(orders).max(axis=1) >= gains[best]).sum())
    if (as_good + 1) / (_ORDERS + 1) > _ALPHA or abs(y[cut:].mean() - y[:cut].mean()) <= margin:
        return []
    return [*change_points(y[:cut], margin), cut, *(cut + place for place in change_points(y[cut:], margin))]


def _gains(series: Values) -> Values:
    """For each row and each cut that leaves enough on both sides: the sum of squares that two levels explain."""
    n = series.shape[-1]
    left = np.arange(_FEWEST, n - _FEWEST + 1)
    sums = np.cumsum(series - series.mean(-1, keepdims=True), -1)[:, left - 1]
    gains: Values = sums**2 * n / (left * (n - left))
    return gains


_COLUMNS = (
    "run", "started_at", "branch", "commit", "streams", "failed", "ttft_p50_ms", "ttft_p95_ms", "ttft_p95_low_ms",
    "ttft_p95_high_ms", "baselines", "change",
)  # fmt: skip


def table(history: History) -> str:
    """The runs as CSV (RFC 4180), a header first. Empty is what was not observed, `inf` what never came."""
    text = io.StringIO()
    rows = csv.DictWriter(text, _COLUMNS)
    rows.writeheader()
    for point in history.points:
        low, high = point.interval
        named = {name: point.run.labels.get(name) for name in ("branch", "commit")}
        figures = {"ttft_p50_ms": point.p50, "ttft_p95_ms": point.p95, "ttft_p95_low_ms": low, "ttft_p95_high_ms": high}
        counted = {"streams": point.streams, "failed": point.failed, "change": point.change}
        told = {"run": point.run.id, "started_at": point.run.started_at, "baselines": " ".join(point.baselines)}
        rows.writerow({**told, **named, **counted, **figures})
    return text.getvalue()
