"""The arrivals of one stream as a compact blob, and back. Pure.

Times are kept to the microsecond, sizes exactly. Each time is rounded by itself, so that errors do not add up. The
layout of version 1, little-endian: u8 version, and then, deflated (zlib),

    u32 events · i64 first arrival, µs · then one column each for
    gaps        µs between one event and the next
    kinds       codes of Kind, as u32 runs · a column of codes · a column of run lengths
    characters  of content in the event
    overhead    the event's bytes minus its characters: nearly constant in most protocols
    link lag    perceived minus arrival, µs; all 0 if no link was emulated
    client lag  handed over by the client library minus perceived, µs; −1 for an event that it did not hand over before
                the stream ended; the column is absent if all its values are −1

A column is: u8 width (0–8 bytes a value), i64 base, then the values minus the base: the lowest byte of every value,
then the next byte of every value, … A column of equal values takes nine bytes. A single long gap widens its whole
column, but the added bytes are nearly all zero and deflate to almost nothing.
"""

import ctypes
import re
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.native import layout, library
from streamgauge.harness.record.packed import (
    MOST_AT_ONCE,
    MOST_EVENTS,
    VERSION,
    Cursors,
    DamagedArrivals,
    Range,
    event_count,
    event_counts,
    fitting,
    inflated,
    lengths_of,
)

__all__ = [
    "CONTENT_CODES", "KINDS", "MOST_AT_ONCE", "MOST_EVENTS", "NOT_HANDED", "Chunk", "Columns", "ContentEvents",
    "DamagedArrivals", "Kind", "Rooms", "columns", "content_events", "decode", "encode", "event_count", "event_counts",
    "first_content_events", "fitting", "is_content", "kind_codes", "lengths_of", "microseconds", "pack", "pack_rows",
]  # fmt: skip

_HEAD = struct.Struct("<Iq")
_COLUMN = struct.Struct("<Bq")
NOT_HANDED = -1  # the client lag of an event that was not handed over
_RUN = re.compile(rb"(.)\1*+", re.DOTALL)  # a run of equal kinds


class Kind(StrEnum):
    TEXT = "text"
    THINKING = "thinking"
    TOOL = "tool"
    PING = "ping"
    OTHER = "other"  # role-only deltas, usage, block starts and ends


KINDS = tuple(Kind)  # the index is the stored code: append only
_CODES = {kind: code for code, kind in enumerate(KINDS)}


class Chunk(msgspec.Struct, frozen=True, gc=False):
    at: int  # ns on the run's clock: arrival on the wire
    kind: Kind
    characters: int  # of content; 0 if there is none
    size: int  # bytes of the event
    perceived_at: int  # ns: after the emulated link; equal to `at` without one
    handed_at: int | None = None  # ns: the client library handed it to the application; not before `perceived_at`


class Columns(msgspec.Struct, frozen=True):
    """One stream's events as arrays of equal length; times in µs since the run began."""

    at: NDArray[np.int64]
    kind: NDArray[np.uint8]  # index into `KINDS`
    characters: NDArray[np.int64]
    size: NDArray[np.int64]
    perceived_at: NDArray[np.int64]
    client_lag: NDArray[np.int64]  # handed over minus perceived; NOT_HANDED: not handed over


CONTENT_CODES = (_CODES[Kind.TEXT], _CODES[Kind.THINKING], _CODES[Kind.TOOL])
_IS_CONTENT = np.isin(np.arange(256), CONTENT_CODES)  # by code


class ContentEvents(msgspec.Struct, frozen=True):
    """The content events of many streams, concatenated: those of stream `i` are `starts[i]` to `starts[i + 1]`."""

    starts: NDArray[np.int64]  # one more value than there are streams
    at: NDArray[np.int64]  # µs since the run began
    perceived_at: NDArray[np.int64]  # may be `at` itself if no stream was on a link
    client_lag: NDArray[np.int64]  # as in Columns
    text: NDArray[np.int64]  # characters of text; 0 for thinking and tool input


def encode(chunks: Sequence[Chunk]) -> bytes:
    """Chunks in order of arrival → blob. An empty stream is an empty blob."""
    perceived = [_microseconds(chunk.perceived_at) for chunk in chunks]
    handed = [None if chunk.handed_at is None else _microseconds(chunk.handed_at) for chunk in chunks]
    lags = [NOT_HANDED if at is None else at - seen for at, seen in zip(handed, perceived, strict=True)]
    return pack(
        Columns(
            at=np.array([_microseconds(chunk.at) for chunk in chunks], np.int64),
            kind=kind_codes(chunk.kind for chunk in chunks),
            characters=np.array([chunk.characters for chunk in chunks], np.int64),
            size=np.array([chunk.size for chunk in chunks], np.int64),
            perceived_at=np.array(perceived, np.int64),
            client_lag=np.array(lags, np.int64),
        )
    )


def kind_codes(kinds: Iterable[Kind]) -> NDArray[np.uint8]:
    """Kinds as codes, for `Columns.kind`."""
    return np.array([_CODES[kind] for kind in kinds], np.uint8)


def is_content(kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of these codes stand for content."""
    content: NDArray[np.bool_] = _IS_CONTENT[kind]
    return content


def microseconds(nanoseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times for `Columns`, rounded to µs."""
    return (nanoseconds + 500) // 1000


def pack(seen: Columns) -> bytes:
    """Columns in order of arrival → blob, as from `encode`, but without an object for each event."""
    at = seen.at
    rows = np.array([at, seen.characters, seen.size - seen.characters, seen.perceived_at - at, seen.client_lag])
    rows[0, 1:] -= at[:-1]
    return pack_rows(seen.kind.tobytes(), array("q", rows.tobytes()))


def pack_rows(kinds: bytes, rows: "array[int]") -> bytes:
    """Codes of kinds and five rows, one after another → blob. Changes `rows`.

    The rows are the gaps (with the first arrival in front), characters, overhead, link lag and client lag.
    """
    count = len(kinds)
    if not count:
        return b""
    if rows[4 * count :].count(NOT_HANDED) == count:
        del rows[4 * count :]
    packed = (_packed if library.LIBRARY is None else _compiled_packed)(kinds, rows)
    # With its default window and memory level, zlib would clear 128 KiB for a stream of about 1,000 bytes.
    deflate = zlib.compressobj(1, wbits=12, memLevel=5)
    return bytes([VERSION]) + deflate.compress(packed) + deflate.flush()


def columns(blob: bytes) -> Columns:
    """Blob → arrays. DamagedArrivals for a blob that is damaged, cut short, too large or of another version."""
    if not blob:
        none = np.zeros(0, np.int64)
        return Columns(none, none.astype(np.uint8), none, none, none, none)
    cursors = Cursors([inflated(blob)])
    start = _beginning(cursors)
    characters = cursors.column(start.counts, _CHARACTERS)
    overhead = cursors.column(start.counts, _OVERHEAD)
    perceived_at, client_lag = _lags(cursors, start)
    kinds = np.repeat(start.codes, start.lengths).astype(np.uint8)
    return Columns(start.at, kinds, characters, characters + overhead, perceived_at, client_lag)


class Rooms:
    """Memory for the events of one batch after another: new memory would be cleared first, for a sixth of the time.

    A room is used again once nothing refers to what was written to it.
    """

    def __init__(self) -> None:
        self._rooms: list[tuple[_Room, list[int]]] = []

    def free(self) -> "_Room":
        for room, unused in self._rooms:
            if _references(room) == unused:
                return room
        room = _new_room()
        self._rooms.append((room, _references(room)))
        return room


_Room = tuple[NDArray[np.int64], ...]  # the columns of ContentEvents but for `starts`


def _new_room() -> _Room:
    # Only the part that is written takes memory.
    return tuple(np.empty(MOST_AT_ONCE, np.int64) for _ in range(4))


def _references(room: _Room) -> list[int]:
    return [*map(sys.getrefcount, room)]


def content_events(blobs: Sequence[bytes], rooms: Rooms | None = None) -> ContentEvents:
    """The content events of many blobs, without a Python step for each event. DamagedArrivals as for `columns`.

    The blobs may hold `MOST_AT_ONCE` events together; `event_count` counts those of one blob beforehand. `rooms`: for a
    caller with many batches.
    """
    found = first_content_events(blobs, rooms)
    if len(found.starts) <= len(blobs):
        raise DamagedArrivals(f"arrivals blobs of too many events together; {MOST_AT_ONCE:,} are read at once")
    return found


def first_content_events(blobs: Sequence[bytes], rooms: Rooms | None = None) -> ContentEvents:
    """As `content_events`, of the first blobs: of all, or of as many as can be read at once, at least one.

    `rooms`: for a caller with many batches.
    """
    room = _new_room() if rooms is None else rooms.free()
    if library.LIBRARY is not None and (compiled := _compiled_content(blobs, room)) is not None:
        return compiled
    blobs = blobs[: fitting(event_counts(blobs))]
    present = np.flatnonzero(lengths_of(blobs))
    cursors = Cursors([inflated(blob) for blob in blobs if blob])
    start = _beginning(cursors)
    count, at, ends = start.counts, start.at, np.cumsum(start.counts)
    text = cursors.column(count, _CHARACTERS)
    text *= np.repeat(start.codes == _CODES[Kind.TEXT], start.lengths)
    cursors.skip(count, _OVERHEAD)
    perceived_at, client_lag = _lags(cursors, start)
    content = np.repeat(is_content(start.codes.astype(np.uint8)), start.lengths)
    so_far = np.concatenate([[0], np.cumsum(content)])
    counts = np.zeros(len(blobs), np.int64)
    counts[present] = so_far[ends] - so_far[ends - count]
    starts = np.concatenate([[0], np.cumsum(counts)])
    if starts[-1] == len(at):
        return ContentEvents(starts, at, perceived_at, client_lag, text)
    return ContentEvents(starts, at[content], perceived_at[content], client_lag[content], text[content])


def _compiled_content(blobs: Sequence[bytes], room: _Room) -> ContentEvents | None:
    """`content_events` in C. None if C refuses a blob: Python says what is wrong with it, or reads it after all."""
    starts, lengths = np.empty(len(blobs) + 1, np.int64), lengths_of(blobs)
    at, perceived_at, client_lag, text = room
    columns = (column.ctypes.data for column in (starts, at, perceived_at, client_lag, text))
    to = layout.Content(*columns, MOST_AT_ONCE)
    read = library.LIBRARY.sg_content(b"".join(blobs), lengths.ctypes.data, len(blobs), ctypes.byref(to))
    if read < len(blobs) and not to.full:
        return None
    starts = starts[: read + 1]
    count = int(starts[-1])
    at = at[:count]
    return ContentEvents(
        starts,
        at,
        perceived_at[:count] if to.linked else at,
        client_lag[:count] if to.handed else np.broadcast_to(np.int64(NOT_HANDED), count),
        text[:count],
    )


def decode(blob: bytes) -> tuple[Chunk, ...]:
    """Blob → chunks, with times in ns (to the microsecond)."""
    seen = columns(blob)
    return tuple(
        Chunk(at, KINDS[code], characters, size, perceived, perceived + lag if lag >= 0 else None)
        for at, code, characters, size, perceived, lag in zip(
            (seen.at * 1000).tolist(),
            seen.kind.tolist(),
            seen.characters.tolist(),
            seen.size.tolist(),
            (seen.perceived_at * 1000).tolist(),
            (seen.client_lag * 1000).tolist(),
            strict=True,
        )
    )


def _microseconds(nanoseconds: int) -> int:
    return (nanoseconds + 500) // 1000


def _packed(kinds: bytes, rows: "array[int]") -> bytes:
    """What `pack_rows` deflates."""
    runs = [(found[0][0], len(found[0])) for found in _RUN.finditer(kinds)]
    first, *rest = (rows[begin : begin + len(kinds)].tolist() for begin in range(0, len(rows), len(kinds)))
    parts = [
        _HEAD.pack(len(kinds), first[0]),
        _column(first[1:]),
        struct.pack("<I", len(runs)),
        _column([code for code, _ in runs]),
        _column([length for _, length in runs]),
        *map(_column, rest),
    ]
    return b"".join(parts)


def _column(values: list[int]) -> bytes:
    if not values:
        return _COLUMN.pack(0, 0)
    base = min(values)
    width = ((max(values) - base).bit_length() + 7) // 8
    planes = (value - base >> 8 * byte & 255 for byte in range(width) for value in values)
    return _COLUMN.pack(width, base) + bytes(planes)


def _compiled_packed(kinds: bytes, rows: "array[int]") -> memoryview:
    """`_packed` in C."""
    count, row_count = len(kinds), len(rows) // len(kinds)
    room = array("B", bytes(16 + (row_count + 2) * (_COLUMN.size + 8 * count)))  # the most that C writes
    (values, _), (to, _) = rows.buffer_info(), room.buffer_info()
    return memoryview(room)[: library.LIBRARY.sg_pack(kinds, values, row_count, count, to)]


# The sum of the largest gaps in the longest stream fits into 63 bits.
_GAPS = _OVERHEAD = _LINK_LAG = Range(-(2**44), 2**44)
_KIND_CODES = Range(0, layout.LAST_KIND, 1)
_RUN_LENGTHS = Range(1, MOST_EVENTS, 3)
_CHARACTERS = Range(0, 2**40)
_CLIENT_LAG = Range(NOT_HANDED, 2**44)
_MOMENTS = 2**53  # µs before or after the run began: 285 years; in ns, it fits into 63 bits


class _Beginning(NamedTuple):
    """The first part of many blobs: when their events came, and of which kinds they are."""

    counts: NDArray[np.int64]  # of the events of each stream
    at: NDArray[np.int64]
    codes: NDArray[np.int64]  # of runs of equal kinds
    lengths: NDArray[np.int64]  # of these runs: one value for each event together


def _beginning(cursors: Cursors) -> _Beginning:
    count = cursors.take("<u4")
    total = int(count.sum())
    if total > MOST_AT_ONCE:
        raise DamagedArrivals(f"arrivals blobs of {total:,} events together; {MOST_AT_ONCE:,} are read at once")
    first = cursors.take("<i8")
    at = _running_sums(first, cursors.column(count - 1, _GAPS, room=1), np.cumsum(count) - count)
    if max(-int(at.min(initial=0)), int(at.max(initial=0))) > _MOMENTS:
        raise DamagedArrivals("arrivals blob has times that no stream has")
    runs = cursors.take("<u4")
    if (runs < 1).any() or (runs > count).any():
        raise DamagedArrivals("arrivals blob has more kinds than events, or none")
    codes = cursors.column(runs, _KIND_CODES)
    lengths = cursors.column(runs, _RUN_LENGTHS)
    if len(runs) and (np.add.reduceat(lengths, np.cumsum(runs) - runs) != count).any():
        raise DamagedArrivals("arrivals blob whose kinds do not add up")
    return _Beginning(count, at, codes, lengths)


def _lags(cursors: Cursors, start: _Beginning) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When the events were perceived, and the client's lags: the last columns of the blobs."""
    perceived_at = start.at + cursors.column(start.counts, _LINK_LAG)
    client_lag = np.full(len(start.at), NOT_HANDED, np.int64)
    behind_client = cursors.at < cursors.ends
    if behind_client.any():
        rest = cursors.only(behind_client)
        client_lag[np.repeat(behind_client, start.counts)] = rest.column(start.counts[behind_client], _CLIENT_LAG)
        if (rest.at != rest.ends).any():
            raise DamagedArrivals("arrivals blob is longer than its events")
    return perceived_at, client_lag


def _running_sums(first: NDArray[np.int64], steps: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The times of all streams, concatenated: each stream's first time, then the running sum of its steps.

    `starts` are the indices of the first times. Overwrites `steps`, whose values at `starts` are ignored.
    """
    steps[starts] = first
    # One running sum over all streams, restarted at each stream by subtracting the sum of the one before.
    ends = np.add.reduceat(steps, starts) if len(starts) else first
    steps[starts[1:]] -= ends[:-1]
    return np.cumsum(steps, out=steps)
