"""What the server did after people had gone, from readings of its own counters during the run. Pure.

The counters are the whole server's: they tell of our people only while it serves nobody else.
"""

import math

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.judge.store import Readings
from streamgauge.harness.record.idleness import WATCHED, idle_level

_STILL = 3e9  # ns without a new token, though answers are said to be generated: the gauge is stale


def generated(readings: Readings, began: float, ended: float) -> float | None:
    """Tokens generated between the first reading and the last.

    `began` and `ended` are when the first stream began and the last one ended, ns. None where the readings do not go
    from before the one to after the other.
    """
    if not _cover(readings, began, ended):
        return None
    return float(growth(readings)[-1])


def growth(readings: Readings) -> NDArray[np.float64]:
    """How much a counter had grown at each reading since the first. One that falls began again at 0, as Prometheus
    has it."""
    more = np.diff(readings.value, prepend=readings.value[:1])
    return np.cumsum(np.where(more < 0, readings.value, more))


def stopped_after(active: Readings, generated: Readings, began: float, ended: float) -> float | None:
    """From the end of the last stream until the server was as idle as before the first: ms, +inf if it never was.

    No finer than the readings are apart, and never too short. `began` and `ended` are those moments, ns. None where
    there is no reading before the first, or where they do not go on until it was idle, or for WATCHED.

    Some servers stop to refresh the gauge when all their answers are aborted at once (vllm-project/vllm#29928). So
    where it stays up, a counter that stands still to the end says when the server stopped; and a level before the
    first stream at which the counter stood still is none.
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


def _cover(readings: Readings, began: float, ended: float) -> bool:
    return len(readings.at) > 1 and readings.at[0] <= began and readings.at[-1] >= ended
