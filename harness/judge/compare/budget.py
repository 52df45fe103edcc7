"""What a gate can find within a time: how long its runs are, how many, by which metrics, with which margin. Pure.

How far runs are apart depends on how long they are. The variance of y is split into a part of the run's own (its
machine, its minute), which no length of a run makes smaller, and a part of its streams, which is in inverse proportion
to its length. The second is known from the two halves of each recorded run: they share the run, and have streams of
their own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.judge.compare.comparison import Figures
from streamgauge.harness.judge.compare.gate import Gate, GatedMetric
from streamgauge.harness.judge.compare.noise import POWER, EqualRuns, Resampled, equal_runs
from streamgauge.harness.judge.measure.statistics import Values

# What first_runs and fresh_runs are proposed together; tests/pure/test_gate_simulation.py holds their false alarms.
COMBINATIONS = ((2, 3), (2, 4), (3, 4), (3, 5), (4, 6))
_ROUGH, _FINAL = 400, 2_000  # comparisons that are simulated to choose a gate, and of the chosen one
_ROUGHLY = 0.01  # in y: how precisely the gates are compared by what they find
_STEP = 5  # s: run times are proposed in multiples of it
_SHORTEST = 10.0  # s that are measured in a run
_LEAST_PART = 4  # a run is not proposed to be shorter than a quarter of the recorded ones: too far from what is known
_MORE_SAMPLES = 1.3  # than the metric needs: runs have unequally many streams
_LONGEST_BUDGET = 4 * 3600.0  # s: what is searched for the metrics that need more


@dataclass(frozen=True)
class Recorded:
    """Equal runs, as they were recorded."""

    runs: Sequence[Figures]
    halves: Sequence[tuple[Figures, Figures]]  # of each run: as if it had been two
    seconds: float  # measured in a run, typically
    warm_up: float  # s before that
    pause: float  # s from the end of a run to the beginning of the next


class Promise(NamedTuple):
    """What a gate finds by one metric."""

    metric: GatedMetric
    detectable: float | None  # as in comparison.Row: found nine times out of ten
    spread: float  # of equal runs of this length


@dataclass(frozen=True)
class Plan:
    run_time: int  # s, with the warm-up
    gate: Gate  # with the metrics, numbers of runs and margin that are proposed
    margin: float  # a share
    promises: list[Promise]
    false_alarms: float
    longest: float  # s that both stages take
    usual: float  # s that the first stage takes for an equal build, on average


@dataclass(frozen=True)
class Proposal:
    plan: Plan | None  # None: no metric can be judged within the time
    # By metric that is left out: the time that it would need, s; None: more than four hours, if that is enough.
    needs: dict[str, float | None]
    faults: list[str]  # a sentence for each metric that cannot be judged at all


class _Trial(NamedTuple):
    run_time: int
    gate: Gate
    resampled: Resampled
    spread: Values


def propose(recorded: Recorded, gate: Gate, margin: float, seconds: float) -> Proposal:
    """`margin`: the config's, a share; `seconds`: the budget of both stages."""
    equal, faults = equal_runs(recorded.runs, gate.metrics)
    if equal is None:
        return Proposal(None, {}, faults)
    lengths = _Lengths(recorded, equal)
    chosen = _chosen(lengths, gate, seconds)
    kept = [] if chosen is None else [metric.subject.text for metric in chosen.gate.metrics]
    left_out = [metric.subject.text for metric in equal.metrics if metric.subject.text not in kept]
    plan = None if chosen is None else _plan(lengths, chosen, margin)
    return Proposal(plan, {text: _needs(lengths, gate, text, seconds) for text in left_out}, faults)


class _Lengths:
    """How far apart runs of another length would be."""

    def __init__(self, recorded: Recorded, equal: EqualRuns) -> None:
        self.recorded, self.equal = recorded, equal
        variance = equal.y.var(-1, ddof=1)
        of_streams = np.array([_of_streams(recorded.halves, metric) for metric in equal.metrics])
        unknown = np.isnan(of_streams)
        self._of_streams = np.where(unknown, 0.0, np.minimum(of_streams, variance))
        self._of_run = variance - self._of_streams
        self._unknown = unknown
        self._recorded = variance

    def only(self, metrics: Sequence[GatedMetric]) -> "_Lengths":
        places = [place for place, metric in enumerate(self.equal.metrics) if metric in metrics]
        chosen = EqualRuns(tuple(self.equal.metrics[place] for place in places), self.equal.y[places])
        return _Lengths(self.recorded, chosen)

    def scale(self, seconds: float) -> Values:
        """By metric: how much wider the runs of this length scatter than the recorded ones."""
        shorter = self.recorded.seconds / seconds
        variance = self._of_run * np.where(self._unknown, max(1.0, shorter), 1.0) + self._of_streams * shorter
        with np.errstate(invalid="ignore", divide="ignore"):
            scale: Values = np.where(self._recorded > 0, np.sqrt(variance / self._recorded), 1.0)
        return scale

    def shortest(self) -> float:
        """How long must be measured at least, s: for the samples that the metrics need, and near what was recorded."""
        needed = [_SHORTEST, self.recorded.seconds / _LEAST_PART]
        for metric in self.equal.metrics:
            fewest = min(run[metric.subject.text].samples for run in self.recorded.runs if metric.subject.text in run)
            needed.append(_MORE_SAMPLES * metric.fewest_samples / max(fewest, 1e-9) * self.recorded.seconds)
        return max(needed)

    def trials(self, gate: Gate, seconds: float) -> Iterator[_Trial]:
        """Each way to spend this time."""
        for first, fresh in COMBINATIONS:
            run_time = math.floor((seconds / (first + fresh) - self.recorded.pause) / _STEP) * _STEP
            measured = run_time - self.recorded.warm_up
            if measured >= self.shortest():
                yield self.trial(_with_runs(gate, self.equal.metrics, first, fresh), run_time, _ROUGH)

    def trial(self, gate: Gate, run_time: int, times: int) -> _Trial:
        scale = self.scale(run_time - self.recorded.warm_up)
        resampled = Resampled(self.equal, gate, gate.fewest_baseline_runs, scale, times)
        return _Trial(run_time, gate, resampled, self.equal.spread * scale)


def _with_runs(gate: Gate, metrics: tuple[GatedMetric, ...], first: int, fresh: int) -> Gate:
    fewest = Regression(first_runs=first, fresh_runs=fresh).fewest_baseline_runs
    return replace(gate, metrics=metrics, first_runs=first, fresh_runs=fresh, fewest_baseline_runs=fewest)


def _of_streams(halves: Sequence[tuple[Figures, Figures]], metric: GatedMetric) -> float:
    """The variance of a whole run's y that its streams cause; NaN if the halves do not have the metric.

    The difference of two halves has four times the variance of their mean. What the halves differ by in every run (a
    server that warms up) is not chance.
    """
    text = metric.subject.text
    pairs = [metric.scaled([one[text], two[text]]) for one, two in halves if text in one and text in two]
    differences = np.array([two - one for one, two in pairs])
    if len(differences) < 3 or not np.isfinite(differences).all():
        return math.nan
    return float(differences.var(ddof=1)) / 4


def _judged(trial: _Trial) -> list[bool]:
    """By metric: whether the gate finds nine of ten changes of `may_hide`, and can say OK of as many equal builds."""
    passed = trial.resampled.passed()
    return [bool(passed[place] >= POWER) and _finds(trial, place) for place in range(len(trial.gate.metrics))]


def _finds(trial: _Trial, place: int) -> bool:
    return trial.resampled.power(place, trial.gate.metrics[place].may_hide) >= POWER


def _chosen(lengths: _Lengths, gate: Gate, seconds: float) -> _Trial | None:
    """The way to spend the time by which most metrics are judged, and of these the one that finds the least changes."""
    best: tuple[int, float] | None = None
    chosen: _Trial | None = None
    kept: Mapping[str, bool] = {}
    for trial in lengths.trials(gate, seconds):
        judged = _judged(trial)
        finds = sum(
            math.log1p(abs((trial.resampled.detectable(place, _ROUGHLY) or 1.0) - 1))
            for place, is_judged in enumerate(judged)
            if is_judged
        )
        rank = (sum(judged), -finds)
        if sum(judged) and (best is None or rank > best):
            best, chosen = rank, trial
            kept = dict(zip((metric.subject.text for metric in trial.gate.metrics), judged, strict=True))
    if chosen is None:
        return None
    metrics = tuple(metric for metric in chosen.gate.metrics if kept[metric.subject.text])
    return lengths.only(metrics).trial(replace(chosen.gate, metrics=metrics), chosen.run_time, _ROUGH)


def _plan(lengths: _Lengths, chosen: _Trial, margin: float) -> Plan:
    """The margin is the config's, or what nine out of ten equal builds differ by if that is more, in whole percent."""
    lengths = lengths.only(chosen.gate.metrics)
    usual = [
        math.expm1(shift)
        for metric, shift in zip(chosen.gate.metrics, chosen.resampled.usual_shift().tolist(), strict=True)
        if not metric.is_share
    ]
    margin = max([margin, *(math.ceil(100 * share - 1e-9) / 100 for share in usual if share > margin)])
    metrics = tuple(
        metric if metric.is_share else replace(metric, margin=math.log1p(margin)) for metric in chosen.gate.metrics
    )
    gate = replace(chosen.gate, metrics=metrics)
    final = _with_metrics(lengths, metrics).trial(gate, chosen.run_time, _FINAL)
    each = chosen.run_time + lengths.recorded.pause
    return Plan(
        run_time=chosen.run_time,
        gate=gate,
        margin=margin,
        promises=[
            Promise(metric, final.resampled.detectable(place), float(final.spread[place]))
            for place, metric in enumerate(metrics)
        ],
        false_alarms=final.resampled.false_alarms(),
        longest=(gate.first_runs + gate.fresh_runs) * each,
        usual=float(final.resampled.of_equal_builds.first_runs.mean()) * each,
    )


def _with_metrics(lengths: _Lengths, metrics: tuple[GatedMetric, ...]) -> _Lengths:
    """The same runs, with metrics that have another margin."""
    return _Lengths(lengths.recorded, EqualRuns(metrics, lengths.equal.y))


def _needs(lengths: _Lengths, gate: Gate, text: str, seconds: float) -> float | None:
    """The shortest time in which this metric is judged, too; None if four hours are not enough."""
    place = [metric.subject.text for metric in lengths.equal.metrics].index(text)
    while seconds < _LONGEST_BUDGET:
        seconds *= 1.25
        for trial in lengths.trials(gate, seconds):
            if trial.resampled.passed()[place] >= POWER and _finds(trial, place):
                return seconds
    return None
