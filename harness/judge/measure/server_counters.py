"""What the server did after people had left, computed from samples of its own counters during the run. Pure.

The counters cover the whole server, so the result is true only if no other client used the server during the run.
"""

import math

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.judge.store import VitalSeries
from streamgauge.harness.record.idleness import WATCHED, idle_level

_STILL = 3e9  # ns without a new token, although the gauge shows active answers: then the gauge is stale


def generated(samples: VitalSeries, began: float, ended: float) -> float | None:
    """Tokens generated between the first sample and the last.

    `began` is the start of the first stream and `ended` the end of the last one, ns. None unless the first sample is
    before `began` and the last sample after `ended`.
    """
    if not _cover(samples, began, ended):
        return None
    return float(growth(samples)[-1])


def growth(samples: VitalSeries) -> NDArray[np.float64]:
    """How much a counter had grown since the first sample, at each sample. As in Prometheus, a fall is a reset to 0."""
    more = np.diff(samples.value, prepend=samples.value[:1])
    return np.cumsum(np.where(more < 0, samples.value, more))


def stopped_after(active: VitalSeries, generated: VitalSeries, began: float, ended: float) -> float | None:
    """From the end of the last stream until the server was as idle as before the first: ms, +inf if it never was.

    Rounded up to the next sample. `began` and `ended` are as in `generated`. None if there is no sample before the
    first stream, or if sampling stopped while the server was still busy and before WATCHED had passed.

    If the gauge is stale and never falls (see `idle_level`), the server stopped when the token counter last grew.
    """
    level = idle_level(active.value[active.at <= began].tolist(), generated.value[generated.at <= began].tolist())
    if level is None or not _cover(active, began, ended):
        return None
    idle = active.at[(active.at >= ended) & (active.value <= level)]
    if len(idle):
        return float(idle[0] - ended) / 1e6
    if active.at[-1] < ended + WATCHED:
        return None
    tokens = growth(generated)
    still = generated.at[(generated.at >= ended) & (tokens == max(tokens, default=0.0))]
    return float(still[0] - ended) / 1e6 if len(still) and still[-1] - still[0] >= _STILL else math.inf


def _cover(samples: VitalSeries, began: float, ended: float) -> bool:
    return len(samples.at) > 1 and samples.at[0] <= began and samples.at[-1] >= ended
