"""Rules with `abort`: has a run that still goes on missed one? By what is stored so far; nothing is ended here.

A stream is stored when it has ended, so of those due lately only the quick ones are known, and a failure is quicker
than an answer. So streams count once the longest seen so far, had it been due with them, would have ended too.
"""

from collections.abc import Iterable

import numpy as np

from streamgauge.harness.config.schema import GRACE, Reader
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.store import Store, Streams
from streamgauge.harness.judge.verdict import sla
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict

CONFIDENCE = 0.999  # a look a second at 95 % would end one good run in a few


class Early:
    """For one run. Each stream is read and counted once, however often one looks."""

    def __init__(self, rules: Iterable[Rule], person: Reader) -> None:
        self.rules = [rule for rule in rules if rule.written.abort]
        labels = [name for rule in self.rules for name in rule.written.where.label]
        self._measurements = Measurements(labels, person, {rule.subject.name for rule in self.rules})
        self._windows = sla.windows(self.rules, labels, person)
        self._last = -1  # id of the last stream that was read
        self._waiting: list[Streams] = []
        self._longest = 0.0  # ns from due to end

    def look(self, store: Store, run_id: str, now: int) -> Verdict | None:
        """The first rule that is missed and out of its grace; `now` is on the run's clock, ns."""
        for streams in store.streams(run_id, after=self._last):
            self._last = int(streams.id[-1])
            self._longest = max(self._longest, float((streams.number["ended_at"] - streams.number["due_at"]).max()))
            self._waiting.append(streams)
        until = now - self._longest
        self._waiting = [rest for streams in self._waiting if len(rest := self._take(streams, until))]
        for rule in self.rules:
            if now >= self._grace(rule):
                verdict = sla.evaluate(rule, self._measurements, until / 1e9, self._windows, CONFIDENCE)
                if verdict.status is RuleStatus.MISSED:
                    return verdict
        if all(now >= self._grace(rule) for rule in self.rules):
            for each in self._windows.values():  # a look costs what is new, however long the run goes on
                each.settle(until / 1e9)
        return None

    def _grace(self, rule: Rule) -> int:
        return GRACE if rule.written.grace is None else rule.written.grace

    def _take(self, streams: Streams, until: float) -> Streams:
        """Count those that were due before; the others come back."""
        known = streams.number["due_at"] < until
        if not known.any():
            return streams
        chosen = streams.select(np.flatnonzero(known))
        self._measurements.take(chosen)
        for each in self._windows.values():
            each.take(chosen)
        return streams.select(np.flatnonzero(~known))
