"""What the server did after people had gone, from readings of its own counters during the run. Pure.

The counters are the whole server's: they tell of our people only while it serves nobody else.
"""

import math

import numpy as np
from numpy.typing import NDArray

from harness.judge.store import Readings

GENERATED = "server_generated"  # sample: tokens that the server has generated, ever: a counter
ACTIVE = "server_active"  # sample: answers that it is generating now
WATCHED = 5e9  # ns after the last stream: a server that is busy all that time has not stopped


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
    more = np.diff(readings.value)
    return np.concatenate([[0.0], np.cumsum(np.where(more < 0, readings.value[1:], more))])


def stopped_after(readings: Readings, began: float, ended: float) -> float | None:
    """From the end of the last stream until the server was as idle as before the first: ms, +inf if it never was.

    No finer than the readings are apart, and never too short. `began` and `ended` are those moments, ns. None where
    there is no reading before the first, or where they do not go on until it was idle, or for WATCHED.
    """
    if not _cover(readings, began, ended):
        return None
    before = readings.value[readings.at <= began][-1]
    later = readings.at >= ended
    idle = readings.at[later & (readings.value <= before)]
    if len(idle):
        return float(idle[0] - ended) / 1e6
    return math.inf if readings.at[-1] >= ended + WATCHED else None


def _cover(readings: Readings, began: float, ended: float) -> bool:
    return len(readings.at) > 1 and readings.at[0] <= began and readings.at[-1] >= ended
