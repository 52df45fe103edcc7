"""The fields of a stream's record that follow from its reads and events: moments, arrivals and read lags. Pure.

Compiled code, if available, computes them in one pass. Numpy needs about forty steps, each with a cold cache, since
a stream ends only now and then.
"""

from array import array
from collections.abc import Sequence
from ctypes import byref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.drive.reading.body import DecodedBody
from streamgauge.harness.drive.wire.reads import Reads
from streamgauge.harness.native import layout, library
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import moments_of

_ALWAYS = (1 << 63) - 1  # a moment after all events
_MOMENTS = {  # field of the record → field of `layout.Figures`
    "content_chunks": "chunks",
    "characters": "characters",
    "first_content_at": "first",
    "first_content_wire_at": "first_wire",
    "first_text_at": "first_text",
    "last_content_at": "last",
    "tool_pause": "tool_pause",
}


@dataclass(slots=True)
class Times:
    """The times of one stream, CLOCK_MONOTONIC ns except for `shown`."""

    clock: RunClock
    reads: Reads
    holds: Sequence[int]  # when reading went on after each intended pause
    handed: Sequence[int] | None  # when a library handed on each content chunk, in order; None: no library
    shown: NDArray[np.int64] | None = None  # when the person had each read, on the run's clock; None: at once

    def arrived(self) -> NDArray[np.int64]:
        """Arrival time of each read on the run's clock: by the kernel's stamp; without a stamp, when we read it."""
        return self.reads.arrived(self.clock) - self.clock.origin


def timed(times: Times, decoded: DecodedBody, until: int | None) -> tuple[dict[str, Any], int | None]:
    """The fields of the record, and when the person had the last read.

    Events that the person got after `until` (run's clock, ns; None: they stayed) set no moment.
    """
    until = _ALWAYS if until is None else until
    return (_compiled if library.LIBRARY is not None else _by_numpy)(times, decoded, until)


def _compiled(times: Times, decoded: DecodedBody, until: int) -> tuple[dict[str, Any], int | None]:
    holds, handed = _block(times.holds), _block(times.handed or ())
    reads, clock, shown, events = times.reads, times.clock, times.shown, len(decoded.kinds)
    rows, found = array("q", bytes(5 * 8 * events)), layout.Figures()
    stream = layout.Timing(
        reads.address,
        None if shown is None else shown.ctypes.data,
        _address(holds),
        _address(handed),
        _address(decoded.sizes),
        decoded.kinds,
        _address(decoded.characters),
        _address(rows),
        clock.offset,
        clock.origin,
        until,
        len(reads),
        len(holds),
        len(handed),
        events,
    )
    placed = library.LIBRARY.sg_timing(byref(stream), byref(found))
    assert placed == events, "the reads cover less than the body"
    fields: dict[str, Any] = {}
    if found.chunks:
        moments = {name: getattr(found, figure) for name, figure in _MOMENTS.items()}
        fields = {name: moment for name, moment in moments.items() if moment != layout.NONE}
    lag = _Lag(found.coalesced, found.saturated, found.stamped, found.lag_sum, found.lag_max)
    fields |= lag.fields(len(reads))
    fields["arrivals"] = arrivals.pack_rows(decoded.kinds, rows)
    return fields, None if found.shown == layout.NONE else found.shown


def _by_numpy(times: Times, decoded: DecodedBody, until: int) -> tuple[dict[str, Any], int | None]:
    ends, stamps, seen = times.reads.columns()
    came = readable = stamps - times.clock.offset
    if len(times.holds):
        readable = np.maximum(came, _held_until(seen, times.holds))
    lags, stamped = seen - readable, stamps != 0
    arrived = times.arrived()
    perceived = arrived if times.shown is None else times.shown
    kind, sizes = np.frombuffer(decoded.kinds, np.uint8), _numbers(decoded.sizes)
    in_read = ends.searchsorted(np.cumsum(sizes))  # the read that completed each event
    at, perceived_at = arrived[in_read], perceived[in_read]
    content = arrivals.is_content(kind)
    counts = np.bincount(in_read[content], minlength=len(ends))
    coalesced = counts > 1
    client_lag = np.full(len(at), arrivals.NOT_HANDED, np.int64)
    if times.handed is not None:
        client_lag = _client_lag(content, _numbers(times.handed) - times.clock.origin, at, perceived_at)
    characters, had = _numbers(decoded.characters), perceived_at <= until
    at_us, perceived_us = arrivals.microseconds(at), arrivals.microseconds(perceived_at)
    lag_sum, lag_max = (int(lags[stamped].sum()), int(lags[stamped].max())) if stamped.any() else (0, 0)
    saturated = int((coalesced & stamped & (readable == came) & _saturated(lags, arrived, counts)).sum())
    lag = _Lag(int(coalesced.sum()), saturated, int(stamped.sum()), lag_sum, lag_max)
    return {
        **moments_of(kind[had], characters[had], at[had], perceived_at[had]),
        **lag.fields(len(ends)),
        "arrivals": arrivals.pack(arrivals.Columns(at_us, kind, characters, sizes, perceived_us, client_lag)),
    }, int(perceived[-1]) if len(perceived) else None


def _saturated(lags: NDArray[np.int64], arrived: NDArray[np.int64], chunks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each read of several chunks, whether the reader's lag, and not the server or a proxy, brought them together.

    The lag is that of the last chunk, which is less than the time between two chunks however long the reader was away:
    a part of it counts.
    """
    since = np.diff(arrived, prepend=arrived[:1])
    late: NDArray[np.bool_] = (
        (lags > layout.LATE) & (since >= layout.TOGETHER) & (lags > since // (layout.PART * np.maximum(chunks, 1)))
    )
    late[:1] = lags[:1] > layout.FIRST
    return late


@dataclass(frozen=True, slots=True)
class _Lag:
    """How late a stream's reads were: the instrument's own errors."""

    coalesced: int  # reads of two or more content chunks
    saturated: int  # of these, reads that were late
    stamped: int  # reads with a kernel stamp
    total: int  # ns; sum of the lags of the stamped reads
    most: int  # ns; the largest of them

    def fields(self, reads: int) -> dict[str, Any]:
        return {
            "reads": reads,
            "coalesced_reads": self.coalesced,
            "saturated_reads": self.saturated,
            "unstamped_reads": reads - self.stamped,
            "read_lag_mean": round(self.total / self.stamped) if self.stamped else None,
            "read_lag_max": self.most if self.stamped else None,
        }


def _held_until(seen: NDArray[np.int64], holds: Sequence[int]) -> NDArray[np.int64]:
    """For each read, the end of the last hold before it."""
    ends = np.concatenate([[layout.NONE], _numbers(holds)])
    before: NDArray[np.int64] = ends[np.searchsorted(ends, seen, side="right") - 1]
    return before


def _client_lag(
    content: NDArray[np.bool_], moments: NDArray[np.int64], at: NDArray[np.int64], perceived_at: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The time from a chunk's arrival until the library handed it on, µs; `moments` has one for each content chunk.

    The library got the chunks when they arrived on the wire; after an emulated link, the lag is the same.
    """
    lags = np.full(len(at), arrivals.NOT_HANDED, np.int64)
    handed = np.flatnonzero(content)[: len(moments)]
    # Never negative: the offset of the kernel's clock is known only to a few µs.
    lag = np.maximum(0, moments[: len(handed)] - at[handed])
    lags[handed] = arrivals.microseconds(perceived_at[handed] + lag) - arrivals.microseconds(perceived_at[handed])
    return lags


def _numbers(values: Sequence[int]) -> NDArray[np.int64]:
    """As a numpy array. An `array` of 64-bit integers is not copied, and must not grow while the result is in use."""
    return np.asarray(values, np.int64)


def _block(values: Sequence[int]) -> "array[int]":
    return values if isinstance(values, array) else array("q", values)


def _address(values: "array[int]") -> int:
    return values.buffer_info()[0]
