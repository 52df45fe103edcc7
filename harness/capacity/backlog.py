"""An open load that the server does not keep up with: more and more streams are open at once. Pure.

Such a load has no steady state. Its streams wait longer the longer it lasts, so what share of them is bad would say
more about the time than about the server.
"""

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats

_FEWEST = 10  # samples, which are a second apart
_T = 3.0  # of the slope
_DEVIATIONS = 3.0  # by which the streams must have risen: around a steady mean they vary by its square root


def grows(at: Floats, streams: Floats) -> bool:
    """Whether the open streams rise with time; `at` in any unit."""
    if len(at) < _FEWEST or np.ptp(at) == 0:
        return False
    slope, level = np.polyfit(at, streams, 1)
    left = streams - (slope * at + level)
    error = np.sqrt(np.square(left).sum() / (len(at) - 2) / np.square(at - at.mean()).sum())
    rise = slope * np.ptp(at)
    steady = max(1.0, float(streams[: len(streams) // 2].mean()))
    return bool(slope > _T * error and rise > _DEVIATIONS * np.sqrt(steady))
