"""People who leave, switch apps or are killed, and what is kept of their streams."""

import threading
import time

import gevent
import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Profile
from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.reading.transcript import Interrupted
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.hostile import (
    CHUNKED,
    DONE,
    IDENTITY,
    LAST,
    Peer,
    ask,
    asked,
    chunk,
    client,
    content,
    held,
    observe,
    scripted,
    token,
    tokens,
)

pytestmark = pytest.mark.usefixtures("reader")
ENOUGH = 2_000_000_000  # ns, in which a client reads what its server sends at once, however busy the machine is
WHOLE = CHUNKED + chunk(tokens(3) + DONE) + LAST


# Leaving


def test_a_stream_on_a_slow_link_ends_when_the_person_has_its_last_chunk() -> None:
    with scripted(asked(WHOLE)) as server:
        person = client(server.url)
        seen = ask(person, link=network.find("slow_3g"))
        person.close()
    assert seen.outcome is Outcome.COMPLETED
    assert seen.last_content_at is not None
    assert seen.first_content_wire_at < seen.last_content_at <= seen.ended_at  # type: ignore[operator]


def test_a_person_who_leaves_after_a_time_keeps_the_chunks_so_far_and_the_server_sees_a_fin() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        seen = observe(server.url, Plan(leave_after=ENOUGH))
        assert server.result() == "fin"
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.CANCELLED, 3, "left after 2.0 s, as planned")
    assert seen.first_content_at is not None
    assert seen.ended_at - seen.due_at >= ENOUGH


def test_a_killed_app_leaves_with_a_reset() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        seen = observe(server.url, Plan(leave_after=ENOUGH, abort=True))
        assert server.result() == "reset"
    assert (seen.outcome, content(seen)) == (Outcome.CANCELLED, 3)


def test_a_person_who_leaves_after_some_chunks_leaves_at_that_chunk() -> None:
    with scripted(held(CHUNKED, chunk(token(1)), chunk(b": ping\n\n"), chunk(token(2)), chunk(token(3)))) as server:
        seen = observe(server.url, Plan(leave_after_chunks=3))
        assert server.result() in {"fin", "reset"}
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.CANCELLED, 3, "left after 3 chunks, as planned")


def test_a_person_who_would_leave_later_than_the_answer_ends_completes_it() -> None:
    with scripted(asked(WHOLE)) as server:
        seen = observe(server.url, Plan(leave_after=5_000_000_000, leave_after_chunks=50))
    assert seen.outcome is Outcome.COMPLETED


def test_an_impatient_person_leaves_if_nothing_has_arrived() -> None:
    with scripted(held(CHUNKED, chunk(b": ping\n\n"))) as server:
        seen = observe(server.url, Plan(patience=500_000_000))
        assert server.result() == "fin"
    assert (seen.outcome, content(seen)) == (Outcome.CANCELLED, 0)
    assert seen.detail == "left after 0.5 s without content, as planned"


def test_an_impatient_person_stays_once_content_has_arrived() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(token(1)))
        time.sleep(ENOUGH / 1e9)
        peer.send(chunk(DONE) + LAST)

    with scripted(script) as server:
        seen = observe(server.url, Plan(patience=ENOUGH))
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 1)


@pytest.mark.timing
def test_data_read_after_the_background_does_not_count_as_read_lag() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for number in range(10):
            peer.send(chunk(token(number)))
            time.sleep(0.03)  # long enough for a client that can to read what was sent
        peer.send(chunk(DONE) + LAST)

    with scripted(script) as server:
        seen = observe(server.url, Plan(away=(100_000_000, 150_000_000)))
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 10)
    gone, back = seen.due_at + 100_000_000, seen.due_at + 250_000_000
    times = [one.perceived_at for one in seen.chunks if one.kind in CONTENT]
    assert any(time < gone for time in times)
    # Times are kept to the microsecond, and a timer fires late.
    assert not any(gone + 20_000_000 < time < back - 1_000 for time in times)
    assert (seen.coalesced_reads, seen.saturated_reads) == (1, 0)


@pytest.mark.parametrize("cut", [1, 4, 11, -3, -1])
def test_an_app_can_go_to_the_background_in_the_middle_of_a_chunk(cut: int) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for number in range(3):
            peer.send(chunk(token(number)))
            peer.until_read()
        half = chunk(token(3))
        peer.send(half[:cut])
        time.sleep(0.25)  # the app is in the background meanwhile
        peer.send(half[cut:] + chunk(DONE) + LAST)

    with scripted(script) as server:
        seen = observe(server.url, Plan(away=(200_000_000, 200_000_000)))
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 4)


def test_an_app_that_is_killed_in_the_background_leaves_with_a_reset() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        seen = observe(server.url, Plan(away=(ENOUGH, ENOUGH), leave_after=ENOUGH + 200_000_000, abort=True))
        assert server.result() == "reset"
    assert (seen.outcome, content(seen)) == (Outcome.CANCELLED, 3)


def test_a_cell_change_that_breaks_the_link_is_no_failure_of_the_server() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        person = client(server.url)
        road = network.Link(network.find("direct"), 1)
        road.breaks_at = ENOUGH
        seen = person.stream(Question(prompts.ask("Hello?"), Plan(), road, time.monotonic_ns(), IDENTITY)).observation
        assert server.result() == "reset"
    assert (seen.outcome, content(seen)) == (Outcome.CANCELLED, 3)
    assert seen.detail == "the phone changed cells, and the connection was lost, as the emulated link planned"


def far_away(plan: Plan) -> StreamObservation:
    """An answer of three chunks, each two seconds on the wire's far side, over a connection that is there."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(WHOLE)
        peer.request()
        peer.send(CHUNKED, *(chunk(token(number)) for number in range(3)))
        peer.until_gone()

    with scripted(script) as server:
        person = client(server.url)
        ask(person)
        road = network.Link(network.find("moon", {"moon": Profile(rtt=Duration.parse("4s"))}), 1)
        seen = person.stream(Question(prompts.ask("Hello?"), plan, road, time.monotonic_ns(), IDENTITY)).observation
        person.close()
    assert seen.outcome is Outcome.CANCELLED
    assert len([one for one in seen.chunks if one.kind in CONTENT]) == 3, "the wire's part is kept"
    return seen


def test_chunks_still_on_the_link_when_the_person_leaves_were_never_seen() -> None:
    seen = far_away(Plan(leave_after=3_500_000_000))  # the question was there after 2 s, the answer is after 4 s
    assert (seen.first_content_at, seen.content_chunks) == (None, 0)


def test_an_impatient_person_leaves_while_the_first_content_is_still_on_the_link() -> None:
    seen = far_away(Plan(patience=3_500_000_000))
    assert (seen.first_content_at, seen.content_chunks) == (None, 0)
    assert seen.detail == "left after 3.5 s without content, as planned"


def test_stop_is_pressed_when_the_link_has_delivered_the_planned_number_of_chunks() -> None:
    seen = far_away(Plan(leave_after_chunks=2))
    assert seen.detail == "left after 2 chunks, as planned"
    assert seen.content_chunks >= 2
    assert seen.first_content_wire_at is not None
    assert seen.ended_at - seen.first_content_wire_at >= 2_000_000_000, "half of the round trip"


def test_a_slow_link_is_read_slowly_so_that_the_server_has_to_wait() -> None:
    answer = tokens(6_000) + DONE  # over 100 KB: almost two seconds of slow 3G
    with scripted(asked(CHUNKED + chunk(answer) + LAST)) as server:
        person = client(server.url)
        quick = ask(person)
        person.close()
    with scripted(asked(CHUNKED + chunk(answer) + LAST)) as server:
        person = client(server.url)
        slow = ask(person, link=network.find("slow_3g"))
        person.close()
    assert (quick.outcome, slow.outcome) == (Outcome.COMPLETED, Outcome.COMPLETED)
    assert quick.body_bytes == slow.body_bytes == len(answer)
    # Its kernel took some of it in at once, no more than the window: the rest could not leave before it was read.
    assert slow.chunks[-1].at - slow.chunks[0].at > (len(answer) - 40_000) / 62_500 * 1e9
    # All was sent at once, so every read has many chunks: a machine that is busy for half a millisecond shows in a few.
    assert slow.saturated_reads < slow.reads / 10


def test_a_killed_greenlet_raises_with_the_record_so_far() -> None:
    came = threading.Event()

    def script(peer: Peer) -> str:
        peer.request()
        peer.send(CHUNKED, chunk(tokens(3)))
        peer.until_read()
        came.set()
        return peer.until_gone()

    with scripted(script) as server:
        person = client(server.url)
        caught: list[Interrupted] = []

        def stream() -> None:
            try:
                ask(person)
            except Interrupted as end:
                caught.append(end)

        running = gevent.spawn(stream)
        while not came.is_set():
            gevent.sleep(0.001)
        gevent.sleep(0)  # the loop may have read it without having looked at it
        running.kill()
        assert server.result() == "fin"
    assert [(end.seen.outcome, content(end.seen)) for end in caught] == [(Outcome.INTERRUPTED, 3)]


def test_a_timeout_of_the_scenarios_own_leaves_a_record_but_no_socket() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        person = client(server.url)
        with pytest.raises(Interrupted) as caught, gevent.Timeout(2) as timeout:
            ask(person)
        assert server.result() == "fin"
    seen = caught.value.seen
    assert caught.value.by is timeout
    assert (seen.outcome, content(seen)) == (Outcome.INTERRUPTED, 3)
    assert seen.detail == "stopped from outside the stream by Timeout: 2 seconds"


@pytest.mark.parametrize("raised", [gevent.Timeout(), ValueError("of the scenario"), gevent.GreenletExit()])
def test_a_stream_that_is_stopped_while_it_waits_to_be_decoded_keeps_its_outcome(raised: BaseException) -> None:
    with scripted(asked(WHOLE)) as server:
        person = client(server.url)
        caught: list[Interrupted] = []

        def stream() -> None:
            try:
                ask(person)
            except Interrupted as end:
                caught.append(end)

        with person._site.decoding:
            running = gevent.spawn(stream)
            while not person._site.decoding._turn.linkcount():
                gevent.sleep(0.001)
            running.kill(raised)
        person.close()
    assert [(end.seen.outcome, content(end.seen), end.by) for end in caught] == [(Outcome.COMPLETED, 3, raised)]
