"""An open load that the server does not keep up with: more and more streams are open at once. Pure.

Such a load has no steady state. Its streams wait longer the longer it lasts, so what share of them is bad says more
about the time than about the server: of a level that is left early enough, every stream is good. So each level is
watched for a while before it can be passed.
"""

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats

AT_LEAST, AT_MOST = 10.0, 60.0  # seconds for which a level is watched
_LIMITS = 10.0  # times the longest wait that a rule allows: so long takes a load 10 % too high to exceed it
_FEWEST = 10  # samples, which are a second apart
_T = 3.0  # of the slope
_DEVIATIONS = 3.5  # by which the streams must have risen
_FITTED = 1.2  # variance of a fitted rise over that of the random walk's own end


def grows(at: Floats, streams: Floats, per_second: float) -> bool:
    """Whether the open streams surely rise. `at`: seconds; `per_second`: so many become due.

    At full load the number of open streams is a random walk, whose deviation after n arrivals and n answers is the root
    of 2 n: only a rise beyond that shows that more come than are answered.
    """
    if len(at) < _FEWEST or (seconds := float(np.ptp(at))) == 0:
        return False
    slope, level = np.polyfit(at - at[0], streams, 1)
    left = streams - (slope * (at - at[0]) + level)
    error = np.sqrt(np.square(left).sum() / (len(at) - 2) / np.square(at - at.mean()).sum())
    walked = np.sqrt(_FITTED * 2 * per_second * seconds)
    return bool(slope > _T * error and slope * seconds > _DEVIATIONS * walked)


def watched(longest_wait: float | None) -> float:
    """For how many seconds streams must have become due before a level can be passed. None: no rule limits a wait."""
    return AT_MOST if longest_wait is None else min(max(AT_LEAST, _LIMITS * longest_wait), AT_MOST)
