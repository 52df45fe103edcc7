"""A metric over time, as the panels draw it."""

from dataclasses import dataclass

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats


@dataclass(frozen=True)
class Series:
    """One entry per bin; None if the bin has no sample."""

    n: list[int]
    p50: list[float | None]  # ms
    p95: list[float | None]

    def until(self, told: int) -> "Series":
        """The same bins, with nothing in those after so many."""
        after = len(self.n) - told
        return Series(self.n[:told] + [0] * after, self.p50[:told] + [None] * after, self.p95[:told] + [None] * after)


def spread(begins: Floats, ends: Floats, amounts: Floats, edges: Floats) -> Floats:
    """What came between neighbouring edges, if each amount came evenly from its begin to its end.

    The first and the last edge stand for everything before and after them.
    """
    if not len(amounts):
        return np.zeros(len(edges) - 1)
    lasting = np.maximum(ends - begins, 1.0)
    so_far = np.zeros(len(edges))
    first, last = np.searchsorted(edges, [begins.min(), (begins + lasting).max()])
    for place in range(max(1, first), min(last, len(edges) - 1)):
        so_far[place] = amounts @ np.clip((edges[place] - begins) / lasting, 0, 1)
    so_far[max(1, min(last, len(edges) - 1)) :] = amounts.sum()
    return np.diff(so_far)
