"""A load generator that stops for longer than a deadline: what arrived meanwhile counts from when it arrived."""

import ssl
import threading
import time

import gevent
import pytest

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.native import library
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.hostile import (
    CHUNKED,
    DONE,
    LAST,
    Peer,
    Server,
    certificate,
    chunk,
    content,
    observe,
    scripted,
    token,
)

pytestmark = pytest.mark.usefixtures("reader")
STOP = 0.6  # seconds in which our loop does nothing, soon after the request was sent
standing = threading.Event()  # the stop has begun: a server that waits for that sends in the stop on any machine


def stop() -> None:
    standing.set()
    time.sleep(STOP)


def stopped(server: Server, plan: Plan | None = None, timeouts: dict[str, str] | None = None) -> StreamObservation:
    """A stream whose loop stops as soon as the server has begun to answer, if only with its headers."""
    served = len(server.peers)
    standing.clear()

    def stop_when_answered() -> None:
        while len(server.peers) == served or not server.peers[served].sent:
            gevent.sleep(0.005)
        stop()

    stopping = gevent.spawn(stop_when_answered)
    try:
        return observe(server.url, plan, timeouts=timeouts or {}, verify=False)
    finally:
        stopping.join()


def prompt(peer: Peer) -> None:
    """Everything in the stop."""
    peer.request()
    peer.send(CHUNKED)
    assert standing.wait(10)
    peer.send(*(chunk(token(number)) for number in range(3)), chunk(DONE) + LAST)


def dawdling(peer: Peer) -> None:
    """A token in the stop, and the rest 0.5 s later."""
    peer.request()
    peer.send(CHUNKED)
    assert standing.wait(10)
    peer.send(chunk(token(1)))
    time.sleep(0.5)
    peer.send(chunk(token(2)), chunk(DONE) + LAST)


def late(peer: Peer) -> None:
    """Everything 0.2 s after the headers."""
    peer.request()
    peer.send(CHUNKED)
    time.sleep(0.2)
    peer.send(chunk(token(1)), chunk(DONE) + LAST)


def steady(peer: Peer) -> None:
    """A token every 20 ms, for a second."""
    peer.request()
    peer.send(CHUNKED)
    for number in range(50):
        time.sleep(0.02)
        peer.send(chunk(token(number)))
    peer.send(chunk(DONE) + LAST)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    made, key = certificate(tmp_path_factory.mktemp("certificate"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return context


@pytest.fixture
def _separates(reader: None) -> None:  # noqa: ARG001 - which may have taken the library away
    """Only the compiled reader goes on reading in a stop, and gives each read its own stamp."""
    if library.LIBRARY is None:
        pytest.skip("the plain reader gives the server the benefit of the doubt")


@pytest.mark.parametrize("timeout", ["first_token", "idle", "total"])
def test_a_stream_that_arrived_in_time_is_completed_however_late_we_look(timeout: str) -> None:
    with scripted(prompt) as server:
        seen = stopped(server, timeouts={timeout: "300ms"})
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


@pytest.mark.parametrize("timeout", ["first_token", "idle", "total"])
def test_the_same_holds_under_tls(timeout: str, tls: ssl.SSLContext) -> None:
    with scripted(prompt, tls=tls) as server:
        seen = stopped(server, timeouts={timeout: "300ms"})
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


@pytest.mark.parametrize("timeout", ["first_token", "idle"])
def test_a_server_with_tls_that_sends_all_the_time_is_not_late_either(timeout: str, tls: ssl.SSLContext) -> None:
    with scripted(steady, tls=tls) as server:
        seen = stopped(server, timeouts={timeout: "400ms"})
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 50)


@pytest.mark.parametrize("timeout", ["first_token", "idle"])
def test_a_server_that_sends_all_the_time_is_not_late_because_of_our_stop(timeout: str) -> None:
    with scripted(steady) as server:
        seen = stopped(server, timeouts={timeout: "400ms"})
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 50)


@pytest.mark.timing
@pytest.mark.usefixtures("_separates")
def test_a_gap_that_was_too_long_is_idle_though_the_rest_had_arrived_when_we_looked() -> None:
    with scripted(dawdling) as server:
        seen = stopped(server, timeouts={"idle": "250ms"})
    assert (seen.outcome, seen.detail) == (Outcome.TIMED_OUT, "idle: nothing arrived for 0.25 s")
    assert content(seen) == 1
    assert seen.ended_at - seen.chunks[0].at == pytest.approx(250_000_000, abs=2_000_000)  # not when we looked


@pytest.mark.usefixtures("_separates")
def test_what_arrived_after_the_total_timeout_is_late_though_we_read_it_at_once_with_the_rest() -> None:
    with scripted(dawdling) as server:
        seen = stopped(server, timeouts={"total": "350ms"})
    assert (seen.outcome, seen.detail, content(seen)) == (Outcome.TIMED_OUT, "total for 0.35 s", 1)


@pytest.mark.usefixtures("_separates")
def test_a_first_token_that_arrived_too_late_is_late() -> None:
    with scripted(late) as server:
        seen = stopped(server, timeouts={"first_token": "100ms"})
    assert (seen.outcome, seen.detail, content(seen)) == (Outcome.TIMED_OUT, "first token for 0.1 s", 0)


@pytest.mark.usefixtures("_separates")
def test_a_person_who_would_have_left_during_the_stop_has_left() -> None:
    with scripted(dawdling) as server:
        seen = stopped(server, Plan(leave_after=350_000_000))
    assert (seen.outcome, content(seen)) == (Outcome.CANCELLED, 1)
    assert seen.ended_at - seen.due_at == 350_000_000


def test_a_person_whose_answer_was_complete_before_they_would_have_left_has_it() -> None:
    with scripted(prompt) as server:
        seen = stopped(server, Plan(leave_after=350_000_000))
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


@pytest.mark.usefixtures("_separates")
def test_a_person_with_patience_stays_if_the_first_token_came_within_it() -> None:
    with scripted(dawdling) as server:
        seen = stopped(server, Plan(patience=450_000_000))
    assert seen.outcome is Outcome.COMPLETED
    with scripted(late) as server:
        left = stopped(server, Plan(patience=100_000_000))
    assert (left.outcome, content(left)) == (Outcome.CANCELLED, 0)


def test_a_connection_that_the_kernel_made_in_time_is_no_timeout() -> None:
    with scripted(prompt) as server:
        stopping = gevent.spawn(stop)  # begins when the stream first waits: for its connection
        seen = observe(server.url, timeouts={"connect": "100ms"})
        stopping.join()
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


def test_a_name_that_was_resolved_while_the_loop_stood_still_is_no_time_out() -> None:
    """Nor is there less time to connect: nobody could, while the loop stood still."""
    with scripted(prompt) as server:
        stopping = gevent.spawn(stop)
        found = observe(server.url.replace("127.0.0.1", "localhost"), timeouts={"connect": "300ms"}, verify=False)
        stopping.join()
    assert found.outcome is Outcome.COMPLETED, found.detail
    assert found.resolved_at is not None
    assert found.resolved_at - (found.started_at or 0) < STOP * 1e9 / 2, "when it came, not when the loop went on"
