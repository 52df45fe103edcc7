"""The stamped socket: true arrival times however late we read."""

import sys
import threading
import time
from itertools import pairwise

import gevent
import pytest

from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.reading.transcript import Interrupted
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.wire import turns
from streamgauge.harness.drive.wire.stamps import kernel_stamps
from streamgauge.harness.native import library
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.command import PATIENCE, until
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
    observe,
    scripted,
    stamped_true,
    target,
    token,
    tokens,
)
from tests.support.stamping import stamped_in_advance

pytestmark = pytest.mark.usefixtures("reader")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux stamps arrivals in its kernel")
WHOLE = CHUNKED + chunk(tokens(3) + DONE) + LAST


def pause() -> None:
    """A server's own pace: long enough for a client that can to read what was sent."""
    time.sleep(0.03)


# Stamps


def one_by_one(peer: Peer) -> list[tuple[int, int]]:
    """Five tokens and the end. Returns when each was sent."""
    peer.request()
    peer.send(CHUNKED)
    for piece in (*map(token, range(5)), DONE):
        peer.until_read()
        peer.send(chunk(piece))
    peer.send(LAST)
    return peer.sent[1:-1]


@linux
@pytest.mark.timing
@pytest.mark.usefixtures("stamping")
def test_every_read_on_loopback_has_a_kernel_stamp_of_its_sending() -> None:
    assert kernel_stamps()
    clock = RunClock.starting_at(time.time_ns())

    with scripted(one_by_one) as server:
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
def test_a_site_keeps_the_kernel_stamping_before_its_first_connection() -> None:
    site = Site.of("http://127.0.0.1:1", target(), RunClock.starting_at(time.time_ns()))
    until(stamped_in_advance)  # it begins a moment after it was asked
    for _ in range(5):  # and goes on long after the sockets that asked have been closed
        pause()
        assert stamped_in_advance()
    del site


@linux
@pytest.mark.timing
@pytest.mark.usefixtures("stamping")
def test_reads_have_stamps_of_their_own_while_python_hurries() -> None:
    clock = RunClock.starting_at(time.time_ns())

    with scripted(one_by_one) as server, turns.Shorter():
        seen = observe(server.url, clock=clock)
        assert all(stamped_true(seen, clock, server.result()))
    assert (seen.outcome, seen.coalesced_reads) == (Outcome.COMPLETED, 0)


@linux
@pytest.mark.timing
@pytest.mark.usefixtures("stamping")
@pytest.mark.parametrize("cut", [1, 4, 11, -3, -1])
def test_an_event_in_two_reads_arrives_with_its_last_byte(cut: int) -> None:
    clock = RunClock.starting_at(time.time_ns())

    def script(peer: Peer) -> list[tuple[int, int]]:
        peer.request()
        peer.send(CHUNKED)
        for piece in map(chunk, map(token, range(3))):
            for part in (piece[:cut], piece[cut:]):
                peer.until_read()
                peer.send(part)
        peer.send(chunk(DONE) + LAST)
        first_has_it = cut == -1  # all but the line end of the chunk
        return [*peer.sent[1 if first_has_it else 2 : -1 : 2], peer.sent[-1]]

    with scripted(script) as server:
        seen = observe(server.url, clock=clock)
        assert all(stamped_true(seen, clock, server.result()))
    assert seen.outcome is Outcome.COMPLETED


def blocked_during(missed: int, clock: RunClock) -> tuple[StreamObservation, list[bool]]:
    """A stream of five tokens, `missed` of which come while the interpreter of the client is busy; and
    for each event whether its stamp is true."""
    ready, blocked, sent = threading.Event(), threading.Event(), threading.Event()

    def script(peer: Peer) -> list[tuple[int, int]]:
        peer.request()
        peer.send(CHUNKED)
        pause()
        peer.send(chunk(token(0)))
        pause()
        ready.set()
        assert blocked.wait(PATIENCE)
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
        sent.wait(PATIENCE)  # not gevent's: the loop stands still

    with scripted(script) as server:
        person = client(server.url, clock=clock)
        other = gevent.spawn(busy)
        seen = ask(person)
        other.get()
        person.close()
        return seen, stamped_true(seen, clock, server.result())


@pytest.mark.timing
@linux
@pytest.mark.usefixtures("stamping")
def test_a_token_that_arrives_while_the_interpreter_is_busy_has_its_true_time() -> None:
    seen, true = blocked_during(1, RunClock.starting_at(time.time_ns()))
    assert true == [True] * 6
    assert seen.read_lag_max is not None
    in_python = library.LIBRARY is None  # compiled code has a thread of its own
    assert (seen.read_lag_max > 25_000_000) == in_python, "it was read 30 ms late"
    assert (seen.coalesced_reads, seen.saturated_reads) == (0, 0)


@pytest.mark.timing
@linux
@pytest.mark.usefixtures("stamping")
def test_tokens_read_together_while_the_interpreter_is_busy_are_counted_and_the_last_has_its_true_time() -> None:
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


# Decoding


def people(url: str, count: int) -> list[WireClient]:
    """As in a run, they share a site."""
    site = Site.of(url, target(), RunClock.starting_at(time.time_ns()))
    return [WireClient(site) for _ in range(count)]


@pytest.mark.timing
def test_the_loop_reads_between_the_decoding_of_streams_that_end_together() -> None:
    """Otherwise the tokens of all other streams would pile up in the kernel while these are decoded."""
    long = CHUNKED + chunk(tokens(5_000) + DONE) + LAST  # many milliseconds to decode
    all_asked, asked_for = threading.Barrier(20), []

    def script(peer: Peer) -> None:
        asked_for.append(peer.request())
        all_asked.wait(PATIENCE)
        peer.send(long)

    polls: list[float] = []  # CPU time of this thread before each poll

    def stream(person: WireClient) -> None:
        assert ask(person).outcome is Outcome.COMPLETED
        person.close()

    with scripted(script) as server:
        watcher = gevent.get_hub().loop.prepare()
        running = [gevent.spawn(stream, person) for person in people(server.url, 20)]
        while len(asked_for) < 20:
            gevent.sleep(0.001)
        for thread in server.threads:
            thread.join()  # not gevent's: it blocks the loop until every answer is in the kernel
        watcher.start(lambda: polls.append(time.thread_time()))
        gevent.joinall(running, raise_error=True)
        watcher.stop()
        watcher.close()
    longest = max(later - earlier for earlier, later in pairwise(polls))
    assert longest < (polls[-1] - polls[0]) / 20, "less than it takes to decode one of them"
    assert len(polls) >= 60


def test_a_greenlet_that_is_killed_before_its_streams_turn_keeps_the_record() -> None:
    with scripted(asked(WHOLE)) as server:
        (person,) = people(server.url, 1)
        decoding = person._site.decoding
        decoding.__enter__()
        caught: list[Interrupted] = []

        def stream() -> None:
            try:
                ask(person)
            except Interrupted as end:
                caught.append(end)

        running = gevent.spawn(stream)
        while not decoding._turn.linkcount():
            gevent.sleep(0.001)
        running.kill()
        person.close()
    assert [(end.seen.outcome, content(end.seen)) for end in caught] == [(Outcome.COMPLETED, 3)]
