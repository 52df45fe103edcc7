"""Resumable streams: a log between a generation and those who read it.

A `Session` stands where a stream's connection would be: it numbers the events, keeps them, and hands each to every
`Reader`. Who comes back gets exactly what was missed, byte for byte, and then follows live. The generation goes at its
own pace, however slowly it is read, and outlives its readers for a while: the grace. So long its log is also kept after
its end. All of it is bounded; a reader that is further behind than a log reaches is told so, and never gets a hole.

Knows neither HTTP nor Redis; times are CLOCK_MONOTONIC, ns.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from streamgauge.reference_server.delivery import Manner, Outlet, Stream, after
from streamgauge.reference_server.dialects import Writer
from streamgauge.reference_server.streams import Streams
from streamgauge.reference_server.ticker import Ticker
from streamgauge.reference_server.truth import Outcome

EVENTS = 20_000  # of one log; beyond them, and beyond its bytes, the oldest go
BYTES = 4 << 20
LOGS = 1_000
BYTES_IN_ALL = 256 << 20
READERS = 100  # of one log
RETRY = 500  # ms that a dropped client is told to wait
_AT_ONCE = 64  # events that a reader catches up with in one write


class Log:
    """Events in their order, numbered from 1, and those who read them."""

    def __init__(self, id: str, path: str, lost: bytes, idle: int) -> None:
        self.id = id
        self.path = path  # of the request: which dialect it speaks
        self.lost = lost  # the event that says: the rest is lost
        self.idle = idle  # as in `Manner`
        self.first = 1  # that is kept
        self.last = 0
        self.reached = 0  # the last that some reader has
        self.size = 0  # bytes
        self.over = False
        self.readers: set[Reader] = set()
        self._events: list[bytes] = []

    def append(self, events: Sequence[bytes]) -> None:
        self._events += events
        self.last += len(events)
        self.size += sum(map(len, events))
        while len(self._events) > EVENTS or self.size > BYTES:
            self._drop(len(self._events) // 8 + 1)
        for reader in tuple(self.readers):
            reader.read()

    def comment(self, text: bytes) -> None:
        """To those who have read everything: it is not kept."""
        for reader in tuple(self.readers):
            reader.keep_company(text)

    def end(self) -> None:
        """There will be no more events."""
        self.over = True
        for reader in tuple(self.readers):
            reader.read()

    def lose(self) -> None:
        """There should be more, and nobody will ever have them."""
        self.over = True
        for reader in tuple(self.readers):
            reader.lose()

    def since(self, number: int) -> tuple[int, bytes]:
        """Some events from this number on, and the number of the last of them."""
        some = self._events[number - self.first : number - self.first + _AT_ONCE]
        return number + len(some) - 1, b"".join(some)

    def given(self, number: int) -> None:
        """A reader has all up to here."""
        self.reached = max(self.reached, number)

    def joined(self, reader: "Reader") -> None:
        self.readers.add(reader)

    def left(self, reader: "Reader") -> None:
        self.readers.discard(reader)

    def _drop(self, count: int) -> None:
        self.size -= sum(map(len, self._events[:count]))
        del self._events[:count]
        self.first += count


class Reader:
    """One client that reads a log from the event after number `position` on; what a connection carries for it."""

    def __init__(self, log: Log, position: int) -> None:
        self.log = log
        self.position = position  # of the last event that it has
        self.deaf = False  # see `delivery.Stream.deaf`
        self._outlet: Outlet | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def open(self, outlet: Outlet, received_at: int) -> None:  # noqa: ARG002 - as every opening
        self._outlet = outlet
        self.log.joined(self)
        self.read()

    async def wait(self) -> None:
        await self._over

    def read(self) -> None:
        """Take what the log has, as far as there is room."""
        log, outlet = self.log, self._outlet
        while outlet is not None and not self._over.done() and not outlet.full and self.position < log.last:
            if self.position + 1 < log.first:
                self.lose()
                return
            self.position, events = log.since(self.position + 1)
            outlet.write(events)
            log.given(self.position)
        if outlet is None or self._over.done():
            return
        if outlet.full:
            if self._idle is None and log.idle:
                self._idle = after(log.idle, self._stuck)
        elif log.over:
            self._end()

    def resume(self) -> None:
        """There is room again."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self.read()

    def keep_company(self, text: bytes) -> None:
        if self._outlet is not None and not self._outlet.full and self.position >= self.log.last:
            self._outlet.write(text)

    def lose(self) -> None:
        """It cannot have the rest: say so, if it listens."""
        assert self._outlet is not None
        if self._outlet.full:
            self._outlet.abort()
        else:
            self._outlet.write(self.log.lost)
        self._end()

    def disconnected(self) -> None:
        self._end()

    def fail(self, status: int, detail: str, outcome: Outcome = "failed") -> None:  # noqa: ARG002 - the stream has said it
        self._end()

    def _stuck(self) -> None:
        assert self._outlet is not None
        self._outlet.abort()
        self._end()

    def _end(self) -> None:
        if self._over.done():
            return
        self._over.set_result(None)
        if self._idle is not None:
            self._idle.cancel()
        self.log.left(self)


class Session(Log):
    """The log of an answer that this process generates: its stream's outlet, and, towards it, its keeper."""

    full = False  # a generation that is kept waits for nobody

    def __init__(self, id: str, path: str, writer: Writer, manner: Manner, sessions: "Sessions") -> None:
        super().__init__(id, path, writer.error(503, "the rest of this answer is lost"), manner.idle)
        self.grace = manner.resumable
        self.stream: Stream | None = None
        self.delivered = 0  # tokens that some reader has
        self._tokens: list[int] = []  # generated with each event that is kept, and all before it
        self._generated_at: list[int] = []
        self._delivered_at: list[int] = []  # 0: not yet
        self._sessions = sessions
        self._deaf = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, stream: Stream, reader: Reader, outlet: Outlet, received_at: int) -> None:
        """Let the generation begin, with its first reader."""
        self.stream = stream
        self._sessions.keep(self)
        reader.open(outlet, received_at)
        self._sessions.streams.open(stream, self, received_at)

    def audit(self) -> dict[str, Any]:
        """Each event that is kept, when it was generated and when delivered; seconds as in a report."""
        assert self.stream is not None
        since = self.stream.received_at
        rows = zip(self._events, self._tokens, self._generated_at, self._delivered_at, strict=True)
        return {
            "id": self.id,
            "tokens": {"generated": self.stream.generated, "delivered": self.delivered},
            "events": [
                {
                    "id": f"{self.id}:{number}",
                    "tokens": tokens,
                    "generated": round((generated - since) / 1e9, 6),
                    "delivered": round((delivered - since) / 1e9, 6) if delivered else None,
                    "event": event.decode(),
                }
                for number, (event, tokens, generated, delivered) in enumerate(rows, self.first)
            ],
        }

    # As the stream's outlet

    def write(self, events: bytes) -> None:
        if events.startswith(b":"):
            self.comment(events)
        elif events:
            self._add(events.removesuffix(b"\n\n").split(b"\n\n"))

    def abort(self) -> None:
        raise AssertionError("it is never full")

    def _add(self, events: list[bytes]) -> None:
        assert self.stream is not None
        now, count, first = time.monotonic_ns(), len(events), self.last + 1
        numbered = [
            b"id: %b:%d\n%b\n\n" % (self.id.encode(), number, event) for number, event in enumerate(events, first)
        ]
        if first == 1:
            numbered[0] = b"retry: %d\n%b" % (RETRY, numbered[0])
        self._tokens += [self.stream.written] * count
        self._generated_at += [now] * count
        self._delivered_at += [0] * count
        self.append(numbered)
        if self._sessions.shared is not None:
            self._sessions.shared.append(self, first, numbered)

    def _drop(self, count: int) -> None:
        super()._drop(count)
        for column in (self._tokens, self._generated_at, self._delivered_at):
            del column[:count]

    # As the stream's keeper, before the one of all streams

    @property
    def ticker(self) -> Ticker:
        return self._sessions.streams.ticker

    @property
    def stretch(self) -> float:
        return self._sessions.streams.stretch

    def ended(self, stream: Stream, outcome: Outcome) -> None:
        # What nobody has read was not sent. What readers elsewhere have had of late, `read_elsewhere` will count.
        del stream.sent[self.delivered :]
        self._sessions.streams.ended(stream, outcome)
        if self._sessions.shared is not None:
            self._sessions.shared.end(self)
        self.end()
        if not self.readers:
            self._wait()

    # As its readers' log

    def given(self, number: int) -> None:
        if number <= self.reached or self.stream is None:
            return
        now = time.monotonic_ns()
        for index in range(max(self.reached + 1, self.first) - self.first, number - self.first + 1):
            self._delivered_at[index] = now
        super().given(number)
        before, self.delivered = self.delivered, self._tokens[number - self.first]
        if self.stream.over:
            self._sessions.streams.counts.delivered += self.delivered - before

    def joined(self, reader: Reader) -> None:
        super().joined(reader)
        if self._timer is not None:
            self._timer.cancel()

    def left(self, reader: Reader) -> None:
        super().left(reader)
        self._deaf |= reader.deaf
        if not self.readers:
            self._wait()

    def read_elsewhere(self, number: int) -> None:
        """In another process somebody reads it, and has all up to this event."""
        if self.first <= number <= self.last:
            self.given(number)
        if not self.readers:
            self._wait()

    def _wait(self) -> None:
        """Give readers the grace to come, or to come back."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = after(self.grace, self._expire)

    def _expire(self) -> None:
        assert self.stream is not None
        if self.stream.over:
            self._sessions.streams.counts.wasted += self.stream.generated - self.delivered
        elif self._deaf:
            return
        else:
            del self.stream.sent[self.delivered :]
            self.stream.disconnected()
        self.forget()

    def forget(self) -> None:
        """Nobody can come back to it."""
        if self._timer is not None:
            self._timer.cancel()
        self._sessions.kept.pop(self.id, None)
        if self._sessions.shared is not None:
            self._sessions.shared.forget(self)


class Unreachable(Exception):
    """What is kept for all processes cannot be asked for at this moment; the message is one sentence for the client."""


class Shared(Protocol):
    """Where sessions are kept for other processes of this server, too, and how these are asked."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def refused(self) -> str | None:
        """Why nothing can be kept there at this moment; None when it can."""

    def append(self, session: Session, first: int, events: Sequence[bytes]) -> None:
        """Keep these, the first of which has this number. Never waits; where it fails, the session's stream does."""

    def end(self, session: Session) -> None: ...

    def forget(self, session: Session) -> None: ...

    async def find(self, id: str) -> Log | None:
        """A log that another process writes, with all that it has so far; it goes on to grow as long as it is read.

        None when nothing is kept; raises Unreachable.
        """

    async def ask(self, verb: str, id: str) -> dict[str, Any] | None:
        """What the process says that knows this stream, see `Sessions.told`; None when none does.

        Raises Unreachable.
        """


class Sessions:
    """All logs that this process keeps, and the way to those of others."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.kept: OrderedDict[str, Session] = OrderedDict()  # the oldest first
        self.shared: Shared | None = None

    @property
    def size(self) -> int:
        """Bytes of all logs."""
        return sum(session.size for session in self.kept.values())

    @property
    def unread(self) -> int:
        """Tokens of running generations that are in a log, and that no client has been given yet."""
        running = (session for session in self.kept.values() if not session.over)
        return sum(len(session.stream.sent) - session.delivered for session in running if session.stream is not None)

    def refused(self) -> str | None:
        """Why no further answer can be kept at this moment; None when one can, perhaps in the place of another."""
        if self.shared is not None and (reason := self.shared.refused()):
            return reason
        for session in list(self.kept.values()):
            if len(self.kept) < LOGS and self.size < BYTES_IN_ALL:
                break
            if session.over and not session.readers:
                session.forget()
        if len(self.kept) < LOGS and self.size < BYTES_IN_ALL:
            return None
        return "as many resumable answers are kept as there is room for; try again, or ask for a plain one"

    def keep(self, session: Session) -> None:
        self.kept[session.id] = session

    async def find(self, id: str) -> Log | None:
        """The log of this answer, wherever it is written; None when nothing is kept of it."""
        return self.kept.get(id) or (await self.shared.find(id) if self.shared is not None else None)

    def told(self, verb: str, id: str) -> dict[str, Any] | None:
        """What this process knows of a stream; None: nothing.

        `report`; `cancel`, which stops it first; of what is kept `audit`, and `kept`, which says no more than that.
        """
        if verb in {"audit", "kept"}:
            session = self.kept.get(id)
            return None if session is None else session.audit() if verb == "audit" else {}
        running = self.streams.active.get(id)
        if verb == "cancel" and running is not None:
            running.cancel()
        return self.streams.report(id)

    async def ask(self, verb: str, id: str) -> dict[str, Any] | None:
        """The same from whichever process knows it."""
        found = self.told(verb, id)
        return await self.shared.ask(verb, id) if found is None and self.shared is not None else found
