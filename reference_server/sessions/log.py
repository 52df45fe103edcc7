"""The log of one resumable answer, and the clients that subscribe to it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streamgauge.reference_server.delivery.sink import Sink
from streamgauge.reference_server.delivery.timer_wheel import call_after
from streamgauge.reference_server.truth import Outcome

SUBSCRIBERS = 100  # of one log
_EVENTS_IN_ONE_WRITE = 64  # for a subscriber that catches up


@dataclass(frozen=True, slots=True)
class LogLimits:
    """Beyond either limit, the oldest events of a log are dropped."""

    events: int = 20_000
    bytes: int = 4 << 20


class LogWatcher(Protocol):
    """Is notified of the subscribers of a log, and of the events that they have."""

    def delivered(self, first: int, last: int) -> None:
        """Some subscriber is the first to have these events."""

    def subscribed(self) -> None: ...

    def unsubscribed(self, subscriber: "Subscriber") -> None: ...


class EventLog:
    """Events in their order, numbered from 1, and the subscribers that read them."""

    def __init__(self, id: str, path: str, lost: bytes, idle: int, *, limits: LogLimits | None = None) -> None:
        self.id = id
        self.path = path  # of the request, which determines the dialect
        self.lost = lost  # the event that says that the rest of the answer is lost
        self.idle = idle  # as in `DeliverySettings`
        self.watcher: LogWatcher | None = None
        self.first = 1  # number of the oldest event that is kept
        self.last = 0
        self.reached = 0  # number of the last event that some subscriber has
        self.size = 0  # bytes
        self.over = False
        self.subscribers: set[Subscriber] = set()
        self._limits = limits or LogLimits()
        self._events: list[bytes] = []

    @property
    def events(self) -> Sequence[bytes]:
        """Those that are kept."""
        return self._events

    def append(self, events: Sequence[bytes]) -> None:
        self._events += events
        self.last += len(events)
        self.size += sum(map(len, events))
        while len(self._events) > self._limits.events or self.size > self._limits.bytes:
            self._drop(len(self._events) // 8 + 1)
        for subscriber in tuple(self.subscribers):
            subscriber.read()

    def comment(self, text: bytes) -> None:
        """Send a comment to the subscribers that have read everything. It is not kept."""
        for subscriber in tuple(self.subscribers):
            subscriber.comment(text)

    def end(self) -> None:
        """There will be no more events."""
        self.over = True
        for subscriber in tuple(self.subscribers):
            subscriber.read()

    def lose(self) -> None:
        """There should be more events, but they are lost."""
        self.over = True
        for subscriber in tuple(self.subscribers):
            subscriber.lose()

    def since(self, number: int) -> tuple[int, bytes]:
        """Some events, from this number on, and the number of the last of them."""
        some = self._events[number - self.first : number - self.first + _EVENTS_IN_ONE_WRITE]
        return number + len(some) - 1, b"".join(some)

    def delivered(self, number: int) -> None:
        """A subscriber has all events up to this number."""
        if number <= self.reached:
            return
        before, self.reached = self.reached, number
        if self.watcher is not None:
            self.watcher.delivered(before + 1, number)

    def subscribe(self, subscriber: "Subscriber") -> None:
        self.subscribers.add(subscriber)
        if self.watcher is not None:
            self.watcher.subscribed()

    def unsubscribe(self, subscriber: "Subscriber") -> None:
        self.subscribers.discard(subscriber)
        if self.watcher is not None:
            self.watcher.unsubscribed(subscriber)

    def _drop(self, count: int) -> None:
        self.size -= sum(map(len, self._events[:count]))
        del self._events[:count]
        self.first += count


class Subscriber:
    """A client that reads a log from the event after number `position` on: the `Producer` of its connection."""

    def __init__(self, log: EventLog, position: int) -> None:
        self.log = log
        self.position = position  # number of the last event that it has
        self.ignores_disconnect = False  # see `sink.Producer`
        self._sink: Sink | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def open(self, sink: Sink, received_at: int) -> None:  # noqa: ARG002 - as every `responses.Open`
        self._sink = sink
        self.log.subscribe(self)
        self.read()

    async def wait(self) -> None:
        await self._over

    def read(self) -> None:
        """Write what the log has, as far as the sink has room."""
        log, sink = self.log, self._sink
        while sink is not None and not self._over.done() and not sink.full and self.position < log.last:
            if self.position + 1 < log.first:
                self.lose()
                return
            self.position, events = log.since(self.position + 1)
            sink.write(events)
            log.delivered(self.position)
        if sink is None or self._over.done():
            return
        if sink.full:
            if self._idle is None and log.idle:
                self._idle = call_after(log.idle, self._cut_off)
        elif log.over:
            self._end()

    def resume(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self.read()

    def comment(self, text: bytes) -> None:
        if self._sink is not None and not self._sink.full and self.position >= self.log.last:
            self._sink.write(text)

    def lose(self) -> None:
        """The rest of the answer is lost for this client: send the `lost` event, or cut it off if it does not read."""
        assert self._sink is not None
        if self._sink.full:
            self._sink.abort()
        else:
            self._sink.write(self.log.lost)
        self._end()

    def disconnected(self) -> None:
        self._end()

    def fail(self, status: int, detail: str, outcome: Outcome = "failed") -> None:  # noqa: ARG002 - the log has the error
        self._end()

    def _cut_off(self) -> None:
        assert self._sink is not None
        self._sink.abort()
        self._end()

    def _end(self) -> None:
        if self._over.done():
            return
        self._over.set_result(None)
        if self._idle is not None:
            self._idle.cancel()
        self.log.unsubscribe(self)
