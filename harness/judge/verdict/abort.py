"""Rules with `abort`: has a run that still goes on missed one of them, by the streams that are stored so far?

A stream is stored when it ends. Of the streams that became due recently only the short ones have ended, and failures
are shorter than answers: counting them would exaggerate the failures. So a stream counts only once it has been due for
at least as long as the longest stream so far took. This module only reports a missed rule; the caller ends the run.
"""

from collections.abc import Iterable

import numpy as np

from streamgauge.harness.config.schema import GRACE, Reader
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.store import Store, Streams
from streamgauge.harness.judge.verdict import sla
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict

CONFIDENCE = 0.999  # with 95 % and a check each second, a large share of good runs would be ended


class AbortRules:
    """The rules with `abort` of one run. Each stream is read and counted only once, over all calls of `check`."""

    def __init__(self, rules: Iterable[Rule], reader: Reader, begins: int = 0) -> None:
        """`begins`: the end of the run's warm-up, ns on its clock. The grace of a rule counts from there."""
        statistics.prepare()  # during the first check, it would stop the users for 0.2 s
        self._rules = [rule for rule in rules if rule.written.abort]
        labels = [name for rule in self._rules for name in rule.written.where.label]
        self._measurements = Measurements(labels, reader, {rule.subject.name for rule in self._rules})
        self._windows = sla.windows(self._rules, labels, reader, begins / 1e9)
        self._begins = begins
        self._last_id = -1  # of the streams that were read
        self._not_counted: list[Streams] = []
        self._longest = 0.0  # ns from a stream's due time to its end

    def check(self, store: Store, run_id: str, now: int) -> Verdict | None:
        """The first rule that is missed after its grace; `now` is on the run's clock, ns."""
        for streams in store.streams(run_id, after=self._last_id):
            self._last_id = int(streams.id[-1])
            self._longest = max(self._longest, float((streams.number["ended_at"] - streams.number["due_at"]).max()))
            self._not_counted.append(streams)
        until = now - self._longest
        self._not_counted = [rest for streams in self._not_counted if len(rest := self._count(streams, until))]
        due = [rule for rule in self._rules if now >= self._begins + _grace(rule)]
        seconds = max(0.0, until - self._begins) / 1e9
        for rule in due:
            verdict = sla.evaluate(rule, self._measurements, seconds, self._windows, CONFIDENCE)
            if verdict.status is RuleStatus.MISSED:
                return verdict
        if len(due) == len(self._rules):
            for windows in self._windows.values():  # the next check then evaluates only new windows
                windows.settle(seconds)
        return None

    def _count(self, streams: Streams, until: float) -> Streams:
        """Count the streams that were due before `until`, and return the others."""
        counts = streams.number["due_at"] < until
        if not counts.any():
            return streams
        chosen = streams.select(np.flatnonzero(counts))
        self._measurements.take(chosen)
        for windows in self._windows.values():
            windows.take(chosen)
        return streams.select(np.flatnonzero(~counts))


def _grace(rule: Rule) -> int:
    return GRACE if rule.written.grace is None else rule.written.grace
