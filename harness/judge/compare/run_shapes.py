"""How TTFT and ITL of compared runs were distributed, for a page that lays them over each other. Pure.

A run takes 70 kB, however many streams it has: values are counted in buckets 0.5 % wide. Failed streams count as
infinitely late, as in the gate.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.measure.distribution import Distribution
from streamgauge.harness.judge.store import Run
from streamgauge.harness.judge.verdict.judgement import Judgement

METRICS = ("ttft", "itl")
_LOWEST, _STEP = 0.01, math.log(1.005)  # ms; of the buckets' edges
_BUCKETS = 4_400  # up to nine hours


@dataclass(frozen=True)
class Shape:
    """A distribution in buckets."""

    counts: Integers
    failed: int  # beyond all buckets

    @property
    def n(self) -> int:
        return int(self.counts.sum()) + self.failed

    def quantiles(self, q: Floats) -> Floats:
        """In ms: the middle of the bucket; +∞ where failed streams reach. NaN without a sample."""
        if not self.n:
            return np.full(len(q), np.nan)
        rank = np.maximum(np.ceil(q * self.n - 1e-9), 1)
        place = np.searchsorted(np.cumsum(self.counts), rank)
        return np.where(place < _BUCKETS, _LOWEST * np.exp((place + 0.5) * _STEP), np.inf)


@dataclass(frozen=True)
class RunShape:
    """One run, in ms."""

    run: Run
    streams: int
    failed: int  # streams that failed before a first token
    p50: float | None  # TTFT
    p95: float | None  # TTFT
    p95_itl: float | None
    shapes: dict[str, Shape]  # by METRICS


@dataclass
class RunShapes:
    """Takes the judgements of compared runs, and keeps of each what is drawn."""

    runs: dict[str, RunShape] = field(default_factory=dict)  # by id

    def take(self, judged: Judgement) -> None:
        ttft, itl = (judged.distributions[name] for name in METRICS)
        self.runs[judged.run.id] = RunShape(
            run=judged.run,
            streams=judged.totals.streams,
            failed=ttft.failed,
            p50=statistics.quantile(*ttft.gated(), 0.50),
            p95=statistics.quantile(*ttft.gated(), 0.95),
            p95_itl=statistics.quantile(*itl.gated(), 0.95),
            shapes={"ttft": _shape(ttft), "itl": _shape(itl)},
        )

    def of(self, ids: Iterable[str]) -> list[RunShape]:
        """Of these runs, those that were taken: the streams of an imported run are not at hand."""
        return [self.runs[run] for run in ids if run in self.runs]


def pooled(shapes: Iterable[Shape]) -> Shape:
    """All samples of several runs together."""
    every = list(shapes)
    counts = sum((shape.counts for shape in every), np.zeros(_BUCKETS, np.int64))
    return Shape(counts, sum(shape.failed for shape in every))


def _shape(distribution: Distribution) -> Shape:
    values, counts = distribution.gated()
    finite = np.isfinite(values)
    bucket = np.log(np.maximum(values[finite], _LOWEST) / _LOWEST) / _STEP
    place = np.minimum(bucket.astype(np.int64), _BUCKETS - 1)
    binned = np.bincount(place, counts[finite], minlength=_BUCKETS).astype(np.int64)
    return Shape(binned, int(counts[~finite].sum()))
