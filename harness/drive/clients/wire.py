"""The default client: one person's HTTP stack straight on a stamped socket, everything decoded after the stream.

Promises one StreamObservation for each `stream`, whatever the server does: nothing that a server sends raises here.
"""

import time
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from operator import itemgetter
from typing import Any, ClassVar

import gevent

from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question, Reply
from streamgauge.harness.drive.network import Link
from streamgauge.harness.drive.protocols import Answer, Malformed, Protocol
from streamgauge.harness.drive.reading import sse
from streamgauge.harness.drive.reading.resumption import follow
from streamgauge.harness.drive.reading.transcript import Interrupted, Transcript, observe
from streamgauge.harness.drive.reading.whole import observe_whole, patient
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.drive.wire.exchange import Exchange
from streamgauge.harness.drive.wire.loop import Loop
from streamgauge.harness.record.observation import CONTENT, Outcome

_GRACE = 200_000_000  # ns after what looks like the terminal event until we look whether it was one
_NEVER = 1 << 62


class _CellChange(Broken):
    """The emulated link's doing; the server learns of it by a reset."""

    def __init__(self) -> None:
        detail = "the phone changed cells, and the connection was lost, as the link has it"
        super().__init__(Outcome.CANCELLED, detail)


class Attempt:
    """One try at one stream: when to wait, when to give up, when to leave."""

    _kind: ClassVar[type[Exchange]] = Exchange

    def __init__(self, connection: Connection, site: Site, question: Question, began: int | None = None) -> None:
        """`began`: when the try before this one did, over a connection that proved dead (CLOCK_MONOTONIC ns)."""
        target, protocol = site.target, site.protocol
        plan, due_at, link = question.plan, question.due_at, question.link
        self._connection = connection
        self._endpoint = site.endpoint
        self._timeouts = target.timeouts
        self._plan = plan
        self._link = link
        self._due_at = due_at
        self.began = time.monotonic_ns() if began is None else began
        self._total_at = self.began + target.timeouts.total
        self._look_at = _NEVER  # when to look whether the marker was the terminal event
        self._transcript = Transcript(due_at, started_at=self.began)
        pace = None if link.window is None else _Pace(link, self.began)
        self._exchange = self._kind(connection, target.limits.stream_bytes, protocol.terminal, pace)
        self._glance = _Glance(protocol, self._exchange, plan)
        self._clock = site.clock
        self._breaks_at = _NEVER if link.breaks_at is None else self.began + link.breaks_at
        self._word_at = _NEVER  # when the person has the first content
        self._stops_at = _NEVER  # and when so much of it that they press stop
        self._away_at = _NEVER if plan.away is None else due_at + plan.away[0]
        self._back_at = _NEVER
        self._overslept = 0  # ns, in the emulated link's time so far
        self._over = False  # the answer has ended
        self.reusable = False

    def converse(self, request: bytes) -> None:
        """From connecting to the end of the answer. Broken when it does not get there."""
        try:
            self._connect()
            self._ask(request)
            while self._goes_on():
                pass
        except Broken as fault:
            if self._had_left(fault):
                raise self._farewell() from None
            raise

    def _connect(self) -> None:
        """A connection, unless there is one already."""
        seen, connection, endpoint = self._transcript, self._connection, self._endpoint
        if connection.sock is not None:
            return
        until = self._until(self._timeouts.connect)
        try:
            connection.open(endpoint, until, self._link.window)
            self._pause(self._link.handshake())
            seen.connected_at = time.monotonic_ns()
            if endpoint.tls:
                connection.secure(endpoint, until)
                self._pause(self._link.handshake())
                seen.secured_at = time.monotonic_ns()
        finally:
            seen.resolved_at = connection.resolved_at

    def _ask(self, request: bytes) -> None:
        """Send the request and begin to read."""
        self._pause(self._link.request(len(request)))
        with suppress(OSError):  # the server hung up while we sent; it may have said why: the reads will tell
            self._connection.send(request, self._until(self._timeouts.idle))
            self._transcript.sent_at = self._connection.sent_at
        Loop.current().read(self._exchange)

    def _goes_on(self) -> bool:
        """Wait for something to decide, and decide it; False once the answer has ended. Broken where it cannot."""
        exchange, timeouts = self._exchange, self._timeouts
        if self._over:
            return False
        exchange.catch_up()
        if exchange.finished:
            if exchange.broken is not None:
                raise exchange.broken
            return self._end()
        self._look_away()
        if exchange.marker_seen and self._look_at == _NEVER:
            self._look_at = time.monotonic_ns() + _GRACE
        until, what = min(self._deadlines(), key=itemgetter(0))
        if time.monotonic_ns() < until:
            exchange.wait(until)
        elif what == "farewell":
            raise self._farewell()
        elif what == "idle":
            raise _late("idle: nothing came", timeouts.idle)
        elif what == "total":
            raise _late("total", timeouts.total)
        elif what == "first token":
            self._glance.look()
            if not self._glance.content:
                raise _late("first token", timeouts.first_token)
        elif what == "end":
            self._glance.look()
            if self._glance.over:
                return self._end()  # a server that keeps the HTTP message open after it costs the person nothing
            exchange.marker_seen, self._look_at = False, _NEVER
        return True

    def _deadlines(self) -> list[tuple[int, str]]:
        """When there is something to decide, and what, the weightiest first; "": only to wake up."""
        away = min(self._away_at, self._back_at)
        deadlines = [(self._leaves()[0], "farewell"), (self._total_at, "total"), (away, "")]
        if self._back_at == _NEVER:  # the app that is in the background waits for nothing
            deadlines.append((self._look_at, "end"))
            deadlines.append((self._on_link(self._exchange.last_read_at, self._timeouts.idle), "idle"))
            if not self._glance.content:
                deadlines.append((self._on_link(self.began, self._timeouts.first_token), "first token"))
        return deadlines

    def _look_away(self) -> None:
        """Stop to read when the app goes to the background, and go on when it comes back."""
        now = time.monotonic_ns()
        if now >= self._away_at:
            assert self._plan.away is not None
            self._exchange.pause()
            self._away_at, self._back_at = _NEVER, self._away_at + self._plan.away[1]
            self._transcript.away = now, self._back_at
        if now >= self._back_at:
            self._exchange.resume()
            self._back_at = _NEVER

    def _end(self) -> bool:
        self._over = True
        self._transcript.ended_at = self._exchange.last_read_at
        return False

    def end(self, broken: Broken | None) -> Transcript:
        """Stop reading; everything that was seen."""
        exchange, seen = self._exchange, self._transcript
        exchange.catch_up()
        seen.ended_at = seen.ended_at or time.monotonic_ns()
        self.reusable = broken is None and exchange.broken is None and exchange.response.keeps_alive
        exchange.stop()
        response = exchange.response
        seen.status, seen.headers, seen.headers_read = response.status, response.headers, response.headers_read
        seen.body, seen.reads, seen.holds = response.body, exchange.reads, exchange.holds
        seen.broken = broken
        return seen

    def stale(self, broken: Broken | None) -> bool:
        """Whether the connection was dead before the request reached the server: no byte came back."""
        gone = broken is None or broken.outcome is Outcome.RESET
        return gone and self._exchange.received == 0

    def _on_link(self, since: int, timeout: int) -> int:
        """When a timeout is over that does not count the time in which the link carries nothing: it is the server's."""
        return self.began + self._link.after(since - self.began, timeout)

    def _until(self, timeout: int) -> int:
        return min(time.monotonic_ns() + timeout, self._total_at, self._leaves()[0])

    def _pause(self, duration: int) -> None:
        """Let the emulated link take its time, unless the person leaves first. A busy loop sleeps too long; the next
        sleep is shorter by that."""
        if duration <= 0:
            return
        end = time.monotonic_ns() + duration - self._overslept
        until, _ = self._leaves()
        gevent.sleep(max(0, min(end, until) - time.monotonic_ns()) / 1e9)
        if end > until:
            raise self._farewell()
        self._overslept = time.monotonic_ns() - end

    def _had_left(self, fault: Broken) -> bool:
        """Whether the person did not wait for the timeout."""
        return fault.outcome is Outcome.TIMED_OUT and time.monotonic_ns() >= self._leaves()[0]

    def _farewell(self) -> Broken:
        """What to say when the person leaves, or their link breaks."""
        at, why = self._leaves()
        return Broken(Outcome.CANCELLED, why) if at < self._breaks_at else _CellChange()

    def _leaves(self) -> tuple[int, str]:
        """When the person leaves, or their link breaks, if nothing ends the stream before; and why they do."""
        plan, glance = self._plan, self._glance
        leaves: list[tuple[int, str]] = []
        if glance.enough_at is not None:
            if self._stops_at == _NEVER:
                self._stops_at = self._shown_at(glance.enough_at)
            leaves.append((self._stops_at, f"left after {plan.leave_after_chunks} chunks, as planned"))
        if plan.leave_after is not None:
            leaves.append((self._due_at + plan.leave_after, f"left after {plan.leave_after / 1e9:.1f} s, as planned"))
        if plan.patience is not None:
            if glance.first_at is not None and self._word_at == _NEVER:
                self._word_at = self._shown_at(glance.first_at)
            at = self._due_at + plan.patience
            if at < self._word_at:
                leaves.append((at, f"left after {plan.patience / 1e9:.1f} s without a word, as planned"))
        return min([*leaves, (self._breaks_at, "")])

    def _shown_at(self, place: int) -> int:
        """When the person has what ends at this place in the body: the link may take its time."""
        reads, shown = self._exchange.reads, self._transcript.shown
        number = reads.completing(place)
        while len(shown) <= number:
            before = reads[len(shown) - 1].end if shown else 0
            read = reads[len(shown)]
            shown.append(self.began + self._link.deliver(read.arrived(self._clock) - self.began, read.end - before))
        return shown[number]


class WireClient:
    """Keeps its connection between streams, as an app does; `fresh` makes a new one for each."""

    name = "wire"
    _attempt: ClassVar[type[Attempt]] = Attempt

    def __init__(self, site: Site, *, fresh: bool = False) -> None:
        self._site = site
        self._fresh = fresh
        self._idle: Connection | None = None
        self._lingering: list[Connection] = []

    @classmethod
    def check(cls, target: Target) -> None:
        """ScenarioError for a target that this client cannot ask; this one can ask any."""

    def stream(self, question: Question) -> Reply:
        """Ask, and read until the end or until the plan says to leave.

        Raises only Interrupted, when the caller's greenlet is killed: it holds the record, to be kept before dying.
        """
        plan, link, identity, began = question.plan, question.link, question.identity, None
        site, look = (self._site, observe) if question.prompt.streamed else (patient(self._site), observe_whole)
        while True:
            connection, reused = self._take()
            attempt = self._attempt(connection, site, question, began)
            began, broken = attempt.began, None
            try:
                self._converse(attempt, question)
            except Broken as fault:
                # Its traceback would hold this frame and all that came, and this frame it: a cycle for each stream.
                broken = fault.with_traceback(None)
            except gevent.GreenletExit:
                broken = Broken(Outcome.INTERRUPTED, "the run ended before the stream did")
            except BaseException:  # a scenario's own gevent.Timeout, say: not our business, but our socket
                attempt.end(None)
                connection.close()
                raise
            transcript = attempt.end(broken)
            if attempt.reusable and plan.linger is not None:
                self._lingering.append(connection)
                gevent.spawn_later(plan.linger / 1e9, connection.close)
            elif attempt.reusable:
                self._idle = connection
            elif isinstance(broken, _CellChange) or (plan.abort and _left(broken)):
                connection.abort()
            else:
                connection.close()
            if reused and attempt.stale(broken):
                continue  # the server had closed the idle connection while our request was on its way
            if broken is None or broken.outcome is not Outcome.INTERRUPTED:
                with suppress(gevent.GreenletExit):
                    with site.desk:
                        seen = look(transcript, site, link, identity)
                    place, retry_after = None, _seconds(transcript.headers.get("retry-after"))
                    if plan.reconnect is not None:
                        by_link, secret = isinstance(broken, _CellChange), self._site.secret
                        body = bytes(transcript.body)
                        seen, place = follow(seen, body, question.place, secret, by_link=by_link)
                    return Reply(seen, retry_after, place)
            # Also when the stream itself was complete by then.
            raise Interrupted(look(transcript, site, link, identity))

    def _converse(self, attempt: Any, question: Question) -> None:
        """One try, from connecting to the end of the answer. Broken when it does not get there."""
        attempt.converse(self._site.request(question.prompt, question.last_id))

    def close(self) -> None:
        for connection in self._lingering:
            connection.close()
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def _take(self) -> tuple[Connection, bool]:
        """A connection for one exchange, and whether it was in use before."""
        idle, self._idle = self._idle, None
        if idle is not None and not self._fresh and idle.usable():
            return idle, True
        if idle is not None:
            idle.close()
        return Connection(), False


class _Pace:
    """A link as it paces the reads of one stream."""

    def __init__(self, link: Link, started_at: int) -> None:
        self._link = link
        self._started_at = started_at
        self.steady = link.steady

    def allowance(self, now: int) -> tuple[int, int]:
        room, again = self._link.take(now - self._started_at)
        return room, again + self._started_at

    def spend(self, now: int, size: int) -> None:
        self._link.took(now - self._started_at, size)


class _Glance:
    """Reads along, only as far as a decision needs it: has the first content come, have enough chunks, is it over?"""

    def __init__(self, protocol: Protocol, exchange: Exchange, plan: Plan) -> None:
        self._protocol = protocol
        self._exchange = exchange
        self._leave_after = plan.leave_after_chunks
        self._decoder = sse.Decoder()
        self._looked = 0
        self._answer = Answer()
        self.content = 0  # chunks on the wire, as far as was looked
        self.first_at: int | None = None  # where the first of them ends, in the body
        self.enough_at: int | None = None  # and where the last does that the plan waits for
        self.over = False  # the terminal event came, or what makes it pointless to wait for it
        if plan.leave_after_chunks is not None or plan.patience is not None:
            exchange.on_data = self._on_data

    def look(self) -> None:
        """At what has come since the last look: each byte is read once."""
        fresh = bytes(self._exchange.response.body[self._looked :])
        self._looked += len(fresh)
        try:
            for event in self._decoder.feed(fresh):
                meaning = self._protocol.understand(event, self._answer)
                self.over = self.over or meaning.ends or meaning.error is not None
                if meaning.kind in CONTENT:
                    self.content += 1
                    if self.first_at is None:
                        self.first_at = event.end
                    if self.content == self._leave_after:
                        self.enough_at = event.end
        except Malformed:
            self.over = True  # the reading after the stream will say why

    def _on_data(self) -> None:
        self.look()
        if self.enough_at is not None:
            self._exchange.wake()
        elif not self.over and (not self.content or self._leave_after is not None):
            return
        self._exchange.on_data = None


def _seconds(retry_after: str | None) -> float | None:
    """A retry-after header: seconds or a date (RFC 9110, 10.2.3). None for what is neither."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after)) if retry_after.strip()[:1].isdigit() else max(0.0, _until(retry_after))
    except (ValueError, OverflowError):
        return None


def _until(date: str) -> float:
    return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()


def _left(broken: Broken | None) -> bool:
    return broken is not None and broken.outcome is Outcome.CANCELLED


def _late(what: str, timeout: int) -> Broken:
    return Broken(Outcome.TIMED_OUT, f"{what} for {timeout / 1e9:g} s")
