"""Writes how often each gap between chunks occurred, so that SQL can compute percentiles of ITL.

A gap is rounded to three significant digits, which keeps their order: so a percentile of the rounded gaps is the
percentile itself, rounded. The counts are derived, and replaced each time that a run is judged.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.measure.arrays import Integers
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.store import GapCounts, Store
from streamgauge.harness.judge.verdict.judgement import Judgement


def keep(store: Store, judged: Judgement) -> None:
    """Store the counts of a judged run, in place of those that are there. StoreError."""
    store.replace_itl_counts(judged.run.id, _counts(judged.measurements))


def _counts(measurements: Measurements) -> Iterator[GapCounts]:
    users, networks, behaviours = (measurements.values(key) for key in ("user", "network", "behaviour"))
    for user, network, behaviour in itertools.product(users, networks, behaviours):
        gaps = measurements.distribution("itl", Where(user=user, network=network, behaviour=behaviour))
        rounded = _rounded(np.rint(gaps.values * 1_000).astype(np.int64))
        firsts = np.flatnonzero(np.diff(rounded, prepend=rounded[:1] - 1))  # of equal lengths: rounding keeps the order
        lengths = rounded[firsts]
        counts = np.add.reduceat(gaps.counts, firsts) if len(firsts) else gaps.counts
        yield GapCounts(user, network, behaviour, lengths.tolist(), counts.tolist())


def _rounded(us: Integers) -> Integers:
    """To three significant digits; what has less stays as it is."""
    digits = np.floor(np.log10(np.maximum(us, 1))).astype(np.int64) + 1
    unit = 10 ** np.maximum(digits - 3, 0)
    rounded: Integers = (us + unit // 2) // unit * unit
    return rounded
