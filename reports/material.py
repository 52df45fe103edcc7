"""The data of the panels: a run's judgement, and what it does not hold, computed in one pass over the streams.

Metrics over time are counted in buckets 1 % wide, so a quantile of one time bin is exact to 0.5 %. The judgement's own
figures are exact. Memory grows by 30 bytes a stream, for the parts and the streams that a reader may choose.
"""

import ctypes
import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from streamgauge.harness.config.schema import Reader
from streamgauge.harness.judge.compare.since_accepted import Since, since_accepted
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.measure.gaps import apart, content_gaps
from streamgauge.harness.judge.measure.tally import Tally
from streamgauge.harness.judge.store import Store, Streams, VitalSeries
from streamgauge.harness.judge.verdict.findings.evidence import Course as Counts
from streamgauge.harness.judge.verdict.judgement import Judgement, judge
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.harness.judge.verdict.summary import Quantiles, quantiles
from streamgauge.harness.judge.verdict.warm_up import WarmUp
from streamgauge.harness.native import layout, library
from streamgauge.harness.record.observation import FAILURES, Outcome
from streamgauge.harness.record.vitals import Vital
from streamgauge.reports import facets, one_by_one
from streamgauge.reports.counters import CounterCollector, Counters
from streamgauge.reports.series import Series, spread

MOST_BINS = 120
FEWEST_BINS = 20
_MOST_CUT_OFF = 1 / 3  # of a bin's streams
STREAMS_A_BIN = 15  # with fewer, a bin's p95 is simply its slowest stream
SAMPLES = (Vital.USERS, Vital.ACTIVE_STREAMS, Vital.CPU_PERCENT, Vital.LOOP_LAG, Vital.CONNECT_LAG)

_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Timeline:
    width: float  # seconds per bin
    starts: list[float]  # seconds since the run began
    ends: float  # of the last bin and the run
    ttft: Series  # by the due time of the stream
    itl: Series  # by the end of the gap
    e2e: Series  # of complete answers, by the end of the answer
    received: list[float]  # bytes of the answers' bodies
    streams: list[int]  # streams due in the bin
    cut_off: list[int]  # of these, still without a first token when the run ended
    failed: dict[str, list[int]]  # failed streams by outcome; only outcomes that occurred
    users: list[float] | None  # users of all workers at the bin's end; None: not recorded
    warm_up: "Course | None"  # of the streams that were due in the warm-up; they are in none of the above

    @property
    def failures(self) -> list[int]:
        """Failed streams of the bin, whatever their outcome."""
        return [sum(counts[place] for counts in self.failed.values()) for place in range(len(self.starts))]

    def counted(self, of_slices: Integers, counts: Counts) -> list[int]:
        """Numbers of the slices of `counts`, added up in the bins, for slices that are no longer than these."""
        bins = _bin_of(counts.middles, self.width, len(self.starts))
        found: list[int] = np.bincount(bins, of_slices, len(self.starts)).astype(np.int64).tolist()
        return found

    @property
    def told(self) -> int:
        """How many bins tell the TTFT. In those after them, it is known only of the quickest streams."""
        last = len(self.starts)
        while last and self.cut_off[last - 1] > _MOST_CUT_OFF * self.streams[last - 1]:
            last -= 1
        return last

    @property
    def untold(self) -> str:
        """`42 of all 57 streams due then had no first token yet …`, then: in the bins after `told`; "" without such."""
        streams, cut_off = (sum(counts[self.told :]) for counts in (self.streams, self.cut_off))
        if not cut_off:
            return ""
        if cut_off == streams:
            return f"none of the {some(streams, 'stream')} due then had a first token yet when the run ended"
        return f"{cut_off:,} of all {streams:,} streams due then had no first token yet when the run ended"


@dataclass(frozen=True)
class Course:
    """The warm-up over time, in the bins of its timeline."""

    seconds: float  # how long it took
    ttft: Series
    itl: Series
    e2e: Series
    received: list[float]
    streams: list[int]
    failed: list[int]


@dataclass(frozen=True)
class HandedOver:
    """Latency at the point where a client library hands chunks to its application. Quantiles in ms."""

    first: Quantiles[float | None]  # due time to the first chunk handed over
    gaps: Quantiles[float | None]  # gaps between chunks handed over that had not come together


@dataclass(frozen=True)
class Material:
    judgement: Judgement
    handed: dict[str, HandedOver]  # by client; only clients that have a library
    timeline: Timeline
    counters: Counters | None  # None: the server's metrics page was not read
    samples: dict[Vital, VitalSeries]  # by name, of SAMPLES
    streams: list[one_by_one.Group]  # a few of the run's streams, to be shown one by one, and one of the baseline
    facets: list[facets.Facet]  # parts of the run of which the reader may choose one
    since: Since | None  # None: there is no accepted run to compare with


def gather(
    store: Store, run_id: str | None = None, rules: Sequence[Rule] | None = None, reader: Reader | None = None
) -> Material:
    """Judge a run as `judge` does, and compute what else the panels need. RuleError, StoreError."""
    run = store.run(run_id)
    timeline_collector, handover_collector = (
        _TimelineCollector(store.duration(run) / 1e9, store.count(run.id)),
        _HandoverCollector(),
    )

    counter_collector = CounterCollector(store, run.id)

    picker = one_by_one.Picker()
    facet_collector = facets.Collector(*timeline_collector.bins)

    def take(streams: Streams) -> None:
        importlib.import_module("streamgauge.reports.page")  # the next streams of a large run are decoded meanwhile
        timeline_collector.take(streams)
        picker.take(streams)
        facet_collector.take(streams)
        counter_collector.take(streams)
        handover_collector.take(streams)

    judgement = judge(store, run.id, rules, take, reader, facet_collector.choose)
    if judgement.warm_up is not None:
        for streams in store.warm_up(run.id):
            timeline_collector.take_warm_up(streams)
            counter_collector.take(streams)
    samples = {name: store.vital(run.id, name) for name in SAMPLES}
    timeline = timeline_collector.timeline(samples[Vital.USERS], judgement.warm_up)
    earlier = one_by_one.Picker()
    since = since_accepted(store, judgement, earlier.take)
    return Material(
        judgement=judgement,
        handed=handover_collector.handed(),
        timeline=timeline,
        counters=counter_collector.counters(),
        samples=samples,
        streams=one_by_one.read(store, [*picker.chosen(), *(earlier.as_baseline(since.name) if since else [])]),
        facets=facet_collector.facets(judgement),
        since=since,
    )


class _TimelineCollector:
    """Collects a Timeline batch by batch, for a run of `seconds` with `streams` streams in total."""

    def __init__(self, seconds: float, streams: int) -> None:
        wanted = min(MOST_BINS, max(FEWEST_BINS, streams // STREAMS_A_BIN))
        seconds = max(seconds, 1.0)
        self._width = next((width for width in _WIDTHS if seconds / width <= wanted), seconds / wanted)
        # A remainder of less than half a bin joins the last bin: alone it would hold few streams and look like a jump.
        self._bins = max(1, round(seconds / self._width))
        self._ends = seconds
        self._edges = np.append(np.arange(self._bins) * self._width * 1e9, np.inf)
        self._measured = _Counted(self._bins)
        self._warm_up: _Counted | None = None

    @property
    def bins(self) -> tuple[float, int]:
        """The width of a bin in ns, and how many there are."""
        return self._width * 1e9, self._bins

    def take(self, streams: Streams) -> None:
        self._add(streams, self._measured)

    def take_warm_up(self, streams: Streams) -> None:
        self._warm_up = self._warm_up or _Counted(self._bins)
        self._add(streams, self._warm_up)

    def _add(self, streams: Streams, to: "_Counted") -> None:
        number = streams.number
        due = self._bin_of(number["due_at"])
        to.streams += np.bincount(due, minlength=self._bins)
        outcomes = streams.text["outcome"]
        cut_off = outcomes.are(Outcome.INTERRUPTED) & np.isnan(number["first_content_at"])
        to.cut_off += np.bincount(due[cut_off], minlength=self._bins)
        for outcome in sorted(outcomes.counts(slice(None)).keys() & {failure.value for failure in FAILURES}):
            seen = np.bincount(due[outcomes.are(outcome)], minlength=self._bins)
            to.failed[outcome] = to.failed.get(outcome, 0) + seen
        first = number["first_content_at"] - number["due_at"]
        has_ttft = ~np.isnan(first) & streams.timed
        to.ttft.add(due[has_ttft], first[has_ttft] / 1e6)
        complete = outcomes.are(Outcome.COMPLETED) & ~np.isnan(number["last_content_at"]) & streams.timed
        ended = self._bin_of(number["ended_at"][complete])
        to.e2e.add(ended, (number["last_content_at"] - number["due_at"])[complete] / 1e6)
        begins = np.where(np.isnan(number["headers_at"]), number["ended_at"], number["headers_at"])
        to.received += spread(begins, number["ended_at"], np.nan_to_num(number["body_bytes"]), self._edges)
        gaps, ends = content_gaps(streams)
        to.itl.add_gaps(streams.events.perceived_at, ends, gaps, self._width * 1e9)

    def timeline(self, users: VitalSeries, warm_up: WarmUp | None) -> Timeline:
        measured = self._measured
        return Timeline(
            width=self._width,
            starts=[place * self._width for place in range(self._bins)],
            ends=self._ends,
            ttft=measured.ttft.course(),
            itl=measured.itl.course(),
            e2e=measured.e2e.course(),
            received=measured.received.tolist(),
            streams=measured.streams.tolist(),
            cut_off=measured.cut_off.tolist(),
            failed={outcome: counts.tolist() for outcome, counts in measured.failed.items()},
            users=_at_bin_ends(users, self._width, self._bins),
            warm_up=None if warm_up is None else self._course(warm_up.seconds),
        )

    def _course(self, seconds: float) -> Course:
        seen = self._warm_up or _Counted(self._bins)
        failed = sum(seen.failed.values(), np.zeros(self._bins, np.int64))
        return Course(
            seconds=seconds,
            ttft=seen.ttft.course(),
            itl=seen.itl.course(),
            e2e=seen.e2e.course(),
            received=seen.received.tolist(),
            streams=seen.streams.tolist(),
            failed=failed.tolist(),
        )

    def _bin_of(self, moments: Floats) -> Integers:
        return _bin_of(moments, self._width * 1e9, self._bins)


class _Counted:
    """What a timeline counts of some streams, in its bins."""

    def __init__(self, bins: int) -> None:
        self.ttft, self.itl, self.e2e = (QuantilesOverTime(bins) for _ in range(3))
        self.received = np.zeros(bins)
        self.streams, self.cut_off = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
        self.failed: dict[str, Integers] = {}  # by outcome


class _HandoverCollector:
    """Collects, batch by batch, the times at which client libraries handed content over."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Tally, Tally]] = {}  # by client: first content and gaps, µs

    def take(self, streams: Streams) -> None:
        events = streams.events
        handed = np.flatnonzero(events.client_lag >= 0)
        if not len(handed):
            return
        at = events.perceived_at[handed] + events.client_lag[handed]
        owner = np.searchsorted(events.starts, handed, side="right") - 1
        first = handed == events.starts[owner]
        waited = np.rint(at - streams.number["due_at"][owner] / 1e3).astype(np.int64)
        gaps = np.diff(at, prepend=at[:1])
        later_than_before = apart(streams)[handed] & (np.diff(owner, prepend=-1) == 0)
        clients = streams.text["client"]
        client = clients.codes[owner]
        for code in np.unique(client).tolist():
            firsts, later = self._seen.setdefault(clients.values[code], (Tally(), Tally()))
            firsts.add(waited[first & (client == code)])
            later.add(gaps[later_than_before & (client == code)])

    def handed(self) -> dict[str, HandedOver]:
        return {
            name: HandedOver(*(_quantiles(tally) for tally in tallies)) for name, tallies in sorted(self._seen.items())
        }


def _quantiles(tally: Tally) -> Quantiles[float | None]:
    values, counts = tally.counted()
    return quantiles(values / 1e3, counts)


class QuantilesOverTime:
    """Counts per time bin and value bucket, for quantiles over time."""

    STEP = math.log(1.01)
    LOWEST = 0.01  # ms
    BUCKETS = 2_200  # up to 0.01 ms × 1.01^2200, about a year

    def __init__(self, bins: int) -> None:
        self._counts = np.zeros((bins, self.BUCKETS), np.int64)

    def add(self, place: Integers, ms: Floats) -> None:
        np.add.at(self._counts, (place, self.bucket_of(ms)), 1)  # only the few cells that are concerned

    def add_gaps(self, moments: Integers, ends: Integers, gaps: Integers, width: float) -> None:
        """Gaps in µs, and for each the index in `moments` (µs) of its end; `width`: of a bin, ns."""
        if library.LIBRARY is not None:
            left = self._counted(moments, ends, gaps, width)
            ends, gaps = ends[left], gaps[left]
        self.add(_bin_of(moments[ends].astype(np.float64) * 1e3, width, len(self._counts)), gaps / 1e3)

    def _counted(self, moments: Integers, ends: Integers, gaps: Integers, width: float) -> Integers:
        """Count most gaps in C, and return the indices of the others, which are too long for a table of buckets."""
        bucket_of, left = _bucket_of_gaps(), np.empty(len(gaps), np.int64)
        columns = [np.ascontiguousarray(column) for column in (moments, ends, gaps)]
        counts = self._counts.ctypes.data, bucket_of.ctypes.data
        bins = layout.Bins(*counts, len(bucket_of), *self._counts.shape, width)
        pointers = (column.ctypes.data for column in columns)
        found = library.LIBRARY.sg_count_over_time(ctypes.byref(bins), *pointers, len(gaps), left.ctypes.data)
        return left[:found]

    @classmethod
    def bucket_of(cls, ms: Floats) -> Integers:
        bucket = np.log(np.maximum(ms, cls.LOWEST) / cls.LOWEST) / cls.STEP
        return np.minimum(bucket, cls.BUCKETS - 1).astype(np.int64)

    def course(self) -> Series:
        n = self._counts.sum(axis=1)
        return Series(n.tolist(), self._quantile(n, 0.5), self._quantile(n, 0.95))

    def _quantile(self, n: Integers, q: float) -> list[float | None]:
        rank = np.ceil(q * n - 1e-9)
        bucket = (np.cumsum(self._counts, axis=1) >= np.maximum(rank, 1)[:, None]).argmax(axis=1)
        middle = self.LOWEST * np.exp((bucket + 0.5) * self.STEP)
        return [float(value) if count else None for value, count in zip(middle, n, strict=True)]


@cache
def _bucket_of_gaps() -> Integers:
    """The bucket of each short gap, by its length in µs."""
    return QuantilesOverTime.bucket_of(np.arange(Tally.TABLE) / 1e3)


def _bin_of(moments: Floats, width: float, bins: int) -> Integers:
    return np.clip(moments / width, 0, bins - 1).astype(np.int64)


def _at_bin_ends(samples: VitalSeries, width: float, count: int) -> list[float] | None:
    """Each worker's last value before the end of each bin, summed over workers."""
    if not samples.worker:
        return None
    total = np.zeros(count)
    ends = (np.arange(count) + 1) * width * 1e9
    workers = np.array(samples.worker)
    for worker in sorted(set(samples.worker)):
        mine = workers == worker
        last = np.searchsorted(samples.at[mine], ends) - 1
        total += np.where(last >= 0, samples.value[mine][np.maximum(last, 0)], 0)
    return [float(value) for value in total]
