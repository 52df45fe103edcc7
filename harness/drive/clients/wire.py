"""The default client: HTTP directly on a socket with kernel stamps. Events are decoded after the stream has ended.

Promises one StreamObservation for each `stream`: nothing that a server sends or does makes it raise.
"""

from contextlib import suppress
from typing import Any, ClassVar

import gevent

from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.attempt import Attempt
from streamgauge.harness.drive.clients.deadlines import LinkBroke
from streamgauge.harness.drive.clients.question import Question, Reply
from streamgauge.harness.drive.reading.resumption import Place, follow
from streamgauge.harness.drive.reading.spoken import spoken
from streamgauge.harness.drive.reading.transcript import Interrupted, Transcript, observe
from streamgauge.harness.drive.reading.whole import observe_whole, with_total_timeout_only
from streamgauge.harness.drive.site import Site, breathe
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.record.observation import Outcome


class WireClient:
    """Keeps its connection between streams, as an app does; with `fresh`, each stream gets a new one."""

    name = "wire"
    _attempt: ClassVar[type[Attempt]] = Attempt

    def __init__(self, site: Site, *, fresh: bool = False) -> None:
        self._site = site
        self._fresh = fresh
        self._idle: Connection | None = None
        self._prepared: Connection | None = None  # a new one, which is not open yet
        self._lingering: list[Connection] = []

    @classmethod
    def check(cls, target: Target) -> None:
        """ScenarioError for a target that this client cannot ask; this one can ask any."""

    def prepare(self) -> None:
        """Do now what the next stream needs of us before it can ask, and what does not depend on the server.

        What a process computes on a busy core is not what a person waits for. Call it just before the stream is due.
        """
        if self._fresh or self._idle is None:
            self._prepared = Connection()
            with suppress(Broken, OSError, ValueError):  # it happens again in the stream, which tells it
                self._prepared.prepare(self._site.endpoint)

    def stream(self, question: Question) -> Reply:
        """Ask, and read until the end or until the plan says to leave.

        Raises only Interrupted, when the caller's greenlet is killed or gets an exception from elsewhere: the caller
        must store the record that it holds, and raise `by`.
        """
        site = self._site if question.prompt.streamed else with_total_timeout_only(self._site)
        began = None
        while True:
            connection, reused = self._connection()
            attempt = self._attempt(connection, site, question, began)
            began = attempt.began
            broken = self._try(attempt, question)
            transcript = attempt.end(broken)
            self._keep_or_close(connection, attempt, question.plan, broken)
            # Stale: the server had closed the idle connection while our request was on its way. Ask once more.
            if not (reused and attempt.stale(broken)):
                question.watch(transcript)
                return self._reply(transcript, site, question)

    @property
    def connected(self) -> bool:
        return self._idle is not None and self._idle.usable()

    def hang_up(self) -> None:
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def close(self) -> None:
        for connection in self._lingering:
            connection.close()
        self.hang_up()

    def _connection(self) -> tuple[Connection, bool]:
        """A connection for one exchange, and whether it is a kept one."""
        idle, self._idle = self._idle, None
        if idle is not None and not self._fresh and idle.usable():
            return idle, True
        if idle is not None:
            idle.close()
        prepared, self._prepared = self._prepared, None
        return prepared or Connection(), False

    def _try(self, attempt: Attempt, question: Question) -> Broken | None:
        """Make one try. Returns why the answer did not get to its end; None if it did."""
        try:
            self._converse(attempt, question)
        except Broken as fault:
            # The traceback refers to this frame, and the frame to the fault: a reference cycle for each stream. So does
            # the traceback of the fault that this one replaced, such as OpenSSL's in a handshake.
            fault.__context__ = None
            return fault.with_traceback(None)
        except BaseException as fault:  # noqa: BLE001 - `_reply` raises it again, with the record
            return _Stopped(fault.with_traceback(None))
        return None

    def _converse(self, attempt: Any, question: Question) -> None:
        """One try, from connecting to the end of the answer. Broken if the answer does not get to its end."""
        attempt.converse(self._site.request(question.prompt, question.last_id))

    def _keep_or_close(self, connection: Connection, attempt: Attempt, plan: Plan, broken: Broken | None) -> None:
        left = broken is not None and broken.outcome is Outcome.CANCELLED
        if attempt.reusable and plan.linger is not None:
            self._lingering = [each for each in self._lingering if each.sock is not None]
            self._lingering.append(connection)
            gevent.spawn_later(plan.linger / 1e9, connection.close)
        elif attempt.reusable:
            self._idle = connection
        elif isinstance(broken, LinkBroke) or (plan.abort and left):
            connection.abort()
        else:
            connection.close()

    def _reply(self, transcript: Transcript, site: Site, question: Question) -> Reply:
        """The reply made of the transcript. Interrupted if the stream was stopped, or its greenlet is killed here."""
        by = transcript.broken.by if isinstance(transcript.broken, _Stopped) else None
        if by is None:
            try:
                return self._finished(transcript, site, question)
            except BaseException as fault:  # noqa: BLE001 - raised again with the record
                by = fault.with_traceback(None)
        transcript.breathe = lambda: None
        record = observe if question.prompt.streamed else observe_whole
        raise Interrupted(record(transcript, site, question.identity), by)

    def _finished(self, transcript: Transcript, site: Site, question: Question) -> Reply:
        prompt = question.prompt
        place: Place | None = None
        transcript.breathe = site.decoding.breathe
        with site.decoding:
            seen = (observe if prompt.streamed else observe_whole)(transcript, site, question.identity)
        if question.plan.reconnect is not None:
            by_link, body = isinstance(transcript.broken, LinkBroke), bytes(transcript.body)
            seen, place = follow(seen, body, question.place, site.secret, by_link=by_link, breathe=breathe)
        text = ""
        if site.target.history == "real":
            text = spoken(bytes(transcript.body), site.protocol, breathe, streamed=prompt.streamed)
        return Reply(seen, place, text)


class _Stopped(Broken):
    """The stream was stopped on our side, by the exception `by`."""

    def __init__(self, by: BaseException) -> None:
        detail = "the run ended before the stream did"
        if not isinstance(by, gevent.GreenletExit):
            detail = f"stopped from outside the stream by {type(by).__name__}: {by}"
        super().__init__(Outcome.INTERRUPTED, detail)
        self.by = by
