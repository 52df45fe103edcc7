"""Is this build worse than the last? The statistics of the decision, on arrays of y (see `gate`). Pure.

The unit is the run, not the stream, because the streams of one run are correlated. Whether a metric is worse is decided
in two stages, both at α = 0.05:

    stage 1   a few candidate runs (3 by default) against the baseline's: one-sided t test with pooled variance, Holm
              over the metrics, and the change itself beyond the margin. If no metric is suspicious, nothing has
              regressed.
    stage 2   fresh runs (5 by default), tested alone in the same way, Holm over the suspicious metrics. Both stages
              must reject.

Stage 1 looks at the runs after each of them, and ends early if they are clear. A look before the last one is suspicious
only at α = 0.001, and the last one has what these looks leave of 0.05: so all looks together have at most 0.05, however
they depend on each other (Haybittle 1971; Peto et al. 1976; with Bonferroni's bound). It ends as clearly fine if the
95 % interval of every metric rules out a change beyond the margin. That can only prevent alarms.

Runs of two builds that took turns are compared in pairs, in one stage at α = 0.01. An improvement is decided in one
stage at α = 0.01, too: it stops no build. tests/pure/test_gate_simulation.py measures the error rates.

All y have the shape (…, metrics, runs), so that a simulation can decide thousands of comparisons at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.statistics import Shift, Values

FEWEST_PAIRS = 4
_ALPHA = 0.05
_ALPHA_EARLY = 0.001
_ALPHA_ONE_STAGE = 0.01

Mask = NDArray[np.bool_]


class Settings(NamedTuple):
    """Of a comparison in two stages; arrays have one entry for each metric."""

    margin: Values  # in y: a smaller change is not reported
    clear: Values  # in y: stage 1 is clearly fine if it rules out a larger change
    test: str = "t"
    first_runs: int = 3  # of stage 1, at most
    fresh_runs: int = 5  # of stage 2


def shift(baseline: Values, candidate: Values, test: str) -> Shift:
    """The shift by the configured test. A metric with a y that is not finite is tested by ranks instead."""
    if test == "mann_whitney":
        return _shift_of_ranks(baseline, candidate)
    finite = np.isfinite(baseline).all(-1) & np.isfinite(candidate).all(-1)
    if finite.all():
        return statistics.shift_of_means(baseline, candidate)
    with np.errstate(invalid="ignore"):
        means = statistics.shift_of_means(baseline, candidate)
    return _where(finite, means, _shift_of_ranks(baseline, candidate))


def shift_in_turns(before: Values, after: Values) -> Shift:
    """The shift of runs in pairs. A metric with a y that is not finite is tested by ranks, which ignore the pairs."""
    finite = np.isfinite(before).all(-1) & np.isfinite(after).all(-1)
    with np.errstate(invalid="ignore"):
        pairs = statistics.shift_of_pairs(after - before)
    return _where(finite, pairs, _shift_of_ranks(before, after))


def _shift_of_ranks(baseline: Values, candidate: Values) -> Shift:
    """By ranks. Where most runs of both sides are at +∞, too many streams failed to tell how far they are apart."""
    found = statistics.shift_of_ranks(baseline, candidate)
    unknown = np.isposinf(np.median(baseline, -1)) & np.isposinf(np.median(candidate, -1))
    return found._replace(low=np.where(unknown, -np.inf, found.low), high=np.where(unknown, np.inf, found.high))


def _where(finite: Mask | np.bool_, means: Shift, ranks: Shift) -> Shift:
    return Shift(*(np.where(finite, mean, rank) for mean, rank in zip(means, ranks, strict=True)))


def worse(shift: Shift, margin: Values, among: Mask | None = None, alpha: float = _ALPHA) -> Mask:
    """One stage: which metrics are significantly worse and beyond the margin. Holm's family is `among` (None: all)."""
    family = np.ones(shift.by.shape, bool) if among is None else among
    return statistics.holm(shift.above, alpha, family) & (shift.by > margin)


def better(shift: Shift, margin: Values) -> Mask:
    mirrored = Shift(-shift.by, shift.below, shift.above, -shift.high, -shift.low)
    return worse(mirrored, margin, alpha=_ALPHA_ONE_STAGE)


def first_stage(baseline: Values, candidate: Values, settings: Settings) -> tuple[int, Mask]:
    """Stage 1 on the candidate's runs in their order: how many it took, and which metrics are suspicious.

    Runs of a stage that was not ended early, or of both stages, are judged by its last look, as if no other had been.
    """
    runs, first = candidate.shape[-1], settings.first_runs
    looks = [first] if runs == first or runs >= first + settings.fresh_runs else range(1, min(runs, first) + 1)
    for look in looks:
        suspicious = _suspicious(shift(baseline, candidate[..., :look], settings.test), look, settings)
        if suspicious.any():
            break
    return look, suspicious


def confirmed(baseline: Values, fresh: Values, suspicious: Mask, settings: Settings) -> Mask:
    """Stage 2: which of the suspicious metrics are worse in the fresh runs, too."""
    return worse(shift(baseline, fresh, settings.test), settings.margin, suspicious)


def clearly_fine(shift: Shift, clear: Values) -> Mask:
    """Whether the runs rule out a change larger than `clear`, for every metric. An end that is unknown rules out none.

    At the upper end of a two-sided 95 % interval: one that large is overlooked in at most 2.5 % of looks.
    """
    return np.asarray((shift.high <= clear).all(-1))


def _suspicious(shift: Shift, runs: int, settings: Settings) -> Mask:
    last = runs >= settings.first_runs
    alpha = _ALPHA - _ALPHA_EARLY * (settings.first_runs - 1) if last else _ALPHA_EARLY
    return worse(shift, settings.margin, alpha=alpha)


class Simulated(NamedTuple):
    """What the gate did in each of many comparisons."""

    regressed: Mask  # by comparison and metric
    suspicious: Mask  # by comparison: it went on to stage 2
    first_runs: NDArray[np.int64]  # by comparison: how many runs stage 1 took


def simulate(baseline: Values, first: Values, fresh: Values, settings: Settings) -> Simulated:
    """Many comparisons at once, as `comparison` decides a real one run by run."""
    undecided = np.ones(first.shape[:-2], bool)
    suspicious = np.zeros(first.shape[:-1], bool)
    taken = np.full(first.shape[:-2], settings.first_runs)
    for runs in range(1, settings.first_runs + 1):
        found = shift(baseline, first[..., :runs], settings.test)
        now = _suspicious(found, runs, settings) & undecided[..., None]
        suspicious |= now
        ends = undecided & (now.any(-1) | clearly_fine(found, settings.clear))
        taken[ends] = runs
        undecided &= ~ends
    regressed = confirmed(baseline, fresh, suspicious, settings)
    return Simulated(regressed, np.asarray(suspicious.any(-1)), taken)


def regressed_in_turns(before: Values, after: Values, margin: Values) -> Mask:
    return worse(shift_in_turns(before, after), margin, alpha=_ALPHA_ONE_STAGE)
