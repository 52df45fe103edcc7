"""What is measured: METRICS are distributions, RATES single figures. From columns of streams to samples; exact, and in
memory that grows with distinct values, not with chunks. No quantile and no verdict is made here.

Each metric has two readings. The plain one holds what was observed. The gated one, for rules, also counts what never
came: a failed stream is +inf, or failing fast would look like an improvement. Definitions: docs/concepts/metrics.md.
"""

import itertools
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.config.schema import Good, Reader, Where
from streamgauge.harness.judge.measure import reader
from streamgauge.harness.judge.store import Streams, matches
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.observation import ABANDONED, DISCONNECTED, FAILURES, Outcome, after_tools
from streamgauge.harness.record.vitals import Vital

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

COALESCED_US = 1_000  # two chunks closer than this came together: not a fast token
LATE = 10_000_000  # ns from a stream's due time to its beginning: more than a generator in health needs
_SMOOTHNESS = {"stall_count", "stall_time", "longest_stall", "stall_ratio"}  # metrics of what the answer's reader waits


@dataclass(frozen=True)
class Observed:
    """What one metric saw in a batch of streams."""

    ticks: Integers  # samples, in the streams' order: whole ns, or what the metric says
    counts: Integers  # of the streams: how many samples each has
    failed: Mask  # of the streams: adds one +inf to the gated reading, and takes this stream's own samples out of it
    elapsed: Floats | None = None  # of the streams: ns without a value when the run cut them off, else NaN


Observe = Callable[[Streams], Observed]


@dataclass(frozen=True)
class Metric:
    name: str
    definition: str
    observe: Observe
    ticks_per_unit: int = 1_000_000
    unit: Literal["ms", "ratio", "stalls", "chunks", "tokens"] = "ms"
    streaming: bool = True  # of streamed answers; of whole ones only where a selection asks for them
    pooled: bool = False  # many samples a stream: they are correlated, and a failure spoils none of them


class Tally:
    """How often each whole number was seen. Small numbers in a table, the rest sorted: nothing is rounded."""

    TABLE = 1 << 18
    PENDING = 1 << 17  # times some dozens of these, one for each metric and cohort

    def __init__(self) -> None:
        self._pending: list[Integers] = []
        self._waiting = 0
        self._table: Integers | None = None
        self._values = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)

    def add(self, values: Integers) -> None:
        self._pending.append(values)
        self._waiting += len(values)
        if self._waiting > self.PENDING:
            self._settle()

    def _settle(self) -> None:
        values = np.concatenate([np.zeros(0, np.int64), *self._pending])
        self._pending, self._waiting = [], 0
        small = (values >= 0) & (values < self.TABLE)
        if self._table is None:
            self._table = np.zeros(self.TABLE, np.int64)
        self._table += np.bincount(values[small], minlength=self.TABLE)
        self._values, self._counts = _merged(
            [(self._values, self._counts), np.unique(values[~small], return_counts=True)]
        )

    def counted(self) -> tuple[Integers, Integers]:
        """Sorted distinct values, and how often each was seen."""
        if self._table is None:
            return np.unique(np.concatenate([np.zeros(0, np.int64), *self._pending]), return_counts=True)
        self._settle()
        seen = np.flatnonzero(self._table)
        return _merged([(seen, self._table[seen]), (self._values, self._counts)])


class _Thinned:
    """The samples of some whole streams, at most about LIMIT: enough to learn how alike a stream's own samples are."""

    LIMIT = 1 << 17

    def __init__(self) -> None:
        self.share = 1 << 32  # streams whose hashed id is below this are kept
        self.ticks = np.zeros(0, np.int64)
        self.owner = np.zeros(0, np.int64)

    def add(self, ticks: Integers, ids: Integers, counts: Integers) -> None:
        """Samples in the order of the streams that they belong to, and how many each of these has."""
        kept = _hashed(ids) < self.share
        self.ticks = np.concatenate([self.ticks, ticks[np.repeat(kept, counts)]])
        self.owner = np.concatenate([self.owner, np.repeat(ids[kept], counts[kept])])
        while len(self.ticks) > self.LIMIT and self.share > 1:
            self.thin(self.share // 2)

    def thin(self, share: int) -> None:
        self.share = min(share, self.share)
        kept = _hashed(self.owner) < self.share
        self.ticks, self.owner = self.ticks[kept], self.owner[kept]


@dataclass
class _Gathered:
    """One metric's samples of one cohort of streams."""

    kept: Tally = field(default_factory=Tally)
    spoiled: Tally = field(default_factory=Tally)  # observed, but of a failed stream: in the plain reading only
    thinned: _Thinned = field(default_factory=_Thinned)
    elapsed: list[Floats] = field(default_factory=list)
    failed: int = 0
    missing: int = 0


@dataclass(frozen=True)
class Samples:
    """One metric over some streams. Values are in its unit, sorted and distinct, with how often each occurred."""

    metric: Metric
    values: Floats  # the plain reading
    counts: Integers
    kept: tuple[Floats, Integers]  # the plain reading less what failed streams had
    failed: int  # +inf in the gated reading
    elapsed: Floats  # ms: cut off by the run's end without a value, so longer than this
    missing: int  # streams with no sample, whatever the reason: left out of the plain reading
    clusters: tuple[Floats, Integers]  # a pooled metric's samples of some whole streams, with the streams' ids

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def gated(self, limit: float | None = None) -> tuple[Floats, Integers]:
        """Values and counts with +inf for what never came.

        A stream that the run cut off before its value is +inf once it had waited for `limit` (ms); before that
        nobody knows, and it is left out, as it is where there is no limit.
        """
        values, counts = self.kept
        never = self.failed + (int((self.elapsed >= limit).sum()) if limit is not None else 0)
        if never == 0:
            return values, counts
        return np.append(values, np.inf), np.append(counts, never)


Texts = tuple[str, ...]  # the values of _COHORT, then the labels as JSON
_COHORT = tuple(name for name in Where.__struct_fields__ if name != "label")


@dataclass
class _Cohort:
    """Streams that no rule can tell apart."""

    samples: dict[str, _Gathered] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)


_TOTALS = ("output_tokens", "reads", "coalesced_reads", "saturated_reads", "unstamped_reads", "content_chunks")


class Gauge:
    """Takes a run's streams batch by batch, once, and then answers for any selection of them.

    Streams fall into cohorts (equal scenario, user, network, behaviour, protocol, client, and those labels named in
    `labels`); every selection is a union of cohorts. `person` is who reads the answers; `only` names the metrics that
    it will be asked for.
    """

    def __init__(
        self, labels: Iterable[str] = (), person: Reader | None = None, only: Collection[str] | None = None
    ) -> None:
        self._labels = sorted(set(labels))
        self._metrics = [metric for name, metric in METRICS.items() if only is None or name in only]
        self._parts: list[Gauge] = []
        self._person = person or Reader()
        self._cohorts: dict[Texts, _Cohort] = {}
        self.began, self.ended = math.inf, -math.inf  # ns: the first stream's start and the last one's end
        self.whole: dict[str, float] = {}  # sums that are known of the whole run only

    def arranged(self, streams: Streams) -> Streams:
        """The same streams with those of a cohort side by side. Their events are decoded anew: best not done before."""
        code, _ = self._sorted_into_cohorts(streams)
        return streams if (np.diff(code) >= 0).all() else streams.select(np.argsort(code, kind="stable"))

    def take(self, streams: Streams) -> None:
        """Streams in any order; quickest as `arranged` gives them."""
        code, cohorts = self._sorted_into_cohorts(streams)
        if (np.diff(code) < 0).any():
            streams = self.arranged(streams)
            code, cohorts = self._sorted_into_cohorts(streams)
        bounds = np.searchsorted(code, np.arange(len(cohorts) + 1)).tolist()
        parts = [(cohort, slice(*ends)) for cohort, ends in zip(cohorts, itertools.pairwise(bounds), strict=True)]
        if self._person.good.longest_stall or any(metric.name in _SMOOTHNESS for metric in self._metrics):
            streams = self._read(streams)
        for metric in self._metrics:
            _gather(metric, streams, parts)
        number = streams.number
        self.began = min(self.began, float(np.fmin.reduce(number["started_at"], initial=math.inf)))
        self.ended = max(self.ended, float(number["ended_at"].max(initial=-math.inf)))
        told = _outcome(streams, Outcome.COMPLETED) & ~np.isnan(number["output_tokens"]) & ~_resumed(streams)
        counted = {
            "open_ns": np.nan_to_num(number["ended_at"] - number["started_at"]),
            "reported": ~np.isnan(number["output_tokens"]),
            "with_content": number["content_chunks"] > 0,
            "told_tokens": np.where(told, number["output_tokens"], 0),
            "told_chunks": np.where(told, number["content_chunks"], 0),
            "cache_reported": ~np.isnan(number["cache_read_tokens"]),
            "cache_hits": number["cache_read_tokens"] > 0,
            **_goodness(streams, self._person.good),
            "late": number["send_lag"] >= LATE,
            **{name: np.nan_to_num(number[name]) for name in _TOTALS},
        }
        for cohort, mine in parts:
            for name, count in zip(*np.unique(streams.outcome[mine], return_counts=True), strict=True):
                cohort.outcomes[str(name)] = cohort.outcomes.get(str(name), 0) + int(count)
            for name, column in counted.items():
                cohort.totals[name] = cohort.totals.get(name, 0.0) + float(column[mine].sum())

    def _read(self, streams: Streams) -> Streams:
        """The same with what their reader waited."""
        complete = _outcome(streams, Outcome.COMPLETED)
        gone_at = np.where(complete, np.nan, streams.number["ended_at"] / 1e3)
        events, unseen = streams.events, _unseen(streams)
        if len(unseen):
            text = events.text.copy()
            text[unseen] = 0
            events = msgspec.structs.replace(events, text=text)
        return streams.with_numbers(reader.waits(events, gone_at, self._person.characters_per_second))

    def _sorted_into_cohorts(self, streams: Streams) -> tuple[Integers, list[_Cohort]]:
        """For every stream the place of its cohort in the list."""
        columns: list[Sequence[str]] = [streams.text[name] for name in _COHORT]
        labels = streams.text["labels"]
        columns.append([self._labels_of(text) for text in labels] if self._labels else ["{}"] * len(streams))
        places: dict[Texts, int] = {}
        code = [places.setdefault(texts, len(places)) for texts in zip(*columns, strict=True)]
        return np.array(code, np.int64), [self._cohorts.setdefault(texts, _Cohort()) for texts in places]

    def _labels_of(self, text: str) -> str:
        if text == "{}":
            return "{}"
        labels = json.loads(text)
        return json.dumps({name: labels[name] for name in self._labels if name in labels})

    def values(self, key: str) -> list[str]:
        """What occurred under a key of `where`: "network", or "label.NAME"."""
        if key.startswith("label."):
            found = (json.loads(texts[-1]).get(key.removeprefix("label.")) for texts, _ in self._all())
        else:
            found = (texts[_COHORT.index(key)] for texts, _ in self._all())
        return sorted({value for value in found if value})

    @classmethod
    def joined(cls, gauges: Iterable["Gauge"]) -> "Gauge":
        """One that answers for the streams of all of these, and takes none itself."""
        whole = cls()
        whole._parts = list(gauges)
        return whole

    def _all(self) -> Iterator[tuple[Texts, _Cohort]]:
        return itertools.chain(self._cohorts.items(), *(part._all() for part in self._parts))

    def _chosen(self, where: Where | None) -> Iterator[_Cohort]:
        for texts, cohort in self._all():
            if where is None or matches(where, dict(zip((*_COHORT, "labels"), texts, strict=True))):
                yield cohort

    def samples(self, name: str, where: Where | None = None) -> Samples:
        """One of METRICS over the streams that `where` speaks of."""
        metric = METRICS[name]
        if metric.streaming and (where is None or where.answer is None):
            where = msgspec.structs.replace(where or Where(), answer="streamed")
        gathered = [cohort.samples[name] for cohort in self._chosen(where)]
        kept = _merged([one.kept.counted() for one in gathered])
        plain = _merged([kept, *(one.spoiled.counted() for one in gathered)])
        unit = metric.ticks_per_unit
        share = min((one.thinned.share for one in gathered), default=0)
        for one in gathered:
            one.thinned.thin(share)
        elapsed = [np.zeros(0)]
        for one in gathered:
            elapsed += one.elapsed
        return Samples(
            metric=metric,
            values=plain[0] / unit,
            counts=plain[1],
            kept=(kept[0] / unit, kept[1]),
            failed=sum(one.failed for one in gathered),
            elapsed=np.concatenate(elapsed) / 1e6,
            missing=sum(one.missing for one in gathered),
            clusters=(
                np.concatenate([np.zeros(0), *(one.thinned.ticks / unit for one in gathered)]),
                np.concatenate([np.zeros(0, np.int64), *(one.thinned.owner for one in gathered)]),
            ),
        )

    def totals(self, where: Where | None = None) -> "Totals":
        outcomes: dict[str, int] = {}
        sums: dict[str, float] = {}
        for cohort in self._chosen(where):
            for name, count in cohort.outcomes.items():
                outcomes[name] = outcomes.get(name, 0) + count
            for name, value in cohort.totals.items():
                sums[name] = sums.get(name, 0.0) + value
        if where is None or where == Where():
            sums |= self.whole
        ordered = {str(outcome): outcomes[outcome] for outcome in Outcome if outcome in outcomes}
        return Totals(ordered, sums)


@dataclass(frozen=True)
class Totals:
    """Counts and sums over some streams."""

    outcomes: dict[str, int]  # in the order of Outcome; only those that occurred
    sums: dict[str, float]

    def sum(self, name: str) -> float:
        return self.sums.get(name, 0.0)

    def count(self, *outcomes: Outcome) -> int:
        return sum(self.outcomes.get(outcome, 0) for outcome in outcomes)

    @property
    def streams(self) -> int:
        return sum(self.outcomes.values())

    @property
    def initiated(self) -> int:
        """All but those that the run's end cut off: nobody knows what would have become of them."""
        return self.streams - self.count(Outcome.INTERRUPTED)

    @property
    def disconnected(self) -> int:
        return self.count(*DISCONNECTED)


@dataclass(frozen=True)
class Figure:
    """What a rate came to: `value` is None where nothing was observed."""

    value: float | None  # +inf for a time to what never came
    n: int  # streams in the denominator, or that reported
    hits: int | None = None  # the numerator of a share; None for a throughput


@dataclass(frozen=True)
class Rate:
    name: str
    unit: Literal["ratio", "tokens/s", "streams/s", "streams", "tokens", "ms"]
    definition: str
    over: Callable[[Totals, float], Figure]  # totals, and how long the run took in seconds
    of_run: bool = False  # known of the whole run only, not of some of its streams


def gauge(batches: Iterable[Streams], labels: Iterable[str] = (), person: Reader | None = None) -> Gauge:
    """Take every batch; `labels` are the label names that selections will speak of."""
    found = Gauge(labels, person)
    for streams in batches:
        found.take(streams)
    return found


def _gather(metric: Metric, streams: Streams, parts: list[tuple[_Cohort, slice]]) -> None:
    """Give each cohort its own samples; `parts` says where its streams are."""
    seen = metric.observe(streams)
    before = np.concatenate([[0], np.cumsum(seen.counts)])
    for cohort, mine in parts:
        into = cohort.samples.setdefault(metric.name, _Gathered())
        # A copy: what waits to be counted must not hold on to the samples of all the other cohorts.
        ticks = seen.ticks[before[mine.start] : before[mine.stop]].copy()
        counts, failed = seen.counts[mine], seen.failed[mine]
        if metric.pooled:
            into.kept.add(ticks)
            into.thinned.add(ticks, streams.id[mine], counts)
        else:
            spoiled = np.repeat(failed, counts)
            into.kept.add(ticks[~spoiled])
            into.spoiled.add(ticks[spoiled])
        into.failed += int(failed.sum())
        into.missing += int((counts == 0).sum())
        if seen.elapsed is not None:
            into.elapsed.append(seen.elapsed[mine][~np.isnan(seen.elapsed[mine])])


def _merged(parts: Sequence[tuple[Integers, Integers]]) -> tuple[Integers, Integers]:
    """Several sorted (values, counts) as one."""
    parts = [part for part in parts if len(part[0])]
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if len(parts) == 1:
        return parts[0]
    values, place = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    counts = np.zeros(len(values), np.int64)
    np.add.at(counts, place, np.concatenate([part[1] for part in parts]))
    return values, counts


def _hashed(ids: Integers) -> Integers:
    """Knuth's multiplicative hash into 32 bits: neighbours in the file are not neighbours here."""
    return (ids * 2654435761) & 0xFFFFFFFF


def _outcome(streams: Streams, *outcomes: Outcome) -> Mask:
    return np.isin(streams.outcome, [outcome.value for outcome in outcomes])


def _resumed(streams: Streams) -> Mask:
    """Those that went on with an answer: its beginning is in another stream, and what is reported is of the whole."""
    number = streams.number
    return ~(np.isnan(number["resume_gap"]) & np.isnan(number["resume_lost"]))


def _one_each(streams: Streams, value: Floats, failed: Mask | None = None, elapsed: Floats | None = None) -> Observed:
    """At most one sample a stream, in ns; NaN is none."""
    there = ~np.isnan(value)
    nowhere = np.zeros(len(streams), bool)
    return Observed(
        value[there].astype(np.int64), there.astype(np.int64), nowhere if failed is None else failed, elapsed
    )


def _first(start: str, end: str) -> Observe:
    """Time to something first: a failure never got there, and who left before it had waited longer than they would."""

    def observe(streams: Streams) -> Observed:
        value, resumed = streams.number[end] - streams.number[start], _resumed(streams)
        none = np.isnan(value) & ~resumed
        value[resumed] = np.nan
        failed = _outcome(streams, *FAILURES) | (none & _outcome(streams, Outcome.CANCELLED))
        cut_off = none & _outcome(streams, Outcome.INTERRUPTED)
        waited = streams.number["ended_at"] - streams.number[start]
        return _one_each(streams, value, failed, np.where(cut_off, waited, np.nan))

    return observe


def _whole(end: str) -> Observe:
    """Time to the end of a complete answer: only a completed stream has it, and a failed one never does."""

    def observe(streams: Streams) -> Observed:
        waited = streams.number["ended_at"] - streams.number["due_at"]
        whole = _outcome(streams, Outcome.COMPLETED) & ~_resumed(streams)
        value = np.where(whole, streams.number[end] - streams.number["due_at"], np.nan)
        cut_off = _outcome(streams, Outcome.INTERRUPTED)
        return _one_each(streams, value, _outcome(streams, *FAILURES), np.where(cut_off, waited, np.nan))

    return observe


def _tpot(streams: Streams) -> Observed:
    return _one_each(streams, _tpot_of(streams), _outcome(streams, *FAILURES))


def _tpot_of(streams: Streams) -> Floats:
    tokens = streams.number["output_tokens"]
    known = _outcome(streams, Outcome.COMPLETED) & (tokens > 1) & ~_resumed(streams)  # NaN > 1 is false
    span = streams.number["last_content_at"] - streams.number["first_content_at"]
    return np.where(known, span / np.where(known, tokens - 1, 1), np.nan)


def _goodness(streams: Streams, good: Good) -> dict[str, Mask]:
    """Which streams kept every limit, and which did not; the others cannot be judged, and without limits none."""
    number = streams.number
    limits = {
        "ttft": (good.ttft, number["first_content_at"] - number["due_at"]),
        "tpot": (good.tpot, _tpot_of(streams)),
        "e2e": (good.e2e, number["last_content_at"] - number["due_at"]),
        "longest_stall": (good.longest_stall, number.get("longest_stall", np.zeros(len(streams))) * 1e3),
    }
    asked = [(limit, value) for limit, value in limits.values() if limit is not None]
    if not asked:
        return {}
    kept = np.all([value <= limit for limit, value in asked], axis=0)
    beyond = np.any([value > limit for limit, value in asked], axis=0)
    complete = _outcome(streams, Outcome.COMPLETED)
    left = _outcome(streams, Outcome.CANCELLED) & np.isnan(number["first_content_at"])  # they had waited long enough
    return {"good": complete & kept, "not_good": (complete & beyond) | left | _outcome(streams, *FAILURES)}


def _connect(streams: Streams) -> Observed:
    number = streams.number
    never = _outcome(streams, *FAILURES) & ~np.isnan(number["started_at"]) & np.isnan(number["sent_at"])
    return _one_each(streams, number["connected_at"] - number["started_at"], never)


def _headers(streams: Streams) -> Observed:
    return _one_each(streams, streams.number["headers_at"] - streams.number["sent_at"])


def _column(name: str) -> Observe:
    return lambda streams: _one_each(streams, streams.number[name])


def _of_reader(name: str, ticks: int) -> Observe:
    """What `reader.waits` found, so many ticks to each of its own: an answer that failed was never smooth."""

    def observe(streams: Streams) -> Observed:
        return _one_each(streams, np.rint(streams.number[name] * ticks), _outcome(streams, *FAILURES))

    return observe


def content_gaps(streams: Streams, *, wire: bool = False) -> tuple[Integers, Integers]:
    """Every gap of 1 ms or more between consecutive content chunks, µs, and which of `events` ended it.

    As the person got them, or (`wire`) as they left the wire, before any emulated link. Not those in which a tool ran.
    """
    gaps, ends, tool = _parted(streams, wire=wire)
    return gaps[~tool], ends[~tool]


def _parted(streams: Streams, *, wire: bool) -> tuple[Integers, Integers, Mask]:
    """Every such gap, which of `events` ended it, and whether a tool ran in it."""
    events = streams.events
    at = events.at if wire else events.perceived_at
    gaps = np.zeros_like(at)
    np.subtract(at[1:], at[:-1], out=gaps[1:])
    gaps[events.starts[:-1][np.diff(events.starts) > 0]] = 0  # nothing lies between two streams
    if not wire:
        gaps[_unseen(streams)] = 0
    ends = np.flatnonzero(gaps >= COALESCED_US)
    return gaps[ends], ends, np.isin(ends, _after_tools(streams))


def _after_tools(streams: Streams) -> Integers:
    """Which of `events` are the first content after a tool's run."""
    found = [np.zeros(0, np.int64)]
    for place in np.flatnonzero(~np.isnan(streams.number["tool_pause"])).tolist():
        kind = arrivals.columns(streams.blobs[place]).kind
        found.append(streams.events.starts[place] + after_tools(kind[arrivals.is_content(kind)]))
    return np.concatenate(found)


def _unseen(streams: Streams) -> Integers:
    """Which of `events` were still on the emulated link when their person left, or the run ended."""
    events, nothing = streams.events, np.zeros(0, np.int64)
    gone = np.where(
        _outcome(streams, *ABANDONED), streams.number["ended_at"] / 1e3 + 1, np.inf
    )  # µs, and for the rounding
    starts, ends = events.starts[:-1], events.starts[1:]
    some = np.flatnonzero(ends > starts)
    late = some[events.perceived_at[ends[some] - 1] > gone[some]]  # a link keeps the order
    found = [
        np.arange(start + np.searchsorted(events.perceived_at[start:end], left, side="right"), end)
        for start, end, left in zip(starts[late], ends[late], gone[late], strict=True)
    ]
    return np.concatenate([nothing, *found])


def _counts(streams: Streams, places: Integers) -> Integers:
    """How many of these events each stream has."""
    return np.diff(np.searchsorted(places, streams.events.starts))


def _gaps(*, wire: bool) -> Observe:
    def observe(streams: Streams) -> Observed:
        gaps, ends = content_gaps(streams, wire=wire)
        has_content = ~np.isnan(streams.number["first_content_at"])
        # A failed stream has one more gap: that which never ended.
        return Observed(gaps, _counts(streams, ends), _outcome(streams, *FAILURES) & has_content)

    return observe


def _tool_pauses(streams: Streams) -> Observed:
    if np.isnan(streams.number["tool_pause"]).all():  # most runs use no tools, and gaps take their time
        return _one_each(streams, np.full(len(streams), np.nan))
    gaps, ends, tool = _parted(streams, wire=False)
    return Observed(gaps[tool], _counts(streams, ends[tool]), np.zeros(len(streams), bool))


def _client_overhead(streams: Streams) -> Observed:
    handed = np.flatnonzero(streams.events.client_lag >= 0)
    return Observed(streams.events.client_lag[handed], _counts(streams, handed), np.zeros(len(streams), bool))


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in [
        Metric("ttft", "due time to first content chunk", _first("due_at", "first_content_at")),
        Metric("ttft_text", "due time to first visible text", _first("due_at", "first_text_at")),
        Metric(
            "ttft_wire",
            "request sent to first content chunk before the emulated link: the server's part",
            _first("sent_at", "first_content_wire_at"),
        ),
        Metric(
            "itl",
            "gap between consecutive content chunks, pooled over streams; under 1 ms is coalesced, not a gap, and over "
            "a tool's run it is a tool_pause",
            _gaps(wire=False),
            ticks_per_unit=1_000,
            pooled=True,
        ),
        Metric(
            "itl_wire",
            "the same before the emulated link: the server's part",
            _gaps(wire=True),
            ticks_per_unit=1_000,
            pooled=True,
        ),
        Metric(
            "tool_pause",
            "a tool's input to the next content that is none, pooled over streams: what the tool took, and the model's "
            "next start",
            _tool_pauses,
            ticks_per_unit=1_000,
            pooled=True,
        ),
        Metric("tpot", "first to last content chunk, per reported output token after the first", _tpot),
        Metric("e2e", "due time to last content chunk of a completed stream", _whole("last_content_at")),
        Metric("duration", "due time to the end of a completed stream", _whole("ended_at")),
        Metric("connect", "connect begun to TCP connection made, name lookup included", _connect, streaming=False),
        Metric("headers", "request sent to response headers", _headers),
        Metric("send_lag", "how late the generator began the request", _column("send_lag"), streaming=False),
        Metric(
            "read_lag",
            "how late the generator read what had arrived, worst of each stream",
            _column("read_lag_max"),
            streaming=False,
        ),
        Metric(
            "client_overhead",
            "content chunk perceived to given to the application by the client library, pooled over streams",
            _client_overhead,
            ticks_per_unit=1_000,
            pooled=True,
        ),
        Metric(
            "stall_count",
            "how often a reader of the answer ran out of text for 250 ms or more",
            _of_reader("stall_count", 1),
            ticks_per_unit=1,
            unit="stalls",
        ),
        Metric(
            "stall_time",
            "how long a reader of the answer waited for more text, all waits added up",
            _of_reader("stall_time", 1_000),
        ),
        Metric("longest_stall", "the longest of these waits", _of_reader("longest_stall", 1_000)),
        Metric(
            "stall_ratio",
            "waited / (waited + reading)",
            _of_reader("stall_ratio", 1_000_000_000),
            ticks_per_unit=1_000_000_000,
            unit="ratio",
        ),
        Metric(
            "cache_read_tokens",
            "prompt tokens that the server took from its cache, as it reported",
            _column("cache_read_tokens"),
            streaming=False,
            ticks_per_unit=1,
            unit="tokens",
        ),
        Metric(
            "resume_gap",
            "last content before a connection broke, or asking, to the first new content over another",
            _column("resume_gap"),
        ),
        Metric(
            "resume_lost",
            "numbered events that no connection of a resumed answer delivered",
            _column("resume_lost"),
            ticks_per_unit=1,
            unit="chunks",
        ),
        Metric(
            "resume_duplicated",
            "content chunks that a resumed stream delivered again",
            _column("resume_duplicated"),
            ticks_per_unit=1,
            unit="chunks",
        ),
    ]
}


def _share(hits: Callable[[Totals], int], of: Callable[[Totals], int]) -> Callable[[Totals, float], Figure]:
    def over(totals: Totals, _seconds: float) -> Figure:
        n = of(totals)
        return Figure(hits(totals) / n if n else None, n, hits(totals))

    return over


def _initiated(totals: Totals) -> int:
    return totals.initiated


def _output_tps(totals: Totals, seconds: float) -> Figure:
    reported = int(totals.sum("reported"))
    return Figure(totals.sum("output_tokens") / seconds if reported and seconds else None, reported)


def _stream_rate(totals: Totals, seconds: float) -> Figure:
    completed = totals.count(Outcome.COMPLETED)
    return Figure(completed / seconds if totals.streams and seconds else None, completed)


def _concurrency(totals: Totals, seconds: float) -> Figure:
    known = totals.streams > 0 and seconds > 0
    return Figure(totals.sum("open_ns") / 1e9 / seconds if known else None, totals.streams)


_COVERED = 0.98  # of what was received: with less, the counter was not of all that answered


def received_tokens(totals: Totals) -> float:
    """What all streams received: as reported where they completed, else by the chunks that came.

    A chunk counts as many tokens as those of completed streams hold, or as one where none of them told.
    """
    told, chunks = totals.sum("told_tokens"), totals.sum("told_chunks")
    return told + (totals.sum("content_chunks") - chunks) * (told / chunks if told and chunks else 1.0)


def _wasted_tokens(totals: Totals, _seconds: float) -> Figure:
    generated = totals.sums.get(Vital.SERVER_GENERATED)
    if generated is None or not totals.disconnected:
        return Figure(None, 0)
    received = received_tokens(totals)
    return Figure(max(0.0, generated - received) if generated >= _COVERED * received else None, totals.disconnected)


def _drop_rate(totals: Totals, _seconds: float) -> Figure:
    due, dropped = int(totals.sum(Vital.ARRIVALS)), int(totals.sum(Vital.DROPPED_ARRIVALS))
    return Figure(dropped / due if due else None, due, dropped)


def _late_rate(totals: Totals, _seconds: float) -> Figure:
    if not totals.sum(Vital.ARRIVALS) or not totals.streams:
        return Figure(None, 0, 0)
    late = int(totals.sum("late"))
    return Figure(late / totals.streams, totals.streams, late)


def _time_to_stop(totals: Totals, _seconds: float) -> Figure:
    stopped = totals.sums.get("server_stopped_ms")
    return Figure(stopped, totals.disconnected) if stopped is not None and totals.disconnected else Figure(None, 0)


RATES: Mapping[str, Rate] = {
    rate.name: rate
    for rate in [
        Rate(
            "error_rate",
            "ratio",
            "failed streams / initiated",
            _share(lambda totals: totals.count(*FAILURES), _initiated),
        ),
        Rate(
            "completion_rate",
            "ratio",
            "completed streams / (initiated − cancelled)",
            _share(
                lambda totals: totals.count(Outcome.COMPLETED),
                lambda totals: totals.initiated - totals.count(Outcome.CANCELLED),
            ),
        ),
        Rate(
            "truncation_rate",
            "ratio",
            "streams that ended without their terminal event / initiated",
            _share(lambda totals: totals.count(Outcome.TRUNCATED), _initiated),
        ),
        Rate(
            "timeout_rate",
            "ratio",
            "streams that timed out / initiated",
            _share(lambda totals: totals.count(Outcome.TIMED_OUT), _initiated),
        ),
        Rate(
            "goodput",
            "ratio",
            "completed streams within every limit of [reader] good / those of which it is known",
            _share(
                lambda totals: int(totals.sum("good")), lambda totals: int(totals.sum("good") + totals.sum("not_good"))
            ),
        ),
        Rate(
            "cache_hit_rate",
            "ratio",
            "streams with prompt tokens read from the cache / streams that reported such tokens, 0 included",
            _share(lambda totals: int(totals.sum("cache_hits")), lambda totals: int(totals.sum("cache_reported"))),
        ),
        Rate(
            "drop_rate",
            "ratio",
            "arrivals of an open load that nobody was free to serve / arrivals that were due",
            _drop_rate,
            of_run=True,
        ),
        Rate(
            "late_rate",
            "ratio",
            "streams that began 10 ms or more after they were due, in a run with an open load / all streams",
            _late_rate,
            of_run=True,
        ),
        Rate("output_tps", "tokens/s", "reported output tokens per second of the run", _output_tps),
        Rate("stream_rate", "streams/s", "completed streams per second of the run", _stream_rate),
        Rate("concurrency", "streams", "streams open at once, mean over the run", _concurrency),
        Rate(
            "wasted_tokens",
            "tokens",
            "tokens that the server generated in the run less those that the streams received",
            _wasted_tokens,
            of_run=True,
        ),
        Rate(
            "time_to_stop",
            "ms",
            "end of the last stream to the first reading at which the server was idle again",
            _time_to_stop,
            of_run=True,
        ),
    ]
}
