"""One resumable answer that this process generates: a stream, the log that it writes to, and how long both live."""

import asyncio
import time
from typing import Any, Protocol

from streamgauge.reference_server.delivery.settings import DeliverySettings
from streamgauge.reference_server.delivery.sink import Sink
from streamgauge.reference_server.delivery.stream import Stream
from streamgauge.reference_server.delivery.streams import Streams
from streamgauge.reference_server.delivery.timer_wheel import TimerWheel, call_after
from streamgauge.reference_server.dialects.question import Writer
from streamgauge.reference_server.model.answer import Source
from streamgauge.reference_server.sessions.deliveries import Deliveries
from streamgauge.reference_server.sessions.log import EventLog, LogLimits, Subscriber
from streamgauge.reference_server.sessions.shared import SharedLogs
from streamgauge.reference_server.truth import Outcome

_BYTES = 400  # of an event in a log: its text, its number, when it was generated and delivered
_RETRY = 500  # ms that a dropped client waits before it comes back, as the stream's `retry:` field says


def most_bytes(planned: int) -> int:
    """The most memory that the log of an answer with so many tokens takes; 0 if the number is not known."""
    return min(planned * _BYTES, 2 * LogLimits().bytes)


class LogSink:
    """The stream's sink: numbers the events and puts them into the log, and into the shared logs if there are any."""

    full = False  # a generation does not wait for the readers of its log

    def __init__(self, session: "Session", shared: SharedLogs | None) -> None:
        self._session = session
        self._shared = shared

    def write(self, events: bytes) -> None:
        if events.startswith(b":"):
            self._session.log.comment(events)
        elif events:
            self._add(events.removesuffix(b"\n\n").split(b"\n\n"))

    def abort(self) -> None:
        raise AssertionError("a log is never full")

    def _add(self, events: list[bytes]) -> None:
        session, log = self._session, self._session.log
        first, id = log.last + 1, log.id.encode()
        numbered = [b"id: %b:%d\n%b\n\n" % (id, number, event) for number, event in enumerate(events, first)]
        if first == 1:
            numbered[0] = b"retry: %d\n%b" % (_RETRY, numbered[0])
        session.deliveries.generated(len(events), session.stream.written, time.monotonic_ns())
        log.append(numbered)
        session.deliveries.drop_before(log.first)
        if self._shared is not None:
            self._shared.append(session, first, numbered)


class Home(Protocol):
    """Where sessions are kept: `registry.Sessions`."""

    streams: Streams
    shared: SharedLogs | None

    def forget(self, session: "Session") -> None: ...


class Session:
    """Owns the stream: keeps it and its log while there are subscribers, and for the grace time without any."""

    def __init__(self, log: EventLog, source: Source, writer: Writer, settings: DeliverySettings, home: Home) -> None:
        self.log = log
        self.stream = Stream(log.id, source, writer, settings, self)
        self.deliveries = Deliveries()
        self.grace = settings.resumable
        self._sink = LogSink(self, home.shared)
        self._home = home
        self._planned = source.planned
        self._ignores_disconnect = False
        self._grace_timer: asyncio.TimerHandle | None = None
        log.watcher = self

    @property
    def id(self) -> str:
        return self.log.id

    @property
    def most_bytes(self) -> int:
        """The most memory that its log takes until it is forgotten."""
        return 2 * self.log.size if self.log.over else max(2 * self.log.size, most_bytes(self._planned))

    def begin(self, subscriber: Subscriber, sink: Sink, received_at: int) -> None:
        """Start the generation, with its first subscriber."""
        subscriber.open(sink, received_at)
        self._home.streams.open(self.stream, self._sink, received_at)

    def audit(self) -> dict[str, Any]:
        """Each event that is kept, when it was generated and when delivered, in seconds as in a stream's report."""
        return {
            "id": self.id,
            "tokens": {"generated": self.stream.generated, "delivered": self.deliveries.tokens},
            "events": self.deliveries.rows(self.id, self.log.events, self.stream.received_at),
        }

    # As the stream's owner

    @property
    def wheel(self) -> TimerWheel:
        return self._home.streams.wheel

    @property
    def slowdown(self) -> float:
        return self._home.streams.slowdown

    def ended(self, stream: Stream, outcome: Outcome) -> None:
        # Tokens that nobody has read do not count as sent. `delivered_elsewhere` may still add some of them.
        del stream.sent[self.deliveries.tokens :]
        self._home.streams.ended(stream, outcome)
        if self._home.shared is not None:
            self._home.shared.end(self)
        self.log.end()
        if not self.log.subscribers:
            self._start_grace()

    # As the log's watcher

    def delivered(self, first: int, last: int) -> None:
        tokens = self.deliveries.delivered(first, last, time.monotonic_ns())
        if self.stream.over:
            self._home.streams.counts.delivered += tokens

    def subscribed(self) -> None:
        self.stop_timer()

    def unsubscribed(self, subscriber: Subscriber) -> None:
        self._ignores_disconnect |= subscriber.ignores_disconnect
        if not self.log.subscribers:
            self._start_grace()

    def delivered_elsewhere(self, number: int) -> None:
        """A subscriber in another process has all events up to this number, and may read on."""
        if self.log.first <= number <= self.log.last:
            self.log.delivered(number)
        if not self.log.subscribers:
            self._start_grace()

    # Lifetime

    def _start_grace(self) -> None:
        self.stop_timer()
        self._grace_timer = call_after(self.grace, self._expire)

    def stop_timer(self) -> None:
        if self._grace_timer is not None:
            self._grace_timer.cancel()

    def _expire(self) -> None:
        if self.stream.over:
            self._home.streams.counts.wasted += self.stream.generated - self.deliveries.tokens
        elif self._ignores_disconnect:
            return
        else:
            del self.stream.sent[self.deliveries.tokens :]
            self.stream.disconnected()
        self._home.forget(self)
