"""Reads the packed columns of arrivals blobs. A blob may hold anything: sizes are checked before values. Pure.

`arrivals` says what the columns are.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.native import layout, library
from streamgauge.harness.native.layout import WIDEST_EVENT

VERSION = 1
MOST_EVENTS = layout.MOST_EVENTS  # of one stream; `drive.reading.body` records fewer
MOST_AT_ONCE = 2**22  # events that `content_events` takes; a batch of damaged blobs costs at most 512 MiB
_SMALL = 65_536  # bytes that a blob may inflate to before its number of events is looked at
_AROUND = 1_024  # more bytes than the heads of a blob and of its columns have
_COUNT = struct.Struct("<I")


class DamagedArrivals(ValueError):
    """A blob that is none of ours. The message is one line."""


class Range(NamedTuple):
    """The values that a column may have. A file may hold anything: what is not refused here could overflow later."""

    low: int
    high: int
    width: int = 6  # bytes: values of 45 bits have a width of 6


def event_count(blob: bytes) -> int:
    """How many events a blob says that it holds. DamagedArrivals as for `columns`, but only its head is read."""
    if not blob:
        return 0
    _check_version(blob)
    with _damage_of_zlib():
        return _checked_count(zlib.decompressobj().decompress(memoryview(blob)[1:], _COUNT.size))


def event_counts(blobs: Sequence[bytes]) -> NDArray[np.int64]:
    """`event_count` of many blobs, which C counts many times faster."""
    if library.LIBRARY is not None:
        counts, lengths = np.empty(len(blobs), np.int64), lengths_of(blobs)
        arguments = b"".join(blobs), lengths.ctypes.data, len(blobs), counts.ctypes.data
        if library.LIBRARY.sg_event_counts(*arguments) == len(blobs):
            return counts
    return np.fromiter(map(event_count, blobs), np.int64, len(blobs))


def fitting(counts: NDArray[np.int64]) -> int:
    """How many of the first blobs, which have as many events as `counts` says, can be read at once; at least one."""
    return max(1, int(np.searchsorted(np.cumsum(counts), MOST_AT_ONCE, side="right")))


def lengths_of(blobs: Sequence[bytes]) -> NDArray[np.int64]:
    return np.fromiter(map(len, blobs), np.int64, len(blobs))


def inflated(blob: bytes) -> bytes:
    """What a blob holds after its version. An event has at most WIDEST_EVENT bytes, so a zlib bomb is refused early."""
    _check_version(blob)
    inflate = zlib.decompressobj()
    with _damage_of_zlib():
        inflated = inflate.decompress(memoryview(blob)[1:], _SMALL)
        room = _checked_count(inflated) * WIDEST_EVENT + _AROUND - len(inflated)
        if not inflate.eof and room > 0:
            inflated += inflate.decompress(inflate.unconsumed_tail, room)
    if not inflate.eof or inflate.unused_data:
        raise DamagedArrivals("arrivals blob is cut short, or longer than its events")
    return inflated


def _check_version(blob: bytes) -> None:
    if blob[0] != VERSION:
        raise DamagedArrivals(f"arrivals blob of version {blob[0]}; this program reads {VERSION}")


@contextmanager
def _damage_of_zlib() -> Iterator[None]:
    try:
        yield
    except zlib.error as fault:
        raise DamagedArrivals(f"arrivals blob is damaged: {fault}") from None


def _checked_count(inflated: bytes) -> int:
    """The number of events, from the beginning of an inflated blob."""
    if len(inflated) < _COUNT.size:
        raise DamagedArrivals("arrivals blob is cut short")
    count: int = _COUNT.unpack_from(inflated)[0]
    if not 1 <= count <= MOST_EVENTS:
        raise DamagedArrivals(f"arrivals blob of {count:,} events; a stream has 1 to {MOST_EVENTS:,}")
    return count


class Cursors:
    """A read position in each of many inflated blobs. Each call reads from all of them."""

    def __init__(self, blobs: list[bytes]) -> None:
        self.bytes = b"".join(blobs)
        lengths = lengths_of(blobs)
        self.ends = np.cumsum(lengths)
        self.at = self.ends - lengths

    def only(self, chosen: NDArray[np.bool_]) -> "Cursors":
        """The same positions, for some of the blobs only."""
        cursors = Cursors([])
        cursors.bytes, cursors.at, cursors.ends = self.bytes, self.at[chosen], self.ends[chosen]
        return cursors

    def _advance(self, size: NDArray[np.int64] | int) -> NDArray[np.int64]:
        before = self.at
        self.at = before + size
        if (self.at > self.ends).any():
            raise DamagedArrivals("arrivals blob is cut short")
        return before

    def take(self, kind: str) -> NDArray[np.int64]:
        """One number from each blob."""
        size = np.dtype(kind).itemsize
        raw: NDArray[np.uint8] = np.frombuffer(self.bytes, np.uint8)[self._advance(size)[:, None] + np.arange(size)]
        return raw.view(kind).reshape(-1).astype(np.int64)

    def skip(self, count: NDArray[np.int64], allowed: Range) -> None:
        """Pass over a column without reading its values."""
        self._advance(8 + self._width(allowed) * count)

    def _width(self, allowed: Range) -> NDArray[np.int64]:
        width = self.take("u1")
        if (width > allowed.width).any():
            raise DamagedArrivals("arrivals blob has a column that is too wide")
        return width

    def column(self, count: NDArray[np.int64], allowed: Range, room: int = 0) -> NDArray[np.int64]:
        """A column of `count` values from each blob, concatenated, with `room` for more values before each column."""
        width, base = self._width(allowed), self.take("<i8")
        start = self._advance(width * count)
        full = count + room
        values = np.repeat(base, full)
        # Joining one slice for each blob and byte weight is several times faster than indexing each value.
        none, before, data = bytes(int(full.max(initial=0))), bytes(room), self.bytes
        for weight in range(int(width.max(initial=0))):
            places = zip((start + weight * count).tolist(), count.tolist(), (width > weight).tolist(), strict=True)
            parts = (before + data[at : at + n] if there else none[: n + room] for at, n, there in places)
            values += np.frombuffer(b"".join(parts), np.uint8).astype(np.int64) << 8 * weight
        if values.min(initial=allowed.low) < allowed.low or values.max(initial=allowed.low) > allowed.high:
            raise DamagedArrivals("arrivals blob has values that no stream has")
        return values
