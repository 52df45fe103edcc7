"""One try at one stream: connects, sends, waits for the end of the answer, and keeps everything for the record."""

import time
from contextlib import suppress
from typing import ClassVar

import gevent

from streamgauge.harness.drive.clients.deadlines import NEVER, Deadline, Deadlines
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.network import Link
from streamgauge.harness.drive.reading.delivery import Delivery
from streamgauge.harness.drive.reading.progress import Progress
from streamgauge.harness.drive.reading.transcript import Transcript
from streamgauge.harness.drive.site import Site, breathe
from streamgauge.harness.drive.wire.broken import Broken, Starved
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.drive.wire.exchange import Exchange
from streamgauge.harness.drive.wire.loop import Loop
from streamgauge.harness.drive.wire.response import Response
from streamgauge.harness.drive.wire.tls import CutOff, Unreadable
from streamgauge.harness.record.observation import Outcome


class LinkPace:
    """The pace that an emulated link sets for the reads of one stream."""

    def __init__(self, link: Link, began: int) -> None:
        self._link = link
        self._began = began
        self.steady = link.steady

    def allowance(self, now: int) -> tuple[int, int]:
        room, until = self._link.take(now - self._began)
        return room, until + self._began

    def spend(self, now: int, size: int) -> None:
        self._link.took(now - self._began, size)


class Attempt:
    _exchange_type: ClassVar[type[Exchange]] = Exchange

    def __init__(self, connection: Connection, site: Site, question: Question, began: int | None = None) -> None:
        """`began`: when an earlier try on a dead connection began (CLOCK_MONOTONIC ns); None: this is the first."""
        target, protocol, plan, link = site.target, site.protocol, question.plan, question.link
        self.began = time.monotonic_ns() if began is None else began
        self._connection = connection
        self._endpoint, self._connecting = site.endpoint, site.connecting
        self._timeouts = target.timeouts
        self._clock = site.clock
        self._plan = plan
        self._link = link
        pace = None if link.window is None else LinkPace(link, self.began)
        self._exchange = self._exchange_type(connection, target.limits.stream_bytes, protocol.markers, pace)
        body, reads = self._exchange.response.body, self._exchange.reads
        self._progress = Progress(protocol, body, plan.leave_after_chunks, breathe)
        if plan.leave_after_chunks is not None or plan.patience is not None:
            self._exchange.on_data = self._follow
        delivery = Delivery(link, site.clock, self.began, reads)
        self._transcript = Transcript(question.due_at, delivery, started_at=self.began)
        self._deadlines = Deadlines(question, target.timeouts, self._exchange, self._progress, delivery)
        self._next_at = 0  # the next deadline, as known when the greenlet began to wait
        self._step_until = NEVER  # when the present step must end
        self._overslept = 0  # ns; how much too long the latest `_pause` was
        self._over = False  # the answer has ended
        self.reusable = False

    @property
    def so_far(self) -> Response:
        """What has arrived of the answer, also while it is under way."""
        self._exchange.catch_up()
        return self._exchange.response

    def converse(self, request: bytes) -> None:
        """Connect, ask, and wait for the end of the answer. Broken if the answer does not get to its end."""
        try:
            self._connect()
            self._ask(request)
            self._wait_for_end()
        except Broken as fault:
            if self._had_left(fault):
                raise self._deadlines.left() from None
            raise

    def _connect(self) -> None:
        """Connect, unless the connection is a kept one."""
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
            self._connecting.add(connection.connect_lag)
            seen.resolved_at = connection.resolved_at

    def _ask(self, request: bytes) -> None:
        """Send the request and begin to read."""
        self._pause(self._link.request(len(request)))
        with suppress(OSError):  # the server closed during the request; it may have sent an answer first, so read
            self._connection.send(request, self._until(self._timeouts.idle))
            self._transcript.sent_at = self._connection.sent_at
        try:
            Loop.current().read(self._exchange)
        except (OSError, RuntimeError) as fault:  # no descriptor or thread is left for the loop itself
            raise Starved(fault) from None
        self._next_at, _ = self._deadlines.next()

    def _wait_for_end(self) -> None:
        """Wait for the end of the answer. Broken if the answer does not get to its end."""
        while not self._over:
            self._step()

    def _step(self) -> None:
        """Wait until something has to be decided, and decide it. Broken if the answer cannot get to its end."""
        exchange, deadlines = self._exchange, self._deadlines
        exchange.catch_up()
        judged = time.monotonic_ns() >= self._next_at
        if judged:
            self._judge()
        if exchange.finished:
            if exchange.broken is not None:
                raise exchange.broken
            self._end()
            response = exchange.response
            if response.has_length and not response.complete:  # cut: the moment is that of the close, not of a read
                self._transcript.ended_at = time.monotonic_ns()
            return
        self._switch_apps()
        if exchange.marker_seen:
            deadlines.marker_came(time.monotonic_ns())
        until, deadline = deadlines.next()
        if time.monotonic_ns() < until:
            self._next_at = until
            exchange.wait(until)
        elif judged:
            self._step_until = until
            self._decide(deadline)
        else:
            self._next_at = until  # judge first what has arrived

    def _judge(self) -> None:
        """Take all that has arrived, since it may have come in time. Broken if a deadline had passed before."""
        if self._transcript.ended_at:  # it was; a library asks again after it got what arrived before the deadline
            return
        self._exchange.drain()
        missed = self._deadlines.missed(time.monotonic_ns(), self._clock.drift())
        if missed is None:
            return
        self._step_until = self._transcript.ended_at = missed.moment
        self._exchange.cut(missed.reads, missed.broken)
        if not missed.headers:
            self._exchange.response.forget_headers()
        try:
            raise missed.broken
        finally:
            del missed  # its traceback holds this frame: a reference cycle

    def _decide(self, deadline: Deadline) -> None:
        broken = deadline.becomes(self._deadlines)
        try:
            if broken is not None:
                raise broken
        finally:
            del broken  # its traceback holds this frame: a reference cycle
        if self._deadlines.answered:
            self._end()

    def _switch_apps(self) -> None:
        """Stop reading when the app goes to the background, and resume when it comes back."""
        now, deadlines = time.monotonic_ns(), self._deadlines
        if now >= deadlines.away_at:
            assert self._plan.away is not None
            self._exchange.pause()
            deadlines.away_at, deadlines.back_at = NEVER, deadlines.away_at + self._plan.away[1]
            self._transcript.away = now, deadlines.back_at
        if now >= deadlines.back_at:
            self._exchange.resume()
            deadlines.back_at = NEVER

    def _follow(self) -> None:
        """Called when data has arrived, if the person's plan depends on the content so far."""
        behind = self._progress.advance()
        if self._progress.stop_end is not None:
            self._exchange.wake()
        if self._progress.settled:
            self._exchange.on_data = None
        elif behind:  # much has come at once: go on after the loop has served others
            gevent.get_hub().loop.run_callback(self._follow_on)

    def _follow_on(self) -> None:
        # Otherwise the stream has ended, or nothing depends on its content any more.
        if self._exchange.on_data is not None:
            self._follow()

    def _end(self) -> None:
        self._over = True
        self._transcript.ended_at = self._exchange.last_read_at

    def end(self, broken: Broken | None) -> Transcript:
        """Stop reading. Returns everything that is known of the stream."""
        exchange, seen = self._exchange, self._transcript
        exchange.pause()
        seen.ended_at = seen.ended_at or time.monotonic_ns()
        response = exchange.response
        self.reusable = broken is None and exchange.broken is None and response.keeps_alive
        exchange.stop()
        seen.status, seen.headers, seen.headers_read = response.status, response.headers, response.headers_read
        seen.body, seen.reads, seen.holds = response.body, exchange.reads, exchange.holds
        seen.address = self._connection.address
        seen.complete = response.complete or not response.has_length
        seen.broken = broken
        return seen

    def stale(self, broken: Broken | None) -> bool:
        """Whether the server had closed the connection before the request reached it: no byte of HTTP was received."""
        closed = broken is None or isinstance(broken, CutOff) or broken.outcome is Outcome.RESET
        return closed and not (self._exchange.begun or isinstance(broken, Unreadable))

    def _until(self, timeout: int) -> int:
        self._step_until = self._deadlines.until(time.monotonic_ns(), timeout)
        return self._step_until

    def _pause(self, duration: int) -> None:
        """Wait for the emulated link's delay. Broken if the person leaves during it.

        On a busy loop a sleep takes too long; the next delay is shortened by the excess.
        """
        if duration <= 0:
            return
        end = time.monotonic_ns() + duration - self._overslept
        until = self._deadlines.leave_at()
        gevent.sleep(max(0, min(end, until) - time.monotonic_ns()) / 1e9)
        if end > until:
            raise self._deadlines.left()
        self._overslept = time.monotonic_ns() - end

    def _had_left(self, fault: Broken) -> bool:
        """Whether this timeout is really the person leaving: they leave no later than it."""
        return fault.outcome is Outcome.TIMED_OUT and self._deadlines.leave_at() <= self._step_until
