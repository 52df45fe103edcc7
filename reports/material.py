"""What the panels draw from, computed once: a judgement, and one more pass over the streams for what it does not keep.

Memory does not grow with streams: metrics over time are counted in buckets 1 % wide, so that a quantile of one bin is
within 0.5 %. The judgement's own figures are exact; these are for looking at.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.judge.judgement import Judgement
from harness.judge.metrics import COALESCED_US, content_gaps
from harness.judge.store import Failure, Readings, Store, Streams
from harness.observation import FAILURES

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MOST_BINS = 120
FEWEST_BINS = 20
STREAMS_A_BIN = 15  # below about this many, a bin's p95 is just its slowest stream
SAMPLES = ("users", "active_streams", "cpu_percent", "loop_lag_ms")
MOST_FAILURES = 12

_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Course:
    """A metric over time, one entry a bin; None where the bin had no sample."""

    n: list[int]
    p50: list[float | None]  # ms
    p95: list[float | None]


@dataclass(frozen=True)
class Timeline:
    width: float  # of a bin, s
    starts: list[float]  # s since the run began
    ttft: Course  # by the time that the stream was due
    itl: Course  # by the time that the gap ended
    streams: list[int]  # due in the bin
    failed: dict[str, list[int]]  # of those, by outcome; only outcomes that occurred
    users: list[float] | None  # at the bin's end, over all workers; None where nobody counted them


@dataclass(frozen=True)
class Material:
    judgement: Judgement
    timeline: Timeline
    failures: list[Failure]  # the most frequent first, at most MOST_FAILURES
    samples: dict[str, Readings]  # by name, of SAMPLES


def gather(store: Store, judgement: Judgement) -> Material:
    """StoreError when the database cannot be read."""
    run = judgement.run.id
    samples = {name: store.samples(run, name) for name in SAMPLES}
    width, count = _bins(judgement)
    ttft, itl = _Course(count), _Course(count)
    streams = np.zeros(count, np.int64)
    failed: dict[str, Integers] = {}
    for batch in store.decoded(run):
        due = _bin_of(batch.number["due_at"], width, count)
        streams += np.bincount(due, minlength=count)
        outcomes = np.array(batch.text["outcome"])
        for outcome in sorted({*batch.text["outcome"]} & {failure.value for failure in FAILURES}):
            seen = np.bincount(due[outcomes == outcome], minlength=count)
            failed[outcome] = failed.get(outcome, np.zeros(count, np.int64)) + seen
        first = batch.number["first_content_at"] - batch.number["due_at"]
        came = ~np.isnan(first)
        ttft.add(due[came], first[came] / 1e6)
        ended, gaps = _gaps(batch)
        itl.add(_bin_of(ended, width, count), gaps)
    timeline = Timeline(
        width=width,
        starts=[place * width for place in range(count)],
        ttft=ttft.course(),
        itl=itl.course(),
        streams=streams.tolist(),
        failed={outcome: counts.tolist() for outcome, counts in failed.items()},
        users=_at_bin_ends(samples["users"], width, count),
    )
    return Material(judgement, timeline, store.failures(run, MOST_FAILURES), samples)


def _bins(judgement: Judgement) -> tuple[float, int]:
    """How wide a bin is, s, and how many there are."""
    wanted = min(MOST_BINS, max(FEWEST_BINS, judgement.totals.streams // STREAMS_A_BIN))
    seconds = max(judgement.seconds, 1.0)
    width = next((width for width in _WIDTHS if seconds / width <= wanted), seconds / wanted)
    # A rest of less than half a bin goes to the last one: on its own it would be a few streams that look like a jump.
    return width, max(1, round(seconds / width))


def _bin_of(moments: Floats, width: float, count: int) -> Integers:
    return np.clip(moments / 1e9 // width, 0, count - 1).astype(np.int64)


def _gaps(streams: Streams) -> tuple[Floats, Floats]:
    """When each gap of `itl` ended, ns, and how long it was, ms."""
    gaps, owner = content_gaps(streams)
    if len(gaps) == 0:
        return np.zeros(0), np.zeros(0)
    so_far = np.cumsum(gaps)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    before = np.repeat(so_far[first] - gaps[first], np.diff(first, append=len(gaps)))
    ended = streams.number["first_content_at"][owner] + (so_far - before) * 1e3
    apart = gaps >= COALESCED_US
    return ended[apart], gaps[apart] / 1e3


class _Course:
    """Counts by bin of time and bucket of value."""

    STEP = math.log(1.01)
    LOWEST = 0.01  # ms
    BUCKETS = 2_200  # up to 0.01 ms · 1.01^2200: a year

    def __init__(self, bins: int) -> None:
        self._counts = np.zeros((bins, self.BUCKETS), np.int64)

    def add(self, place: Integers, ms: Floats) -> None:
        bucket = np.log(np.maximum(ms, self.LOWEST) / self.LOWEST) / self.STEP
        flat = place * self.BUCKETS + np.minimum(bucket, self.BUCKETS - 1).astype(np.int64)
        self._counts += np.bincount(flat, minlength=self._counts.size).reshape(self._counts.shape)

    def course(self) -> Course:
        n = self._counts.sum(axis=1)
        return Course(n.tolist(), self._quantile(n, 0.5), self._quantile(n, 0.95))

    def _quantile(self, n: Integers, q: float) -> list[float | None]:
        rank = np.ceil(q * n - 1e-9)
        bucket = (np.cumsum(self._counts, axis=1) >= np.maximum(rank, 1)[:, None]).argmax(axis=1)
        middle = self.LOWEST * np.exp((bucket + 0.5) * self.STEP)
        return [float(value) if count else None for value, count in zip(middle, n, strict=True)]


def _at_bin_ends(readings: Readings, width: float, count: int) -> list[float] | None:
    """What every worker had last said by the end of each bin, added up."""
    if not readings.worker:
        return None
    total = np.zeros(count)
    ends = (np.arange(count) + 1) * width * 1e9
    workers = np.array(readings.worker)
    for worker in sorted(set(readings.worker)):
        mine = workers == worker
        last = np.searchsorted(readings.at[mine], ends) - 1
        total += np.where(last >= 0, readings.value[mine][np.maximum(last, 0)], 0)
    return [float(value) for value in total]
