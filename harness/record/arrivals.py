"""The arrivals of one stream as a compact blob, and back. Pure.

Times are kept to the microsecond (each rounded by itself, so errors do not add up), sizes exactly. The layout,
version 1, little-endian: u8 version, and then deflated (zlib)

    u32 events · i64 first arrival, µs · then one column each for
    gaps        µs between one event and the next
    kinds       codes of Kind, as u32 runs · a column of codes · a column of run lengths
    characters  of content in the event
    overhead    the event's bytes minus its characters: nearly constant in most protocols
    link lag    perceived minus arrival, µs; all 0 where no link was emulated
    client lag  when the client stack handed it over minus perceived, µs; −1 for what it did not hand over, or not by
                then; absent where none was in between

A column is: u8 width (0–8 bytes a value), i64 base, then the values minus the base: the lowest byte of every value,
then the next byte of every value, … A column that never varies costs nine bytes; and bytes of one weight are alike,
so a single long gap, which widens its column, all but vanishes when deflated.
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
NOT_HANDED = -1  # a client lag
_RUN = re.compile(rb"(.)\1*+", re.DOTALL)  # of one kind's code


class Kind(StrEnum):
    TEXT = "text"
    THINKING = "thinking"
    TOOL = "tool"
    PING = "ping"
    OTHER = "other"  # role-only deltas, usage, start and end of blocks


_KINDS = list(Kind)  # the index is the stored code: append only
_CODES = {kind: code for code, kind in enumerate(_KINDS)}


class Chunk(msgspec.Struct, frozen=True, gc=False):
    at: int  # ns on the run's clock: arrival on the wire
    kind: Kind
    characters: int  # of content; 0 where there is none
    size: int  # bytes of the event
    perceived_at: int  # ns: after the emulated link; equal to `at` where there is none
    handed_at: int | None = None  # ns: when the client stack gave it to the application; never before `perceived_at`


class Columns(msgspec.Struct, frozen=True):
    """One stream's events as arrays of equal length; times in µs since the run began."""

    at: NDArray[np.int64]
    kind: NDArray[np.uint8]  # index into `KINDS`
    characters: NDArray[np.int64]
    size: NDArray[np.int64]
    perceived_at: NDArray[np.int64]
    client_lag: NDArray[np.int64]  # handed over minus perceived; negative: not handed over


KINDS: tuple[Kind, ...] = tuple(_KINDS)
CONTENT_CODES = (_CODES[Kind.TEXT], _CODES[Kind.THINKING], _CODES[Kind.TOOL])
_IS_CONTENT = np.isin(np.arange(256), CONTENT_CODES)  # by code


class Batch(msgspec.Struct, frozen=True):
    """Many streams' content events, end to end: those of stream `i` are at `starts[i]` up to `starts[i + 1]`."""

    starts: NDArray[np.int64]  # one more than there are streams
    at: NDArray[np.int64]  # µs since the run began
    perceived_at: NDArray[np.int64]
    client_lag: NDArray[np.int64]  # as in Columns
    text: NDArray[np.int64]  # characters of text to read; 0 in thinking and tool input


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
    """Kinds as `Columns` hold them."""
    return np.array([_CODES[kind] for kind in kinds], np.uint8)


def is_content(kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of these codes stand for content."""
    content: NDArray[np.bool_] = _IS_CONTENT[kind]
    return content


def microseconds(nanoseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times as `Columns` hold them."""
    return (nanoseconds + 500) // 1000


def pack(seen: Columns) -> bytes:
    """Columns in order of arrival → blob, as `encode` does without any object for an event."""
    at = seen.at
    rows = np.array([at, seen.characters, seen.size - seen.characters, seen.perceived_at - at, seen.client_lag])
    rows[0, 1:] -= at[:-1]
    return pack_rows(seen.kind.tobytes(), rows)


def pack_rows(kinds: bytes, rows: NDArray[np.int64]) -> bytes:
    """The same of the kinds' codes and five rows: the gaps, with the first arrival as the first; characters; overhead;
    link lag; client lag."""
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
    # A small window and little memory: by default zlib clears 128 KiB for the thousand bytes of a stream.
    deflate = zlib.compressobj(1, wbits=12, memLevel=5)
    return bytes([VERSION]) + deflate.compress(b"".join(parts)) + deflate.flush()


def columns(blob: bytes) -> Columns:
    """Blob → arrays. ValueError for a blob of another version or one that is cut short."""
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


def batch(blobs: Sequence[bytes]) -> Batch:
    """The content of many blobs at once, without a Python step per event. ValueError as for `columns`."""
    present = np.flatnonzero(np.fromiter(map(len, blobs), np.int64, len(blobs)))
    reader = _Reader([_inflated(blob) for blob in blobs if blob])
    count = reader.take("<u4")
    ends = np.cumsum(count)
    first = reader.take("<i8")
    at = _running_sums(first, reader.column(count - 1, room=1), ends - count)
    runs = reader.take("<u4")
    codes = reader.column(runs)
    lengths = reader.column(runs)
    content = np.repeat(is_content(codes.astype(np.uint8)), lengths)
    if len(content) != len(at):
        raise ValueError("arrivals blob whose kinds do not add up")
    text = reader.column(count)
    text *= np.repeat(codes == _CODES[Kind.TEXT], lengths)
    reader.skip(count)  # overhead
    perceived_at = at + reader.column(count)
    client_lag = np.full(len(at), NOT_HANDED, np.int64)
    behind_client = reader.at < reader.ends
    if behind_client.any():
        client_lag[np.repeat(behind_client, count)] = reader.only(behind_client).column(count[behind_client])
    so_far = np.concatenate([[0], np.cumsum(content)])
    counts = np.zeros(len(blobs), np.int64)
    counts[present] = so_far[ends] - so_far[ends - count]
    starts = np.concatenate([[0], np.cumsum(counts)])
    if starts[-1] == len(at):
        return Batch(starts, at, perceived_at, client_lag, text)
    return Batch(starts, at[content], perceived_at[content], client_lag[content], text[content])


def decode(blob: bytes) -> tuple[Chunk, ...]:
    """Blob → chunks, times back in ns (to the microsecond)."""
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
    """The first row as a column, without its first number; and all others, one after another."""
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


class _Reader:
    """A cursor into every one of many blobs at once; each step moves all of them."""

    def __init__(self, blobs: list[bytes]) -> None:
        self.bytes = b"".join(blobs)
        lengths = np.fromiter(map(len, blobs), np.int64, len(blobs))
        self.ends = np.cumsum(lengths)
        self.at = self.ends - lengths

    def only(self, chosen: NDArray[np.bool_]) -> "_Reader":
        """A reader that goes on with some of the blobs."""
        reader = _Reader([])
        reader.bytes, reader.at, reader.ends = self.bytes, self.at[chosen], self.ends[chosen]
        return reader

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
        """A column of `count` values from each blob, end to end; before those of each there is `room` for more."""
        width, base = self.take("u1"), self.take("<i8")
        if (width > 8).any() or (count < 0).any():
            raise ValueError("arrivals blob is damaged")
        start = self._advance(width * count)
        full = count + room
        values = np.repeat(base, full)
        # A slice for each blob and byte of weight, all joined, is several times quicker than an index for each value.
        none, before, data = bytes(int(full.max(initial=0))), bytes(room), self.bytes
        for weight in range(int(width.max(initial=0))):
            places = zip((start + weight * count).tolist(), count.tolist(), (width > weight).tolist(), strict=True)
            parts = (before + data[at : at + n] if there else none[: n + room] for at, n, there in places)
            values += np.frombuffer(b"".join(parts), np.uint8).astype(np.int64) << 8 * weight
        return values


def _running_sums(first: NDArray[np.int64], steps: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each stream its first time, then that plus its steps so far; a stream's step at its start does not count."""
    steps[starts] = first
    # One running sum over all, restarted at each stream by taking off what the streams before it came to.
    ends = np.add.reduceat(steps, starts) if len(starts) else first
    steps[starts[1:]] -= ends[:-1]
    return np.cumsum(steps, out=steps)
