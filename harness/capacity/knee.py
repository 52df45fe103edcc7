"""The knee: the load at which just as many streams are bad as a limit allows, fitted to all visits. Pure.

A quasi-binomial regression: the log odds of a bad stream are linear in the logarithm of the load. Runs at one load
differ by more than chance, and the dispersion between the visits widens the interval by that (McCullagh & Nelder,
Generalized Linear Models, 4.5). Firth's correction (Biometrika 80, 1993) keeps the fit finite where the share jumps
from none to all between two loads.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.arrays import Floats

_FEWEST_VISITS = 4  # two parameters, and two visits that can contradict them
_NEAR = 1.25  # times the knee: further away, visits are left out of the last fit
_TELLING = 2  # loads
_ROUNDS = 60  # of the fit; it takes about ten
_CLOSE = 1e-8


class Point(NamedTuple):
    """One visit."""

    load: float
    streams: float  # effective ones
    bad: float  # of these


class Knee(NamedTuple):
    at: float
    low: float  # of the 95 % interval, which is approximate
    high: float


class _Fit(NamedTuple):
    intercept: float
    slope: float
    covariance: Floats  # of the two
    dispersion: float


def knee(points: Sequence[Point], share: float, between: tuple[int, int]) -> Knee | None:
    """None if the visits do not tell: too few, or the share of bad streams does not clearly rise with the load.

    `between`: the highest level that was passed and the lowest one that was missed. Where the share jumps from none to
    all between two levels, nothing tells where between them, and these two are the interval.
    """
    points = [point for point in points if point.streams > 0]
    first = _knee(points, share)
    if first is None:
        return None
    # Far from the knee all or none are bad whatever the run: such visits would hide how far runs differ near it.
    found = _knee([point for point in points if 1 / _NEAR < point.load / first.at < _NEAR], share) or first
    if _telling(points, share) >= _TELLING:
        return found
    low, high = between
    return Knee(min(max(found.at, low), high), low, high)


def _telling(points: Sequence[Point], share: float) -> int:
    """The number of loads at which some streams were good and some bad, near enough to the wanted share."""
    least, most = share / 10, 1 - (1 - share) / 10
    return len({point.load for point in points if least < point.bad / point.streams < most})


def _knee(points: Sequence[Point], share: float) -> Knee | None:
    if len(points) < _FEWEST_VISITS or len({point.load for point in points}) < 2:
        return None
    # In units of the data, so that the matrices of the fit are well conditioned.
    middle = float(np.mean([math.log(point.load) for point in points]))
    fitted = _fit(points, middle)
    if fitted is None or fitted.slope <= 0:
        return None
    return _fieller(fitted, math.log(share / (1 - share)), len(points) - 2, middle)


def _fit(points: Sequence[Point], middle: float) -> _Fit | None:
    load, streams, bad = (np.array(column, float) for column in zip(*points, strict=True))
    design = np.column_stack([np.ones(len(points)), np.log(load) - middle])
    beta = np.zeros(2)
    for _ in range(_ROUNDS):
        eta = np.clip(design @ beta, -30, 30)
        chance = 1 / (1 + np.exp(-eta))
        weight = streams * chance * (1 - chance)
        information = design.T @ (weight[:, None] * design)
        try:
            covariance = np.linalg.inv(information)
        except np.linalg.LinAlgError:
            return None
        leverage = weight * np.einsum("ij,jk,ik->i", design, covariance, design)
        step = covariance @ (design.T @ (bad - streams * chance + leverage * (0.5 - chance)))
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))  # a step from a bad beginning can be too long
        beta = beta + step
        if float(np.abs(step).max()) < _CLOSE:
            break
    else:
        return None
    expected = np.maximum(streams * chance * (1 - chance), 1e-9)
    pearson = float((np.square(bad - streams * chance) / expected).sum())
    return _Fit(float(beta[0]), float(beta[1]), covariance, max(1.0, pearson / max(1, len(points) - 2)))


def _fieller(fitted: _Fit, wanted: float, freedom: int, middle: float) -> Knee | None:
    """Where the line reaches the wanted log odds, with Fieller's interval. None if the slope may as well be 0."""
    t = statistics.t_quantile(1 - statistics.TAIL, freedom)
    covariance = fitted.covariance * fitted.dispersion
    at = (wanted - fitted.intercept) / fitted.slope
    of_both, of_slope = float(covariance[0, 1]), float(covariance[1, 1])
    g = t * t * of_slope / fitted.slope**2
    if g >= 1:
        return None
    variance = float(covariance[0, 0]) + 2 * at * of_both + at * at * of_slope
    spread = variance - g * (float(covariance[0, 0]) - of_both**2 / of_slope)
    half = t / fitted.slope * math.sqrt(max(spread, 0.0))
    centre = at + g / (1 - g) * (at + of_both / of_slope)
    low, high = centre - half / (1 - g), centre + half / (1 - g)
    return Knee(*(math.exp(min(700.0, middle + value)) for value in (at, low, high)))
