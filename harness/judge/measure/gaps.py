"""The gaps between the content chunks of a stream, and in which of them a tool ran. Pure."""

import numpy as np

from streamgauge.harness.judge.measure.arrays import Integers, Mask
from streamgauge.harness.judge.store import Streams
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.observation import ABANDONED, after_tools

COALESCED_US = 1_000  # chunks closer than this arrived together: no gap between them, and no fast token


def content_gaps(streams: Streams) -> tuple[Integers, Integers]:
    """Every perceived gap (after the emulated link), µs, and the index in `events` of the chunk that ended it.

    A gap is COALESCED_US or more between consecutive content chunks of a stream. Gaps in which a tool ran are left out.
    """
    gaps, ends, tool = seen_gaps(streams)
    return gaps[~tool], ends[~tool]


def wire_gaps(streams: Streams) -> tuple[Integers, Integers]:
    """Like `content_gaps`, but on the wire: before the emulated link."""
    gaps, ends, tool = _classified(streams, _between(streams, streams.events.at))
    return gaps[~tool], ends[~tool]


def seen_gaps(streams: Streams) -> tuple[Integers, Integers, Mask]:
    """Every perceived gap, µs; the index of the chunk that ended it; and whether a tool ran in it."""
    gaps = _between(streams, streams.events.perceived_at)
    gaps[unseen(streams)] = 0
    return _classified(streams, gaps)


def _between(streams: Streams, at: Integers) -> Integers:
    """For each event the time since the previous event of its stream; 0 for a stream's first event."""
    starts = streams.events.starts
    gaps = np.zeros_like(at)
    np.subtract(at[1:], at[:-1], out=gaps[1:])
    gaps[starts[:-1][np.diff(starts) > 0]] = 0
    return gaps


def _classified(streams: Streams, gaps: Integers) -> tuple[Integers, Integers, Mask]:
    """The gaps that are long enough to count, the events that ended them, and whether a tool ran in each."""
    ends = np.flatnonzero(gaps >= COALESCED_US)
    return gaps[ends], ends, np.isin(ends, _after_tools(streams))


def _after_tools(streams: Streams) -> Integers:
    """Which of `events` are the first content after a tool's run."""
    places = [np.zeros(0, np.int64)]
    for stream in np.flatnonzero(~np.isnan(streams.number["tool_pause"])).tolist():
        kind = streams.columns(stream).kind
        places.append(streams.events.starts[stream] + after_tools(kind[arrivals.is_content(kind)]))
    return np.concatenate(places)


def unseen(streams: Streams) -> Integers:
    """Which of `events` were still on the emulated link when their person left or the run ended."""
    events, nothing = streams.events, np.zeros(0, np.int64)
    # In µs. Events are rounded to the microsecond and the end is not: + 1 keeps events that arrived just at the end.
    left_at = np.where(streams.ended_as(ABANDONED), streams.number["ended_at"] / 1e3 + 1, np.inf)
    starts, ends = events.starts[:-1], events.starts[1:]
    with_events = np.flatnonzero(ends > starts)
    # A link keeps the order of events, so a stream has late events only if its last event is late.
    late = with_events[events.perceived_at[ends[with_events] - 1] > left_at[with_events]]
    late_events = [
        np.arange(start + np.searchsorted(events.perceived_at[start:end], left, side="right"), end)
        for start, end, left in zip(starts[late], ends[late], left_at[late], strict=True)
    ]
    return np.concatenate([nothing, *late_events])


def per_stream(streams: Streams, places: Integers) -> Integers:
    """How many of these events each stream has; `places` are sorted indices into `events`."""
    return np.diff(np.searchsorted(places, streams.events.starts))
