"""How far equal runs are apart, and what a gate can see through that. Pure; seeded.

The runs' own deviations are drawn again by the thousand and judged by the gate that ships, without a change and with
one (Efron's bootstrap). With few runs the answer is rough: the spread's interval says how rough.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from streamgauge.harness.judge.compare.regression import FIRST_RUNS, FRESH_RUNS, Gate, Reading, regressed
from streamgauge.harness.judge.figures import between, change, figure
from streamgauge.harness.judge.measure.statistics import Interval, deviation_interval

FEWEST_RUNS = 5
_TIMES = 4_000
_POWER = 0.9
_SURELY = 0.001  # a rate below this, so many repetitions do not know any better
_WORST = 1.0  # on the scale of y: a larger change than e-fold is not looked for


@dataclass(frozen=True)
class Noise:
    """What equal runs say of one metric."""

    gate: Gate
    n: int  # runs
    spread: float  # standard deviation of y between runs: 0.03 is about 3 %
    interval: Interval  # of the spread, 95 %
    false_alarms: float  # share of equal builds that the gate would stop
    detectable: float | None  # the smallest change (as in regression.Row) that it finds nine times out of ten


def measure(gate: Gate, readings: Sequence[Reading], baseline: int, test: str) -> Noise | None:
    """None where the runs are too few, or have a figure without a logarithm. `baseline` runs are what the gate has."""
    y = gate.scaled(readings)
    n = len(y)
    if n < FEWEST_RUNS or not np.isfinite(y).all():
        return None
    spread = float(y.std(ddof=1))
    # A sample's deviations from its own mean are too small by this factor.
    deviations = (y - y.mean()) * math.sqrt(n / (n - 1))
    drawn = np.random.default_rng(n).choice(deviations, (_TIMES, 1, baseline + FIRST_RUNS + FRESH_RUNS))
    margin = np.array([gate.margin])

    def alarms(change: float) -> float:
        old, first, fresh = np.split(drawn, [baseline, baseline + FIRST_RUNS], axis=-1)
        return float(regressed(old, first + change, fresh + change, margin, test).mean())

    found = _smallest(alarms)
    return Noise(
        gate=gate,
        n=n,
        spread=spread,
        interval=deviation_interval(spread, n),
        false_alarms=alarms(0.0),
        detectable=None if found is None else gate.unscaled(found),
    )


def told(gate: Gate, readings: Sequence[Reading], baselines: Sequence[int], test: str) -> list[str]:
    """In plain words: how far the runs are apart, and for each size of a baseline what the gate makes of that."""
    found = [measure(gate, readings, runs, test) for runs in baselines]
    lines: list[str] = []
    for noise, runs in zip(found, baselines, strict=True):
        if noise is None:
            few = f"{len(readings)} runs had it; {FEWEST_RUNS} are needed"
            return [f"{gate.subject.text}: {few if len(readings) < FEWEST_RUNS else 'some runs had 0 or ∞: no spread'}"]
        if not lines:
            doubt = between(noise.interval, "ratio")
            lines.append(
                f"{gate.subject.text}: equal runs are {figure(noise.spread, 'ratio')} apart "
                f"({doubt}; standard deviation of {noise.n} runs)"
            )
        least = "no change at all" if noise.detectable is None else change(noise.detectable, gate.subject.unit)
        rarely = noise.false_alarms < _SURELY
        false = f"less than {figure(_SURELY, 'ratio')}" if rarely else figure(noise.false_alarms, "ratio")
        lines.append(
            f"  {runs} accepted runs against {FIRST_RUNS} + {FRESH_RUNS}: stops {false} "
            f"of equal builds, and nine out of ten that changed by {least} or more"
        )
    return lines


def _smallest(power: Callable[[float], float]) -> float | None:
    """The smallest change with enough power, to a thousandth; None where not even a large one has it."""
    low, high = 0.0, _WORST
    if power(high) < _POWER:
        return None
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= _POWER else (middle, high)
    return high
