"""The gaps between the content chunks of a stream, and which of them a tool's run explains. Pure."""

import numpy as np

from streamgauge.harness.judge.measure.arrays import Integers, Mask
from streamgauge.harness.judge.store import Streams
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.observation import ABANDONED, after_tools

COALESCED_US = 1_000  # chunks closer than this arrived together: no gap between them, and no fast token


def content_gaps(streams: Streams) -> tuple[Integers, Integers]:
    """Every gap as the person saw it, µs, and the index in `events` of the chunk that ended it.

    A gap is COALESCED_US or more between consecutive content chunks of a stream; if a tool ran in it, it is none.
    """
    gaps, ends, tool = seen_gaps(streams)
    return gaps[~tool], ends[~tool]


def wire_gaps(streams: Streams) -> tuple[Integers, Integers]:
    """The same as the chunks left the wire, before any emulated link."""
    gaps, ends, tool = _classified(streams, _between(streams, streams.events.at))
    return gaps[~tool], ends[~tool]


def seen_gaps(streams: Streams) -> tuple[Integers, Integers, Mask]:
    """Every gap as the person saw it, including those in which a tool ran, and which those are."""
    gaps = _between(streams, streams.events.perceived_at)
    gaps[unseen(streams)] = 0
    return _classified(streams, gaps)


def _between(streams: Streams, at: Integers) -> Integers:
    """For each event the time since the event before it; 0 for the first of a stream."""
    starts = streams.events.starts
    gaps = np.zeros_like(at)
    np.subtract(at[1:], at[:-1], out=gaps[1:])
    gaps[starts[:-1][np.diff(starts) > 0]] = 0
    return gaps


def _classified(streams: Streams, gaps: Integers) -> tuple[Integers, Integers, Mask]:
    """The gaps long enough to count, the events that ended them, and in which a tool ran."""
    ends = np.flatnonzero(gaps >= COALESCED_US)
    return gaps[ends], ends, np.isin(ends, _after_tools(streams))


def _after_tools(streams: Streams) -> Integers:
    """Which of `events` are the first content after a tool's run."""
    found = [np.zeros(0, np.int64)]
    for place in np.flatnonzero(~np.isnan(streams.number["tool_pause"])).tolist():
        kind = arrivals.columns(streams.blobs[place]).kind
        found.append(streams.events.starts[place] + after_tools(kind[arrivals.is_content(kind)]))
    return np.concatenate(found)


def unseen(streams: Streams) -> Integers:
    """Which of `events` were still on the emulated link when their person left or the run ended."""
    events, nothing = streams.events, np.zeros(0, np.int64)
    # µs; events are rounded to the microsecond, the end is not: the 1 keeps what arrived just at the end.
    left_at = np.where(streams.ended_as(ABANDONED), streams.number["ended_at"] / 1e3 + 1, np.inf)
    starts, ends = events.starts[:-1], events.starts[1:]
    some = np.flatnonzero(ends > starts)
    late = some[events.perceived_at[ends[some] - 1] > left_at[some]]  # a link keeps the order: only the last counts
    found = [
        np.arange(start + np.searchsorted(events.perceived_at[start:end], left, side="right"), end)
        for start, end, left in zip(starts[late], ends[late], left_at[late], strict=True)
    ]
    return np.concatenate([nothing, *found])


def per_stream(streams: Streams, places: Integers) -> Integers:
    """How many of these events each stream has; `places` are sorted indices into `events`."""
    return np.diff(np.searchsorted(places, streams.events.starts))
