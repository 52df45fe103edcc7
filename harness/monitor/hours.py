"""What is kept of each hour of probes when the probes themselves are gone: outcomes, tokens, and histograms. Merged by
adding, so that a day, a month or two regions are the sum of their hours.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from streamgauge.harness.errors import DamagedRow
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.measure.histogram import middles, placed
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.store import Streams
from streamgauge.harness.judge.store.connection import Connection

KEPT = ("ttft", "itl", "e2e")  # the metrics whose samples are kept
SECONDS = 3_600


@dataclass
class Samples:
    """Of one metric: how many samples are in each bin of `judge.measure.histogram`."""

    bins: Counter[int] = field(default_factory=Counter)
    failed: int = 0  # samples of failed streams, which are +inf

    def add(self, other: "Samples") -> None:
        self.bins.update(other.bins)
        self.failed += other.failed

    def values(self, metric: str) -> tuple[Floats, Integers]:
        """Sorted values in the metric's unit, and how often each occurred; +inf for failed streams."""
        bins = np.array(sorted(self.bins), np.int64)
        values = middles(bins) / METRICS[metric].ticks_per_unit
        counts = np.array([self.bins[each] for each in bins.tolist()], np.int64)
        return (np.append(values, np.inf), np.append(counts, self.failed)) if self.failed else (values, counts)


@dataclass
class Summary:
    """Some probes of one target."""

    outcomes: Counter[str] = field(default_factory=Counter)
    tokens: int = 0  # input and output, as the server told
    samples: dict[str, Samples] = field(default_factory=lambda: {name: Samples() for name in KEPT})

    def add(self, other: "Summary") -> None:
        self.outcomes.update(other.outcomes)
        self.tokens += other.tokens
        for name, samples in other.samples.items():
            self.samples.setdefault(name, Samples()).add(samples)


class Place(NamedTuple):
    target: str
    hour: int  # since 1970
    labels: str  # of the streams, as JSON


class Hours:
    """The summaries of what has been read since the last `save`."""

    def __init__(self) -> None:
        self._summaries: dict[Place, Summary] = {}

    def take(self, target: str, streams: Streams, ended: Floats) -> None:
        """`ended`: seconds since 1970, by stream."""
        hours, labels = (ended // SECONDS).astype(np.int64).tolist(), streams.text["labels"]
        places = [Place(target, hour, text) for hour, text in zip(hours, labels, strict=True)]
        for place in dict.fromkeys(places):
            chosen = streams.select(np.array([number for number, each in enumerate(places) if each == place]))
            self._summaries.setdefault(place, Summary()).add(summary(chosen))

    def save(self, connection: Connection) -> None:
        """Add them to those that are stored."""
        for place, new in self._summaries.items():
            add(connection, place, new)
        self._summaries.clear()


def add(connection: Connection, place: Place, new: Summary) -> None:
    """Add a summary to the one that is stored at this place."""
    whole = Summary()
    with suppress(DamagedRow):  # it is replaced: one damaged hour must not end the judging of all probes
        for _, stored in read(connection, "WHERE target = ? AND hour = ? AND labels = ?", place):
            whole.add(stored)
    whole.add(new)
    samples = {name: {"bins": each.bins, "failed": each.failed} for name, each in whole.samples.items()}
    row = (*place, json.dumps(whole.outcomes), whole.tokens, json.dumps(samples))
    connection.execute("INSERT OR REPLACE INTO monitor_hours VALUES (?, ?, ?, ?, ?, ?)", row)


class _Stored(msgspec.Struct):
    bins: dict[int, int]
    failed: int


def read(
    connection: Connection,
    which: str = "",
    parameters: Iterable[object] = (),
    damaged: Callable[[str], object] | None = None,
) -> Iterable[tuple[Place, Summary]]:
    """The stored summaries, in order of target, hour and labels. `which`: a WHERE of our own.

    `damaged` gets a sentence for each that is left out since it is damaged; without it, the first is a DamagedRow.
    """
    select = f"SELECT target, hour, labels, outcomes, tokens, histograms FROM monitor_hours {which}"  # noqa: S608 - our own
    for target, hour, labels, outcomes, tokens, histograms in connection.execute(select, tuple(parameters)):
        try:
            stored = msgspec.json.decode(histograms, type=dict[str, _Stored])
            counts = Counter(msgspec.json.decode(outcomes, type=dict[str, int]))
        except (msgspec.MsgspecError, UnicodeError) as fault:
            sentence = f"monitor_hours, hour {hour}: damaged: {str(fault)[:200]}"
            if damaged is None:
                raise DamagedRow(sentence) from None
            damaged(f"{sentence}; it is left out")
            continue
        samples = {name: Samples(Counter(each.bins), each.failed) for name, each in stored.items()}
        yield Place(target, hour, labels), Summary(counts, tokens, samples)


def summary(streams: Streams) -> Summary:
    """Of these streams of one hour and one set of labels."""
    found = Summary(Counter(streams.text["outcome"].counts(slice(None))))
    told = [streams.number[name] for name in ("input_tokens", "output_tokens")]
    found.tokens = int(sum(np.nansum(column) for column in told))
    streamed = streams.select(np.flatnonzero(streams.streamed))
    for name in KEPT:
        metric = METRICS[name]
        seen = metric.observe(streamed)
        counted = np.ones(len(streamed), bool) if metric.pooled else ~seen.failed
        bins = placed(seen.ticks[np.repeat(counted, seen.counts)])
        found.samples[name] = Samples(Counter(bins.tolist()), int(seen.failed.sum()))
    return found
