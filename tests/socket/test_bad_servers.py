"""What becomes of a stream whose server cannot be reached, refuses, breaks off or is silent."""

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.command import free_port
from tests.support.hostile import (
    CHUNKED,
    DONE,
    HEAD,
    LAST,
    UNTIL_CLOSED,
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
SHORT = "200ms"  # a timeout that a test waits for, of a server that does nothing
ENOUGH = "2s"  # the same, of one that does something first: a busy machine may need some of it
GOOD = tokens(3) + DONE


def seen_of(*pieces: bytes, **settings: Any) -> StreamObservation:
    """What a client records of a server that sends these pieces and closes."""
    with scripted(asked(*pieces)) as server:
        return observe(server.url, **settings)


# No connection


def test_a_refused_connection_is_unreachable_and_has_no_later_moments() -> None:
    port = free_port()
    seen = observe(f"http://127.0.0.1:{port}")
    assert (seen.outcome, seen.http_status) == (Outcome.UNREACHABLE, None)
    assert seen.detail == f"cannot connect to 127.0.0.1:{port}: ECONNREFUSED (Connection refused)"
    assert seen.started_at is not None
    assert seen.resolved_at is not None
    assert (seen.connected_at, seen.sent_at, seen.headers_at, seen.first_content_at) == (None, None, None, None)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b"])
def test_a_name_that_does_not_resolve_is_unreachable(host: str) -> None:
    seen = observe(f"http://{host}", timeouts={"connect": "20s"})
    assert seen.outcome is Outcome.UNREACHABLE
    assert seen.detail.startswith(f"host '{host}' does not resolve: ")
    assert seen.resolved_at is None


@pytest.fixture
def full() -> Iterator[str]:
    """A server whose backlog is full: the kernel drops every further SYN."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for each in waiting:
            each.close()


def test_a_connect_that_is_never_answered_times_out(full: str) -> None:
    seen = observe(full, timeouts={"connect": SHORT})
    assert (seen.outcome, seen.detail) == (Outcome.TIMED_OUT, "no connection in time")


def test_a_person_who_leaves_while_connecting_is_cancelled_and_not_timed_out(full: str) -> None:
    seen = observe(full, Plan(leave_after=100_000_000), timeouts={"connect": "5s"})
    assert (seen.outcome, seen.detail) == (Outcome.CANCELLED, "left after 0.1 s, as planned")


def test_a_generator_without_free_descriptors_says_so_in_the_record() -> None:
    url = "http://127.0.0.1:9"
    observe(url)  # what the process opens once is open now
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        seen = observe(url)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for each in taken:
            os.close(each)
    assert seen.outcome is Outcome.INTERRUPTED, "it says nothing about the server"
    assert seen.detail == "the load generator's machine had no room for this stream: Too many open files"


# A refusal


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503, 529])
def test_a_refusal_keeps_its_status_and_the_servers_text(status: int) -> None:
    body = b'{"error": {"message": "please go away"}}'
    seen = seen_of(b"HTTP/1.1 %d Sorry\r\ncontent-length: %d\r\nrequest-id: req_7\r\n\r\n" % (status, len(body)) + body)
    assert (seen.outcome, seen.http_status, seen.request_id) == (Outcome.REFUSED, status, "req_7")
    assert seen.detail == f'HTTP {status}: {{"error": {{"message": "please go away"}}}}'
    assert seen.headers_at is not None
    assert (seen.first_content_at, seen.chunks) == (None, ())


def test_a_refusal_that_looks_like_a_stream_has_no_content() -> None:
    seen = seen_of(UNTIL_CLOSED.replace(b"200 OK", b"500 Sorry") + GOOD)
    assert (seen.outcome, seen.content_chunks) == (Outcome.REFUSED, 0)


def test_a_redirect_is_a_refusal() -> None:
    seen = seen_of(b"HTTP/1.1 307 Elsewhere\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n")
    assert (seen.outcome, seen.http_status) == (Outcome.REFUSED, 307)


def test_a_refusal_whose_page_never_ends_is_still_a_refusal() -> None:
    with scripted(held(b"HTTP/1.1 503 Sorry\r\ncontent-length: 100\r\n\r\nbusy")) as server:
        seen = observe(server.url, timeouts={"idle": ENOUGH})
    assert (seen.outcome, seen.detail) == (Outcome.REFUSED, "HTTP 503: busy")


# An answer that ends too soon


def cut(peer: Peer) -> None:
    peer.request()
    peer.send(CHUNKED, *(chunk(token(number)) for number in range(3)))


def test_a_stream_cut_after_three_tokens_is_truncated_and_keeps_them() -> None:
    with scripted(cut) as server:
        seen = observe(server.url)
    assert (seen.outcome, content(seen), seen.http_status) == (Outcome.TRUNCATED, 3, 200)
    assert (
        seen.detail == "the connection was closed in mid-answer, before the HTTP message's end, as by a proxy's timeout"
    )


def test_a_stream_cut_in_the_middle_of_an_event_keeps_the_whole_ones() -> None:
    seen = seen_of(UNTIL_CLOSED, tokens(2), b"data: tok")
    assert (seen.outcome, content(seen)) == (Outcome.TRUNCATED, 2)


def test_a_stream_without_its_terminal_event_is_truncated_even_if_http_ends_properly() -> None:
    seen = seen_of(CHUNKED + chunk(tokens(3)) + LAST)
    assert (seen.outcome, content(seen)) == (Outcome.TRUNCATED, 3)


def test_a_reset_keeps_the_chunks_that_came_before() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, *(chunk(token(number)) for number in range(3)))
        peer.until_read()  # a reset makes the client's kernel forget what was not read yet
        peer.reset()

    with scripted(script) as server:
        seen = observe(server.url)
    assert (seen.outcome, content(seen)) == (Outcome.RESET, 3)
    assert seen.detail == "the connection broke: Connection reset by peer"


def test_a_connection_closed_before_any_answer_is_reset() -> None:
    with scripted(Peer.request) as server:
        seen = observe(server.url)
    assert (seen.outcome, seen.detail) == (Outcome.RESET, "the connection was closed before an answer arrived")
    assert seen.sent_at is not None
    assert seen.headers_at is None


def test_a_body_shorter_than_its_content_length_is_truncated() -> None:
    seen = seen_of(HEAD + b"content-length: 1000\r\n\r\n", tokens(3))
    assert (seen.outcome, content(seen)) == (Outcome.TRUNCATED, 3)


def test_a_body_longer_than_its_content_length_ends_at_that_length() -> None:
    seen = seen_of(HEAD + b"content-length: %d\r\n\r\n" % len(tokens(2)) + tokens(3) + DONE)
    assert (seen.outcome, content(seen)) == (Outcome.TRUNCATED, 2)


# Silence


def test_silence_before_the_answer_times_out_at_the_first_token() -> None:
    with scripted(held()) as server:
        seen = observe(server.url, timeouts={"first_token": SHORT})
    assert (seen.outcome, seen.detail) == (Outcome.TIMED_OUT, "first token: no content came for 0.2 s")
    assert (seen.headers_at, seen.http_status) == (None, None)


def test_silence_after_the_headers_times_out_at_the_first_token_and_keeps_the_status() -> None:
    with scripted(held(CHUNKED)) as server:
        seen = observe(server.url, timeouts={"first_token": ENOUGH})
    assert (seen.outcome, seen.detail, seen.http_status) == (
        Outcome.TIMED_OUT,
        "first token: no content came for 2 s",
        200,
    )
    assert seen.headers_at is not None


def test_pings_do_not_count_as_the_first_token() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        while True:  # until the client has gone
            peer.send(chunk(b": ping\n\n"))
            time.sleep(0.02)

    with scripted(script) as server:
        seen = observe(server.url, timeouts={"first_token": ENOUGH})
    assert (seen.outcome, seen.detail) == (Outcome.TIMED_OUT, "first token: no content came for 2 s")
    assert {each.kind for each in seen.chunks} == {"ping"}


def test_silence_in_the_middle_times_out_as_idle_and_keeps_the_chunks_so_far() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        seen = observe(server.url, timeouts={"idle": ENOUGH})
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.TIMED_OUT, 3, "idle: nothing arrived for 2 s")


def test_a_server_that_never_reads_the_request_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel accepts; nobody reads
        person = client(f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts={"idle": SHORT})
        seen = ask(person, text="x" * 20_000_000)
    assert (seen.outcome, seen.detail) == (Outcome.TIMED_OUT, "the server did not take the request in time")
    assert seen.sent_at is None
