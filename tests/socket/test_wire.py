"""The stamped socket: true arrival times however late we read, people who leave, connections kept, nothing left."""

import gc
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from streamgauge.harness.config import Duration, Profile
from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients import Interrupted, Question, Site
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.wire.exchange import Endpoint, kernel_stamps
from streamgauge.harness.errors import TargetError
from streamgauge.harness.native import library
from streamgauge.harness.record.clock import RunClock
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
    stamped_true,
    target,
    token,
    tokens,
)

pytestmark = pytest.mark.usefixtures("reader")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux stamps arrivals in its kernel")
WHOLE = CHUNKED + chunk(tokens(3) + DONE) + LAST


def pause() -> None:
    """A server's own pace: long enough for a client that can to read what was sent."""
    time.sleep(0.03)


# Stamps


@linux
def test_every_read_on_loopback_has_a_kernel_stamp_of_its_sending() -> None:
    assert kernel_stamps()
    clock = RunClock.starting_at(time.time_ns())

    def script(peer: Peer) -> list[tuple[int, int]]:
        peer.request()
        peer.send(CHUNKED)
        for piece in (*map(token, range(5)), DONE):
            pause()
            peer.send(chunk(piece))
        peer.send(LAST)
        return peer.sent[1:-1]

    with scripted(script) as server:
        person = client(server.url, clock=clock)
        seen = ask(person)
        assert all(stamped_true(seen, clock, server.result()))
        person.close()
    assert (seen.outcome, seen.unstamped_reads, seen.reads) == (Outcome.COMPLETED, 0, 6)
    assert seen.read_lag_mean is not None
    assert seen.read_lag_max is not None
    assert 0 < seen.read_lag_mean <= seen.read_lag_max
    assert seen.chunks[-1].at < seen.ended_at


@linux
@pytest.mark.parametrize("cut", [1, 4, 11, -3, -1])
def test_an_event_whose_chunk_comes_in_two_has_come_with_its_last_byte(cut: int) -> None:
    clock = RunClock.starting_at(time.time_ns())

    def script(peer: Peer) -> list[tuple[int, int]]:
        peer.request()
        peer.send(CHUNKED)
        for piece in map(chunk, map(token, range(3))):
            for part in (piece[:cut], piece[cut:]):
                pause()
                peer.send(part)
        peer.send(chunk(DONE) + LAST)
        first_has_it = cut == -1  # all but the line end of the chunk
        return [*peer.sent[1 if first_has_it else 2 : -1 : 2], peer.sent[-1]]

    with scripted(script) as server:
        seen = observe(server.url, clock=clock)
        assert all(stamped_true(seen, clock, server.result()))
    assert seen.outcome is Outcome.COMPLETED


def blocked_during(missed: int, clock: RunClock) -> tuple[StreamObservation, list[bool]]:
    """A stream of five tokens, of which so many come while the client's interpreter is busy with something else; and
    for each event whether its stamp is true."""
    ready, blocked, sent = threading.Event(), threading.Event(), threading.Event()

    def script(peer: Peer) -> list[tuple[int, int]]:
        peer.request()
        peer.send(CHUNKED)
        pause()
        peer.send(chunk(token(0)))
        pause()
        ready.set()
        assert blocked.wait(10)
        for number in range(1, 1 + missed):
            peer.send(chunk(token(number)))
            pause()
        sent.set()
        for number in range(1 + missed, 5):
            pause()
            peer.send(chunk(token(number)))
        pause()
        peer.send(chunk(DONE))
        peer.send(LAST)
        return peer.sent[1:-1]

    def busy() -> None:
        while not ready.is_set():
            gevent.sleep(0.001)
        blocked.set()
        sent.wait(10)  # not gevent's: the loop stands still

    with scripted(script) as server:
        person = client(server.url, clock=clock)
        other = gevent.spawn(busy)
        seen = ask(person)
        other.get()
        person.close()
        return seen, stamped_true(seen, clock, server.result())


@linux
def test_a_token_that_comes_while_the_interpreter_is_busy_has_its_true_time() -> None:
    seen, true = blocked_during(1, RunClock.starting_at(time.time_ns()))
    assert true == [True] * 6
    assert seen.read_lag_max is not None
    in_python = library.LIBRARY is None  # compiled code has a thread of its own
    assert (seen.read_lag_max > 25_000_000) == in_python, "it was read 30 ms late"
    assert (seen.coalesced_reads, seen.saturated_reads) == (0, 0)


@linux
def test_tokens_that_come_together_while_the_interpreter_is_busy_are_counted_and_the_last_has_its_true_time() -> None:
    """More cannot be promised where Python reads: the kernel gives one stamp a read, that of its last segment."""
    seen, true = blocked_during(3, RunClock.starting_at(time.time_ns()))
    assert content(seen) == 5
    if library.LIBRARY is not None:
        assert (true, seen.coalesced_reads, seen.saturated_reads) == ([True] * 6, 0, 0)
        return
    assert true == [True, False, False, True, True, True]
    assert seen.chunks[1].at == seen.chunks[2].at == seen.chunks[3].at
    assert (seen.coalesced_reads, seen.saturated_reads) == (1, 1)


def test_moments_come_in_order() -> None:
    with scripted(asked(WHOLE)) as server:
        seen = observe(server.url)
    moments = [
        seen.due_at,
        seen.started_at,
        seen.resolved_at,
        seen.connected_at,
        seen.sent_at,
        seen.headers_at,
        seen.first_content_at,
        seen.last_content_at,
        seen.ended_at,
    ]
    known = [moment for moment in moments if moment is not None]
    assert len(known) == len(moments)
    assert known == sorted(known)
    assert seen.secured_at is None


# Leaving


def test_a_stream_on_a_slow_link_ends_when_the_person_has_its_last_chunk() -> None:
    with scripted(asked(WHOLE)) as server:
        person = client(server.url)
        seen = ask(person, link="slow_3g")
        person.close()
    assert seen.outcome is Outcome.COMPLETED
    assert seen.last_content_at is not None
    assert seen.first_content_wire_at < seen.last_content_at <= seen.ended_at  # type: ignore[operator]


def test_a_person_who_leaves_in_time_keeps_what_came_and_the_server_sees_a_fin() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        seen = observe(server.url, Plan(leave_after=100_000_000))
        assert server.result() == "fin"
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.CANCELLED, 3, "left after 0.1 s, as planned")
    assert seen.first_content_at is not None
    assert seen.ended_at - seen.due_at >= 100_000_000


def test_a_killed_app_leaves_with_a_reset() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        seen = observe(server.url, Plan(leave_after=100_000_000, abort=True))
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


def test_who_is_impatient_leaves_while_nothing_has_come() -> None:
    with scripted(held(CHUNKED, chunk(b": ping\n\n"))) as server:
        seen = observe(server.url, Plan(patience=100_000_000))
        assert server.result() == "fin"
    assert (seen.outcome, content(seen)) == (Outcome.CANCELLED, 0)
    assert seen.detail == "left after 0.1 s without a word, as planned"


def test_who_is_impatient_stays_once_something_has_come() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(token(1)))
        time.sleep(0.3)
        peer.send(chunk(DONE) + LAST)

    with scripted(script) as server:
        seen = observe(server.url, Plan(patience=150_000_000))
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 1)


def test_an_app_in_the_background_reads_when_it_comes_back_and_that_is_nobodys_lateness() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for number in range(20):
            peer.send(chunk(token(number)))
            pause()
        peer.send(chunk(DONE) + LAST)

    with scripted(script) as server:
        seen = observe(server.url, Plan(away=(100_000_000, 300_000_000)))
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 20)
    gone, back = seen.due_at + 100_000_000, seen.due_at + 400_000_000
    times = [one.perceived_at for one in seen.chunks if one.kind in CONTENT]
    assert any(time < gone for time in times)
    # To the microsecond, and the moment of looking away is a timer's.
    assert not any(gone + 20_000_000 < time < back - 1_000 for time in times)
    assert (seen.coalesced_reads, seen.saturated_reads) == (1, 0)


@pytest.mark.parametrize("cut", [1, 4, 11, -3, -1])
def test_an_app_can_go_to_the_background_in_the_middle_of_a_chunk(cut: int) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for number in range(3):
            peer.send(chunk(token(number)))
            pause()
        half = chunk(token(3))
        peer.send(half[:cut])
        time.sleep(0.25)  # they look away meanwhile
        peer.send(half[cut:] + chunk(DONE) + LAST)

    with scripted(script) as server:
        seen = observe(server.url, Plan(away=(200_000_000, 200_000_000)))
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 4)


def test_an_app_that_is_killed_in_the_background_leaves_with_a_reset() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        seen = observe(server.url, Plan(away=(50_000_000, 400_000_000), leave_after=200_000_000, abort=True))
        assert server.result() == "reset"
    assert (seen.outcome, content(seen)) == (Outcome.CANCELLED, 3)


def test_a_cell_change_that_breaks_the_link_is_no_failure_of_the_server() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        person = client(server.url)
        road = network.Link(network.find("direct"), 1)
        road.breaks_at = 100_000_000
        seen = person.stream(Question(prompts.ask("Hello?"), Plan(), road, time.monotonic_ns(), IDENTITY)).observation
        assert server.result() == "reset"
    assert (seen.outcome, content(seen)) == (Outcome.CANCELLED, 3)
    assert seen.detail == "the phone changed cells, and the connection was lost, as the link has it"


def far_away(plan: Plan) -> StreamObservation:
    """An answer of three chunks, each half a second on the wire's far side, over a connection that is there."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(WHOLE)
        peer.request()
        peer.send(CHUNKED, *(chunk(token(number)) for number in range(3)))
        peer.until_gone()

    with scripted(script) as server:
        person = client(server.url)
        ask(person)
        road = network.Link(network.find("moon", {"moon": Profile(rtt=Duration.parse("1s"))}), 1)
        seen = person.stream(Question(prompts.ask("Hello?"), plan, road, time.monotonic_ns(), IDENTITY)).observation
        person.close()
    assert seen.outcome is Outcome.CANCELLED
    assert len([one for one in seen.chunks if one.kind in CONTENT]) == 3, "the wire's part is kept"
    return seen


def test_what_is_still_on_the_link_when_the_person_leaves_was_never_seen() -> None:
    seen = far_away(Plan(leave_after=750_000_000))  # the question was there after 500 ms, the answer is after 1 s
    assert (seen.first_content_at, seen.content_chunks) == (None, 0)


def test_who_is_impatient_leaves_while_the_first_word_is_still_on_the_link() -> None:
    seen = far_away(Plan(patience=750_000_000))
    assert (seen.first_content_at, seen.content_chunks) == (None, 0)
    assert seen.detail == "left after 0.8 s without a word, as planned"


def test_stop_is_pressed_when_the_link_has_shown_so_many_chunks() -> None:
    seen = far_away(Plan(leave_after_chunks=2))
    assert seen.detail == "left after 2 chunks, as planned"
    assert seen.content_chunks >= 2
    assert seen.first_content_wire_at is not None
    assert seen.ended_at - seen.first_content_wire_at >= 500_000_000, "half of the round trip"


def test_a_slow_link_is_read_slowly_so_that_the_server_has_to_wait() -> None:
    answer = tokens(6_000) + DONE  # over 100 KB: almost two seconds of slow 3G
    with scripted(asked(CHUNKED + chunk(answer) + LAST)) as server:
        person = client(server.url)
        quick = ask(person)
        person.close()
    with scripted(asked(CHUNKED + chunk(answer) + LAST)) as server:
        person = client(server.url)
        slow = ask(person, link="slow_3g")
        person.close()
    assert (quick.outcome, slow.outcome) == (Outcome.COMPLETED, Outcome.COMPLETED)
    assert quick.body_bytes == slow.body_bytes == len(answer)
    # Its kernel took some of it in at once, no more than the window: the rest could not leave before it was read.
    assert slow.chunks[-1].at - slow.chunks[0].at > (len(answer) - 40_000) / 62_500 * 1e9
    # All was sent at once, so every read has many chunks: a machine that is busy for half a millisecond shows in a few.
    assert slow.saturated_reads < slow.reads / 10


def test_a_killed_greenlet_raises_with_the_record_of_what_came() -> None:
    came = threading.Event()

    def script(peer: Peer) -> str:
        peer.request()
        peer.send(CHUNKED, chunk(tokens(3)))
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
        gevent.sleep(0.05)  # for the client to read it: the bytes are in its kernel
        running.kill()
        assert server.result() == "fin"
    assert [(end.seen.outcome, content(end.seen)) for end in caught] == [(Outcome.INTERRUPTED, 3)]


def test_a_timeout_of_the_scenarios_own_passes_through_and_leaves_no_socket() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        person = client(server.url)
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
            ask(person)
        assert server.result() == "fin"


# Decoding


def people(url: str, count: int) -> list[WireClient]:
    """As in a run, they share a site."""
    site = Site.of(url, target(), RunClock.starting_at(time.time_ns()))
    return [WireClient(site) for _ in range(count)]


def test_the_loop_looks_for_reads_between_the_decoding_of_streams_that_end_together() -> None:
    """Else what comes for all others would run together in the kernel for as long as the decoding of all takes."""
    long = CHUNKED + chunk(tokens(5_000) + DONE) + LAST  # a millisecond or more to decode
    all_asked, asked_for = threading.Barrier(20), []

    def script(peer: Peer) -> None:
        asked_for.append(peer.request())
        all_asked.wait(10)
        peer.send(long)

    turn, ended_in = 0, []

    def count() -> None:
        nonlocal turn
        turn += 1

    def stream(person: WireClient) -> None:
        assert ask(person).outcome is Outcome.COMPLETED
        ended_in.append(turn)
        person.close()

    with scripted(script) as server:
        watcher = gevent.get_hub().loop.prepare()
        watcher.start(count)
        running = [gevent.spawn(stream, person) for person in people(server.url, 20)]
        while len(asked_for) < 20:
            gevent.sleep(0.001)
        for thread in server.threads:
            thread.join()  # not gevent's: it blocks the loop until every answer is in the kernel
        gevent.joinall(running, raise_error=True)
        watcher.stop()
        watcher.close()
    assert len(set(ended_in)) >= 10, "a quick processor decodes two in the time after which the loop is to look"


def test_a_greenlet_that_is_killed_before_its_streams_turn_keeps_the_record() -> None:
    with scripted(asked(WHOLE)) as server:
        (person,) = people(server.url, 1)
        desk = person._site.desk
        desk.__enter__()
        caught: list[Interrupted] = []

        def stream() -> None:
            try:
                ask(person)
            except Interrupted as end:
                caught.append(end)

        running = gevent.spawn(stream)
        while not desk._turn.linkcount():
            gevent.sleep(0.001)
        running.kill()
        person.close()
    assert [(end.seen.outcome, content(end.seen)) for end in caught] == [(Outcome.COMPLETED, 3)]


# Connections kept


def test_a_connection_that_dies_while_a_slow_link_takes_the_request_is_not_the_generators_lateness() -> None:
    connections = []

    def script(peer: Peer) -> None:
        connections.append(peer)
        peer.request()
        peer.send(WHOLE)
        if len(connections) == 1:
            time.sleep(0.05)  # and then it hangs up, while the second question is on the link for 200 ms and more

    with scripted(script) as server:
        person = client(server.url)
        ask(person)
        seen = ask(person, link="slow_3g")
        person.close()
    assert (seen.outcome, len(connections)) == (Outcome.COMPLETED, 2)
    assert seen.send_lag is not None
    assert seen.send_lag < 100_000_000
    assert seen.connected_at is not None
    assert seen.connected_at - seen.due_at > 200_000_000, "what it cost is in the stream's time"


def test_a_lingering_connection_stays_open_and_is_not_used_again() -> None:
    with scripted(serve) as server:
        person = client(server.url)
        first, second = ask(person, Plan(linger=60_000_000_000)), ask(person)
        assert len(server.peers) == 2
        assert all(thread.is_alive() for thread in server.threads)
        person.close()
    assert (first.outcome, second.outcome) == (Outcome.COMPLETED, Outcome.COMPLETED)
    assert second.connected_at is not None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"2", 2.0),
        (b"0.5", 0.5),
        (b"Fri, 01 Jan 2100 00:00:00 GMT", 1e9),
        (b"soon", None),
        (b"-3", None),
        (b"1e999", 1e9),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: bytes, seconds: float | None) -> None:
    refusal = b"HTTP/1.1 429 Slow Down\r\nretry-after: " + header + b"\r\ncontent-length: 0\r\n\r\n"
    with scripted(asked(refusal)) as server:
        person = client(server.url)
        road = network.Link(network.find("direct"), 1)
        reply = person.stream(Question(prompts.ask("Hello?"), Plan(), road, time.monotonic_ns(), IDENTITY))
        person.close()
    assert reply.observation.outcome is Outcome.REFUSED
    assert reply.retry_after == seconds or (seconds == 1e9 and (reply.retry_after or 0) > seconds)


def serve(peer: Peer) -> None:
    """The script that answers until the client goes."""
    while peer.request():
        peer.send(WHOLE)


def test_a_second_stream_goes_over_the_first_ones_connection() -> None:
    with scripted(serve) as server:
        person = client(server.url)
        first, second = ask(person), ask(person)
        person.close()
        assert len(server.peers) == 1
    assert first.connected_at is not None
    assert (second.outcome, second.connected_at, second.resolved_at) == (Outcome.COMPLETED, None, None)
    assert second.sent_at is not None
    assert second.started_at is not None
    assert second.started_at <= second.sent_at


def test_fresh_connections_are_fresh() -> None:
    with scripted(serve) as server:
        person = client(server.url, fresh=True)
        seen = [ask(person) for _ in range(3)]
        person.close()
        assert len(server.peers) == 3
    assert all(each.connected_at is not None for each in seen)


@pytest.mark.parametrize("header", [b"connection: close\r\n", b""])
def test_a_connection_that_the_server_closed_is_not_used_again(header: bytes) -> None:
    answer = WHOLE.replace(b"transfer-encoding", header + b"transfer-encoding")
    with scripted(asked(answer), serve) as server:
        person = client(server.url)
        ask(person)
        server.threads[0].join()  # the FIN is out
        seen = ask(person)
        person.close()
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)
    assert seen.connected_at is not None


@pytest.mark.parametrize("goodbye", [Peer.fin, Peer.reset])
def test_a_server_that_hangs_up_while_the_next_request_is_on_its_way_costs_a_connection_and_no_error(
    goodbye: Callable[[Peer], None],
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(WHOLE)
        peer.request()  # the connection looked idle and good when this was sent
        goodbye(peer)

    with scripted(script, serve) as server:
        person = client(server.url)
        ask(person)
        seen = ask(person)
        person.close()
        assert len(server.peers) == 2
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


def test_a_request_is_sent_once_more_at_most() -> None:
    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(WHOLE)
            peer.request()

    with scripted(script, Peer.request) as server:
        person = client(server.url)
        ask(person)
        seen = ask(person)
        person.close()
        assert len(server.peers) == 2
    assert (seen.outcome, seen.detail) == (Outcome.RESET, "the connection was closed before an answer came")


# Nothing left over


def test_no_stream_leaves_a_reference_cycle_whatever_its_end() -> None:
    """The collector is off during a run: what it would have to find would stay."""
    scripts = [
        asked(WHOLE),
        asked(CHUNKED + chunk(tokens(3))),
        asked(b"garbage\r\n\r\n"),
        asked(b"HTTP/1.1 500 Sorry\r\ncontent-length: 0\r\n\r\n"),
        asked(CHUNKED + chunk(tokens(50))),
        held(CHUNKED),
        held(CHUNKED, chunk(tokens(2))),
        Peer.request,
        Peer.reset,
    ]
    plans = [Plan(), Plan(leave_after=10_000_000), Plan(leave_after_chunks=1, abort=True)]
    with scripted(*scripts * (len(plans) + 1)) as server:
        person = client(server.url, fresh=True, timeouts={"idle": "20ms"}, limits={"stream_bytes": 500})
        refused = client("http://127.0.0.1:9")
        for _ in scripts:  # what is made once is made now
            ask(person)
        ask(refused)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            outcomes = {ask(person, plan).outcome for plan in plans for _ in scripts} | {ask(refused).outcome}
            gc.collect()
            left = {type(each).__name__ for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert outcomes == set(Outcome) - {Outcome.SERVER_ERROR, Outcome.INTERRUPTED}
    assert not left & {"Broken", "Exchange", "Connection", "Transcript", "frame", "traceback"}, left


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@linux
def test_hundreds_of_failed_streams_leave_no_descriptor() -> None:
    with scripted(asked(CHUNKED + chunk(token(1)))) as server:
        refused, cut = client("http://127.0.0.1:9"), client(server.url)
        ask(refused)
        ask(cut)
        for thread in server.threads:
            thread.join()
        before = descriptors()
        for _ in range(500):
            ask(refused)
        for _ in range(100):
            ask(cut)
        for thread in server.threads:
            thread.join()
        assert descriptors() <= before


# Endpoints


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://staging.example", "staging.example"),
        ("http://staging.example:80/", "staging.example"),
        ("https://staging.example:443/base/", "staging.example"),
        ("https://staging.example:8443", "staging.example:8443"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_the_host_header_names_the_port_only_where_it_is_not_the_usual_one(url: str, authority: str) -> None:
    assert Endpoint.of(url).authority == authority


@pytest.mark.parametrize(
    "url",
    ["", "staging.example", "ftp://staging.example", "http://", "http://a:99999", "http://me:pw@a", "http://a?b=c"],
)
def test_what_is_no_host_is_one_line(url: str) -> None:
    with pytest.raises(TargetError) as fault:
        Endpoint.of(url)
    assert "\n" not in str(fault.value)
    assert "pw" not in str(fault.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_is_resolved_without_waiting_for_anything(host: str) -> None:
    turns: list[None] = []
    watcher = gevent.get_hub().loop.prepare()
    watcher.start(lambda: turns.append(None))
    found = Endpoint.of(f"http://{host}:8080").resolve()
    watcher.stop()
    watcher.close()
    assert [address[:2] for _, address in found] == [(host.strip("[]"), 8080)]
    assert turns == []


def test_the_base_of_the_host_stands_before_the_path() -> None:
    requests = []

    def script(peer: Peer) -> None:
        requests.append(peer.request())
        peer.send(WHOLE)

    with scripted(script) as server:
        observe(f"{server.url}/base/", path="/ask")
        server.result()
    assert requests[0].startswith(b"POST /base/ask HTTP/1.1\r\nhost: 127.0.0.1:")
