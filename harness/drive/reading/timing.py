"""What the times of a stream's reads and events come to: its moments, its arrivals, how late we read. Pure.

Compiled code does it in one pass where there is any: numpy takes some forty steps, and by the time a stream ends, the
processor has forgotten how each of them goes.
"""

import ctypes
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.drive.reading.body import Reading
from streamgauge.harness.native import library
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import moments_of

_LATE = 500_000  # ns of read lag from which a read of several chunks is our own doing
_EVER = (1 << 63) - 1
_NONE = -1 << 63  # of compiled code
_MOMENTS = (
    *("content_chunks", "characters", "first_content_at", "first_content_wire_at", "first_text_at"),
    *("last_content_at", "tool_pause"),
)
_FIGURES = (ctypes.c_int64 * 13)()  # `struct figures` of record.c


@dataclass(slots=True)
class Times:
    """Of one stream. CLOCK_MONOTONIC ns, but for `shown`."""

    clock: RunClock
    reads: Sequence[int]  # three of each: end in the body, kernel's stamp, our time; see `wire.Exchange`
    holds: Sequence[int]  # when reading went on after it had been held back on purpose
    handed: Sequence[int] | None  # when a library gave each content chunk on, in order; None: no library
    shown: NDArray[np.int64] | None = None  # when the person had each read, on the run's clock; None: at once

    def arrived(self) -> NDArray[np.int64]:
        """When each read was there, on the run's clock: by the kernel's stamp, or by ours where there is none."""
        _, stamps, seen = _numbers(self.reads).reshape(-1, 3).T
        return np.where(stamps != 0, stamps - self.clock.offset, seen) - self.clock.origin


def timed(times: Times, reading: Reading, until: int | None) -> tuple[dict[str, Any], int | None]:
    """The fields of the record that follow from these, and when the person had the last read. Of what they had after
    `until` (run's clock, ns; None: they stayed), no moment is told."""
    until = _EVER if until is None else until
    return (_compiled if library.LIBRARY is not None else _by_numpy)(times, reading, until)


def _compiled(times: Times, reading: Reading, until: int) -> tuple[dict[str, Any], int | None]:
    reads, holds, handed = (_block(values) for values in (times.reads, times.holds, times.handed or ()))
    shown, events, clock = times.shown, len(reading.kinds), times.clock
    rows = np.empty((5, events), np.int64)
    placed = library.LIBRARY.sg_timing(
        *(_at(reads), len(reads) // 3, None if shown is None else shown.ctypes.data),
        *(_at(holds), len(holds), _at(handed), len(handed), clock.offset, clock.origin),
        *(_at(reading.sizes), reading.kinds, _at(reading.characters), events, until, rows.ctypes.data, _FIGURES),
    )
    assert placed == events, "the reads brought less than the body"
    last, *moments, coalesced, saturated, stamped, lag, most = _FIGURES
    fields: dict[str, Any] = {}
    if moments[0]:
        fields = {name: value for name, value in zip(_MOMENTS, moments, strict=True) if value != _NONE}
    fields |= _instrument(len(reads) // 3, coalesced, saturated, stamped, lag, most)
    fields["arrivals"] = arrivals.pack_rows(reading.kinds, rows)
    return fields, None if last == _NONE else last


def _by_numpy(times: Times, reading: Reading, until: int) -> tuple[dict[str, Any], int | None]:
    ends, stamps, seen = _numbers(times.reads).reshape(-1, 3).T
    came = readable = stamps - times.clock.offset
    if len(times.holds):
        readable = np.maximum(came, _held_until(seen, times.holds))
    lags, stamped = seen - readable, stamps != 0
    arrived = times.arrived()
    perceived = arrived if times.shown is None else times.shown
    kind, sizes = np.frombuffer(reading.kinds, np.uint8), _numbers(reading.sizes)
    in_read = ends.searchsorted(np.cumsum(sizes))  # the read that completed each event
    at, perceived_at = arrived[in_read], perceived[in_read]
    content = arrivals.is_content(kind)
    counts = np.bincount(in_read[content], minlength=len(ends))
    coalesced = counts > 1
    client_lag = np.full(len(at), arrivals.NOT_HANDED, np.int64)
    if times.handed is not None:
        client_lag = _client_lag(content, _numbers(times.handed) - times.clock.origin, at, perceived_at)
    characters, had = _numbers(reading.characters), perceived_at <= until
    at_us, perceived_us = arrivals.microseconds(at), arrivals.microseconds(perceived_at)
    lag, most = (int(lags[stamped].sum()), int(lags[stamped].max())) if stamped.any() else (0, 0)
    saturated = int((coalesced & (lags > _LATE) & stamped & (readable == came)).sum())
    return {
        **moments_of(kind[had], characters[had], at[had], perceived_at[had]),
        **_instrument(len(ends), int(coalesced.sum()), saturated, int(stamped.sum()), lag, most),
        "arrivals": arrivals.pack(arrivals.Columns(at_us, kind, characters, sizes, perceived_us, client_lag)),
    }, int(perceived[-1]) if len(perceived) else None


def _instrument(reads: int, coalesced: int, saturated: int, stamped: int, lag: int, most: int) -> dict[str, Any]:
    return {
        "reads": reads,
        "coalesced_reads": coalesced,
        "saturated_reads": saturated,
        "unstamped_reads": reads - stamped,
        "read_lag_mean": round(lag / stamped) if stamped else None,
        "read_lag_max": most if stamped else None,
    }


def _held_until(seen: NDArray[np.int64], holds: Sequence[int]) -> NDArray[np.int64]:
    """For each read the end of the last hold before it."""
    ends = np.concatenate([[_NONE], _numbers(holds)])
    before: NDArray[np.int64] = ends[np.searchsorted(ends, seen, side="right") - 1]
    return before


def _client_lag(
    content: NDArray[np.bool_], moments: NDArray[np.int64], at: NDArray[np.int64], perceived_at: NDArray[np.int64]
) -> NDArray[np.int64]:
    """From a chunk's being there to its being given on by a library, µs; `moments` are of the content, in order.

    The library had them on the wire's time; with an emulated link, it would have had all that much later.
    """
    lags = np.full(len(at), arrivals.NOT_HANDED, np.int64)
    given = np.flatnonzero(content)[: len(moments)]
    # The offset of the kernel's clock is known to a few µs only.
    lag = np.maximum(0, moments[: len(given)] - at[given])
    lags[given] = arrivals.microseconds(perceived_at[given] + lag) - arrivals.microseconds(perceived_at[given])
    return lags


def _numbers(values: Sequence[int]) -> NDArray[np.int64]:
    """As numpy's own; an `array` of 64-bit integers is taken as it lies in memory, which must not grow after this."""
    return np.asarray(values, np.int64)


def _block(values: Sequence[int]) -> "array[int]":
    return values if isinstance(values, array) else array("q", values)


def _at(values: "array[int]") -> int:
    return values.buffer_info()[0]
