"""From the columns of streams to the samples of one metric: one function for each kind of metric. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streamgauge.harness.judge.measure import gaps
from streamgauge.harness.judge.measure.arrays import Floats, Integers, Mask
from streamgauge.harness.judge.store import Streams
from streamgauge.harness.record.observation import FAILURES, Outcome


@dataclass(frozen=True)
class Observed:
    """What one metric observed in a batch of streams."""

    ticks: Integers  # samples in the order of the streams, in the metric's ticks
    counts: Integers  # by stream: how many samples it has
    failed: Mask  # by stream: adds one +inf to the gated samples; the stream's own samples are then only plain
    elapsed: Floats | None = None  # by stream: ns waited if the run's end cut it off before it had a value, else NaN


Observe = Callable[[Streams], Observed]


def first(start: str, end: str) -> Observe:
    """The time from `start` to `end`, a first event such as the first content.

    A failed stream is +inf, and so is one that the person left before the event. A stream that resumes an answer has no
    sample: the beginning of the answer is in another stream.
    """

    def observe(streams: Streams) -> Observed:
        value, resumed = streams.number[end] - streams.number[start], streams.resumed
        none = np.isnan(value) & ~resumed
        value[resumed] = np.nan
        failed = streams.ended_as(FAILURES) | (none & streams.ended_as({Outcome.CANCELLED}))
        cut_off = none & streams.ended_as({Outcome.INTERRUPTED})
        waited = streams.number["ended_at"] - streams.number[start]
        return _at_most_one(streams, value, failed, np.where(cut_off, waited, np.nan))

    return observe


def to_end(end: str) -> Observe:
    """The time from the due time to `end`. Only a completed stream has a sample; a failed stream is +inf."""

    def observe(streams: Streams) -> Observed:
        waited = streams.number["ended_at"] - streams.number["due_at"]
        whole = streams.ended_as({Outcome.COMPLETED}) & ~streams.resumed
        value = np.where(whole, streams.number[end] - streams.number["due_at"], np.nan)
        cut_off = streams.ended_as({Outcome.INTERRUPTED})
        return _at_most_one(streams, value, streams.ended_as(FAILURES), np.where(cut_off, waited, np.nan))

    return observe


def tpot(streams: Streams) -> Observed:
    return _at_most_one(streams, time_per_token(streams), streams.ended_as(FAILURES))


def time_per_token(streams: Streams) -> Floats:
    """First to last content over the reported tokens after the first, ns; NaN for a stream that has no TPOT.

    An answer that was not streamed has none: nothing says how long its tokens took.
    """
    tokens = streams.number["output_tokens"]
    known = streams.ended_as({Outcome.COMPLETED}) & (tokens > 1) & ~streams.resumed  # NaN > 1 is false
    known &= ~gaps.unstreamed(streams)
    span = streams.number["last_content_at"] - streams.number["first_content_at"]
    return np.where(known, span / np.where(known, tokens - 1, 1), np.nan)


def connect(streams: Streams) -> Observed:
    number = streams.number
    never = streams.ended_as(FAILURES) & ~np.isnan(number["started_at"]) & np.isnan(number["sent_at"])
    return _at_most_one(streams, number["connected_at"] - number["started_at"], never)


def headers(streams: Streams) -> Observed:
    return _at_most_one(streams, streams.number["headers_at"] - streams.number["sent_at"])


def column(name: str) -> Observe:
    """A column as it is."""
    return lambda streams: _at_most_one(streams, streams.number[name])


def of_reader_model(name: str, ticks: int) -> Observe:
    """A column of `reader_model.waits` times `ticks`. A failed stream is +inf."""

    def observe(streams: Streams) -> Observed:
        return _at_most_one(streams, np.rint(streams.number[name] * ticks), streams.ended_as(FAILURES))

    return observe


def itl(streams: Streams) -> Observed:
    return _of_gaps(streams, *gaps.content_gaps(streams))


def itl_wire(streams: Streams) -> Observed:
    return _of_gaps(streams, *gaps.wire_gaps(streams))


def _of_gaps(streams: Streams, gap_lengths: Integers, ends: Integers) -> Observed:
    """A failed stream that had content has one more gap, of +inf: the gap that never ended."""
    has_content = ~np.isnan(streams.number["first_content_at"])
    return Observed(gap_lengths, gaps.per_stream(streams, ends), streams.ended_as(FAILURES) & has_content)


def tool_pauses(streams: Streams) -> Observed:
    if np.isnan(streams.number["tool_pause"]).all():  # most runs use no tools: do not decode their arrivals
        return _at_most_one(streams, np.full(len(streams), np.nan))
    gap_lengths, ends, tool = gaps.seen_gaps(streams)
    return Observed(gap_lengths[tool], gaps.per_stream(streams, ends[tool]), np.zeros(len(streams), bool))


def client_overhead(streams: Streams) -> Observed:
    handed = np.flatnonzero(streams.events.client_lag >= 0)
    return Observed(streams.events.client_lag[handed], gaps.per_stream(streams, handed), np.zeros(len(streams), bool))


def _at_most_one(
    streams: Streams, value: Floats, failed: Mask | None = None, elapsed: Floats | None = None
) -> Observed:
    """At most one sample for each stream; NaN means that the stream has none."""
    present = ~np.isnan(value)
    none_failed = np.zeros(len(streams), bool)
    return Observed(
        value[present].astype(np.int64), present.astype(np.int64), none_failed if failed is None else failed, elapsed
    )
