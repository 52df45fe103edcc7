"""How far equal runs are apart, and how small a change the regression gate still finds. Pure, with a fixed seed.

The deviations of real runs from their mean are resampled thousands of times, and the gate judges each resample, without
a change and with one (Efron's bootstrap). With few runs the result is rough; the spread's interval shows how rough.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from streamgauge.harness.config.schema import FEWEST_BASELINE_RUNS
from streamgauge.harness.judge.compare.comparison import Figures
from streamgauge.harness.judge.compare.gate import Gate, GatedMetric, RunFigure
from streamgauge.harness.judge.compare.regression import FIRST_RUNS, FRESH_RUNS, regressed
from streamgauge.harness.judge.figures import between, change, figure
from streamgauge.harness.judge.measure.statistics import Interval, deviation_interval

FEWEST_RUNS = 5
_TIMES = 4_000
_POWER = 0.9
_LEAST_RATE = 0.001  # _TIMES repetitions cannot distinguish a smaller rate from 0
_LARGEST_CHANGE = 1.0  # in y: changes of more than e-fold are not searched
_PRECISION = 0.001  # in y, of the smallest detectable change


@dataclass(frozen=True)
class Noise:
    """Of one metric."""

    metric: GatedMetric
    n: int  # runs
    spread: float  # standard deviation of y between runs: 0.03 is about 3 %
    interval: Interval  # of the spread, 95 %
    false_alarms: float  # share of equal builds that the gate would stop
    detectable: float | None  # the smallest change (as in comparison.Row) that it finds nine times out of ten


def measure(metric: GatedMetric, figures: Sequence[RunFigure], baseline: int, test: str) -> Noise | None:
    """For a gate with `baseline` accepted runs. None if there are too few figures, or one is 0 or ∞."""
    y = metric.scaled(figures)
    n = len(y)
    if n < FEWEST_RUNS or not np.isfinite(y).all():
        return None
    spread = float(y.std(ddof=1))
    # A sample's deviations from its own mean are too small by this factor.
    deviations = (y - y.mean()) * math.sqrt(n / (n - 1))
    resampled = np.random.default_rng(n).choice(deviations, (_TIMES, 1, baseline + FIRST_RUNS + FRESH_RUNS))
    old, first, fresh = np.split(resampled, [baseline, baseline + FIRST_RUNS], axis=-1)
    margin = np.array([metric.margin])

    def alarms(change: float) -> float:
        return float(regressed(old, first + change, fresh + change, margin, test).mean())

    smallest = _smallest_detectable(alarms)
    return Noise(
        metric=metric,
        n=n,
        spread=spread,
        interval=deviation_interval(spread, n),
        false_alarms=alarms(0.0),
        detectable=None if smallest is None else metric.unscaled(smallest),
    )


def report_all(runs: Iterable[Figures], gate: Gate) -> list[str]:
    """`report` for each metric of the gate, for the smallest and for the largest baseline that a gate uses."""
    figures = list(runs)
    sizes = sorted({FEWEST_BASELINE_RUNS, gate.window})
    lines: list[str] = []
    for metric in gate.metrics:
        name = metric.subject.text
        lines += report(metric, [run[name] for run in figures if name in run], sizes, gate.test)
    return lines


def report(metric: GatedMetric, figures: Sequence[RunFigure], baselines: Sequence[int], test: str) -> list[str]:
    """Lines for a person: how far the runs are apart, and what the gate finds with baselines of these sizes."""
    text = metric.subject.text
    noises = [measure(metric, figures, runs, test) for runs in baselines]
    lines: list[str] = []
    for noise, runs in zip(noises, baselines, strict=True):
        if noise is None and len(figures) < FEWEST_RUNS:
            return [f"{text}: {len(figures)} runs had it; {FEWEST_RUNS} are needed"]
        if noise is None:
            return [f"{text}: some runs had 0 or ∞: no spread"]
        if not lines:
            lines.append(
                f"{text}: equal runs are {figure(noise.spread, 'ratio')} apart "
                f"({between(noise.interval, 'ratio')}; standard deviation of {noise.n} runs)"
            )
        lines.append(f"  {runs} accepted runs against {FIRST_RUNS} + {FRESH_RUNS}: {_power(noise)}")
    return lines


def _power(noise: Noise) -> str:
    rarely = noise.false_alarms < _LEAST_RATE
    false = f"less than {figure(_LEAST_RATE, 'ratio')}" if rarely else figure(noise.false_alarms, "ratio")
    least = "no change at all" if noise.detectable is None else change(noise.detectable, noise.metric.subject.unit)
    return f"stops {false} of equal builds, and nine out of ten that changed by {least} or more"


def _smallest_detectable(power: Callable[[float], float]) -> float | None:
    """The smallest change that is found with probability _POWER; None if not even the largest one is."""
    low, high = 0.0, _LARGEST_CHANGE
    if power(high) < _POWER:
        return None
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= _POWER else (middle, high)
    return high
