"""What makes a probe good: the `good` of an [[slo]], parsed once. Pure.

good = term { ("and" | "or") term }                       `and` binds more closely than `or`
term = metric op limit  |  "completed"  |  "not failed"

ttft < 1.5s       ttft < 1.5s and longest_stall < 2s       completed       not failed

A probe that failed is never good, whatever its times were. A probe of which a metric has no sample, such as `connect`
on a connection that was open already, counts neither as good nor as bad.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from streamgauge.harness.config.schema import Reader
from streamgauge.harness.errors import RuleError
from streamgauge.harness.judge.measure import reader_model
from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.measure.measurements import with_waits
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.store import Streams
from streamgauge.harness.judge.verdict.rules import OPERATORS, limit
from streamgauge.harness.near_miss import listed
from streamgauge.harness.record.observation import FAILURES, Outcome

BAD, UNKNOWN, GOOD = 0.0, 0.5, 1.0  # in this order, `and` is the minimum and `or` is the maximum (Kleene's logic)
WORDS = ("completed", "not failed")
_HOLDS: dict[str, Callable[[Floats, float], Floats]] = dict(
    zip(OPERATORS, (operator.lt, operator.le, operator.gt, operator.ge), strict=True)
)
_TERM = re.compile(r"(?P<metric>\w+)\s*(?P<op>[<>=!]+)\s*(?P<limit>[^<>=!]*)")
_SPLIT = {word: re.compile(rf"\s+{word}\s+") for word in ("and", "or")}
_LONGEST = 1_000  # characters


@dataclass(frozen=True, slots=True)
class Term:
    metric: str | None  # None: one of WORDS
    text: str
    op: str = "<"
    limit: float = 0.0  # in the metric's unit

    def of(self, streams: Streams) -> Floats:
        """GOOD, BAD or UNKNOWN for each stream, before failed ones are made BAD."""
        if self.metric is None:
            return self._of_word(streams)
        metric = METRICS[self.metric]
        seen = metric.observe(streams)
        has = seen.counts > 0
        values = np.full(len(streams), np.nan)
        values[has] = seen.ticks / metric.ticks_per_unit
        found = np.where(has, np.where(_HOLDS[self.op](values, self.limit), GOOD, BAD), UNKNOWN)
        found[seen.failed] = BAD  # such as the TTFT of a person who left before the first token
        if metric.streaming:
            found[streams.text["answer"].are("whole")] = UNKNOWN
        return found

    def _of_word(self, streams: Streams) -> Floats:
        if self.text == "not failed":
            return np.full(len(streams), GOOD)
        cancelled = streams.ended_as({Outcome.CANCELLED})
        return np.where(cancelled, UNKNOWN, np.where(streams.ended_as({Outcome.COMPLETED}), GOOD, BAD))


@dataclass(frozen=True, slots=True)
class Good:
    text: str
    either: tuple[tuple[tuple[Term, ...], ...], ...]  # all of these hold; each if one of its parts does; and so on

    @property
    def metrics(self) -> set[str]:
        return {term.metric for each in self.either for part in each for term in part if term.metric is not None}

    def of(self, streams: Streams, reader: Reader) -> Floats:
        """GOOD, BAD or UNKNOWN for each stream; UNKNOWN ones do not count.

        A probe that is bad only since this machine sent it late does not count: it says nothing of the server.
        """
        found, lag = self._of(streams, reader), np.nan_to_num(streams.number["send_lag"])
        suspect = np.flatnonzero((found == BAD) & (lag > 0) & ~streams.ended_as(FAILURES))
        if len(suspect):
            late = streams.select(suspect)
            found[suspect] = self._of(late.with_numbers({"due_at": late.number["due_at"] + lag[suspect]}), reader)
            found[suspect[found[suspect] == GOOD]] = UNKNOWN
        return found

    def _of(self, streams: Streams, reader: Reader) -> Floats:
        if any(not reader_model_free(name) for name in self.metrics):
            streams = with_waits(streams, reader)
        found = np.full(len(streams), GOOD)
        for each in self.either:
            parts = [np.minimum.reduce([term.of(streams) for term in part]) for part in each]
            found = np.minimum(found, np.maximum.reduce(parts))
        found[streams.ended_as(FAILURES)] = BAD
        found[streams.ended_as({Outcome.INTERRUPTED})] = UNKNOWN  # our side ended it: it says nothing of the server
        return found


def reader_model_free(metric: str) -> bool:
    return set(METRICS[metric].columns).isdisjoint(reader_model.COLUMNS)


def parse(written: str | Sequence[str]) -> Good:
    """RuleError, in one line that lists what exists, for a text that says nothing of a single stream."""
    texts = [written] if isinstance(written, str) else list(written)
    if not texts:
        raise RuleError("good: empty: write what a good probe is, as in 'ttft < 1.5s'")
    whole = " and ".join(texts)
    if len(whole) > _LONGEST:
        raise RuleError(f"good: {whole[:40]!r}…: longer than {_LONGEST:,} characters: it is a part of each alert")
    return Good(whole, tuple(_either(text) for text in texts))


def _either(text: str) -> tuple[tuple[Term, ...], ...]:
    parts = _SPLIT["or"].split(text.strip())
    return tuple(tuple(_term(term.strip(), text) for term in _SPLIT["and"].split(part)) for part in parts)


def _term(term: str, text: str) -> Term:
    if (word := " ".join(term.split())) in WORDS:
        return Term(None, word)
    parts = _TERM.fullmatch(term)
    if parts is None:
        raise RuleError(
            f"{text!r}: {term!r} says nothing of a single stream; write it like 'ttft < 1.5s', or one of "
            f"{', '.join(WORDS)}"
        )
    name, op = parts["metric"], parts["op"]
    single = [each.name for each in METRICS.values() if not each.pooled]
    if name in METRICS and name not in single:
        raise RuleError(f"{text!r}: a stream has many samples of {name}; there are {listed(name, single)}")
    if name not in METRICS:
        raise RuleError(f"{text!r}: no metric called {name!r}; there are {listed(name, (*single, *WORDS))}")
    if op not in OPERATORS:
        raise RuleError(f"{text!r}: no operator {op!r}; there are {', '.join(OPERATORS)}")
    return Term(name, term, op, limit(text, parts["limit"], name, METRICS[name].unit))
