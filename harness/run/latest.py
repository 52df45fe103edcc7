"""The figures of the latest streams while a run goes on: those that ended in the last ten seconds. Pure.

The samples are those of the judge's metrics, in histograms: a percentile is less than 1 % off. Each second's streams
are measured once, and what is kept does not grow. The verdict comes from the database, and not from these figures.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from streamgauge.harness.config.schema import Reader, Where
from streamgauge.harness.judge.measure import reader_model
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.measure.histogram import BINS, bins_of, middles
from streamgauge.harness.judge.measure.measurements import with_waits
from streamgauge.harness.judge.measure.metrics import METRICS, Metric
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.measure.totals import SUMS, Totals
from streamgauge.harness.judge.store import Streams, streams_of
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.harness.judge.verdict.summary import Quantiles, quantiles
from streamgauge.harness.record.observation import Outcome, StreamObservation

SECONDS = 10  # that the figures look back
SHOWN = ("ttft", "itl", "e2e")  # metrics that are shown whatever the rules are
_MOST = 5_000  # streams that wait to be measured; of more, the latest
_MOST_CHUNKS = 60_000  # that are measured at once; of more, every n-th stream
_WAITS = ("outcome", "events", "ended_at", "resume_gap", "resume_lost")  # columns that the reader model needs
_TEXTS = frozenset({"outcome", "answer", "user"})
_STREAMED = Where(answer="streamed")
_Selection = tuple[tuple[str, str], ...]  # what a `Where` selects, as a key of dicts


@dataclass
class Histogram:
    """Samples of one metric over some streams."""

    counts: Integers = field(default_factory=lambda: np.zeros(BINS, np.int64))
    failed: int = 0  # samples of failed streams, which are +inf

    def add(self, bins: Integers, failed: int) -> None:
        self.counts += np.bincount(bins, minlength=BINS)
        self.failed += failed

    def join(self, other: "Histogram") -> None:
        self.counts += other.counts
        self.failed += other.failed

    def values(self, metric: Metric) -> tuple[Floats, Integers]:
        """Sorted values in the metric's unit, and how often each occurred; +inf for failed streams."""
        bins = np.flatnonzero(self.counts)
        values, counts = middles(bins) / metric.ticks_per_unit, self.counts[bins]
        return (np.append(values, np.inf), np.append(counts, self.failed)) if self.failed else (values, counts)


class Row(NamedTuple):
    """One metric of the latest streams; failed ones count as +inf."""

    name: str
    unit: str
    quantiles: Quantiles[float | None]
    n: int


class Now(NamedTuple):
    """One rule and the latest streams."""

    rule: Rule
    value: float | None  # in the subject's unit; None: nothing to compare
    holds: bool | None


@dataclass(frozen=True)
class Figures:
    seconds: float  # that they look back; less than SECONDS at a run's beginning
    rows: Sequence[Row]
    rules: Sequence[Now]
    ended: int  # streams
    chunks: int  # of content, of these streams


@dataclass
class _Slice:
    """What was measured between two calls of `take`."""

    at: float  # s since the run began
    warm_up: bool
    weight: int  # how many streams each measured one stands for
    histograms: dict[tuple[str, _Selection], Histogram] = field(default_factory=dict)
    totals: dict[_Selection, Totals] = field(default_factory=dict)
    ended: int = 0
    chunks: int = 0


class Latest:
    def __init__(self, rules: Sequence[Rule], reader: Reader, measured_from: int = 0) -> None:
        """`measured_from`: the end of the warm-up, ns on the run's clock."""
        self._rules = rules
        self._reader = reader
        self._measured_from = measured_from
        self._waiting: deque[StreamObservation] = deque(maxlen=_MOST)
        self._slices: deque[_Slice] = deque()
        rates = [rule for rule in rules if rule.subject.aggregation is None]
        asked = [(name, _STREAMED) for name in SHOWN]
        asked += [(rule.subject.name, _where(rule)) for rule in rules if rule.subject.aggregation is not None]
        self._asked = {(name, _key(where)) for name, where in asked}
        self._totals = {_key(rule.written.where) for rule in rates}
        wheres = [where for _, where in asked] + [rule.written.where for rule in rates]
        self._wheres = {_key(where): where for where in wheres}
        self._sums = {name for rule in rates for name in RATES[rule.subject.name].sums} & SUMS.keys()
        columns = {column for name, _ in self._asked for column in METRICS[name].columns}
        columns |= {column for name in self._sums for column in SUMS[name].columns}
        self._needs_waits = not columns.isdisjoint(reader_model.COLUMNS)
        columns |= {*_WAITS} if self._needs_waits else set()
        keys = {key for where in wheres for key in where.selected()}
        self._texts = _TEXTS | {"labels" if key.startswith("label.") else key for key in keys}
        self._numbers = columns - self._texts - {"events", *reader_model.COLUMNS} | {"content_chunks", "due_at"}

    def add(self, streams: Iterable[StreamObservation]) -> None:
        self._waiting.extend(streams)

    def take(self, at: float) -> Streams | None:
        """Measure what was added since the last call, `at` s after the run began. Returns it; None if it is nothing."""
        while self._slices and self._slices[0].at <= at - SECONDS:
            self._slices.popleft()
        if not self._waiting:
            return None
        observed = [*self._waiting]
        self._waiting.clear()
        chunks = sum(seen.content_chunks for seen in observed)
        weight = 1 + chunks // _MOST_CHUNKS
        observed = observed[::weight]
        streams = streams_of(observed, self._texts, self._numbers)
        warm_up = streams.number["due_at"] < self._measured_from
        for cold in (True, False):
            places = np.flatnonzero(warm_up == cold)
            if len(places) == len(streams):
                self._measure(streams, _Slice(at, cold, weight))
            elif len(places):
                self._measure(streams.select(places), _Slice(at, cold, weight))
        return streams

    def _measure(self, streams: Streams, into: _Slice) -> None:
        self._slices.append(into)
        into.ended = into.weight * len(streams)
        into.chunks = into.weight * int(streams.number["content_chunks"].sum())
        if self._needs_waits:
            streams = with_waits(streams, self._reader)
        chosen = {key: streams.selected_by(where) for key, where in self._wheres.items()}
        for name in {name for name, _ in self._asked}:
            metric, seen = METRICS[name], METRICS[name].observe(streams)
            bins = bins_of(seen.ticks)
            counted = np.ones(len(streams), bool) if metric.pooled else ~seen.failed  # as in `Gathered`
            for key in [key for asked, key in self._asked if asked == name]:
                mine = chosen[key]
                histogram = into.histograms[name, key] = Histogram()
                own = mine & counted
                picked = bins if own.all() else bins[np.repeat(own, seen.counts)]
                histogram.add(picked, int((seen.failed & mine).sum()))
        columns = {name: SUMS[name].of(streams, self._reader.good) for name in self._sums}
        for key in self._totals:
            mine = chosen[key]
            found = streams.text["outcome"].counts(mine)
            outcomes = {outcome: into.weight * count for outcome, count in found.items()}
            sums = {name: into.weight * float(column[mine].sum()) for name, column in columns.items()}
            into.totals[key] = Totals(outcomes, sums)

    def figures(self, at: float) -> Figures:
        """Of the warm-up while it lasts, then only of measured streams."""
        cold = at * 1e9 < self._measured_from
        begins = 0.0 if cold else self._measured_from / 1e9
        seconds = min(SECONDS, max(at - begins, 0.0))
        slices = [each for each in self._slices if each.warm_up == cold and each.at > at - SECONDS]
        return Figures(
            seconds,
            [_row(METRICS[name], _joined(slices, (name, _key(_STREAMED)))) for name in SHOWN],
            [self._now(rule, slices, seconds) for rule in self._rules],
            sum(each.ended for each in slices),
            sum(each.chunks for each in slices),
        )

    def _now(self, rule: Rule, slices: Iterable[_Slice], seconds: float) -> Now:
        if rule.subject.aggregation is None:
            rate = RATES[rule.subject.name]
            totals = _added(each.totals[_key(rule.written.where)] for each in slices)
            value = None if rate.of_run else rate.over(totals, seconds).value
        else:
            histogram = _joined(slices, (rule.subject.name, _key(_where(rule))))
            value = rule.subject.aggregate(*histogram.values(METRICS[rule.subject.name]))
        return Now(rule, value, None if value is None else rule.holds(value))


def _where(rule: Rule) -> Where:
    """As the judge reads a rule: one about a metric of streaming selects streamed answers unless it says otherwise."""
    where = rule.written.where
    if not METRICS[rule.subject.name].streaming or where.answer is not None:
        return where
    return msgspec.structs.replace(where, answer="streamed")


def _key(where: Where) -> _Selection:
    return tuple(where.selected().items())


def _joined(slices: Iterable[_Slice], key: tuple[str, _Selection]) -> Histogram:
    whole = Histogram()
    for each in slices:
        whole.join(each.histograms[key])
    return whole


def _row(metric: Metric, histogram: Histogram) -> Row:
    values, counts = histogram.values(metric)
    return Row(metric.name, metric.unit, quantiles(values, counts), int(counts.sum()))


def _added(parts: Iterable[Totals]) -> Totals:
    outcomes: dict[str, int] = {}
    sums: dict[str, float] = {}
    for part in parts:
        _add(outcomes, part.outcomes)
        _add(sums, part.sums)
    return Totals({str(each): outcomes[each] for each in Outcome if each in outcomes}, sums)


def _add(to: dict[str, int] | dict[str, float], more: Mapping[str, float]) -> None:
    for name, value in more.items():
        to[name] = to.get(name, 0) + value  # type: ignore[assignment]
