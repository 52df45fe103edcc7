"""All streams of the server: which are on their way, who has to queue, what became of those that ended, the counts.

A stream is begun when the simulated machine has room for one more sequence; the more run, the longer is every wait.
Streams that have ended can be asked for by their id for a while: at most `KEPT` of them, and `KEPT_SECONDS` long.
"""

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.reference_server import model
from streamgauge.reference_server.delivery import Outlet, Stream
from streamgauge.reference_server.ticker import Ticker
from streamgauge.reference_server.truth import Outcome, Row, TruthLog

KEPT = 1000
KEPT_SECONDS = 300


class Histogram:
    """Counts of seconds by bucket, as Prometheus wants them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds  # upper ends, included
        self.count = 0
        self.sum = 0.0
        self._ends = np.array(bounds) * 1e9
        self._up_to: NDArray[np.int64] = np.zeros(len(bounds), np.int64)

    def observe(self, nanoseconds: NDArray[np.int64]) -> None:
        self.count += len(nanoseconds)
        self.sum += int(nanoseconds.sum()) / 1e9
        nanoseconds.sort()
        self._up_to += nanoseconds.searchsorted(self._ends, "right")

    def up_to(self) -> list[int]:
        """How many were not above each bound."""
        counts: list[int] = self._up_to.tolist()
        return counts


def _doubling(first: float, count: int) -> list[float]:
    return [first * 2**k for k in range(count)]


@dataclass
class Counts:
    """Since the server began."""

    started: int = 0
    refused: int = 0
    ended: dict[Outcome, int] = field(
        default_factory=lambda: dict.fromkeys(("completed", "disconnected", "cancelled", "failed", "stopped"), 0)
    )
    generated: int = 0  # tokens, of the streams that have ended
    delivered: int = 0
    wasted: int = 0
    pauses: int = 0
    paused: int = 0  # ns
    resumed: int = 0  # clients that came back with Last-Event-ID
    cache_read: int = 0  # tokens
    cache_write: int = 0
    faults: Counter[str] = field(default_factory=Counter)  # dealt out, by name
    ttft: Histogram = field(default_factory=lambda: Histogram(_doubling(0.01, 14)))
    itl: Histogram = field(default_factory=lambda: Histogram(_doubling(0.001, 14)))


class Streams:
    """The one that all streams of a server belong to; a `delivery.Keeper`."""

    def __init__(self, capacity: int, most: int, truth: TruthLog) -> None:
        self.ticker = Ticker()
        self.stretch = 1.0
        self.counts = Counts()
        self.active: dict[str, Stream] = {}
        self.draining = False
        self._capacity = capacity
        self._most = most
        self._truth = truth
        self._running = 0
        self._asking = 0
        self._empty = asyncio.Event()  # nothing is on its way
        self._queue: dict[str, Stream] = {}  # in the order of arrival
        self._ended: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()

    @property
    def queued(self) -> int:
        return len(self._queue)

    def refused(self) -> str | None:
        """Why one more stream is not taken at this moment, which is counted; None when it is."""
        if not self.draining and len(self.active) + self._asking < self._most:
            return None
        self.counts.refused += 1
        return "the server is going down" if self.draining else f"all {self._most} streams are in use; try again"

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """While a model elsewhere is asked, before there is a stream: that counts like one."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    def open(self, stream: Stream, outlet: Outlet, received_at: int) -> None:
        """Take the stream in, which came at `received_at`: it begins now, or when it is its turn."""
        self.counts.started += 1
        self.active[stream.id] = stream
        stream.open(outlet, received_at)
        if self._capacity and self._running >= self._capacity:
            self._queue[stream.id] = stream
        else:
            self._begin(stream, received_at)

    def ended(self, stream: Stream, outcome: Outcome) -> None:
        del self.active[stream.id]
        if self._queue.pop(stream.id, None) is None:
            self._set_running(self._running - 1)
            if self._queue:
                asyncio.get_running_loop().call_soon(self._begin_queued)
        self._count(stream, outcome)
        self._keep(stream)
        if stream.streamed:
            self._truth.write(_row(stream, outcome))
        if not self.active:
            self._empty.set()

    def report(self, id: str) -> dict[str, Any] | None:
        """What is known of this stream; None when nothing is, any more."""
        stream = self.active.get(id)
        if stream is not None:
            return _report(stream)
        return self._ended.get(id, (0.0, None))[1]

    async def drain(self, seconds: float) -> None:
        """Take no more streams, let those on their way finish for so long, then tell the rest that it is over."""
        self.draining = True
        self._empty.clear()
        if self.active:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        for stream in list(self.active.values()):
            stream.fail(503, "the server is going down", "stopped")

    def _begin(self, stream: Stream, at: int) -> None:
        self._set_running(self._running + 1)
        stream.begin(at)

    def _begin_queued(self) -> None:
        while self._queue and self._running < self._capacity:
            self._begin(self._queue.pop(next(iter(self._queue))), time.monotonic_ns())

    def _set_running(self, running: int) -> None:
        self._running = running
        self.stretch = model.stretch(running, self._capacity)

    def _count(self, stream: Stream, outcome: Outcome) -> None:
        counts = self.counts
        counts.ended[outcome] += 1
        counts.generated += stream.generated
        counts.delivered += len(stream.sent) if stream.streamed else stream.generated - stream.wasted
        counts.wasted += stream.wasted
        counts.pauses += stream.pauses
        counts.paused += stream.paused
        if stream.sent:
            sent = np.array(stream.sent)
            counts.ttft.observe(sent[:1] - stream.received_at)
            counts.itl.observe(sent[1:] - sent[:-1])

    def _keep(self, stream: Stream) -> None:
        now = time.monotonic()
        self._ended[stream.id] = now, _report(stream)
        while len(self._ended) > KEPT or next(iter(self._ended.values()))[0] < now - KEPT_SECONDS:
            self._ended.popitem(last=False)


def _row(stream: Stream, outcome: Outcome) -> Row:
    return Row(
        id=stream.id,
        client=stream.client,
        received_at=stream.received_at,
        due=stream.due,
        sent=stream.sent.tolist(),
        ended_at=stream.ended_at,
        outcome=outcome,
        tokens=stream.generated,
        paused=stream.paused,
    )


def _report(stream: Stream) -> dict[str, Any]:
    """For people, in seconds since the request came in; what has not happened is null."""

    def since(at: int) -> float | None:
        return round((at - stream.received_at) / 1e9, 6) if at else None

    return {
        "id": stream.id,
        "client": stream.client,
        "state": stream.state,
        "detail": stream.detail,
        "tokens": {"generated": stream.generated, "sent": len(stream.sent), "wasted": stream.wasted},
        "seconds": {
            "started": since(stream.started_at),
            "first_token": since(stream.sent[0] if stream.sent else 0),
            "last_token": since(stream.sent[-1] if stream.sent else 0),
            "ended": since(stream.ended_at),
        },
        "pauses": {"count": stream.pauses, "seconds": round(stream.paused / 1e9, 6)},
    }
