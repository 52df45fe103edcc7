"""All resumable answers that this process keeps, and the way to those of the other processes."""

from collections import OrderedDict
from typing import Any

from streamgauge.reference_server.delivery.settings import DeliverySettings
from streamgauge.reference_server.delivery.sink import Sink
from streamgauge.reference_server.delivery.streams import Streams
from streamgauge.reference_server.dialects.question import Writer
from streamgauge.reference_server.model.answer import Source
from streamgauge.reference_server.sessions.log import EventLog, Subscriber
from streamgauge.reference_server.sessions.session import Session, most_bytes
from streamgauge.reference_server.sessions.shared import SharedLogs, Verb

LOGS = 1_000
BYTES_IN_ALL = 256 << 20


class Sessions:
    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.kept: OrderedDict[str, Session] = OrderedDict()  # the oldest first
        self.shared: SharedLogs | None = None

    @property
    def size(self) -> int:
        """Bytes of all logs."""
        return sum(session.log.size for session in self.kept.values())

    @property
    def unread(self) -> int:
        """Tokens of running generations that are in a log and that no client has yet."""
        running = (session for session in self.kept.values() if not session.log.over)
        return sum(len(session.stream.sent) - session.deliveries.tokens for session in running)

    def refusal(self, planned: int = 0) -> str | None:
        """Why an answer of so many tokens cannot be kept now; None if it can. Ended answers make room for it."""
        if self.shared is not None and (reason := self.shared.refusal()):
            return reason
        needed = most_bytes(planned) + sum(session.most_bytes for session in self.kept.values())
        for session in list(self.kept.values()):
            if len(self.kept) < LOGS and needed <= BYTES_IN_ALL:
                break
            if session.log.over and not session.log.subscribers:
                needed -= session.most_bytes
                self.forget(session)
        if len(self.kept) < LOGS and needed <= BYTES_IN_ALL:
            return None
        return "there is no room for one more resumable answer; try again, or ask for one that is not resumable"

    def create(self, id: str, path: str, source: Source, writer: Writer, settings: DeliverySettings) -> Session:
        """A new answer to a request to `path`. Its generation has not begun, and it is not kept yet."""
        log = EventLog(id, path, writer.error(503, "the rest of this answer is lost"), settings.idle)
        return Session(log, source, writer, settings, self)

    def begin(self, session: Session, subscriber: Subscriber, sink: Sink, received_at: int) -> None:
        """Keep this answer from now on, and start its generation with its first subscriber."""
        self.kept[session.id] = session
        session.begin(subscriber, sink, received_at)

    def forget(self, session: Session) -> None:
        """Drop an answer: from now on no client can resume it."""
        session.stop_timer()
        self.kept.pop(session.id, None)
        if self.shared is not None:
            self.shared.forget(session)

    async def find(self, id: str) -> EventLog | None:
        """The log of this answer, whichever process writes it; None if nothing is kept of it. Raises Unreachable."""
        session = self.kept.get(id)
        if session is not None:
            return session.log
        return await self.shared.find(id) if self.shared is not None else None

    def lookup(self, verb: Verb, id: str) -> dict[str, Any] | None:
        """What this process knows of a stream; None: nothing."""
        session = self.kept.get(id)
        match verb:
            case "audit":
                return None if session is None else session.audit()
            case "kept":
                return None if session is None else {}
            case "cancel" if id in self.streams.active:
                self.streams.active[id].cancel()
        return self.streams.report(id)

    async def ask(self, verb: Verb, id: str) -> dict[str, Any] | None:
        """Like `lookup`, but from whichever process has the stream. Raises Unreachable."""
        found = self.lookup(verb, id)
        return await self.shared.ask(verb, id) if found is None and self.shared is not None else found
