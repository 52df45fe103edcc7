"""One metric in figures: quantiles with their confidence intervals, mean and extremes. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.measure.distribution import Distribution
from streamgauge.harness.judge.measure.statistics import Interval

T = TypeVar("T")


class Quantiles(NamedTuple, Generic[T]):
    """One value for each quantile that a summary has."""

    p50: T
    p95: T
    p99: T

    @classmethod
    def of(cls, figure: Callable[[float], T]) -> "Quantiles[T]":
        return cls(figure(0.50), figure(0.95), figure(0.99))


def quantiles(values: Floats, counts: Integers) -> Quantiles[float | None]:
    """Of sorted distinct values and how often each occurred; None if there are none."""
    return Quantiles.of(lambda q: statistics.quantile(values, counts, q))


@dataclass(frozen=True)
class Summary:
    """Figures are in the metric's unit, and None if nothing was observed."""

    unit: str
    n: int  # samples that were observed
    failed: int  # failed streams, which are +inf in `gated`
    missing: int  # streams without a sample, which `quantiles` leave out
    quantiles: Quantiles[float | None]  # of what was observed
    intervals: Quantiles[Interval]  # of the quantiles
    gated: Quantiles[float | None]  # the quantiles with failed streams as +inf
    mean: float | None
    min: float | None
    max: float | None


def summary(samples: Distribution) -> Summary:
    """Summarise a metric. The intervals of a pooled metric account for the correlation within each stream."""
    values, counts = samples.values, samples.counts
    return Summary(
        unit=samples.metric.unit,
        n=samples.n,
        failed=samples.failed,
        missing=samples.missing,
        quantiles=quantiles(values, counts),
        intervals=Quantiles.of(lambda q: _interval(samples, q)),
        gated=quantiles(*samples.gated()),
        mean=statistics.mean(values, counts),
        min=float(values[0]) if len(values) else None,
        max=float(values[-1]) if len(values) else None,
    )


def _interval(samples: Distribution, q: float) -> Interval:
    values, counts = samples.values, samples.counts
    worth = independent_samples(samples, samples.n, statistics.quantile(values, counts, q))
    return statistics.quantile_interval(values, counts, q, worth)


def independent_samples(samples: Distribution, n: int, at: float | None) -> float | None:
    """How many independent samples `n` pooled ones are worth; None for a metric that is not pooled.

    `at` is the value of the quantile in question; None: for the mean.
    """
    if not samples.metric.pooled:
        return None
    values, _ = samples.clusters
    of_figure = values if at is None else (values <= at).astype(np.float64)
    return statistics.effective_samples_of(n, of_figure, samples.numbered)
