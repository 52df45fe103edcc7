"""People who leave, switch apps or are killed, and what is kept of their streams."""

import threading
import time

import gevent
import pytest

from streamgauge.harness.drive import network
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.reading.transcript import Interrupted
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.hostile import (
    CHUNKED,
    DONE,
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


def test_a_person_who_leaves_after_some_chunks_leaves_at_that_chunk() -> None:
    with scripted(held(CHUNKED, chunk(token(1)), chunk(b": ping\n\n"), chunk(token(2)), chunk(token(3)))) as server:
        seen = observe(server.url, Plan(leave_after_chunks=3))
        assert server.result() in {"fin", "reset"}
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.CANCELLED, 3, "left after 3 chunks, as planned")


def test_a_person_who_would_leave_later_than_the_answer_ends_completes_it() -> None:
    with scripted(asked(WHOLE)) as server:
        seen = observe(server.url, Plan(leave_after=5_000_000_000, leave_after_chunks=50))
    assert seen.outcome is Outcome.COMPLETED


@pytest.mark.timing
def test_data_read_after_the_background_does_not_count_as_read_lag() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for number in range(3):
            peer.send(chunk(token(number)))
            peer.until_read()
        time.sleep(0.6)  # the app is in the background now
        for number in range(3, 6):
            peer.send(chunk(token(number)))
        peer.until_read()
        for number in range(6, 9):
            peer.send(chunk(token(number)))
            peer.until_read()
        peer.send(chunk(DONE) + LAST)

    with scripted(script) as server:
        seen = observe(server.url, Plan(away=(300_000_000, 700_000_000)))
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 9)
    gone, back = seen.due_at + 300_000_000, seen.due_at + 1_000_000_000
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


ANSWER = tokens(6_000) + DONE  # over 100 KB: almost two seconds of slow 3G


def answered(link: str) -> StreamObservation:
    with scripted(asked(CHUNKED + chunk(ANSWER) + LAST)) as server:
        person = client(server.url)
        seen = ask(person, link=network.find(link))
        person.close()
    assert (seen.outcome, seen.body_bytes) == (Outcome.COMPLETED, len(ANSWER))
    return seen


def test_a_slow_link_is_read_slowly_so_that_the_server_has_to_wait() -> None:
    answered("direct")
    slow = answered("slow_3g")
    # Its kernel took some of it in at once, no more than the window: the rest could not leave before it was read.
    assert slow.chunks[-1].at - slow.chunks[0].at > (len(ANSWER) - 40_000) / 62_500 * 1e9


@pytest.mark.timing
def test_the_reads_of_a_slow_link_are_not_late() -> None:
    slow = answered("slow_3g")
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
        with pytest.raises(Interrupted) as caught, gevent.Timeout(5) as timeout:
            ask(person)
        assert server.result() == "fin"
    seen = caught.value.seen
    assert caught.value.by is timeout
    assert (seen.outcome, content(seen)) == (Outcome.INTERRUPTED, 3)
    assert seen.detail == "stopped from outside the stream by Timeout: 5 seconds"


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
