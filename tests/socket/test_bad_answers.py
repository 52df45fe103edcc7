"""What becomes of a stream whose answer is wrong: too long, not of the protocol, an error, without an end."""

import gzip
import time
from typing import Any

import pytest

from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.hostile import (
    CHUNKED,
    DONE,
    HEAD,
    LAST,
    UNTIL_CLOSED,
    Peer,
    Script,
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
GOOD = tokens(3) + DONE


def seen_of(*pieces: bytes, **settings: Any) -> StreamObservation:
    """What a client records of a server that sends these pieces and closes."""
    with scripted(asked(*pieces)) as server:
        return observe(server.url, **settings)


# Odd, and no failure


def test_content_after_the_terminal_event_is_an_oddity() -> None:
    seen = seen_of(CHUNKED, chunk(GOOD + tokens(2)), LAST)
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)
    assert seen.oddities == {"content after the terminal event": 1}


def test_a_message_that_never_ends_after_the_terminal_event_is_an_oddity() -> None:
    with scripted(held(CHUNKED, chunk(GOOD))) as server:
        seen = observe(server.url)
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)
    assert seen.oddities == {"the HTTP message did not end after the terminal event": 1}


@pytest.mark.parametrize(("asked_for", "odd"), [({}, True), ({"accept-encoding": "gzip"}, False)])
def test_compression_is_an_oddity_unless_it_was_asked_for(asked_for: dict[str, str], odd: bool) -> None:
    head = CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    seen = seen_of(head, chunk(gzip.compress(GOOD)), LAST, headers=asked_for)
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)
    assert seen.oddities == ({"compressed, although the request asked for no compression": 1} if odd else {})


def test_a_good_answer_has_no_oddity() -> None:
    assert seen_of(CHUNKED, chunk(GOOD), LAST).oddities == {}
    assert seen_of(UNTIL_CLOSED, GOOD).oddities == {}


# Too much


def flood(*pieces: bytes) -> Script:
    """The script that sends the last piece again and again, until the client has gone."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*pieces)
        while True:
            peer.sock.sendall(pieces[-1])

    return script


def test_an_endless_stream_ends_at_the_limit() -> None:
    with scripted(flood(CHUNKED, chunk(tokens(100)))) as server:
        seen = observe(server.url, limits={"stream_bytes": 100_000})
    assert (seen.outcome, seen.detail) == (Outcome.MALFORMED, "the answer is longer than 100,000 bytes")
    assert content(seen) > 5_000
    assert seen.body_bytes < 200_000


def test_an_endless_slow_stream_ends_at_the_total_timeout() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        while True:
            peer.send(chunk(token(1)))
            time.sleep(0.02)

    with scripted(script) as server:
        seen = observe(server.url, timeouts={"total": "2s"})
    assert (seen.outcome, seen.detail) == (Outcome.TIMED_OUT, "total: it was not over after 2 s")
    assert content(seen) > 1


def test_one_event_of_50_megabytes_is_cut_off_at_the_limit() -> None:
    sent = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD + b"content-length: 50000000\r\n\r\n", token(1), b"data: ")
        for _ in range(800):
            sent.append(peer.sock.send(b"x" * 62_500))

    with scripted(script) as server:
        seen = observe(server.url)
    assert (seen.outcome, content(seen)) == (Outcome.MALFORMED, 1)
    assert seen.body_bytes < 8_100_000
    assert seen.detail.startswith("an event of more than 1,000,000 bytes")


def test_an_event_past_its_limit_in_a_small_stream_is_malformed_and_keeps_the_ones_before() -> None:
    seen = seen_of(UNTIL_CLOSED + token(1) + b"data: " + b"x" * 2_000 + b"\n\n" + DONE, limits={"event_bytes": 1_000})
    assert (seen.outcome, content(seen)) == (Outcome.MALFORMED, 1)
    assert seen.detail == "an event of 2,008 bytes; the limit is 1,000"


def test_a_stream_of_tiny_events_is_cut_off_before_it_fills_the_memory() -> None:
    with scripted(flood(UNTIL_CLOSED, b":\n" * 30_000)) as server:
        seen = observe(server.url, limits={"stream_bytes": 1_000_000})
    assert (seen.outcome, seen.detail) == (Outcome.MALFORMED, "more than 250,000 events")


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param((b"HTTP/1.1 200 OK\r\nx-filler: ", b"x" * 60_000), id="one endless header"),
        pytest.param((b"HTTP/1.1 103 Early\r\n\r\n" * 2_000,), id="endless interim answers"),
        pytest.param((CHUNKED + b"5;", b"x" * 60_000), id="an endless chunk extension"),
        pytest.param((CHUNKED + b"0\r\nx-filler: ", b"x" * 60_000), id="an endless trailer"),
    ],
)
def test_an_answer_that_never_reaches_its_body_is_cut_off(pieces: tuple[bytes, ...]) -> None:
    with scripted(flood(*pieces)) as server:
        seen = observe(server.url)
    assert seen.outcome is Outcome.MALFORMED
    assert "bytes in a row without any of the answer's body" in seen.detail


def test_many_large_headers_are_accepted() -> None:
    head = HEAD + b"".join(b"x-%d: %b\r\n" % (number, b"y" * 500) for number in range(100)) + b"request-id: a\r\n"
    seen = seen_of(head + b"connection: close\r\n\r\n" + GOOD)
    assert (seen.outcome, content(seen), seen.request_id) == (Outcome.COMPLETED, 3, "a")


# Not the protocol


def test_html_instead_of_a_stream_is_malformed_and_quoted() -> None:
    body = b"<!doctype html>\n<title>Sign in</title>\n\n<p>data: nothing"
    seen = seen_of(b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close\r\n\r\n" + body)
    assert seen.outcome is Outcome.MALFORMED
    assert seen.detail.startswith("text/html instead of text/event-stream: <!doctype html> <title>Sign in")


def test_a_plain_body_that_claims_to_be_compressed_is_malformed_as_for_every_client() -> None:
    for encoding in (b"gzip", b"br", b"deflate"):
        seen = seen_of(HEAD + b"content-encoding: " + encoding + b"\r\nconnection: close\r\n\r\n" + GOOD)
        assert seen.outcome is Outcome.MALFORMED
        assert seen.detail == f"content-encoding: {encoding.decode()}, but the body is not: every client fails"


def test_a_compressed_answer_without_an_event_has_the_outcome_of_one_that_is_not() -> None:
    """Whatever happened to it, it was called MALFORMED for its encoding."""
    packed = gzip.compress(b'{"error": {"message": "out of memory"}}')
    head = HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    seen = seen_of(head % len(packed) + packed)
    assert (seen.outcome, seen.detail) == (Outcome.SERVER_ERROR, "out of memory")
    packed = gzip.compress(token(1)[:-1])
    assert seen_of(head % (len(packed) + 1) + packed).outcome is Outcome.TRUNCATED
    assert seen_of(HEAD + b"content-encoding: identity\r\nconnection: close\r\n\r\n").outcome is Outcome.TRUNCATED


def test_an_unknown_compression_is_malformed_and_named() -> None:
    seen = seen_of(HEAD + b"content-encoding: zstd\r\nconnection: close\r\n\r\n\x28\xb5\x2f\xfd" + bytes(50))
    assert seen.outcome is Outcome.MALFORMED
    assert seen.detail == "the stream is zstd-encoded, which streamgauge cannot read, or not at all"


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"220 mail.example ESMTP\r\n", b"\0" * 100, b"GET / HTTP/1.1\r\n"]
)
def test_an_answer_that_is_not_http_is_malformed(garbage: bytes) -> None:
    with scripted(held(garbage)) as server:
        seen = observe(server.url, timeouts={"idle": "5s"})
    assert seen.outcome is Outcome.MALFORMED
    assert seen.detail.startswith("not HTTP: ")


def test_garbage_between_chunks_is_malformed_and_keeps_the_chunks_before_it() -> None:
    seen = seen_of(CHUNKED + chunk(tokens(2)) + b"no length\r\n")
    assert (seen.outcome, content(seen)) == (Outcome.MALFORMED, 2)


def test_a_switch_of_protocols_is_a_refusal() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    with scripted(held(head + b"\x81\x05hello")) as server:
        seen = observe(server.url, timeouts={"idle": "5s"})
    assert (seen.outcome, seen.http_status) == (Outcome.REFUSED, 101)


@pytest.mark.parametrize(
    ("protocol", "good", "bad"),
    [
        ("plain_sse", token(1), b"data: \xff\xfe\n\n"),
        ("openai_chat", b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n', b'data: {"choices": [\n\n'),
        ("openai_chat", b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n', b'data: {"choices": "\xff"}\n\n'),
        (
            "anthropic_messages",
            b'data: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}\n\n',
            b"event: content_block_delta\ndata: {\n\n",
        ),
    ],
)
def test_an_event_that_is_not_of_the_protocol_is_malformed_and_keeps_the_ones_before(
    protocol: str, good: bytes, bad: bytes
) -> None:
    seen = seen_of(UNTIL_CLOSED, good, good, bad, good, protocol=protocol)
    assert (seen.outcome, content(seen)) == (Outcome.MALFORMED, 2)
    assert seen.detail


@pytest.mark.parametrize(
    ("protocol", "event"),
    [
        ("plain_sse", b'data: {"error": "overloaded"}\n\n'),
        ("openai_chat", b'data: {"error": {"message": "overloaded"}}\n\n'),
        ("anthropic_messages", b'data: {"type": "error", "error": {"message": "overloaded"}}\n\n'),
    ],
)
def test_an_error_inside_a_200_is_a_server_error(protocol: str, event: bytes) -> None:
    seen = seen_of(CHUNKED + chunk(event) + LAST, protocol=protocol)
    assert (seen.outcome, seen.http_status, seen.detail) == (Outcome.SERVER_ERROR, 200, "overloaded")


def test_an_error_after_content_keeps_the_content() -> None:
    seen = seen_of(UNTIL_CLOSED, tokens(3), b'data: {"error": "overloaded"}\n\n', tokens(3))
    assert (seen.outcome, content(seen)) == (Outcome.SERVER_ERROR, 3)


# Odd, but right


@pytest.mark.parametrize("protocol", ["plain_sse", "openai_chat", "anthropic_messages"])
def test_a_terminal_event_completes_a_stream_whose_http_message_stays_open(protocol: str) -> None:
    end = {
        "plain_sse": token(1) + DONE,
        "openai_chat": b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n' + DONE,
        "anthropic_messages": b'event: content_block_start\ndata: {"content_block": {"type": "text", "text": "a"}}\n\n'
        b'data: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}\n\n'
        b'data: {"type": "message_stop"}\n\n',
    }[protocol]
    with scripted(held(CHUNKED, chunk(end)), asked(CHUNKED + chunk(end) + LAST)) as server:
        person = client(server.url, protocol=protocol, timeouts={"idle": "1000s"})
        seen = ask(person)
        assert seen.outcome is Outcome.COMPLETED
        assert server.result() == "fin"  # at once, not after the idle timeout: the script gives up before it
        assert ask(person).connected_at is not None  # and such a connection is not used again
        person.close()


def test_a_stream_that_stays_open_ends_at_its_terminal_event() -> None:
    with scripted(held(CHUNKED, chunk(GOOD))) as server:
        seen = observe(server.url)
    # Not when the client had made sure of it, 0.2 s later. Times are kept to the microsecond.
    assert seen.ended_at - seen.chunks[-1].at <= (seen.read_lag_max or 0) + 1_000


def test_a_report_that_ends_a_plain_stream_completes_it_though_it_stays_open() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)), chunk(b'data: {"done": true, "output_tokens": 3}\n\n'))) as server:
        seen = observe(server.url, timeouts={"idle": "1000s"})
        assert server.result() == "fin"
    assert (seen.outcome, seen.output_tokens) == (Outcome.COMPLETED, 3)
    assert seen.ended_at - seen.due_at < 1_000_000_000_000


def test_a_text_that_quotes_the_terminal_event_does_not_end_the_stream() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(b"data: [DONE] is how it ends\n\n"))
        time.sleep(0.3)  # longer than the client waits before it checks
        peer.send(chunk(GOOD) + LAST)

    with scripted(script) as server:
        seen = observe(server.url)
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 4)


def test_one_byte_a_segment_is_slow_but_right() -> None:
    answer = CHUNKED + b"".join(chunk(token(number)) for number in range(5)) + chunk(DONE)
    with scripted(held(*(answer[at : at + 1] for at in range(len(answer))))) as server:
        seen = observe(server.url, timeouts={"idle": "1000s"})
        assert server.result() == "fin"
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 5)


def test_64_kilobytes_in_one_segment_are_one_or_a_few_reads_of_many_chunks() -> None:
    body = tokens(5_000)[:65_000].rpartition(b"\n\n")[0] + b"\n\n"
    seen = seen_of(CHUNKED + chunk(body + DONE) + LAST)
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, body.count(b"\n\n"))
    assert seen.reads < 20
    assert 0 < seen.coalesced_reads <= seen.reads


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard_is_understood(end: bytes) -> None:
    body = b"\xef\xbb\xbf" + GOOD.replace(b"\n", end)
    seen = seen_of(UNTIL_CLOSED, *(body[at : at + 7] for at in range(0, len(body), 7)))
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n" * 3])
def test_interim_answers_are_ignored(interim: bytes) -> None:
    seen = seen_of(interim + CHUNKED + chunk(GOOD) + LAST)
    assert (seen.outcome, content(seen), seen.http_status) == (Outcome.COMPLETED, 3, 200)


def test_a_second_answer_after_the_first_is_ignored_and_the_connection_is_not_used_again() -> None:
    second = b"HTTP/1.1 500 Sorry\r\ncontent-length: 4\r\n\r\noops"
    with scripted(held(CHUNKED + chunk(GOOD) + LAST + second), asked(CHUNKED + chunk(GOOD) + LAST)) as server:
        person = client(server.url)
        seen = ask(person)
        assert (seen.outcome, seen.http_status, content(seen)) == (Outcome.COMPLETED, 200, 3)
        assert ask(person).connected_at is not None
        person.close()


# What the server says


def test_a_secret_that_the_server_repeats_is_masked_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sk-gauge-0123456789abcdef")
    headers = {"authorization": "Bearer ${KEY}"}
    filler = b"x" * 280

    def script(peer: Peer) -> None:
        request = peer.request()
        key = next(line[22:] for line in request.split(b"\r\n") if line.startswith(b"authorization: Bearer "))
        assert key == b"sk-gauge-0123456789abcdef"
        said = b"wrong key: %b; %b %b" % (key, filler, key)
        peer.send(b"HTTP/1.1 401 No\r\nrequest-id: %b\r\nconnection: close\r\n\r\n%b" % (key, said))

    with scripted(script) as server:
        seen = observe(server.url, headers=headers)
    assert seen.outcome is Outcome.REFUSED
    assert seen.detail.startswith("HTTP 401: wrong key: …; xxx")
    assert len(seen.detail) <= 300
    assert "sk-gauge" not in repr(seen)  # in no field, and not in part


@pytest.mark.parametrize("before", [0, 20, 40, 280, 285, 290])
def test_a_secret_is_masked_in_errors_wherever_they_are_cut(before: int) -> None:
    secret = "sk-gauge-0123456789abcdef"
    for said in (b'data: {"error": "%b%b"}\n\n', b'data: {"choices": %b%b}\n\n'):
        event = said % (b"x" * before, secret.encode())
        seen = seen_of(UNTIL_CLOSED + event, protocol="openai_chat", headers={"x-api-key": secret})
        assert seen.outcome in {Outcome.SERVER_ERROR, Outcome.MALFORMED}
        assert "sk-gauge" not in repr(seen)


def test_a_servers_error_text_is_recorded_as_one_printable_line() -> None:
    said = "\x1b[31mred\x07\r\nnew line\tand\u202etfel ot thgir\u2028 \u200b\x85end".encode()
    seen = seen_of(b"HTTP/1.1 500 Sorry\r\nconnection: close\r\n\r\n" + said)
    assert seen.detail == "HTTP 500: [31mred new line and tfel ot thgir end"
    assert seen.detail.isprintable()
