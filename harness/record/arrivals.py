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
import zlib
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.native import library

VERSION = 1
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


_KINDS = list(Kind)  # the index is the stored code: append only
_CODES = {kind: code for code, kind in enumerate(_KINDS)}


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


KINDS: tuple[Kind, ...] = tuple(_KINDS)
CONTENT_CODES = (_CODES[Kind.TEXT], _CODES[Kind.THINKING], _CODES[Kind.TOOL])
_IS_CONTENT = np.isin(np.arange(256), CONTENT_CODES)  # by code


class ContentEvents(msgspec.Struct, frozen=True):
    """The content events of many streams, concatenated: those of stream `i` are `starts[i]` to `starts[i + 1]`."""

    starts: NDArray[np.int64]  # one more value than there are streams
    at: NDArray[np.int64]  # µs since the run began
    perceived_at: NDArray[np.int64]
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
    return pack_rows(seen.kind.tobytes(), rows)


def pack_rows(kinds: bytes, rows: NDArray[np.int64]) -> bytes:
    """Codes of kinds and five rows → blob.

    The rows are the gaps (with the first arrival in front), characters, overhead, link lag and client lag.
    """
    if not kinds:
        return b""
    runs = [(found[0][0], len(found[0])) for found in _RUN.finditer(kinds)]
    if (rows[4] == NOT_HANDED).all():
        rows = rows[:4]
    gaps, rest = _pack_rows(rows)
    parts = [
        _HEAD.pack(len(kinds), int(rows[0, 0])),
        gaps,
        struct.pack("<I", len(runs)),
        _pack([code for code, _ in runs]),
        _pack([length for _, length in runs]),
        rest,
    ]
    # With its default window and memory level, zlib would clear 128 KiB for a stream of about 1,000 bytes.
    deflate = zlib.compressobj(1, wbits=12, memLevel=5)
    return bytes([VERSION]) + deflate.compress(b"".join(parts)) + deflate.flush()


def columns(blob: bytes) -> Columns:
    """Blob → arrays. ValueError for a blob that is damaged, cut short or of another version."""
    if not blob:
        none = np.zeros(0, np.int64)
        return Columns(none, none.astype(np.uint8), none, none, none, none)
    blob = _inflated(blob)
    count, first = _HEAD.unpack_from(blob)
    gaps, offset = _unpack(blob, _HEAD.size, count - 1)
    at = np.empty(count, np.int64)
    at[0] = first
    np.cumsum(gaps, out=at[1:])
    at[1:] += first
    (run_count,) = struct.unpack_from("<I", blob, offset)
    codes, offset = _unpack(blob, offset + 4, run_count)
    runs, offset = _unpack(blob, offset, run_count)
    characters, offset = _unpack(blob, offset, count)
    overhead, offset = _unpack(blob, offset, count)
    link_lag, offset = _unpack(blob, offset, count)
    client_lag = np.full(count, NOT_HANDED, np.int64)
    if offset < len(blob):
        client_lag, offset = _unpack(blob, offset, count)
    kinds = np.repeat(codes, runs).astype(np.uint8)
    return Columns(at, kinds, characters, characters + overhead, at + link_lag, client_lag)


def content_events(blobs: Sequence[bytes]) -> ContentEvents:
    """The content events of many blobs, without a Python step for each event. ValueError as for `columns`."""
    present = np.flatnonzero(np.fromiter(map(len, blobs), np.int64, len(blobs)))
    cursors = _Cursors([_inflated(blob) for blob in blobs if blob])
    count = cursors.take("<u4")
    ends = np.cumsum(count)
    first = cursors.take("<i8")
    at = _running_sums(first, cursors.column(count - 1, room=1), ends - count)
    runs = cursors.take("<u4")
    codes = cursors.column(runs)
    lengths = cursors.column(runs)
    content = np.repeat(is_content(codes.astype(np.uint8)), lengths)
    if len(content) != len(at):
        raise ValueError("arrivals blob whose kinds do not add up")
    text = cursors.column(count)
    text *= np.repeat(codes == _CODES[Kind.TEXT], lengths)
    cursors.skip(count)  # overhead
    perceived_at = at + cursors.column(count)
    client_lag = np.full(len(at), NOT_HANDED, np.int64)
    behind_client = cursors.at < cursors.ends
    if behind_client.any():
        client_lag[np.repeat(behind_client, count)] = cursors.only(behind_client).column(count[behind_client])
    so_far = np.concatenate([[0], np.cumsum(content)])
    counts = np.zeros(len(blobs), np.int64)
    counts[present] = so_far[ends] - so_far[ends - count]
    starts = np.concatenate([[0], np.cumsum(counts)])
    if starts[-1] == len(at):
        return ContentEvents(starts, at, perceived_at, client_lag, text)
    return ContentEvents(starts, at[content], perceived_at[content], client_lag[content], text[content])


def decode(blob: bytes) -> tuple[Chunk, ...]:
    """Blob → chunks, with times in ns (to the microsecond)."""
    seen = columns(blob)
    return tuple(
        Chunk(at, _KINDS[code], characters, size, perceived, perceived + lag if lag >= 0 else None)
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


def _inflated(blob: bytes) -> bytes:
    if blob[0] != VERSION:
        raise ValueError(f"arrivals blob of version {blob[0]}; this program reads {VERSION}")
    try:
        return zlib.decompress(blob[1:])
    except zlib.error as fault:
        raise ValueError(f"arrivals blob is damaged: {fault}") from None


def _pack(values: list[int]) -> bytes:
    if not values:
        return _COLUMN.pack(0, 0)
    base = min(values)
    width = ((max(values) - base).bit_length() + 7) // 8
    planes = (value - base >> 8 * byte & 255 for byte in range(width) for value in values)
    return _COLUMN.pack(width, base) + bytes(planes)


def _pack_rows(rows: NDArray[np.int64]) -> tuple[bytes, bytes]:
    """The first row as a column, without its first number; and all other rows as columns, concatenated."""
    if library.LIBRARY is None:
        first, *rest = rows.tolist()
        return _pack(first[1:]), b"".join(map(_pack, rest))
    count = rows.shape[1]
    room = ctypes.create_string_buffer(len(rows) * (_COLUMN.size + 8 * count))
    packed = ctypes.string_at(room, library.LIBRARY.sg_pack(rows.ctypes.data, len(rows), count, room))
    cut = _COLUMN.size + packed[0] * (count - 1)
    return packed[:cut], packed[cut:]


def _unpack(blob: bytes, offset: int, count: int) -> tuple[NDArray[np.int64], int]:
    width, base = _COLUMN.unpack_from(blob, offset)
    offset += _COLUMN.size
    end = offset + width * count
    if width > 8 or end > len(blob):
        raise ValueError("arrivals blob is cut short")
    wide = np.zeros((count, 8), np.uint8)
    wide[:, :width] = np.frombuffer(blob, np.uint8, width * count, offset).reshape(width, count).T
    return wide.view("<i8").reshape(count) + base, end


class _Cursors:
    """A read position in each of many blobs. Each call reads from all of them."""

    def __init__(self, blobs: list[bytes]) -> None:
        self.bytes = b"".join(blobs)
        lengths = np.fromiter(map(len, blobs), np.int64, len(blobs))
        self.ends = np.cumsum(lengths)
        self.at = self.ends - lengths

    def only(self, chosen: NDArray[np.bool_]) -> "_Cursors":
        """The same positions, for some of the blobs only."""
        cursors = _Cursors([])
        cursors.bytes, cursors.at, cursors.ends = self.bytes, self.at[chosen], self.ends[chosen]
        return cursors

    def _advance(self, size: NDArray[np.int64] | int) -> NDArray[np.int64]:
        before = self.at
        self.at = before + size
        if (self.at > self.ends).any():
            raise ValueError("arrivals blob is cut short")
        return before

    def take(self, kind: str) -> NDArray[np.int64]:
        """One number from each blob."""
        size = np.dtype(kind).itemsize
        raw: NDArray[np.uint8] = np.frombuffer(self.bytes, np.uint8)[self._advance(size)[:, None] + np.arange(size)]
        return raw.view(kind).reshape(-1).astype(np.int64)

    def skip(self, count: NDArray[np.int64]) -> None:
        width = self.take("u1")
        self._advance(8 + width * count)

    def column(self, count: NDArray[np.int64], room: int = 0) -> NDArray[np.int64]:
        """A column of `count` values from each blob, concatenated, with `room` for more values before each column."""
        width, base = self.take("u1"), self.take("<i8")
        if (width > 8).any() or (count < 0).any():
            raise ValueError("arrivals blob is damaged")
        start = self._advance(width * count)
        full = count + room
        values = np.repeat(base, full)
        # Joining one slice for each blob and byte weight is several times faster than indexing each value.
        none, before, data = bytes(int(full.max(initial=0))), bytes(room), self.bytes
        for weight in range(int(width.max(initial=0))):
            places = zip((start + weight * count).tolist(), count.tolist(), (width > weight).tolist(), strict=True)
            parts = (before + data[at : at + n] if there else none[: n + room] for at, n, there in places)
            values += np.frombuffer(b"".join(parts), np.uint8).astype(np.int64) << 8 * weight
        return values


def _running_sums(first: NDArray[np.int64], steps: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The times of all streams, concatenated: each stream's first time, then the running sum of its steps.

    `starts` are the indices of the first times. Overwrites `steps`, whose values at `starts` are ignored.
    """
    steps[starts] = first
    # One running sum over all streams, restarted at each stream by subtracting the sum of the one before.
    ends = np.add.reduceat(steps, starts) if len(starts) else first
    steps[starts[1:]] -= ends[:-1]
    return np.cumsum(steps, out=steps)
