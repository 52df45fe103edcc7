"""All samples of one metric over some streams, plain and gated.

The plain samples are those that were observed. The gated samples, for rules and gates, count a failed stream as +inf:
without that, failing fast would look like an improvement. No quantile is computed here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from streamgauge.harness.judge.measure import clusters
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.measure.clusters import ClusterSample
from streamgauge.harness.judge.measure.metrics import Metric
from streamgauge.harness.judge.measure.observe import Observed
from streamgauge.harness.judge.measure.tally import Tally, merged


@dataclass(frozen=True)
class Distribution:
    """Values are in the metric's unit, sorted and distinct; counts say how often each occurred."""

    metric: Metric
    values: Floats  # the plain samples
    counts: Integers
    kept: tuple[Floats, Integers]  # the plain samples without those of failed streams
    failed: int  # how many +inf are among the gated samples
    elapsed: Floats  # of the streams that the run's end cut off before they had a value: how long each had waited, ms
    missing: int  # streams without a plain sample, for whatever reason
    clusters: tuple[Floats, Integers]  # of a pooled metric: the samples of some whole streams, and how many each has

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def numbered(self) -> Integers:
        """For each sample of `clusters` the number of its stream, counted from 0."""
        _, counts = self.clusters
        return np.repeat(np.arange(len(counts)), counts)

    def gated(self, limit: float | None = None) -> tuple[Floats, Integers]:
        """Values and counts, with +inf for failed streams.

        A stream that the run's end cut off before it had a value counts as +inf if it had already waited for `limit`
        (ms). Otherwise its value is unknown, and it is left out. Without a limit, all such streams are left out.
        """
        values, counts = self.kept
        never = self.failed + (int((self.elapsed >= limit).sum()) if limit is not None else 0)
        if never == 0:
            return values, counts
        return np.append(values, np.inf), np.append(counts, never)


@dataclass
class Gathered:
    """What was observed of one metric so far, in the metric's ticks, for the streams of one cohort."""

    kept: Tally = field(default_factory=Tally)
    of_failed: Tally = field(default_factory=Tally)  # samples of failed streams: plain, but not gated
    clusters: ClusterSample = field(default_factory=ClusterSample)
    elapsed: list[Floats] = field(default_factory=list)
    failed: int = 0
    missing: int = 0


def gather(metric: Metric, seen: Observed, ids: Integers, bounds: Integers, into: Sequence[Gathered]) -> None:
    """Add what was observed of a batch of streams with these ids.

    Those from `bounds[i]` to `bounds[i + 1]`, at least one, go to `into[i]`. What can be computed for all parts at once
    is: there may be dozens of parts and of metrics.
    """
    starts = bounds[:-1]
    before = np.concatenate([[0], np.cumsum(seen.counts)])[bounds].tolist()
    failed = np.add.reduceat(seen.failed, starts, dtype=np.int64).tolist()
    missing = np.add.reduceat(seen.counts == 0, starts, dtype=np.int64).tolist()
    of_failed = seen.failed if metric.pooled else np.repeat(seen.failed, seen.counts)
    cut_off = None if seen.elapsed is None else ~np.isnan(seen.elapsed)
    for place, part in enumerate(into):
        streams, samples = slice(*bounds[place : place + 2]), slice(*before[place : place + 2])
        part.failed += failed[place]
        part.missing += missing[place]
        ticks = seen.ticks[samples]
        if metric.pooled:
            part.kept.add(ticks)
            part.clusters.add(ticks, ids[streams], seen.counts[streams])
        elif failed[place]:
            part.kept.add(ticks[~of_failed[samples]])
            part.of_failed.add(ticks[of_failed[samples]])
        else:
            part.kept.add(ticks)
        if seen.elapsed is not None and cut_off is not None and cut_off[streams].any():
            part.elapsed.append(seen.elapsed[streams][cut_off[streams]])


def distribution(metric: Metric, parts: Sequence[Gathered]) -> Distribution:
    """One distribution of all that the parts gathered."""
    kept = Tally.joined([part.kept for part in parts]).counted()
    plain = merged([kept, Tally.joined([part.of_failed for part in parts]).counted()])
    ticks, of_each = clusters.joined([part.clusters for part in parts])
    unit = metric.ticks_per_unit
    values = plain[0] / unit
    elapsed = [np.zeros(0)]
    for part in parts:
        elapsed += part.elapsed
    return Distribution(
        metric=metric,
        values=values,
        counts=plain[1],
        kept=(values if kept is plain else kept[0] / unit, kept[1]),
        failed=sum(part.failed for part in parts),
        elapsed=np.concatenate(elapsed) / 1e6,
        missing=sum(part.missing for part in parts),
        clusters=(ticks / unit, of_each),
    )
