"""One metric in figures: quantiles, mean, extremes, and the intervals that say how far to trust them. Pure."""

from dataclasses import dataclass

import numpy as np

from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.distribution import Distribution
from streamgauge.harness.judge.measure.statistics import Interval

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Summary:
    """Figures are in the metric's unit, and None if nothing was observed."""

    unit: str
    n: int  # samples that were observed
    failed: int  # failed streams, which are +inf in `gated`
    missing: int  # streams without a sample, which `quantiles` leave out
    quantiles: dict[str, float | None]  # p50, p95 and p99 of what was observed
    intervals: dict[str, Interval]  # of the quantiles
    gated: dict[str, float | None]  # the quantiles with failed streams as +inf
    mean: float | None
    min: float | None
    max: float | None


def summary(samples: Distribution) -> Summary:
    """The intervals of a pooled metric allow for the samples of one stream being alike."""
    values, counts = samples.values, samples.counts
    gated = samples.gated()
    quantiles = {name: statistics.quantile(values, counts, q) for name, q in QUANTILES.items()}
    return Summary(
        unit=samples.metric.unit,
        n=samples.n,
        failed=samples.failed,
        missing=samples.missing,
        quantiles=quantiles,
        intervals={
            name: statistics.quantile_interval(
                values, counts, q, independent_samples(samples, samples.n, quantiles[name])
            )
            for name, q in QUANTILES.items()
        },
        gated={name: statistics.quantile(*gated, q) for name, q in QUANTILES.items()},
        mean=statistics.mean(values, counts),
        min=float(values[0]) if len(values) else None,
        max=float(values[-1]) if len(values) else None,
    )


def independent_samples(samples: Distribution, n: int, at: float | None) -> float | None:
    """How many independent samples `n` pooled ones are worth; None if the metric is not pooled, so that all n count.

    For the share of samples at most `at`; if that is None, for their mean.
    """
    if not samples.metric.pooled:
        return None
    values, owners = samples.clusters
    return statistics.effective_samples(n, values if at is None else (values <= at).astype(np.float64), owners)
