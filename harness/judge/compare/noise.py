"""How far equal runs are apart, and how small a change the regression gate still finds. Pure, with a fixed seed.

The deviations of real runs from their mean are resampled thousands of times, and the gate judges each resample, without
a change and with one (Efron's bootstrap). A run is drawn with all of its metrics, so what they have in common stays.
With few runs the result is rough; the spread's interval shows how rough.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from streamgauge.harness.judge.compare import regression
from streamgauge.harness.judge.compare.comparison import Figures
from streamgauge.harness.judge.compare.gate import Gate, GatedMetric
from streamgauge.harness.judge.compare.regression import Settings, Simulated
from streamgauge.harness.judge.figures import between, change, figure, some
from streamgauge.harness.judge.measure.statistics import Values, deviation_interval

FEWEST_RUNS = 5
POWER = 0.9
_TIMES = 4_000
_LEAST_RATE = 0.001  # _TIMES repetitions cannot distinguish a smaller rate from 0
_LARGEST_CHANGE = 1.0  # in y: changes of more than e-fold are not searched
_PRECISION = 0.001  # in y, of the smallest detectable change


@dataclass(frozen=True)
class EqualRuns:
    """Runs of one build: their y by metric and run, all finite."""

    metrics: tuple[GatedMetric, ...]
    y: Values

    @property
    def spread(self) -> Values:
        """By metric: the standard deviation of y between runs; 0.03 is about 3 %."""
        spread: Values = self.y.std(-1, ddof=1)
        return spread

    @property
    def deviations(self) -> Values:
        """A sample's deviations from its own mean are too small by a factor, which is made up for."""
        n = self.y.shape[-1]
        deviations: Values = (self.y - self.y.mean(-1, keepdims=True)) * math.sqrt(n / (n - 1))
        return deviations


def equal_runs(runs: Iterable[Figures], metrics: Sequence[GatedMetric]) -> tuple[EqualRuns | None, list[str]]:
    """The runs with the metrics that all of them can be compared by; and a sentence for each other metric."""
    figures = list(runs)
    usable, faults = [], []
    for metric in metrics:
        text = metric.subject.text
        observed = [run[text] for run in figures if text in run]
        if len(observed) < FEWEST_RUNS:
            faults.append(f"{text}: {some(len(observed), 'run')} had it; {FEWEST_RUNS} are needed")
        elif not np.isfinite(metric.scaled(observed)).all():
            faults.append(f"{text}: some runs had 0 or ∞: no spread")
        else:
            usable.append(metric)
    whole = [run for run in figures if all(metric.subject.text in run for metric in usable)]
    if not usable or len(whole) < FEWEST_RUNS:
        return None, faults or [f"{some(len(whole), 'run')} had all of the metrics; {FEWEST_RUNS} are needed"]
    y = np.array([metric.scaled([run[metric.subject.text] for run in whole]) for metric in usable])
    return EqualRuns(tuple(usable), y), faults


class Resampled:
    """Thousands of comparisons of a gate, drawn from equal runs. `scale` widens the deviations, by metric."""

    def __init__(
        self, runs: EqualRuns, gate: Gate, baseline: int, scale: Values | float = 1.0, times: int = _TIMES
    ) -> None:
        n = runs.y.shape[-1]
        drawn = np.random.default_rng(n).integers(n, size=(times, baseline + gate.first_runs + gate.fresh_runs))
        deviations = runs.deviations * np.reshape(scale, (-1, 1))
        # In memory the runs are the outermost axis: numpy adds up whole planes many times faster than short rows.
        y = np.moveaxis(deviations.T[drawn.T], 0, -1)
        self._old, self._first, self._fresh = np.split(y, [baseline, baseline + gate.first_runs], axis=-1)
        self._metrics = runs.metrics
        self._settings = Settings(
            margin=np.array([metric.margin for metric in runs.metrics]),
            clear=np.array([metric.clear for metric in runs.metrics]),
            test=gate.test,
            first_runs=gate.first_runs,
        )

    @cached_property
    def of_equal_builds(self) -> Simulated:
        return regression.simulate(self._old, self._first, self._fresh, self._settings)

    def false_alarms(self) -> float:
        """The share of equal builds that the gate would stop, for whichever metric."""
        return float(self.of_equal_builds.regressed.any(-1).mean())

    def passed(self) -> Values:
        """By metric: the share of equal builds of which the whole first stage can say OK."""
        high = regression.shift(self._old, self._first, self._settings.test).high
        may_hide = np.array([metric.may_hide for metric in self._metrics])
        passed: Values = (high <= may_hide).mean(0)
        return passed

    def usual_shift(self) -> Values:
        """By metric, in y: nine out of ten equal builds differ by less in the fresh runs."""
        shift = regression.shift(self._old, self._fresh, self._settings.test).by
        return np.quantile(np.abs(shift), POWER, axis=0)

    def power(self, place: int, change: float) -> float:
        """How often a change of one metric, in y, is found."""
        changed = np.zeros((len(self._metrics), 1))
        changed[place] = change
        found = regression.simulate(self._old, self._first + changed, self._fresh + changed, self._settings)
        return float(found.regressed[:, place].mean())

    def detectable(self, place: int, precision: float = _PRECISION) -> float | None:
        """The smallest change (as in comparison.Row) of this metric that is found nine times out of ten."""
        smallest = _smallest_detectable(lambda change: self.power(place, change), precision)
        return None if smallest is None else self._metrics[place].unscaled(smallest)


def tells(runs: Iterable[Figures], gate: Gate) -> bool:
    """Whether `report_all` can say of any metric how far these runs are apart."""
    return equal_runs(runs, gate.metrics)[0] is not None


def report_all(runs: Iterable[Figures], gate: Gate) -> list[str]:
    """Lines for a person: how far runs are apart, and what the gate finds with its smallest and largest baseline."""
    equal, faults = equal_runs(runs, gate.metrics)
    if equal is None:
        return faults
    sizes = sorted({gate.fewest_baseline_runs, gate.window})
    resampled = {size: Resampled(equal, gate, size) for size in sizes}
    n = equal.y.shape[-1]
    lines: list[str] = []
    for place, metric in enumerate(equal.metrics):
        spread = float(equal.spread[place])
        interval = between(deviation_interval(spread, n), "ratio")
        lines.append(
            f"{metric.subject.text}: equal runs are {figure(spread, 'ratio')} apart "
            f"({interval}; standard deviation of {n} runs)"
        )
        for size, each in resampled.items():
            least = _changed_by(each.detectable(place), metric)
            lines.append(
                f"  {some(size, 'accepted run')} against {gate.first_runs} + {gate.fresh_runs} fresh: "
                f"stops nine out of ten builds that changed by {least}"
            )
    of_equal = ", ".join(f"{rate(each.false_alarms())} with {size} accepted runs" for size, each in resampled.items())
    together = f"these {len(equal.metrics)} metrics together" if len(equal.metrics) > 1 else "this metric"
    return [*lines, *faults, f"equal builds that {together} would stop: {of_equal}"]


def rate(share: float) -> str:
    return f"less than {figure(_LEAST_RATE, 'ratio')}" if share < _LEAST_RATE else figure(share, "ratio")


def _changed_by(detectable: float | None, metric: GatedMetric) -> str:
    return "no amount at all" if detectable is None else f"{change(detectable, metric.subject.unit)} or more"


def _smallest_detectable(power: Callable[[float], float], precision: float) -> float | None:
    """The smallest change that is found with probability POWER; None if not even the largest one is."""
    low, high = 0.0, _LARGEST_CHANGE
    if power(high) < POWER:
        return None
    while high - low > precision:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
