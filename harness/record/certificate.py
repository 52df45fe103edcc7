"""A certificate: what `streamgauge calibrate` found about the accuracy of this machine's times. Pure.

It certifies a load only where the errors that were measured at it, and at every smaller load, are within `BOUND`.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from streamgauge.harness.counting import some

BOUND = 1.0  # ms: the largest error (P99) of TTFT and ITL with which a load counts as exact
_COMPARED = 0.99  # share of the streams that must be comparable with the server's log
_OPEN = 0.95  # share of the streams asked for that must have been open at once
_DISTURBING = 0.1  # share of the cores: above it, a load that was not exact may be so on an idle machine

_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Rate = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1.05)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
_Text = Annotated[str, msgspec.Meta(max_length=300)]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The errors at one load. Times in ms, as absolute values; events are content chunks."""

    streams: _Count  # at once, in all processes together
    processes: _Count  # of the load generator, not counting a master
    tls: bool
    open: _Share  # of `streams`, how many were open at once on average
    compared: _Share  # of the streams that were judged, how many could be compared with the server's log
    ttft_error_p99: _Milliseconds
    itl_error_p50: _Milliseconds
    itl_error_p99: _Milliseconds
    events_per_second: _Rate
    events_per_cpu_second: _Rate  # of the load generator
    server_late_p99: _Milliseconds  # how late the server sent by its own schedule; no error of the load generator
    saturated_share: _Share  # of the load generator's reads: those that came late
    used_by_others: _Share = 0.0  # of the machine's cores, by other programs meanwhile; no older certificate says it

    @property
    def error(self) -> float:
        return max(self.ttft_error_p99, self.itl_error_p99)

    @property
    def doubt(self) -> str:
        """Why this load is not certified; "" if it is."""
        if self.error > BOUND:
            return f"off by more than {BOUND:g} ms{self._disturbed}"
        if self.open < _OPEN:
            return f"only {100 * self.open:.0f} % of the streams were open at once{self._disturbed}"
        if self.compared < _COMPARED:
            return f"only {100 * self.compared:.0f} % of the streams could be compared"
        return ""

    @property
    def _disturbed(self) -> str:
        if self.used_by_others < _DISTURBING:
            return ""
        return f", while other programs used {100 * self.used_by_others:.0f} % of the cores"


class Carried(msgspec.Struct, frozen=True):
    """The largest load that is certified for a number of processes."""

    point: Point
    error: float  # ms: the largest at this load and at all smaller ones

    @property
    def events_per_stream(self) -> float:
        """A second."""
        return self.point.events_per_second / self.point.streams

    def __str__(self) -> str:
        return (
            f"± {self.error:.2g} ms up to {some(self.point.streams, 'stream')} of "
            f"{self.events_per_stream:.0f} events/s in "
            f"{processes(self.point.processes)}{' over TLS' if self.point.tls else ''}"
        )


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    schema: Literal["streamgauge/certificate/1"] = "streamgauge/certificate/1"
    made_at: _Text  # ISO 8601, UTC
    bound_ms: _Milliseconds = BOUND
    valid_for: Annotated[dict[_Text, _Text], msgspec.Meta(max_length=40)]  # see `machine.facts`
    points: Annotated[list[Point], msgspec.Meta(max_length=100)]

    def carried(self, processes: int, *, tls: bool) -> Carried | None:
        """The largest load with a small enough error at it and at all smaller loads; None if there is none."""
        best = None
        loads = [point for point in self.points if (point.processes, point.tls) == (processes, tls)]
        for point in sorted(loads, key=lambda one: one.streams):
            if point.doubt:
                break
            best = Carried(point, max(point.error, best.error if best else 0.0))
        return best

    @property
    def certifies(self) -> bool:
        """Whether there is any load that is certified."""
        return any(self.carried(point.processes, tls=point.tls) for point in self.points)

    @property
    def day(self) -> str:
        return self.made_at[:10]

    def sentences(self) -> Iterator[str]:
        """For people, one for each number of processes, plain and with TLS: "± 0.1 ms up to 1,000 streams …"."""
        kinds = dict.fromkeys((point.processes, point.tls) for point in self.points)
        for count, tls in sorted(kinds):
            over = " over TLS" if tls else ""
            carried = self.carried(count, tls=tls)
            yield str(carried) if carried else f"nothing is certified for {processes(count)}{over}"


def processes(count: int) -> str:
    return some(count, "process", "processes")
