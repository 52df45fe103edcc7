"""Equal runs of a database, with what a proposal for a time budget needs to know of them."""

import statistics
from collections.abc import Sequence

import numpy as np

from streamgauge.harness.errors import BaselineError
from streamgauge.harness.judge.compare import same_work
from streamgauge.harness.judge.compare.budget import Recorded
from streamgauge.harness.judge.compare.comparison import Figures
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.run_figures import figures_in, figures_of_runs
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.store import Run, Store

_LONGEST_PAUSE = 60.0  # s between two runs of a series; more is somebody's break
_USUAL_PAUSE = 3.0  # s, where no two runs followed each other


def recorded(store: Store, run_ids: Sequence[str], gate: Gate) -> Recorded:
    """BaselineError if none of the runs is fit to be compared, or they did different work."""
    observed = figures_of_runs(store, run_ids, gate)
    runs = [store.run(run_id) for run_id in observed.figures]
    if not runs:
        raise BaselineError(f"{store.path}: none of these runs can be compared: {next(iter(observed.faults.values()))}")
    for run in runs[1:]:
        same_work.require(runs[0].id, runs[0].fingerprint, run)
    warm_ups = [(run.measured_from or 0) / 1e9 for run in runs]
    took = [store.duration(run) / 1e9 for run in runs]
    return Recorded(
        runs=list(observed.figures.values()),
        halves=[_halves(store, run, gate) for run in runs],
        seconds=max(statistics.median(t - w for t, w in zip(took, warm_ups, strict=True)), 1e-3),
        warm_up=statistics.median(warm_ups),
        pause=_pause(runs, took),
    )


def _pause(runs: Sequence[Run], took: Sequence[float]) -> float:
    gaps = [
        (after.realtime_ns - before.realtime_ns) / 1e9 - lasted
        for before, after, lasted in zip(runs, runs[1:], took, strict=False)
    ]
    pauses = [gap for gap in gaps if 0 <= gap <= _LONGEST_PAUSE]
    return statistics.median(pauses) if pauses else _USUAL_PAUSE


def _halves(store: Store, run: Run, gate: Gate) -> tuple[Figures, Figures]:
    """The figures of the streams that were due in the first half of the measured time, and of the others."""
    begins = run.measured_from or 0
    seconds = (store.duration(run) - begins) / 1e9
    middle = begins + seconds * 1e9 / 2
    names = {metric.subject.name for metric in gate.metrics}
    early, late = Measurements(only=names), Measurements(only=names)
    for streams in store.streams(run.id):
        is_late = streams.number["due_at"] >= middle
        early.take(streams.select(np.flatnonzero(~is_late)))
        late.take(streams.select(np.flatnonzero(is_late)))
    return figures_in(early, seconds / 2, gate), figures_in(late, seconds / 2, gate)
