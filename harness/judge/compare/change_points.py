"""Change points: the runs of a series at which a new level begins. Pure; the random orders have a fixed seed.

The best cut of the series into two levels is a change point if fewer than 1 % of random orders of the same runs have
a cut that is as good, and if the levels differ by more than the margin. Then each part is searched again (binary
segmentation with a permutation test; Vostrikova 1981, Matteson & James 2014).
"""

import numpy as np

from streamgauge.harness.judge.measure.statistics import Values

_FEWEST = 3  # runs on each side of a change point
_ALPHA, _ORDERS = 0.01, 999


def change_points(y: Values, margin: float) -> list[int]:
    """The indices at which a new level begins, ascending. `y` has one value a run; `margin` is in the unit of y."""
    n = len(y)
    if n < 2 * _FEWEST:
        return []
    orders = np.random.default_rng(n).permuted(np.tile(y, (_ORDERS, 1)), axis=1)
    gains = _gains(y[None, :])[0]
    best = int(gains.argmax())
    cut = best + _FEWEST
    as_good = int((_gains(orders).max(axis=1) >= gains[best]).sum())
    if (as_good + 1) / (_ORDERS + 1) > _ALPHA or abs(y[cut:].mean() - y[:cut].mean()) <= margin:
        return []
    return [*change_points(y[:cut], margin), cut, *(cut + place for place in change_points(y[cut:], margin))]


def _gains(series: Values) -> Values:
    """For each row, and each cut that leaves enough runs on both sides: the sum of squares that two levels explain."""
    n = series.shape[-1]
    left = np.arange(_FEWEST, n - _FEWEST + 1)
    sums = np.cumsum(series - series.mean(-1, keepdims=True), -1)[:, left - 1]
    gains: Values = sums**2 * n / (left * (n - left))
    return gains
