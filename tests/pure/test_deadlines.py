"""When a stream stops waiting, and what becomes of it then; without waiting for it."""

from typing import Any

import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Profile, Timeouts
from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.deadlines import NEVER, TABLE, Deadlines, LinkBroke
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.network import Link
from streamgauge.harness.drive.protocols import PROTOCOLS
from streamgauge.harness.drive.reading.delivery import Delivery
from streamgauge.harness.drive.reading.progress import Progress
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.drive.wire.exchange import Exchange
from streamgauge.harness.drive.wire.reads import Read, Reads
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome

SECOND = 1_000_000_000
BEGAN = 100 * SECOND  # due a second before
TIMEOUTS = Timeouts(*(Duration.parse(text) for text in ("5s", "30s", "10s", "60s")))
PROTOCOL = PROTOCOLS["plain_sse"]
TOKEN, DONE = b"data: word\n\n", b"data: [DONE]\n\n"


class Stream:
    """One that began at BEGAN, as its deadlines see it."""

    def __init__(self, plan: Plan | None = None, link: Link | None = None) -> None:
        plan, link = plan or Plan(), link or Link(network.find("direct"), 1)
        self.question = Question(prompts.ask("?"), plan, link, BEGAN - SECOND, {})
        self.exchange = Exchange(Connection(), 1 << 20, PROTOCOL.markers)
        self.exchange.last_read_at = BEGAN
        self.progress = Progress(PROTOCOL, self.exchange.response.body, plan.leave_after_chunks)
        delivery = Delivery(link, RunClock(0, 0), BEGAN, self.exchange.reads)
        self.deadlines = Deadlines(self.question, TIMEOUTS, self.exchange, self.progress, delivery)

    def reads(self, after: int, data: bytes) -> None:
        """So many seconds after the beginning; what it brings is decoded."""
        body, at = self.exchange.response.body, BEGAN + after * SECOND
        body += data
        self.exchange.reads.extend(Reads.of(Read(len(body), 0, at)))
        self.exchange.last_read_at = at
        self.progress.update()

    def next(self) -> tuple[str, float]:
        """The name of the next deadline, and how many seconds after the beginning it is."""
        at, deadline = self.deadlines.next()
        return deadline.name, (at - BEGAN) / SECOND

    def becomes(self) -> Any:
        """Outcome and detail once the next deadline has passed; None: the stream goes on."""
        broken = self.deadlines.next()[1].becomes(self.deadlines)
        return broken and (broken.outcome, broken.detail)


def moon() -> Link:
    return Link(network.find("moon", {"moon": Profile(rtt=Duration.parse("6s"))}), 1)


def test_every_deadline_has_a_name_of_its_own() -> None:
    assert len({deadline.name for deadline in TABLE}) == len(TABLE)


def test_silence_is_idle_before_it_is_a_missing_first_token() -> None:
    stream = Stream()
    assert stream.next() == ("idle", 10)
    assert stream.becomes() == (Outcome.TIMED_OUT, "idle: nothing arrived for 10 s")


def test_any_data_postpones_the_idle_timeout_but_only_content_ends_the_first_token_timeout() -> None:
    stream = Stream()
    stream.reads(25, b": ping\n\n")
    assert stream.next() == ("first token", 30)
    assert stream.becomes() == (Outcome.TIMED_OUT, "first token: no content came for 30 s")
    stream.reads(28, TOKEN)
    assert stream.next() == ("idle", 38)


def test_undecoded_content_is_found_when_the_first_token_timeout_passes() -> None:
    stream = Stream()
    stream.reads(25, b": ping\n\n")
    stream.exchange.response.body.extend(TOKEN)
    assert stream.becomes() is None
    assert stream.next() == ("idle", 35)


def test_the_total_timeout_ends_a_stream_that_is_never_idle() -> None:
    stream = Stream()
    stream.reads(55, TOKEN)
    assert stream.next() == ("total", 60)
    assert stream.becomes() == (Outcome.TIMED_OUT, "total: it was not over after 60 s")


def test_of_two_deadlines_at_one_moment_the_first_in_the_table_counts() -> None:
    stream = Stream(Plan(leave_after=61 * SECOND))
    stream.reads(50, TOKEN)
    assert stream.next() == ("leave", 60)
    assert stream.becomes() == (Outcome.CANCELLED, "left after 61.0 s, as planned")


def test_patience_counts_from_the_due_time_until_the_first_content() -> None:
    stream = Stream(Plan(patience=5 * SECOND))
    assert stream.next() == ("leave", 4)
    assert stream.becomes() == (Outcome.CANCELLED, "left after 5.0 s without content, as planned")
    stream.reads(3, TOKEN)
    assert stream.next() == ("idle", 13)


def test_patience_ends_while_the_first_content_is_still_on_the_link() -> None:
    stream = Stream(Plan(patience=5 * SECOND), moon())
    stream.reads(3, TOKEN)  # the person has it after 6 s
    assert stream.next() == ("leave", 4)


@pytest.mark.parametrize(("link", "seconds"), [(None, 3), (moon(), 6)])
def test_stop_is_pressed_when_the_person_has_the_planned_number_of_chunks(link: Link | None, seconds: int) -> None:
    stream = Stream(Plan(leave_after_chunks=2), link)
    stream.reads(1, TOKEN)
    assert stream.next() == ("idle", 11)
    stream.reads(3, TOKEN + TOKEN)
    assert stream.next() == ("leave", seconds)
    assert stream.becomes() == (Outcome.CANCELLED, "left after 2 chunks, as planned")


def test_a_link_that_breaks_before_the_person_leaves_ends_the_stream() -> None:
    link = Link(network.find("direct"), 1)
    link.breaks_at = 2 * SECOND
    stream = Stream(Plan(leave_after=4 * SECOND), link)
    assert stream.next() == ("leave", 2)
    assert isinstance(stream.deadlines.left(), LinkBroke)


def test_time_in_which_the_link_carries_nothing_does_not_count_for_timeouts() -> None:
    stream = Stream(link=Link(network.find("direct"), 1, tunnel=(2 * SECOND, 7 * SECOND)))
    assert stream.next() == ("idle", 17)


def test_in_the_background_only_the_total_timeout_applies() -> None:
    stream = Stream(Plan(away=(3 * SECOND, 40 * SECOND)))
    assert stream.next() == ("background", 2)
    assert stream.becomes() is None
    stream.deadlines.away_at, stream.deadlines.back_at = NEVER, BEGAN + 42 * SECOND
    stream.deadlines.marker_came(BEGAN)
    assert stream.next() == ("background", 42)


def test_a_terminal_event_ends_a_stream_that_stays_open() -> None:
    stream = Stream()
    stream.reads(1, TOKEN + DONE)
    stream.deadlines.marker_came(BEGAN + SECOND)
    stream.deadlines.marker_came(BEGAN + 9 * SECOND)  # the first counts
    assert stream.next() == ("terminal event", 1.2)
    assert stream.becomes() is None
    assert stream.deadlines.answered


def test_a_marker_that_is_quoted_in_a_text_does_not_end_the_stream() -> None:
    stream = Stream()
    stream.exchange.marker_seen = True
    stream.reads(1, b"data: [DONE] is how it ends\n\n")
    stream.deadlines.marker_came(BEGAN + SECOND)
    assert stream.becomes() is None
    assert not stream.deadlines.answered
    assert not stream.exchange.marker_seen, "the next one is looked for"
    assert stream.next() == ("idle", 11)


def test_a_step_ends_with_its_timeout_or_with_the_stream() -> None:
    deadlines = Stream(Plan(leave_after=21 * SECOND)).deadlines
    assert deadlines.until(BEGAN, 5 * SECOND) == BEGAN + 5 * SECOND
    assert deadlines.until(BEGAN + 18 * SECOND, 5 * SECOND) == BEGAN + 20 * SECOND
    assert Stream().deadlines.until(BEGAN + 58 * SECOND, 5 * SECOND) == BEGAN + 60 * SECOND


# What had arrived when we looked, after a stop of the load generator


def stopped(*arrivals: float, plan: Plan | None = None, separates: bool = True) -> Stream:
    """A stream with a token at each of these seconds, by the kernel; a reader that `separates` read each at once."""
    stream = Stream(plan)
    stream.exchange.started_at, stream.exchange.separates = BEGAN, separates
    for after in arrivals:
        body, at = stream.exchange.response.body, BEGAN + int(after * SECOND)
        body += TOKEN
        read_at = at if separates else BEGAN + 50 * SECOND
        stream.exchange.reads.extend(Reads.of(Read(len(body), at, read_at)))
        stream.exchange.last_read_at = read_at
    return stream


def missed(stream: Stream, now: float, drift: int = 0) -> Any:
    """(deadline, outcome, detail, reads in time) if one had passed at `now`; times in seconds after the beginning."""
    found = stream.deadlines.missed(BEGAN + int(now * SECOND), drift)
    if found is None:
        return None
    return (found.moment - BEGAN) / SECOND, found.broken.outcome, found.broken.detail, found.reads


IDLE = Outcome.TIMED_OUT, "idle: nothing arrived for 10 s"


def test_what_arrived_before_each_deadline_counts_however_late_we_look() -> None:
    assert missed(stopped(9, 18, 27), now=36.9) is None


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ([], (10, *IDLE, 0)),
        ([11], (10, *IDLE, 0)),
        ([9, 20, 21], (19, *IDLE, 1)),
        ([9, 18, 27], (37, *IDLE, 3)),
        ([9, 18, 27, 36, 45, 54, 59.9, 60.1, 61], (60, Outcome.TIMED_OUT, "total: it was not over after 60 s", 7)),
    ],
)
def test_the_first_deadline_that_passed_ends_the_stream_with_what_came_before(arrivals: Any, expected: Any) -> None:
    assert missed(stopped(*arrivals), now=100) == expected


def test_an_answer_that_was_complete_in_time_is_never_late() -> None:
    stream = stopped(9, 18)
    stream.exchange.finished = True
    assert missed(stream, now=1_000) is None


def test_a_person_who_would_have_left_in_the_stop_has_left_with_what_came_before() -> None:
    stream = stopped(9, 18, 25, plan=Plan(leave_after=21 * SECOND))
    assert missed(stream, now=30) == (20, Outcome.CANCELLED, "left after 21.0 s, as planned", 2)


def test_a_person_who_leaves_after_some_chunks_left_at_that_chunk() -> None:
    stream = stopped(3, 4, 5, 6, plan=Plan(leave_after_chunks=2))
    assert missed(stream, now=7) == (4, Outcome.CANCELLED, "left after 2 chunks, as planned", 2)


def test_a_person_without_patience_stays_if_the_first_chunk_came_in_time() -> None:
    assert missed(stopped(3.9, plan=Plan(patience=5 * SECOND)), now=8) is None
    left = stopped(4.1, plan=Plan(patience=5 * SECOND))
    assert missed(left, now=8) == (4, Outcome.CANCELLED, "left after 5.0 s without content, as planned", 0)


def test_stamps_of_a_clock_that_has_drifted_do_not_count() -> None:
    assert missed(stopped(9, separates=False), now=50) is None
    assert missed(stopped(9, separates=False), now=50, drift=SECOND) == (10, *IDLE, 0)


def test_of_several_events_in_one_late_read_the_first_may_have_come_in_time() -> None:
    stream = stopped(separates=False)
    stream.exchange.response.body.extend(TOKEN + TOKEN)
    end, at = 2 * len(TOKEN), BEGAN + 40 * SECOND
    stream.exchange.reads.extend(Reads.of(Read(end, at, at)))
    stream.exchange.last_read_at = at
    assert missed(stream, now=41) is None
    stream.exchange.separates = True
    assert missed(stream, now=41) == (10, *IDLE, 0)
