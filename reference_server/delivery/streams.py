"""All streams of the server: the active ones, the queue for the simulated machine, and reports of those that ended.

A stream begins when the machine has room for one more answer. The more answers run, the longer is every wait. Reports
of ended streams are kept for a while: at most `KEPT` of them, for `KEPT_SECONDS`.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from typing import Any

import numpy as np

from streamgauge.reference_server.delivery.counts import Counts
from streamgauge.reference_server.delivery.sink import Sink
from streamgauge.reference_server.delivery.stream import Stream
from streamgauge.reference_server.delivery.timer_wheel import TimerWheel
from streamgauge.reference_server.model.pace import slowdown
from streamgauge.reference_server.truth import Outcome, TruthLog, TruthRow

KEPT = 1000
KEPT_SECONDS = 300


class Streams:
    """A `stream.Owner`: there is one, and all streams belong to it."""

    def __init__(self, capacity: int, truth: TruthLog) -> None:
        self.wheel = TimerWheel()
        self.slowdown = 1.0
        self.counts = Counts()
        self.active: dict[str, Stream] = {}
        self._capacity = capacity
        self._truth = truth
        self._running = 0
        self._none_active = asyncio.Event()
        self._queue: dict[str, Stream] = {}  # in the order of arrival
        self._ended: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()  # end time and report, by id

    @property
    def queued(self) -> int:
        return len(self._queue)

    def open(self, stream: Stream, sink: Sink, received_at: int) -> None:
        """Take in a stream whose request came at `received_at`. It begins now, or when its turn in the queue comes."""
        self.counts.started += 1
        self.active[stream.id] = stream
        stream.open(sink, received_at)
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
        self._keep_report(stream)
        if stream.streamed:
            self._truth.write(_truth_row(stream, outcome))
        if not self.active:
            self._none_active.set()

    def report(self, id: str) -> dict[str, Any] | None:
        """What is known of this stream; None if it does not exist or ended too long ago."""
        stream = self.active.get(id)
        if stream is not None:
            return _report(stream)
        return self._ended.get(id, (0.0, None))[1]

    async def finish(self, seconds: float) -> None:
        """Give the active streams this long to finish, then stop the others with an error event."""
        self._none_active.clear()
        if self.active:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none_active.wait(), seconds)
        for stream in list(self.active.values()):
            stream.fail(503, "the server is shutting down", "stopped")

    def _begin(self, stream: Stream, at: int) -> None:
        self._set_running(self._running + 1)
        stream.begin(at)

    def _begin_queued(self) -> None:
        while self._queue and self._running < self._capacity:
            self._begin(self._queue.pop(next(iter(self._queue))), time.monotonic_ns())

    def _set_running(self, running: int) -> None:
        self._running = running
        self.slowdown = slowdown(running, self._capacity)

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

    def _keep_report(self, stream: Stream) -> None:
        now = time.monotonic()
        self._ended[stream.id] = now, _report(stream)
        while len(self._ended) > KEPT or next(iter(self._ended.values()))[0] < now - KEPT_SECONDS:
            self._ended.popitem(last=False)


def _truth_row(stream: Stream, outcome: Outcome) -> TruthRow:
    return TruthRow(
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
    """For people: seconds since the request was received; null for what has not happened."""

    def since(at: int) -> float | None:
        return round((at - stream.received_at) / 1e9, 6) if at else None

    return {
        "id": stream.id,
        "client": stream.client,
        "state": stream.state,
        "background": stream.background,
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
