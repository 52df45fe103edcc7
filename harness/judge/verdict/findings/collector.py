"""Collects what findings need, in the one pass that judges a run. Memory does not grow with the number of streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats, Integers, Mask
from streamgauge.harness.judge.measure.bursts import Bursts, bursts
from streamgauge.harness.judge.store import Streams, Texts
from streamgauge.harness.judge.verdict.findings.evidence import SHORTEST, Broken, Course, Sample
from streamgauge.harness.record.observation import FAILURES, Outcome

MOST = 20_000  # streams of the sample
MOST_SLICES = 36_000  # of the course
NARROWEST = 0.1  # s: a gap of SILENT_US has the middle of a slice inside it
MOST_BROKEN = 2_000  # streams whose events are read for Broken
# Ended by the other side. A timeout is ours, and an unreachable server or an empty answer broke nothing.
_BROKEN = FAILURES - {Outcome.TIMED_OUT, Outcome.UNREACHABLE, Outcome.EMPTY}
_KEYS = ("user", "network", "client", "behaviour", "protocol", "cache", "outcome", "labels")
_LATER_KEYS = ("worker", "stop_reason", "address", "replica")


@dataclass(frozen=True)
class _Events:
    """Figures of each stream's content events; times in µs."""

    count: Integers
    first: Floats  # on the wire; NaN without any
    last: Floats
    bursts: Bursts  # on the wire
    seen_stall: Integers  # the longest silence after the emulated link


class Collector:
    """Takes a run's measured streams batch by batch: a run of `seconds` with `streams` of them."""

    def __init__(self, seconds: float, streams: int) -> None:
        self._step = -(-streams // MOST) or 1
        self._seen = 0
        self._columns: dict[str, list[Floats]] = {}
        self._texts: dict[str, list[str]] = {key: [] for key in _KEYS}
        self._ids: list[int] = []
        self._course = _CourseCollector(max(NARROWEST, seconds / MOST_SLICES), seconds)
        self._broken = _BrokenCollector()

    def take(self, streams: Streams) -> None:
        events = _events(streams)
        self._course.take(streams, events)
        self._broken.take(streams)
        chosen = np.arange(-self._seen % self._step, len(streams), self._step)
        self._seen += len(streams)
        for name, column in _columns(streams, events).items():
            self._columns.setdefault(name, []).append(np.asarray(column[chosen], np.float64))
        for key, texts in self._texts.items():
            texts.extend(streams.text[key].at(chosen))
        self._ids.extend(streams.id[chosen].tolist())

    @property
    def ids(self) -> list[int]:
        """Of the streams in the sample: their other texts are asked for by these."""
        return self._ids

    def sample(self, more: Mapping[str, Sequence[str]]) -> Sample:
        """`more`: the columns of _LATER_KEYS of the streams of `ids`, in their order."""
        column = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        for name in ("due", *_NAMES):
            column.setdefault(name, np.zeros(0))
        texts = {key: Texts.of(texts) for key, texts in self._texts.items()}
        texts |= {name: Texts.of(more[name]) for name in _LATER_KEYS}
        return Sample(**column, text=texts)

    def course(self) -> Course:
        return self._course.course()

    def broken(self) -> Broken:
        return self._broken.broken()


_NAMES = (
    "wait", "ttft", "connect", "pace", "stall", "stalled_at", "seen_stall", "chunks", "bursts", "lone_bursts", "span",
    "late_reads", "input_tokens", "output_tokens", "http_status",
    "retry_after", "after_refusal",
)  # fmt: skip


def _columns(streams: Streams, events: _Events) -> dict[str, Floats]:
    number = streams.number
    wait = np.where(streams.timed, number["first_content_wire_at"] - number["sent_at"], np.nan) / 1e6
    ttft = np.where(streams.timed, number["first_content_at"] - number["due_at"], np.nan) / 1e6
    connected = np.fmax(number["connected_at"], number["secured_at"])
    span = (events.last - events.first) / 1e3
    with np.errstate(invalid="ignore", divide="ignore"):
        pace = np.where(streams.timed & (events.count > 1), span / (events.count - 1), np.nan)
        late = np.where(number["reads"] > 0, number["saturated_reads"] / number["reads"], 0.0)
    return {
        "due": number["due_at"] / 1e9,
        "wait": wait,
        "ttft": ttft,
        "connect": (connected - number["started_at"]) / 1e6,
        "pace": pace,
        "stall": events.bursts.stall / 1e3,
        "stalled_at": events.bursts.stalled_at / 1e6,
        "seen_stall": events.seen_stall / 1e3,
        "chunks": np.where(streams.timed, events.count, 0),
        "bursts": events.bursts.count,
        "lone_bursts": events.bursts.lone,
        "span": span,
        "late_reads": late,
        "input_tokens": number["input_tokens"],
        "output_tokens": number["output_tokens"],
        "http_status": number["http_status"],
        "retry_after": number["retry_after"] / 1e9,
        "after_refusal": number["after_refusal"] / 1e9,
    }


def _events(streams: Streams) -> _Events:
    events = streams.events
    count = np.diff(events.starts)
    present = count > 0
    first, last = np.full(len(streams), np.nan), np.full(len(streams), np.nan)
    first[present], last[present] = events.at[events.starts[:-1][present]], events.at[events.starts[1:][present] - 1]
    on_wire = bursts(streams, events.at)
    seen = on_wire if events.perceived_at is events.at else bursts(streams, events.perceived_at)
    return _Events(count, first, last, on_wire, seen.stall)


class _CourseCollector:
    def __init__(self, width: float, seconds: float) -> None:
        self._width = width
        self._slices = max(1, int(np.ceil(seconds / width)))
        self._begun, self._completed = (np.zeros(self._slices, np.int64) for _ in range(2))
        self._open, self._receiving, self._silent = (np.zeros(self._slices + 1, np.int64) for _ in range(3))

    def take(self, streams: Streams, events: _Events) -> None:
        number = streams.number
        began = np.where(np.isnan(number["started_at"]), number["due_at"], number["started_at"]) / 1e9
        ended = number["ended_at"] / 1e9
        np.add.at(self._begun, self._slice(began), 1)
        np.add.at(self._completed, self._slice(ended[streams.ended_as({Outcome.COMPLETED})]), 1)
        self._between(self._open, began, ended)
        several = (events.count > 1) & np.isnan(number["tool_pause"])
        self._between(self._receiving, events.first[several] / 1e6, events.last[several] / 1e6)
        at, before = streams.events.at, events.bursts.silences
        self._between(self._silent, at[before] / 1e6, at[before + 1] / 1e6)

    def _slice(self, seconds: Floats) -> Integers:
        return np.clip(seconds / self._width, 0, self._slices - 1).astype(np.int64)

    def _between(self, changes: Integers, since: Floats, until: Floats) -> None:
        """Count the slices whose middles are between these moments, as changes from one slice to the next."""
        for moments, change in ((since, 1), (until, -1)):
            middle = np.clip(np.ceil(moments / self._width - 0.5), 0, self._slices).astype(np.int64)
            np.add.at(changes, middle, change)

    def course(self) -> Course:
        states = (np.cumsum(changes[:-1]) for changes in (self._open, self._receiving, self._silent))
        return Course(self._width, self._begun, self._completed, *states)


@dataclass
class _BrokenCollector:
    _idle: list[float] = field(default_factory=list)
    _age: list[float] = field(default_factory=list)

    def take(self, streams: Streams) -> None:
        number = streams.number
        broken: Mask = streams.ended_as(_BROKEN) & (number["ended_at"] - number["sent_at"] >= SHORTEST * 1e9)
        for place in np.flatnonzero(broken)[: MOST_BROKEN - len(self._idle)].tolist():
            sent, ended = number["sent_at"][place] / 1e9, number["ended_at"][place] / 1e9
            at = streams.columns(place).at
            self._idle.append(ended - (float(at[-1]) / 1e6 if len(at) else sent))
            self._age.append(ended - sent)

    def broken(self) -> Broken:
        return Broken(np.array(self._idle, np.float64), np.array(self._age, np.float64))
