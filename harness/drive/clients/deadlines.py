"""The deadlines of a stream, and its outcome when one passes. `TABLE` lists them; of two at one moment the first wins.

Pure: no sleeping and no clock. Moments are CLOCK_MONOTONIC ns, and NEVER while a deadline does not apply.
"""

from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import NamedTuple

from streamgauge.harness.config.schema import Timeouts
from streamgauge.harness.counting import some
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.reading.delivery import Delivery
from streamgauge.harness.drive.reading.progress import Progress
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.exchange import Exchange
from streamgauge.harness.record.observation import Outcome

NEVER = 1 << 62
_MOST_DRIFT = 50_000_000  # ns of drift between the system's clock and ours with which the kernel's stamps serve
_QUIET = 1_000_000_000  # ns without anything, after which an error whose event has no end is believed
# Each begins with the name of its timeout, by which others know it.
_TOTAL = "total: it was not over after"
_FIRST = "first token: no content came for"
_IDLE = "idle: nothing arrived for"
_GRACE = 200_000_000  # ns after the marker; most servers end the HTTP message by then, which saves the check


class LinkBroke(Broken):
    """The emulated link broke the connection; the server gets a reset."""

    def __init__(self) -> None:
        detail = "the phone changed cells, and the connection was lost, as the emulated link planned"
        super().__init__(Outcome.CANCELLED, detail)


class Missed(NamedTuple):
    """A deadline that has passed."""

    moment: int
    broken: Broken  # how the stream ends
    reads: int  # of the exchange that arrived before
    headers: bool  # whether the headers did


class Deadline(NamedTuple):
    name: str
    moment: "Callable[[Deadlines], int]"
    becomes: "Callable[[Deadlines], Broken | None]"  # how the stream ends; None: it goes on
    in_background: bool = True  # whether it applies while the app is in the background and reads nothing


class Deadlines:
    """The deadlines of one try at one stream."""

    def __init__(
        self, question: Question, timeouts: Timeouts, exchange: Exchange, progress: Progress, delivery: Delivery
    ) -> None:
        link, began, plan, away = question.link, delivery.began, question.plan, question.plan.away
        self.timeouts = timeouts
        self.total_at = began + timeouts.total
        self.away_at = NEVER if away is None else question.due_at + away[0]  # the app goes to the background
        self.back_at = NEVER  # the app comes back to the foreground
        self.check_at = NEVER  # when to check whether the marker was part of the terminal event
        self.answered = False  # the terminal event has arrived
        self._question = question
        self._exchange = exchange
        self._progress = progress
        self._delivery = delivery
        self._stays = plan.leave_after_chunks is None and plan.leave_after is None and plan.patience is None
        self._breaks_at = NEVER if link.breaks_at is None else began + link.breaks_at
        self._first_shown_at = NEVER  # when the person has the first content
        self._stop_shown_at = NEVER  # when the person has the chunk after which they press stop

    def next(self) -> tuple[int, Deadline]:
        """The moment of the next deadline, and the deadline; of two at one moment, the first in `TABLE`."""
        table = TABLE if self.back_at == NEVER else _IN_BACKGROUND
        moments = [deadline.moment(self) for deadline in table]
        moment = min(moments)
        return moment, table[moments.index(moment)]

    def until(self, now: int, timeout: int) -> int:
        """When a step that begins now must end: after its timeout, or earlier if the whole stream ends before."""
        return min(now + timeout, self.total_at, self.leave_at())

    # The person leaves, or their link breaks.

    def leave_at(self) -> int:
        return self._leave()[0]

    def left(self) -> Broken:
        """How the stream ends when the person leaves or their link breaks."""
        at, why = self._leave()
        return Broken(Outcome.CANCELLED, why) if at < self._breaks_at else LinkBroke()

    def _leave(self) -> tuple[int, str]:
        """When the person leaves and why, or when their link breaks, whichever is first."""
        plan, progress, due_at = self._question.plan, self._progress, self._question.due_at
        if self._stays:
            return self._breaks_at, ""
        found: list[tuple[int, str]] = []
        if progress.stop_end is not None:
            if self._stop_shown_at == NEVER:
                self._stop_shown_at = self._delivery.shown_at(progress.stop_end)
            found.append((self._stop_shown_at, f"left after {some(plan.leave_after_chunks or 0, 'chunk')}, as planned"))
        if plan.leave_after is not None:
            found.append((due_at + plan.leave_after, f"left after {plan.leave_after / 1e9:.1f} s, as planned"))
        if plan.patience is not None:
            if progress.first_end is not None and self._first_shown_at == NEVER:
                self._first_shown_at = self._delivery.shown_at(progress.first_end)
            at = due_at + plan.patience
            if at < self._first_shown_at:
                found.append((at, f"left after {plan.patience / 1e9:.1f} s without content, as planned"))
        return min([*found, (self._breaks_at, "")])

    def background_at(self) -> int:
        return min(self.away_at, self.back_at)

    # The server is too slow, or has sent its terminal event.

    def marker_came(self, now: int) -> None:
        if self.check_at == NEVER:
            self.check_at = now + _GRACE

    def check_terminal(self) -> None:
        """End the stream if its terminal event has arrived, even if the server keeps the HTTP message open.

        Some servers forget the blank line that ends their error event, and say nothing more.
        """
        self._progress.update()
        self.answered = self._progress.over
        if not self.answered and self._progress.failing:
            quiet_at = self._exchange.last_read_at + _QUIET
            self.answered, self.check_at = self.check_at >= quiet_at, quiet_at
        elif not self.answered:
            self._exchange.marker_seen, self.check_at = False, NEVER

    def idle_at(self) -> int:
        return self._on_link(self._exchange.last_read_at, self.timeouts.idle)

    # A stop of the load generator must neither make a server late nor hide that it was.

    def missed(self, now: int, drift: int) -> Missed | None:
        """The first deadline that passed before something arrived, or before `now`; None if none did.

        What arrived counts from when the kernel received it, however late it was read; if the system's clock has
        drifted by too much for that, from when it was read. Call it when all that has arrived has been read.
        """
        self._progress.update()
        exchange, headers = self._exchange, self._exchange.response.headers_read
        arrived = self._arrivals(drift)
        moments = arrived if headers is None else [min([headers.arrived(self._delivery.clock), *arrived[:1]]), *arrived]
        found = [(self.leave_at(), self.left()), (self.total_at, _late(_TOTAL, self.timeouts.total))]
        if self.back_at == NEVER and not self.answered:
            found.append((self._idle_gap(moments), _late(_IDLE, self.timeouts.idle)))
            found.append((self._late_first_token(arrived), _late(_FIRST, self.timeouts.first_token)))
        moment, broken = min(found, key=itemgetter(0))
        # Of an exchange that has ended, only what was received can be late: the end itself has no stamp.
        if moment >= (max(moments, default=0) if exchange.finished else now):
            return None
        in_time = sum(at <= moment for at in arrived)
        return Missed(moment, broken, in_time, headers is not None and moments[0] <= moment)

    def _arrivals(self, drift: int) -> list[int]:
        """When each read arrived.

        Of segments that wait in the kernel, only the last one's stamp is left. So, if a read is of several events and
        the reader may have stopped, its first ones may have come long before. The server gets the benefit of the doubt.
        """
        exchange, reads = self._exchange, self._exchange.reads
        ends: list[int]
        seen: list[int]
        ends, _, seen = (column.tolist() for column in reads.columns())
        if abs(drift) > _MOST_DRIFT:
            return seen
        arrived: list[int] = reads.arrived(self._delivery.clock).tolist()
        if exchange.separates:
            return arrived
        body, begin, earliest = exchange.response.body, 0, exchange.started_at
        for number, end in enumerate(ends):
            if body.count(b"\n\n", begin, end) + body.count(b"\r\n\r\n", begin, end) > 1:
                arrived[number] = min(arrived[number], earliest)
            begin, earliest = end, seen[number]
        return arrived

    def _late_first_token(self, arrived: Sequence[int]) -> int:
        at = self._on_link(self._delivery.began, self.timeouts.first_token)
        first_end = self._progress.first_end
        if first_end is None:
            return at
        return NEVER if arrived[self._exchange.reads.completing(first_end)] <= at else at

    def _idle_gap(self, arrived: Sequence[int]) -> int:
        """When the idle timeout ended in the first gap that was too long; without one, in the present gap."""
        exchange, idle = self._exchange, self.timeouts.idle
        if exchange.pace is not None:  # what an emulated link holds back makes gaps that are not the server's
            return self.idle_at()
        holds, quiet_since = deque(exchange.holds), exchange.started_at
        seen = self._exchange.reads.columns()[2].tolist()
        if len(arrived) > len(seen):
            seen.insert(0, arrived[0])  # the headers
        # After a read in a stop, the last of its segments may have come just before it was read.
        for at, until in zip(arrived, seen, strict=True):
            while holds and holds[0] <= at:
                quiet_since = max(quiet_since, holds.popleft())
            if at - quiet_since > idle and self._on_link(quiet_since, idle) < at:
                return self._on_link(quiet_since, idle)
            quiet_since = max(quiet_since, until)
        last_body_at = exchange.reads[-1].seen if len(exchange.reads) else 0
        if exchange.last_read_at > last_body_at:  # something without a part of the body, or reading has gone on
            return self.idle_at()
        return self._on_link(quiet_since, idle)

    def first_token_at(self) -> int:
        return NEVER if self._progress.content else self._on_link(self._delivery.began, self.timeouts.first_token)

    def check_first_token(self) -> Broken | None:
        self._progress.update()
        return None if self._progress.content else _late(_FIRST, self.timeouts.first_token)

    def _on_link(self, since: int, timeout: int) -> int:
        """When a timeout for the server ends; the time in which the link carries nothing does not count."""
        began = self._delivery.began
        return began + self._question.link.after(since - began, timeout)


def _late(what: str, timeout: int) -> Broken:
    return Broken(Outcome.TIMED_OUT, f"{what} {timeout / 1e9:g} s")


TABLE = (
    Deadline("leave", Deadlines.leave_at, Deadlines.left),
    Deadline("total", attrgetter("total_at"), lambda all: _late(_TOTAL, all.timeouts.total)),
    Deadline("background", Deadlines.background_at, lambda _: None),  # `Attempt` pauses or resumes reading
    Deadline("terminal event", attrgetter("check_at"), Deadlines.check_terminal, in_background=False),
    Deadline("idle", Deadlines.idle_at, lambda all: _late(_IDLE, all.timeouts.idle), in_background=False),
    Deadline("first token", Deadlines.first_token_at, Deadlines.check_first_token, in_background=False),
)
_IN_BACKGROUND = tuple(deadline for deadline in TABLE if deadline.in_background)
