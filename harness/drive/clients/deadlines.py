"""When a stream stops waiting, and what becomes of it then: `TABLE` has every deadline, the most decisive first.

Pure: no sleeping and no clock. Moments are CLOCK_MONOTONIC ns, and NEVER while a deadline does not apply.
"""

from collections.abc import Callable
from operator import attrgetter, itemgetter
from typing import NamedTuple

from streamgauge.harness.config.schema import Timeouts
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.reading.delivery import Delivery
from streamgauge.harness.drive.reading.progress import Progress
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.exchange import Exchange
from streamgauge.harness.record.observation import Outcome

NEVER = 1 << 62
_GRACE = 200_000_000  # ns after the marker: most servers end the HTTP message by then, and nothing has to be checked


class LinkBroke(Broken):
    """The emulated link broke the connection; the server learns of it by a reset."""

    def __init__(self) -> None:
        detail = "the phone changed cells, and the connection was lost, as the emulated link planned"
        super().__init__(Outcome.CANCELLED, detail)


class Deadline(NamedTuple):
    name: str
    moment: "Callable[[Deadlines], int]"
    becomes: "Callable[[Deadlines], Broken | None]"  # what becomes of the stream; None: it goes on
    in_background: bool = True  # whether it counts in the background, where the app reads nothing


class Deadlines:
    """Of one try at one stream."""

    def __init__(
        self, question: Question, timeouts: Timeouts, exchange: Exchange, progress: Progress, delivery: Delivery
    ) -> None:
        link, began, away = question.link, delivery.began, question.plan.away
        self.timeouts = timeouts
        self.total_at = began + timeouts.total
        self.away_at = NEVER if away is None else question.due_at + away[0]  # the app goes to the background
        self.back_at = NEVER  # and comes back
        self.check_at = NEVER  # when to check whether the marker was the terminal event
        self.answered = False  # the terminal event came
        self._question = question
        self._exchange = exchange
        self._progress = progress
        self._delivery = delivery
        self._breaks_at = NEVER if link.breaks_at is None else began + link.breaks_at
        self._first_shown_at = NEVER  # when the person has the first content
        self._stop_shown_at = NEVER  # when the person has the chunk after which they press stop

    def next(self) -> tuple[int, Deadline]:
        """The next one and its moment; of two at one moment, the more decisive."""
        table = TABLE if self.back_at == NEVER else _IN_BACKGROUND
        return min([(deadline.moment(self), deadline) for deadline in table], key=itemgetter(0))

    def until(self, now: int, timeout: int) -> int:
        """The end of a step that begins now: of its timeout, unless the whole stream ends before."""
        return min(now + timeout, self.total_at, self.leave_at())

    # The person, and their link

    def leave_at(self) -> int:
        return self._leave()[0]

    def farewell(self) -> Broken:
        """What becomes of the stream when the person leaves, or their link breaks."""
        at, why = self._leave()
        return Broken(Outcome.CANCELLED, why) if at < self._breaks_at else LinkBroke()

    def _leave(self) -> tuple[int, str]:
        """When the person leaves and why, or when their link breaks, if nothing ends the stream before."""
        plan, progress, due_at = self._question.plan, self._progress, self._question.due_at
        found: list[tuple[int, str]] = []
        if progress.stop_end is not None:
            if self._stop_shown_at == NEVER:
                self._stop_shown_at = self._delivery.shown_at(progress.stop_end)
            found.append((self._stop_shown_at, f"left after {plan.leave_after_chunks} chunks, as planned"))
        if plan.leave_after is not None:
            found.append((due_at + plan.leave_after, f"left after {plan.leave_after / 1e9:.1f} s, as planned"))
        if plan.patience is not None:
            if progress.first_end is not None and self._first_shown_at == NEVER:
                self._first_shown_at = self._delivery.shown_at(progress.first_end)
            at = due_at + plan.patience
            if at < self._first_shown_at:
                found.append((at, f"left after {plan.patience / 1e9:.1f} s without a word, as planned"))
        return min([*found, (self._breaks_at, "")])

    def background_at(self) -> int:
        return min(self.away_at, self.back_at)

    # The server

    def marker_came(self, now: int) -> None:
        if self.check_at == NEVER:
            self.check_at = now + _GRACE

    def check_terminal(self) -> None:
        """A server that keeps the HTTP message open after the terminal event costs the person nothing."""
        self._progress.update()
        self.answered = self._progress.over
        if not self.answered:
            self._exchange.marker_seen, self.check_at = False, NEVER

    def idle_at(self) -> int:
        return self._on_link(self._exchange.last_read_at, self.timeouts.idle)

    def first_token_at(self) -> int:
        return NEVER if self._progress.content else self._on_link(self._delivery.began, self.timeouts.first_token)

    def check_first_token(self) -> Broken | None:
        self._progress.update()
        return None if self._progress.content else _late("first token", self.timeouts.first_token)

    def _on_link(self, since: int, timeout: int) -> int:
        """When the server's timeout is over: the time in which the link carries nothing does not count."""
        began = self._delivery.began
        return began + self._question.link.after(since - began, timeout)


def _late(what: str, timeout: int) -> Broken:
    return Broken(Outcome.TIMED_OUT, f"{what} for {timeout / 1e9:g} s")


TABLE = (
    Deadline("leave", Deadlines.leave_at, Deadlines.farewell),
    Deadline("total", attrgetter("total_at"), lambda all: _late("total", all.timeouts.total)),
    Deadline("background", Deadlines.background_at, lambda _: None),  # the attempt pauses and resumes
    Deadline("terminal event", attrgetter("check_at"), Deadlines.check_terminal, in_background=False),
    Deadline(
        "idle", Deadlines.idle_at, lambda all: _late("idle: nothing came", all.timeouts.idle), in_background=False
    ),
    Deadline("first token", Deadlines.first_token_at, Deadlines.check_first_token, in_background=False),
)
_IN_BACKGROUND = tuple(deadline for deadline in TABLE if deadline.in_background)
