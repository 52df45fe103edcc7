"""The clients `httpx` and `anthropic` beside the wire client: the same servers, the same people, the same records."""

import contextlib
import gc
import gzip
import itertools
import threading
import time
from collections.abc import Iterator

import gevent
import pytest
from gevent.pool import Pool

from streamgauge.harness.drive import network
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.reading.transcript import Interrupted
from streamgauge.harness.drive.wire.compiled import Inbox, ReadingThread
from streamgauge.harness.native import library
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.command import PATIENCE, free_port, until
from tests.support.hostile import (
    CHUNKED,
    HEAD,
    LAST,
    UNTIL_CLOSED,
    Peer,
    Script,
    asked,
    chunk,
    content,
    held,
    scripted,
)
from tests.support.stacks import (
    END,
    GOOD,
    LIBRARIES,
    PING,
    START,
    WHOLE,
    ask,
    delta,
    event,
    observe,
    person,
)

ALL = ["wire", *LIBRARIES]
BUSY = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
SILENCE = {"idle": "5s"}  # of a server that says something before: a busy machine may need some of it
GONE = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"


def refusal(status: bytes, body: bytes, kind: bytes = b"application/json") -> bytes:
    return GONE % (status, kind, len(body), body)


def reset_after_two(peer: Peer) -> None:
    peer.request()
    peer.send(CHUNKED, chunk(START + delta() + delta()))
    peer.until_read()  # a reset makes the client's kernel forget what was not read yet
    peer.reset()


# A server's behaviour → what becomes of the stream, and how much content is kept. The same for every client.
BEHAVIOURS: dict[str, tuple[Script, Outcome, int]] = {
    "good": (asked(WHOLE), Outcome.COMPLETED, 3),
    "byte by byte": (
        asked(CHUNKED, *(chunk(GOOD[at : at + 1]) for at in range(len(GOOD))), LAST),
        Outcome.COMPLETED,
        3,
    ),
    "until closed": (asked(UNTIL_CLOSED, GOOD), Outcome.COMPLETED, 3),
    "open after its end": (held(CHUNKED, chunk(GOOD)), Outcome.COMPLETED, 3),
    "no last chunk": (asked(CHUNKED, chunk(GOOD)), Outcome.COMPLETED, 3),
    "interim answer": (asked(b"HTTP/1.1 103 Early Hints\r\n\r\n" + WHOLE), Outcome.COMPLETED, 3),
    "401": (asked(refusal(b"401 Sorry", b'{"error": {"message": "who?"}}')), Outcome.REFUSED, 0),
    "429": (asked(refusal(b"429 Slow Down", b'{"error": {"message": "later"}}')), Outcome.REFUSED, 0),
    "529": (asked(refusal(b"529 Overloaded", b"<html>busy</html>", b"text/html")), Outcome.REFUSED, 0),
    "redirect": (asked(b"HTTP/1.1 307 There\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n"), Outcome.REFUSED, 0),
    "page": (asked(refusal(b"200 OK", b"<html>hello</html>", b"text/html")), Outcome.MALFORMED, 0),
    "cut": (asked(CHUNKED, chunk(START + delta() + delta())), Outcome.TRUNCATED, 2),
    "cut in an event": (asked(UNTIL_CLOSED, START + delta() + delta()[:-9]), Outcome.TRUNCATED, 1),
    "no terminal event": (asked(CHUNKED + chunk(START + delta()) + LAST), Outcome.TRUNCATED, 1),
    "no answer": (Peer.request, Outcome.RESET, 0),
    "reset": (reset_after_two, Outcome.RESET, 2),
    "silent": (held(), Outcome.TIMED_OUT, 0),
    "silent after two": (held(CHUNKED, chunk(START + delta() + delta())), Outcome.TIMED_OUT, 2),
    "in-band error": (asked(CHUNKED + chunk(START + delta() + BUSY) + LAST), Outcome.SERVER_ERROR, 1),
    "in-band error, and then silent": (held(CHUNKED + chunk(START + delta() + BUSY)), Outcome.SERVER_ERROR, 1),
    "not JSON": (asked(CHUNKED + chunk(START + delta() + b"data: {no\n\n" + END) + LAST), Outcome.MALFORMED, 1),
    "not HTTP": (asked(b"what?\r\n\r\n"), Outcome.MALFORMED, 0),
    "compressed": (asked(HEAD + b"content-encoding: gzip\r\n\r\n" + gzip.compress(GOOD)), Outcome.COMPLETED, 3),
}


@pytest.fixture(scope="module")
def recorded() -> dict[str, list[StreamObservation]]:
    """What each client records of each behaviour; some at a time, since two of them wait."""

    def ask_each(behaviour: str) -> list[StreamObservation]:
        script, outcome, _ = BEHAVIOURS[behaviour]
        timeouts = SILENCE if outcome is Outcome.TIMED_OUT else {}
        with scripted(script) as server:
            seen: list[StreamObservation] = Pool(len(ALL)).map(
                lambda name: observe(name, server.url, timeouts=timeouts), ALL
            )
            assert len(server.peers) == len(ALL), "it was asked once by each"
        return seen

    return dict(zip(BEHAVIOURS, Pool(3).map(ask_each, BEHAVIOURS), strict=True))


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_client_records_the_same_outcome(recorded: dict[str, list[StreamObservation]], behaviour: str) -> None:
    _, outcome, kept = BEHAVIOURS[behaviour]
    wire, *others = recorded[behaviour]
    assert (wire.outcome, content(wire)) == (outcome, kept)
    for name, seen in zip(LIBRARIES, others, strict=True):
        assert (seen.outcome, content(seen)) == (outcome, kept), name
        assert (seen.detail, seen.http_status, seen.stop_reason) == (wire.detail, wire.http_status, wire.stop_reason)
        assert (seen.body_bytes, seen.output_tokens) == (wire.body_bytes, wire.output_tokens), name
        assert [each.kind for each in seen.chunks] == [each.kind for each in wire.chunks], name


@pytest.mark.parametrize("name", ALL)
def test_an_answer_past_the_limit_is_malformed(name: str) -> None:
    with scripted(held(CHUNKED, chunk(START + delta()), chunk(b": more\n" * 10_000))) as server:
        seen = observe(name, server.url, limits={"stream_bytes": 50_000})
    assert (seen.outcome, content(seen)) == (Outcome.MALFORMED, 1)
    assert seen.detail == "the answer is longer than 50,000 bytes"


@pytest.mark.parametrize("name", ALL)
def test_a_refused_connection_is_unreachable(name: str) -> None:
    port = free_port()
    seen = observe(name, f"http://127.0.0.1:{port}")
    assert (seen.outcome, seen.sent_at) == (Outcome.UNREACHABLE, None)
    assert seen.detail == f"cannot connect to 127.0.0.1:{port}: ECONNREFUSED (Connection refused)"


# Leaving
WAYS = [(False, "fin"), (True, "reset")]


def test_a_person_leaves_as_planned_with_every_client_and_in_both_ways() -> None:
    def leave(who: tuple[str, tuple[bool, str]]) -> tuple[StreamObservation, str]:
        name, (abort, _) = who
        with scripted(held(CHUNKED, chunk(START + delta() + delta()))) as server:
            # Five seconds, in which a client's library reads two chunks however busy the machine is.
            return observe(name, server.url, Plan(leave_after=5_000_000_000, abort=abort)), server.result()

    people = list(itertools.product(ALL, WAYS))
    for (name, (_, goodbye)), (seen, said) in zip(people, Pool(len(people)).map(leave, people), strict=True):
        assert (seen.outcome, content(seen), said) == (Outcome.CANCELLED, 2, goodbye), name
        assert seen.detail == "left after 5.0 s, as planned", name


@pytest.mark.parametrize(("abort", "goodbye"), WAYS)
@pytest.mark.parametrize("name", ALL)
def test_a_person_who_leaves_after_some_chunks_leaves_at_that_chunk(name: str, abort: bool, goodbye: str) -> None:
    with scripted(held(CHUNKED + chunk(START + delta() + PING + delta() + delta()))) as server:
        seen = observe(name, server.url, Plan(leave_after_chunks=3, abort=abort))
        assert server.result() == goodbye
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.CANCELLED, 3, "left after 3 chunks, as planned")
    if name in LIBRARIES:
        assert all(each.handed_at is not None for each in seen.chunks if each.kind in CONTENT)


@pytest.mark.parametrize("name", ALL)
def test_a_person_who_leaves_while_connecting_over_a_slow_link_has_left(name: str) -> None:
    with scripted(asked(WHOLE)) as server:
        who = person(name, server.url)
        seen = ask(who, Plan(leave_after=50_000_000), network.find("slow_4g"))
        who.close()
    assert (seen.outcome, seen.connected_at, seen.sent_at) == (Outcome.CANCELLED, None, None)


@pytest.mark.skipif(library.LIBRARY is None, reason="without compiled code, no thread reads")
@pytest.mark.parametrize("name", ALL)
def test_what_is_read_while_a_stream_is_being_stopped_is_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, stopping, came = threading.Event(), threading.Event(), threading.Event()
    unwatch = ReadingThread.unwatch

    def late(self: ReadingThread, inbox: Inbox) -> None:
        stopping.set()
        assert came.wait(PATIENCE)
        unwatch(self, inbox)

    def script(peer: Peer) -> str:
        peer.request()
        peer.send(CHUNKED, chunk(START + delta()))
        peer.until_read()
        begun.set()
        assert stopping.wait(PATIENCE)
        peer.send(chunk(delta()))
        peer.until_read()
        came.set()
        return peer.until_gone()

    with scripted(script) as server:
        who = person(name, server.url)
        running = gevent.spawn(ask, who)
        while not begun.is_set():
            gevent.sleep(0.001)
        with monkeypatch.context() as patch:
            patch.setattr(ReadingThread, "unwatch", late)
            running.kill()
        assert server.result() == "fin"
        who.close()
    assert isinstance(running.exception, Interrupted)
    assert (running.exception.seen.outcome, content(running.exception.seen)) == (Outcome.INTERRUPTED, 2)


@pytest.mark.parametrize("name", ALL)
def test_a_killed_greenlet_raises_with_the_record_so_far(name: str) -> None:
    came = threading.Event()

    def script(peer: Peer) -> str:
        peer.request()
        peer.send(CHUNKED, chunk(START + delta() + delta()))
        peer.until_read()
        came.set()
        return peer.until_gone()

    with scripted(script) as server:
        who = person(name, server.url)
        caught: list[StreamObservation] = []

        def stream() -> None:
            try:
                ask(who)
            except Interrupted as end:
                caught.append(end.seen)

        running = gevent.spawn(stream)
        while not came.is_set():
            gevent.sleep(0.001)
        running.kill()
        assert server.result() == "fin"
        who.close()
    assert [(seen.outcome, content(seen)) for seen in caught] == [(Outcome.INTERRUPTED, 2)]


def test_a_timeout_of_the_scenarios_own_leaves_a_record_but_no_socket() -> None:
    def stopped(name: str) -> StreamObservation:
        with scripted(held(CHUNKED, chunk(START + delta()))) as server:
            who = person(name, server.url)
            with pytest.raises(Interrupted) as caught, gevent.Timeout(5) as timeout:
                ask(who)
            assert server.result() == "fin", name
            who.close()
        assert caught.value.by is timeout, name
        return caught.value.seen

    for name, seen in zip(ALL, Pool(len(ALL)).map(stopped, ALL), strict=True):
        assert (seen.outcome, content(seen)) == (Outcome.INTERRUPTED, 1), name


def test_a_deadline_that_passed_during_a_stop_is_told_once_though_more_had_arrived() -> None:
    """A library is first given what arrived, and asks again after that."""
    asks: list[Peer] = []
    sent: list[Peer] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(START + delta()))
        peer.until_read()
        asks.append(peer)
        time.sleep(5)  # the deadline
        peer.send(chunk(delta() + END) + LAST)
        sent.append(peer)

    def stop() -> None:
        while len(asks) < len(ALL):
            gevent.sleep(0.001)
        until(lambda: len(sent) == len(ALL))  # without gevent: the loop stands still

    with scripted(script) as server:
        stopping = gevent.spawn(stop)
        records = Pool(len(ALL)).map(lambda name: observe(name, server.url, timeouts={"total": "5s"}), ALL)
        stopping.join()
    for name, seen in zip(ALL, records, strict=True):
        found = (seen.outcome, seen.detail, content(seen))
        assert found == (Outcome.TIMED_OUT, "total: it was not over after 5 s", 1), name


def test_a_stream_whose_events_the_sdk_ignores_is_not_completed() -> None:
    """The SDK goes by the events' names; a gateway that leaves them out gives its users nothing."""
    nameless = b"".join(line + b"\n" for line in GOOD.splitlines() if not line.startswith(b"event:"))
    with scripted(asked(CHUNKED + chunk(nameless) + LAST)) as server:
        assert observe("wire", server.url).outcome is Outcome.COMPLETED
        seen = observe("anthropic", server.url)
    assert (seen.outcome, content(seen)) == (Outcome.MALFORMED, 3)
    assert seen.detail == "the client library handed on 0 of the 3 content chunks that arrived"


def test_an_answer_that_only_the_library_rejects_is_malformed_with_the_librarys_message() -> None:
    with scripted(held(CHUNKED.replace(b"\r\n\r\n", b"\r\nx: " + b"y" * 110_000))) as server:
        seen = observe("httpx", server.url)
    assert (seen.outcome, content(seen)) == (Outcome.MALFORMED, 0)
    assert seen.detail.startswith("httpx gave up: RemoteProtocolError: ")


def test_a_secret_in_a_librarys_message_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sk-very-secret-key")
    body = b'{"type": "error", "error": {"message": "bad key sk-very-secret-key"}}'
    with scripted(asked(refusal(b"401 Sorry", body))) as server:
        for name in ALL:
            seen = observe(name, server.url, headers={"x-api-key": "${KEY}"})
            assert (seen.outcome, "sk-very" in seen.detail) == (Outcome.REFUSED, False)


@contextlib.contextmanager
def collected_by_hand() -> Iterator[None]:
    """The collector is off, as in a run; what it finds when called is kept in `gc.garbage` until the block ends."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("name", LIBRARIES)
def test_no_stream_leaves_a_reference_cycle_of_ours_however_it_ends(name: str) -> None:
    """The collector is off during a run: what it would have to find would stay."""
    scripts = [script for script, _, _ in BEHAVIOURS.values()]
    plans = [Plan(), Plan(leave_after=10_000_000), Plan(leave_after_chunks=1, abort=True)]
    with scripted(*scripts * (len(plans) + 1)) as server:
        who = person(name, server.url, fresh=True, timeouts={"idle": "20ms"}, limits={"stream_bytes": 5_000})
        for _ in scripts:  # what is made only once is made now
            ask(who)
        with collected_by_hand():
            for plan, _ in itertools.product(plans, scripts):
                ask(who, plan)
            gc.collect()
            left = {type(each).__name__ for each in gc.garbage}
        who.close()
    ours = {"_RawExchange", "LibraryAttempt", "Response", "Transcript"}
    assert not left & {"Broken", "Connection", "frame", "traceback", *ours}, left
