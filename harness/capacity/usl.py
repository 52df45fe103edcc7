"""Gunther's universal scalability law, as a guide for the eye: throughput by load. Pure.

X(N) = λN / (1 + σ(N − 1) + κN(N − 1)): λ is the throughput of one user, σ what waits for its turn, κ what users cost
each other (N. J. Gunther, Guerrilla Capacity Planning, 2007). It says nothing of a percentile, so no verdict uses it.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

_FEWEST_LOADS = 4  # it has three parameters


class Law(NamedTuple):
    of_one: float  # λ
    contention: float  # σ
    coherency: float  # κ

    def at(self, users: float) -> float:
        return self.of_one * users / (1 + self.contention * (users - 1) + self.coherency * users * (users - 1))


def law(points: Sequence[tuple[float, float]]) -> Law | None:
    """Fitted to (users, completions per second) by least squares of N/X, which is linear in the parameters.

    None if there are too few loads, or none of the parameters would be positive.
    """
    points = [(users, rate) for users, rate in points if rate > 0]
    if len({users for users, _ in points}) < _FEWEST_LOADS:
        return None
    users, rate = (np.array(column, float) for column in zip(*points, strict=True))
    columns = np.column_stack([np.ones(len(users)), users - 1, users * (users - 1)])
    best: tuple[float, Law] | None = None
    # A parameter that would be negative is 0: waiting does not make a server faster.
    for chosen in (places for count in (3, 2, 1) for places in combinations(range(3), count) if 0 in places):
        weighted = (
            columns[:, chosen] * (rate / users)[:, None]
        )  # relative errors: the slow levels must not decide alone
        solved, *_ = np.linalg.lstsq(weighted, np.ones(len(users)), rcond=None)
        if (solved < 0).any() or solved[0] == 0:
            continue
        error = float(np.square(weighted @ solved - 1).sum())
        full = np.zeros(3)
        full[list(chosen)] = solved
        if best is None or error < best[0]:
            best = error, Law(1 / full[0], full[1] / full[0], full[2] / full[0])
    return None if best is None else best[1]
