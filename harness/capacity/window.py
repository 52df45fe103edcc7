"""A visit's part of a run, judged as if it were a run: its figures, its rules, and whether to believe them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np

from streamgauge.harness.capacity.found import RuleAtLevel
from streamgauge.harness.config.schema import Reader
from streamgauge.harness.judge.figures import finite
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.store import Run, Store, Streams, VitalSeries
from streamgauge.harness.judge.verdict import sla
from streamgauge.harness.judge.verdict.less_load import Asked
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.harness.judge.verdict.validity import EVIDENCE, Evidence, Validity, assess, doubts_of_good_figures
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.record.observation import FAILURES, Outcome
from streamgauge.harness.record.vitals import Vital

_OF_VALIDITY = ("ttft", "send_lag", "read_lag", "itl", "tool_pause")  # metrics that it is judged by
# Vitals that count since the run began.
_COUNTERS = (Vital.STARVED_STREAMS, Vital.OWN_FAULTS, Vital.LATE_CONNECTIONS, Vital.ARRIVALS, Vital.DROPPED_ARRIVALS)
_LONGEST = 500  # characters of a reason
_NOT_THERE = 0.10  # share of the users' streams. Levels are as far apart: less changes no outcome
_DEVIATIONS = 3.0
_SAMPLES, _MANY = 5, 8  # samples that tell an average; of so many users, a single sample tells that each is always open


@dataclass(frozen=True, slots=True)
class Window:
    """`users` from `begins` to `ends`, ns on the run's clock. 0 users: an open load."""

    run: Run
    users: int
    begins: int
    last_due: int  # when the last of its streams was due
    ends: int

    @property
    def seconds(self) -> float:
        return (self.ends - self.begins) / 1e9


class Measured:
    """The streams of one visit, measured."""

    def __init__(self, streams: Streams, rules: Sequence[Rule], reader: Reader) -> None:
        self._rules = rules
        labels = [name for rule in rules for name in rule.written.where.label]
        self.measurements = Measurements(labels, reader, {*_OF_VALIDITY, *(rule.subject.name for rule in rules)})
        self.measurements.take(streams)
        self.totals = self.measurements.totals()

    def rules(self, seconds: float) -> list[RuleAtLevel]:
        return [self._rule(rule, seconds) for rule in self._rules]

    def _rule(self, rule: Rule, seconds: float) -> RuleAtLevel:
        verdict = sla.evaluate(rule, self.measurements, seconds)
        observed = verdict.observed
        return RuleAtLevel(
            rule=rule.text,
            figure=rule.subject.text,
            unit=rule.subject.unit,
            limit=rule.limit,
            observed=finite(observed),
            status=verdict.status.value,
            kept=observed is not None and rule.holds(observed),
        )

    def p95(self, metric: str) -> float | None:
        """With failed streams as +∞."""
        return statistics.quantile(*self.measurements.distribution(metric).gated(), 0.95)

    @property
    def failed(self) -> float | None:
        ended = self.totals.ended
        return self.totals.count(*FAILURES) / ended if ended else None

    @property
    def completed(self) -> int:
        return self.totals.count(Outcome.COMPLETED)

    def doubts(self, store: Store, window: Window) -> "Doubts":
        """Whether the load generator kept up in this window."""
        vitals = {name: within(store.vital(window.run.id, name), window, name in _COUNTERS) for name in EVIDENCE}
        run = msgspec.structs.replace(
            window.run,
            status="finished",
            measured_from=None,
            ended_ns=window.ends - window.begins,
            notes=[],
            instrument={**window.run.instrument, "asked": msgspec.to_builtins(Asked(users=window.users)), "streams": 0},
        )
        samples = {name: self.measurements.distribution(name) for name in _OF_VALIDITY}
        evidence = Evidence(run, self.totals, samples, vitals, None, "")
        validity, reasons = assess(evidence)
        of_good = doubts_of_good_figures(evidence)
        opened = within(store.vital(window.run.id, Vital.ACTIVE_STREAMS), window, counts=False)
        held = self.totals.sum("open_ns") / max(1, window.last_due - window.begins)
        if window.users and (less := less_open(opened, window.users, held)):
            of_good = [*of_good, f"{less}; {evidence.remedy()}"]
        return Doubts(validity, *(shortened(told[0], _LONGEST) if told else "" for told in (reasons, of_good)))


def less_open(opened: VitalSeries, users: int, held: float) -> str:
    """Why the server had clearly fewer streams open than the users had; "" if it had not, or if too little tells.

    `opened`: of the users, sampled; `held`: from their beginning to their last byte. A late generator notices late that
    an answer has ended. No figure shows it, for the kernel stamped the answer; but the server rests meanwhile.
    """
    by_process: dict[str, list[float]] = {}
    for worker, value in zip(opened.worker, opened.value.tolist(), strict=True):
        by_process.setdefault(worker, []).append(value)
    had = float(sum(np.mean(values) for values in by_process.values()))
    by_chance = math.sqrt(sum(np.var(values) / len(values) for values in by_process.values()))
    samples = min(map(len, by_process.values()), default=0)
    always_open = had == users >= _MANY and by_chance == 0  # users who ask again at once
    if had - held <= _NOT_THERE * had + _DEVIATIONS * by_chance or (samples < _SAMPLES and not always_open):
        return ""
    return (
        f"the generator kept users waiting: of {had:,.1f} streams that were to be open at once, "
        f"the server had {held:,.1f}"
    )


class Doubts(NamedTuple):
    validity: Validity
    why: str  # it is not valid
    of_good: str  # why even a level that seems passed is not; "" if it is


def within(series: VitalSeries, window: Window, counts: bool) -> VitalSeries:
    """The samples of this time, on its own clock. A counter counts from its beginning."""
    inside = (series.at > window.begins) & (series.at <= window.ends)
    places = np.flatnonzero(inside).tolist()
    value = series.value[inside]
    if counts:
        before: Mapping[str, float] = {
            worker: float(number)
            for worker, at, number in zip(series.worker, series.at, series.value, strict=True)
            if at <= window.begins
        }
        value = value - np.array([before.get(series.worker[place], 0.0) for place in places], np.float64)
    return VitalSeries([series.worker[place] for place in places], series.at[inside] - window.begins, value)
