"""Connections of the stamped socket: which are kept, which are not used again, and that nothing is left behind."""

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Profile
from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.errors import TargetError
from streamgauge.harness.record.observation import Outcome
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
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux stamps arrivals in its kernel")
WHOLE = CHUNKED + chunk(tokens(3) + DONE) + LAST
WEEK = 604_800.0  # s: a longer wait is recorded as this

# Connections kept


def test_a_connection_that_dies_while_the_request_is_on_a_slow_link_is_no_send_lag() -> None:
    far = network.find("far", {"far": Profile(rtt=Duration.parse("4s"))})
    connections = []

    def script(peer: Peer) -> None:
        connections.append(peer)
        peer.request()
        peer.send(WHOLE)
        if len(connections) == 1:
            time.sleep(0.05)  # and then it hangs up, while the second question is on the link for two seconds

    with scripted(script) as server:
        person = client(server.url)
        ask(person)
        seen = ask(person, link=far)
        person.close()
    assert (seen.outcome, len(connections)) == (Outcome.COMPLETED, 2)
    assert seen.send_lag is not None
    assert seen.send_lag < 2_000_000_000
    assert seen.connected_at is not None
    assert seen.connected_at - seen.due_at > 2_000_000_000, "what it cost is in the stream's time"


def test_a_lingering_connection_stays_open_and_is_not_used_again() -> None:
    with scripted(serve) as server:
        person = client(server.url)
        first, second = ask(person, Plan(linger=60_000_000_000)), ask(person)
        assert len(server.peers) == 2
        assert all(thread.is_alive() for thread in server.threads)
        person.close()
    assert (first.outcome, second.outcome) == (Outcome.COMPLETED, Outcome.COMPLETED)
    assert second.connected_at is not None


def test_connections_that_have_lingered_are_forgotten() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(WHOLE)
        peer.until_gone()

    def kept() -> int:
        gc.collect()
        return sum(isinstance(each, Connection) for each in gc.get_objects())

    with scripted(script) as server:
        person = client(server.url)
        before = kept()
        for _ in range(5):
            ask(person, Plan(linger=1))
            while server.threads[-1].is_alive():
                gevent.sleep(0.001)
        assert kept() - before <= 2, "the one that lingers, and perhaps the one before it"
        person.close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"2", 2.0),
        (b"0.5", 0.5),
        (b"Fri, 01 Jan 2100 00:00:00 GMT", WEEK),
        (b"soon", None),
        (b"-3", None),
        (b"1e999", WEEK),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_week(header: bytes, seconds: float | None) -> None:
    refusal = b"HTTP/1.1 429 Slow Down\r\nretry-after: " + header + b"\r\ncontent-length: 0\r\n\r\n"
    with scripted(asked(refusal)) as server:
        person = client(server.url)
        road = network.Link(network.find("direct"), 1)
        reply = person.stream(Question(prompts.ask("Hello?"), Plan(), road, time.monotonic_ns(), IDENTITY))
        person.close()
    assert reply.observation.outcome is Outcome.REFUSED
    assert reply.retry_after == seconds


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


def test_each_stream_with_fresh_connections_gets_a_new_connection() -> None:
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
    assert (seen.outcome, seen.detail) == (Outcome.RESET, "the connection was closed before an answer arrived")


# Nothing left over


def reset_in_handshake(peer: Peer) -> None:
    peer.sock.recv(10)
    peer.reset()


def test_no_stream_leaves_a_reference_cycle_however_it_ends() -> None:
    """The collector is off during a run: what it would have to find would stay."""
    silent = [held(CHUNKED), held(CHUNKED, chunk(tokens(2)))]
    scripts = [
        *silent,
        asked(WHOLE),
        asked(CHUNKED + chunk(tokens(3))),
        asked(b"garbage\r\n\r\n"),
        asked(b"HTTP/1.1 500 Sorry\r\ncontent-length: 0\r\n\r\n"),
        asked(CHUNKED + chunk(tokens(50))),
        Peer.request,
        Peer.reset,
    ]
    plans = [Plan(), Plan(leave_after=10_000_000), Plan(leave_after_chunks=1, abort=True)]
    with scripted(*scripts * (len(plans) + 1)) as server, scripted(reset_in_handshake) as resetting:
        impatient = client(server.url, fresh=True, timeouts={"idle": "200ms"}, limits={"stream_bytes": 500})
        person = client(server.url, fresh=True, limits={"stream_bytes": 500})
        people = [impatient] * len(silent) + [person] * (len(scripts) - len(silent))
        refused = client("http://127.0.0.1:9")
        in_handshake = client(resetting.url.replace("http:", "https:"))
        for each in people:  # what is made once is made now
            ask(each)
        ask(refused)
        ask(in_handshake)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            outcomes = {ask(each, plan).outcome for plan in plans for each in people}
            outcomes |= {ask(refused).outcome, ask(in_handshake).outcome}
            gc.collect()
            left = {type(each).__name__ for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert outcomes == set(Outcome) - {Outcome.SERVER_ERROR, Outcome.EMPTY, Outcome.INTERRUPTED}
    assert not left & {"Broken", "Exchange", "Response", "Connection", "Transcript", "frame", "traceback"}, left


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
def test_the_host_header_names_the_port_only_if_it_is_not_the_default(url: str, authority: str) -> None:
    assert Endpoint.of(url).authority == authority


@pytest.mark.parametrize(
    "url",
    ["", "staging.example", "ftp://staging.example", "http://", "http://a:99999", "http://me:pw@a", "http://a?b=c"],
)
def test_an_invalid_host_is_reported_in_one_line(url: str) -> None:
    with pytest.raises(TargetError) as fault:
        Endpoint.of(url)
    assert "\n" not in str(fault.value)
    assert "pw" not in str(fault.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_numeric_address_is_resolved_without_a_thread(host: str) -> None:
    turns: list[None] = []
    watcher = gevent.get_hub().loop.prepare()
    watcher.start(lambda: turns.append(None))
    found = Endpoint.of(f"http://{host}:8080").resolve().addresses
    watcher.stop()
    watcher.close()
    assert [address[:2] for _, address in found] == [(host.strip("[]"), 8080)]
    assert turns == []


def test_the_path_of_the_host_is_put_before_the_target_s_path() -> None:
    requests = []

    def script(peer: Peer) -> None:
        requests.append(peer.request())
        peer.send(WHOLE)

    with scripted(script) as server:
        observe(f"{server.url}/base/", path="/ask")
        server.result()
    assert requests[0].startswith(b"POST /base/ask HTTP/1.1\r\nhost: 127.0.0.1:")
