"""From a plan to the socket: each token at its due time, and no further than the client is there.

These responses are bare ASGI callables that await `send` themselves: no generator, no task group and no queue stands
between a token's due time and the socket. They end at once when the client has gone or the server stops.
"""

import asyncio
import select
import selectors
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reference_server.truth import Outcome

RAW_SEND = "streamgauge.send"  # in the scope: the server's own `send`, below every middleware's wrapper

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # nginx and its kin would collect events otherwise
}


@dataclass(slots=True)
class Progress:
    """One answer on its way. Times are CLOCK_MONOTONIC, ns."""

    received_at: int
    due: list[int]  # per token, since received_at
    ended: Callable[["Progress", Outcome], None]  # called once, when nothing more will be sent
    sent: list[int] = field(default_factory=list)


class _Answer(Response):
    def __init__(self, progress: Progress, headers: dict[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self.progress = progress
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A task of its own, so that a token wakes a few frames and not those of every middleware.
        delivery = asyncio.create_task(self.deliver(scope.get(RAW_SEND, send)))
        watcher = asyncio.create_task(_disconnect(receive))
        watcher.add_done_callback(lambda _: delivery.cancel())  # of no effect once all is delivered
        outcome: Outcome = "stopped"
        try:
            await delivery
            outcome = "completed"
        except asyncio.CancelledError:
            # Not raised again: a request that returns without its answer's end makes the server close the connection,
            # which is how a client is told.
            if watcher.done() and not watcher.cancelled():
                outcome = "disconnected"
        finally:
            watcher.cancel()
            self.progress.ended(self.progress, outcome)

    async def deliver(self, send: Send) -> None:
        raise NotImplementedError


class EventStream(_Answer):
    """An answer as server-sent events: `opening` at once, one event for each token when it is due, then `closing`."""

    def __init__(
        self, progress: Progress, headers: dict[str, str], opening: bytes, events: Iterable[bytes], closing: bytes
    ) -> None:
        super().__init__(progress, STREAM_HEADERS | headers)
        self.opening = opening
        self.events = events
        self.closing = closing

    async def deliver(self, send: Send) -> None:
        sent, now = self.progress.sent, time.monotonic_ns
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if self.opening:
            await send({"type": "http.response.body", "body": self.opening, "more_body": True})
        for offset, event in zip(self.progress.due, self.events, strict=True):
            await _until(self.progress.received_at + offset)
            await send({"type": "http.response.body", "body": event, "more_body": True})
            sent.append(now())
        await send({"type": "http.response.body", "body": self.closing, "more_body": False})


class WholeAnswer(_Answer):
    """An answer as one JSON document, sent when its last token is due."""

    def __init__(self, progress: Progress, headers: dict[str, str], body: bytes) -> None:
        self.body = body
        super().__init__(progress, {"content-type": "application/json"} | headers)

    async def deliver(self, send: Send) -> None:
        await _until(self.progress.received_at + self.progress.due[-1])
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


async def _until(moment: int) -> None:
    # Also when the moment has passed: a stream that is behind must let others, and the news of a disconnect, come in.
    await asyncio.sleep(max(0, moment - time.monotonic_ns()) / 1e9)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


if sys.platform == "linux":

    class _PreciseSelector(selectors.EpollSelector):
        """epoll waits in whole milliseconds; select(2) on epoll's own descriptor waits in microseconds."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select([self], [], [], timeout)
                timeout = 0
            return super().select(timeout)
else:
    _PreciseSelector = selectors.DefaultSelector  # kqueue waits in nanoseconds


def event_loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers are exact to some 0.1 ms and whose transports write to the socket inside `send`.

    uvloop's timers tick in whole milliseconds, and it collects writes until the loop's turn ends, so the truth log's
    stamp after a write would not be the time of the write.
    """
    return asyncio.SelectorEventLoop(_PreciseSelector())
