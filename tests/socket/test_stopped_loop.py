"""A load generator that stops for longer than a deadline: what arrived meanwhile counts from when it arrived."""

import contextlib
import ssl
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

import gevent
import pytest

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.socket.conftest import READERS, read_with
from tests.support.busy import first
from tests.support.command import PATIENCE
from tests.support.hostile import (
    CHUNKED,
    DONE,
    LAST,
    Peer,
    Script,
    certificate,
    chunk,
    content,
    observe,
    scripted,
    token,
)

# Of all streams: a busy machine may need some of it to begin them all, and the servers to answer.
DEADLINE = 10_000_000_000  # ns
PASSES = "10s"
TOO_LONG = DEADLINE / 1e9 + 0.2  # seconds: the kernel may stamp the second of two tokens a little sooner than the first
STOP = 4  # seconds
standing, moving = threading.Event(), threading.Event()  # the stop has begun; it is over


def prompt(peer: Peer) -> None:
    """Everything in the stop."""
    peer.request()
    peer.send(CHUNKED)
    assert standing.wait(PATIENCE)
    peer.send(*(chunk(token(number)) for number in range(3)), chunk(DONE) + LAST)


def dawdling(peer: Peer) -> None:
    """A token in the stop, and the rest in it when the deadline has passed."""
    peer.request()
    peer.send(CHUNKED)
    assert standing.wait(PATIENCE)
    peer.send(chunk(token(1)))
    time.sleep(TOO_LONG)
    peer.send(chunk(token(2)), chunk(DONE) + LAST)


def late(peer: Peer) -> None:
    """Everything in the stop when the deadline has passed."""
    peer.request()
    peer.send(CHUNKED)
    assert standing.wait(PATIENCE)
    time.sleep(TOO_LONG)
    peer.send(chunk(token(1)), chunk(DONE) + LAST)


def steady(peer: Peer) -> None:
    """A token every 20 ms, for as long as the stop and some more."""
    peer.request()
    peer.send(CHUNKED)
    more = 20
    while more:
        time.sleep(0.02)
        peer.send(chunk(token(1)))
        more -= moving.is_set()
    peer.send(chunk(DONE) + LAST)


class Asked(NamedTuple):
    script: Script
    timeouts: Mapping[str, str] = {}
    plan: Plan = Plan()
    secure: bool = False

    def tls(self, context: ssl.SSLContext) -> ssl.SSLContext | None:
        return context if self.secure else None

    def ask(self, url: str) -> StreamObservation:
        return observe(url, self.plan, timeouts=dict(self.timeouts), verify=False)


STREAMS = {
    **{f"prompt, {name}": Asked(prompt, {name: PASSES}) for name in ("first_token", "idle", "total")},
    **{f"prompt, {name}, TLS": Asked(prompt, {name: PASSES}, secure=True) for name in ("first_token", "idle", "total")},
    **{f"steady, {name}": Asked(steady, {name: PASSES}) for name in ("first_token", "idle")},
    **{f"steady, {name}, TLS": Asked(steady, {name: PASSES}, secure=True) for name in ("first_token", "idle")},
    "dawdling, idle": Asked(dawdling, {"idle": PASSES}),
    "dawdling, total": Asked(dawdling, {"total": PASSES}),
    "late, first_token": Asked(late, {"first_token": PASSES}),
    "dawdling, left": Asked(dawdling, plan=Plan(leave_after=DEADLINE)),
    "prompt, left": Asked(prompt, plan=Plan(leave_after=DEADLINE)),
    "dawdling, impatient": Asked(dawdling, plan=Plan(patience=DEADLINE)),
    "late, impatient": Asked(late, plan=Plan(patience=DEADLINE)),
}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    made, key = certificate(tmp_path_factory.mktemp("certificate"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return context


class Stopped(NamedTuple):
    seen: StreamObservation
    sent: int  # pieces


@pytest.fixture(scope="module", params=READERS)
def streams(request: pytest.FixtureRequest, tls: ssl.SSLContext) -> dict[str, Stopped]:
    """All `STREAMS` of one loop, which stops once, as soon as all servers have begun to answer, if only with headers.

    It stands still until those that do not go on after the stop have sent everything.
    """
    standing.clear()
    moving.clear()
    with first(), read_with(request.param), contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(scripted(each.script, tls=each.tls(tls))) for name, each in STREAMS.items()
        }
        asking = [gevent.spawn(each.ask, servers[name].url) for name, each in STREAMS.items()]
        while not all(server.peers and server.peers[0].sent for server in servers.values()):
            gevent.sleep(0.005)
        standing.set()
        for name, each in STREAMS.items():
            if each.script is not steady:
                servers[name].result()
        moving.set()
        gevent.joinall(asking, raise_error=True)
        for server in servers.values():
            server.result()  # a server counts a piece after its client may have it
        sent = [len(server.peers[0].sent) for server in servers.values()]
        return dict(zip(STREAMS, map(Stopped, (each.value for each in asking), sent), strict=True))


@pytest.fixture
def separated(request: pytest.FixtureRequest, streams: dict[str, Stopped]) -> dict[str, Stopped]:
    """Only the compiled reader goes on reading in a stop, and gives each read its own stamp."""
    if request.node.callspec.params["streams"] == "python":
        pytest.skip("the plain reader gives the server the benefit of the doubt")
    return streams


@pytest.mark.parametrize("timeout", ["first_token", "idle", "total"])
@pytest.mark.parametrize("over", ["", ", TLS"])
def test_a_stream_that_arrived_in_time_is_completed_however_late_we_look(
    streams: dict[str, Stopped], timeout: str, over: str
) -> None:
    seen, _ = streams[f"prompt, {timeout}{over}"]
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


@pytest.mark.parametrize("timeout", ["first_token", "idle"])
@pytest.mark.parametrize("over", ["", ", TLS"])
def test_a_server_that_sends_all_the_time_is_not_late_because_of_our_stop(
    streams: dict[str, Stopped], timeout: str, over: str
) -> None:
    seen, sent = streams[f"steady, {timeout}{over}"]
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, sent - 2)  # the headers and the end


def test_a_gap_that_was_too_long_is_idle_though_the_rest_had_arrived_when_we_looked(
    separated: dict[str, Stopped],
) -> None:
    seen, _ = separated["dawdling, idle"]
    assert (seen.outcome, seen.detail) == (Outcome.TIMED_OUT, "idle: nothing arrived for 10 s")
    assert content(seen) == 1
    assert seen.read_lag_max is not None
    # Not when we looked. Times are kept to the microsecond.
    assert -1_000 <= seen.ended_at - seen.chunks[0].at - DEADLINE <= seen.read_lag_max + 1_000


def test_what_arrived_after_the_total_timeout_is_late_though_we_read_it_at_once_with_the_rest(
    separated: dict[str, Stopped],
) -> None:
    seen, _ = separated["dawdling, total"]
    assert (seen.outcome, seen.detail, content(seen)) == (Outcome.TIMED_OUT, "total: it was not over after 10 s", 1)


def test_a_first_token_that_arrived_too_late_is_late(separated: dict[str, Stopped]) -> None:
    seen, _ = separated["late, first_token"]
    assert (seen.outcome, seen.detail, content(seen)) == (Outcome.TIMED_OUT, "first token: no content came for 10 s", 0)


def test_a_person_who_would_have_left_during_the_stop_has_left(separated: dict[str, Stopped]) -> None:
    seen, _ = separated["dawdling, left"]
    assert (seen.outcome, content(seen)) == (Outcome.CANCELLED, 1)
    assert seen.ended_at - seen.due_at == DEADLINE


def test_a_person_whose_answer_was_complete_before_they_would_have_left_has_it(streams: dict[str, Stopped]) -> None:
    seen, _ = streams["prompt, left"]
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


def test_a_person_with_patience_stays_if_the_first_token_came_within_it(separated: dict[str, Stopped]) -> None:
    stayed, left = separated["dawdling, impatient"].seen, separated["late, impatient"].seen
    assert stayed.outcome is Outcome.COMPLETED
    assert (left.outcome, content(left)) == (Outcome.CANCELLED, 0)


def stop() -> None:
    standing.set()
    time.sleep(STOP)


@pytest.mark.usefixtures("reader")
def test_a_connection_and_a_name_that_came_while_the_loop_stood_still_are_no_timeouts() -> None:
    """Nor is there less time to connect: nobody could, while the loop stood still."""
    with scripted(prompt) as server:
        by_address = gevent.spawn(observe, server.url, timeouts={"connect": "3s"})
        named = server.url.replace("127.0.0.1", "localhost")
        by_name = gevent.spawn(observe, named, timeouts={"connect": "3s"}, verify=False)
        stopping = gevent.spawn(stop)  # begins when both wait: for a connection, and for an address
        gevent.joinall([by_address, by_name, stopping], raise_error=True)
    seen, found = by_address.value, by_name.value
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)
    assert found.outcome is Outcome.COMPLETED, found.detail
    assert found.resolved_at is not None
    assert found.resolved_at - (found.started_at or 0) < STOP * 1e9, "when it came, not when the loop went on"
