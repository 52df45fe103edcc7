"""The gaps between the content chunks of a stream, and in which of them a tool ran. Pure."""

import numpy as np

from streamgauge.harness.judge.measure.arrays import Integers, Mask
from streamgauge.harness.judge.store import Streams
from streamgauge.harness.native import library
from streamgauge.harness.record.observation import ABANDONED, Outcome

# A stream whose chunks came faster than this, on average, was not streamed: no model generates 20,000 chunks a second.
# A proxy that releases an answer, or a network that brings it in packets, takes some µs for each chunk.
FASTEST_US = 50


def content_gaps(streams: Streams) -> tuple[Integers, Integers]:
    """Every perceived gap (after the emulated link), µs, and the index in `events` of the chunk that ended it.

    A gap is the time between consecutive content chunks of a stream that did not come together. On an emulated link it
    may be 0: the link, and not the server, brought them together. Gaps in which a tool ran are left out.
    """
    events, computed = streams.events, streams.computed
    if events.perceived_at is events.at and not streams.ended_as(ABANDONED).any():
        return wire_gaps(streams)  # no link, and nobody left: everything was seen as it came
    if "content_gaps" not in computed:
        computed["content_gaps"] = _without_tools(*seen_gaps(streams))
    found: tuple[Integers, Integers] = computed["content_gaps"]
    return found


def wire_gaps(streams: Streams) -> tuple[Integers, Integers]:
    """Like `content_gaps`, but on the wire: before the emulated link."""
    events, computed = streams.events, streams.computed
    if "wire_gaps" not in computed:
        computed["wire_gaps"] = _without_tools(*_classified(streams, events.at, events.starts[1:]))
    found: tuple[Integers, Integers] = computed["wire_gaps"]
    return found


def seen_gaps(streams: Streams) -> tuple[Integers, Integers, Mask]:
    """Every perceived gap, µs; the index of the chunk that ended it; and whether a tool ran in it."""
    return _classified(streams, streams.events.perceived_at, seen_ends(streams))


def apart(streams: Streams) -> Mask:
    """Which of `events` came later than the event before them in the same stream.

    Chunks of one read, and of several reads with one stamp of the kernel, have the same time on the wire to the
    microsecond: they came together. So did all chunks of an answer that was not streamed.
    """
    events = streams.events
    came_apart = np.zeros(len(events.at), bool)
    np.greater(events.at[1:], events.at[:-1], out=came_apart[1:])
    counts = np.diff(events.starts)
    came_apart[events.starts[:-1][counts > 0]] = False
    burst = unstreamed(streams)
    if burst.any():
        came_apart[np.repeat(burst, counts)] = False
    return came_apart


def unstreamed(streams: Streams) -> Mask:
    """Which streams brought a complete answer at once: in one read, or faster than FASTEST_US a chunk.

    Such an answer has no course: how it was generated is unknown. An answer of one chunk is among them. A stream that
    resumes an answer is not: the answer's other part came before.
    """
    return _at_once(streams, streams.events.starts, streams.events.at)


def with_unstreamed_text(streams: Streams) -> Mask:
    """Which streams brought their whole text at once, even if they had streamed thinking or a tool's input before."""
    events = streams.events
    is_text = events.text > 0
    if is_text.all():
        return unstreamed(streams)
    return _at_once(streams, np.concatenate([[0], np.cumsum(is_text)])[events.starts], events.at[is_text])


def _at_once(streams: Streams, starts: Integers, at: Integers) -> Mask:
    """As `unstreamed`, for some of the events: those of stream `i` are `starts[i]` to `starts[i + 1]`."""
    counts = np.diff(starts)
    present = counts > 0
    span = np.zeros(len(streams), np.int64)
    span[present] = at[starts[1:][present] - 1] - at[starts[:-1][present]]
    at_once: Mask = present & ((span == 0) | (span < FASTEST_US * (counts - 1)))
    return at_once & streams.ended_as({Outcome.COMPLETED}) & ~streams.resumed


def _classified(streams: Streams, at: Integers, ends: Integers) -> tuple[Integers, Integers, Mask]:
    """The gaps before the events that came apart, these events, and whether a tool ran in each gap.

    `ends`: by stream, the index of the event before which its gaps end.
    """
    gaps, places = _between(streams, at, ends) if library.LIBRARY is None else _compiled_between(streams, at, ends)
    after_tool = streams.after_tools
    tool = np.isin(places, after_tool) if len(after_tool) else np.zeros(len(places), bool)
    return gaps, places, tool


def _between(streams: Streams, at: Integers, ends: Integers) -> tuple[Integers, Integers]:
    came_apart = apart(streams)
    came_apart[_from(ends, streams.events.starts[1:])] = False
    gaps = np.zeros_like(at)
    np.subtract(at[1:], at[:-1], out=gaps[1:])
    return gaps[came_apart], np.flatnonzero(came_apart)


def _compiled_between(streams: Streams, at: Integers, ends: Integers) -> tuple[Integers, Integers]:
    """The same in C."""
    events = streams.events
    starts, wire = np.ascontiguousarray(events.starts), np.ascontiguousarray(events.at)
    ends = np.where(unstreamed(streams), starts[:-1], ends)
    gaps, places = np.empty(len(at), np.int64), np.empty(len(at), np.int64)
    columns = (column.ctypes.data for column in (wire, at, gaps, places))
    found = library.LIBRARY.sg_gaps(starts.ctypes.data, ends.ctypes.data, len(streams), *columns)
    return gaps[:found], places[:found]


def _without_tools(gaps: Integers, ends: Integers, tool: Mask) -> tuple[Integers, Integers]:
    return (gaps[~tool], ends[~tool]) if tool.any() else (gaps, ends)  # in most runs, no tool ran: do not copy


def seen_ends(streams: Streams) -> Integers:
    """By stream: the index of its first event that nobody saw, or of the next stream's first event.

    Not seen are events that were still on the emulated link when their person left or the run ended.
    """
    events = streams.events
    # In µs. Events are rounded to the microsecond and the end is not: + 1 keeps events that arrived just at the end.
    left_at = np.where(streams.ended_as(ABANDONED), streams.number["ended_at"] / 1e3 + 1, np.inf)
    starts, ends = events.starts[:-1], events.starts[1:].copy()
    with_events = np.flatnonzero(ends > starts)
    # A link keeps the order of events, so a stream has late events only if its last event is late.
    for stream in with_events[events.perceived_at[ends[with_events] - 1] > left_at[with_events]].tolist():
        perceived_at = events.perceived_at[starts[stream] : ends[stream]]
        ends[stream] = starts[stream] + np.searchsorted(perceived_at, left_at[stream], side="right")
    return ends


def _from(begins: Integers, ends: Integers) -> Integers:
    """Every index from each beginning to its end."""
    some = np.flatnonzero(begins < ends)
    ranges = (np.arange(*both) for both in zip(begins[some], ends[some], strict=True))
    return np.concatenate([np.zeros(0, np.int64), *ranges])


def per_stream(streams: Streams, places: Integers) -> Integers:
    """How many of these events each stream has; `places` are sorted indices into `events`."""
    return np.diff(np.searchsorted(places, streams.events.starts))
