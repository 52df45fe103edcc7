"""Is this build worse than the last? The statistics of the decision, on arrays of y (see `gate`). Pure.

The unit is the run, not the stream, because the streams of one run are correlated. Whether a metric is worse is decided
in two stages, both at α = 0.05:

    stage 1   the first 3 candidate runs against the baseline's: one-sided t test with pooled variance, Holm over the
              metrics, and the change itself beyond the margin. If no metric is suspicious, nothing has regressed.
    stage 2   5 fresh runs, tested alone in the same way, Holm over the suspicious metrics. Both stages must reject.

Runs of two builds that took turns are compared in pairs, in one stage at α = 0.01. An improvement is decided in one
stage at α = 0.01, too: it stops no build. tests/pure/test_gate_simulation.py measures the error rates.

All y have the shape (…, metrics, runs), so that a simulation can decide thousands of comparisons at once.
"""

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.statistics import Shift, Values

FIRST_RUNS, FRESH_RUNS = 3, 5
FEWEST_PAIRS = 4
_ALPHA = 0.05
_ALPHA_ONE_STAGE = 0.01

Mask = NDArray[np.bool_]


def shift(baseline: Values, candidate: Values, test: str) -> Shift:
    """The shift by the configured test. A metric with a y that is not finite is tested by ranks instead."""
    if test == "mann_whitney":
        return statistics.shift_of_ranks(baseline, candidate)
    finite = np.isfinite(baseline).all(-1) & np.isfinite(candidate).all(-1)
    if finite.all():
        return statistics.shift_of_means(baseline, candidate)
    with np.errstate(invalid="ignore"):
        means = statistics.shift_of_means(baseline, candidate)
    return _where(finite, means, statistics.shift_of_ranks(baseline, candidate))


def shift_in_turns(before: Values, after: Values) -> Shift:
    """The shift of runs in pairs. A metric with a y that is not finite is tested by ranks, which ignore the pairs."""
    finite = np.isfinite(before).all(-1) & np.isfinite(after).all(-1)
    with np.errstate(invalid="ignore"):
        pairs = statistics.shift_of_pairs(after - before)
    return _where(finite, pairs, statistics.shift_of_ranks(before, after))


def _where(finite: Mask | np.bool_, means: Shift, ranks: Shift) -> Shift:
    return Shift(*(np.where(finite, mean, rank) for mean, rank in zip(means, ranks, strict=True)))


def worse(shift: Shift, margin: Values, among: Mask | None = None, alpha: float = _ALPHA) -> Mask:
    """One stage: which metrics are significantly worse and beyond the margin. Holm's family is `among` (None: all)."""
    family = np.ones(shift.by.shape, bool) if among is None else among
    return statistics.holm(shift.above, alpha, family) & (shift.by > margin)


def better(shift: Shift, margin: Values) -> Mask:
    mirrored = Shift(-shift.by, shift.below, shift.above, -shift.high, -shift.low)
    return worse(mirrored, margin, alpha=_ALPHA_ONE_STAGE)


def regressed(baseline: Values, first: Values, fresh: Values, margin: Values, test: str = "t") -> Mask:
    """Which metrics are worse in both stages: for simulations. `comparison` decides a real gate, stage by stage."""
    suspicious = worse(shift(baseline, first, test), margin)
    return worse(shift(baseline, fresh, test), margin, suspicious)


def regressed_in_turns(before: Values, after: Values, margin: Values) -> Mask:
    return worse(shift_in_turns(before, after), margin, alpha=_ALPHA_ONE_STAGE)
