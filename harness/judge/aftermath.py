"""What the server did after people had gone, from readings of its own counters during the run. Pure.

The counters are the whole server's: they tell of our people only while it serves nobody else.
"""

import math

import numpy as np

from harness.judge.store import Readings

GENERATED = "server_generated"  # sample: tokens that the server has generated, ever: a counter
ACTIVE = "server_active"  # sample: answers that it is generating now
WATCHED = 5e9  # ns after the last stream: a server that is busy all that time has not stopped


def generated(readings: Readings) -> float | None:
    """Tokens generated between the first reading and the last. None with fewer than two readings of one process.

    A counter that falls began again at 0 (Prometheus's reading). Where several processes read the same counter, the
    one that saw most of it is taken.
    """
    workers = np.array(readings.worker)
    grown = []
    for worker in set(readings.worker):
        values = readings.value[workers == worker]
        if len(values) > 1:
            grown.append(float(np.where(np.diff(values) < 0, values[1:], np.diff(values)).sum()))
    return max(grown, default=None)


def stopped_after(readings: Readings, began: float, ended: float) -> float | None:
    """From the end of the last stream until the server was as idle as before the first: ms, +inf if it never was.

    No finer than the readings are apart, and never too short. `began` and `ended` are those moments, ns. None where
    the readings do not go on until it was idle, or for WATCHED.
    """
    earlier = readings.value[readings.at < began]
    later = readings.at >= ended
    idle = readings.at[later & (readings.value <= (earlier[-1] if len(earlier) else 0))]
    if len(idle):
        return float(idle[0] - ended) / 1e6
    return math.inf if (readings.at[later] >= ended + WATCHED).any() else None
