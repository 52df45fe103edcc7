"""Answers in one piece, beside those that stream: one chunk, and every way in which they can go wrong."""

import gzip
import json
import time
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive import clients, network
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.hostile import CHUNKED, IDENTITY, LAST, asked, chunk, content, held, scripted, target
from tests.support.reference import ReferenceServer, reference_server

PROMPT = Prompt((("user", "Hello?"),), streamed=False)
PROTOCOLS = ["anthropic_messages", "openai_chat", "openai_responses", "plain_sse"]
GOOD = json.dumps({"text": "Grüße", "output_tokens": 2, "stop_reason": "end_turn"}).encode()


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--ttft", "50ms", "--itl", "5ms", "--tokens", "30") as running:
        yield running


def fetch(
    url: str, wanted: Target, client: str = "wire", link: str = "direct", plan: Plan | None = None
) -> StreamObservation:
    person = clients.find(client)(Site.of(url, wanted, RunClock.starting_at(time.time_ns())))
    try:
        road = network.Link(network.find(link), 1)
        return person.stream(Question(PROMPT, plan or Plan(), road, time.monotonic_ns(), IDENTITY)).observation
    finally:
        person.close()


def said(body: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, length, body)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_whole_answer_is_one_chunk_when_all_of_it_is_there(server: ReferenceServer, protocol: ProtocolName) -> None:
    seen = fetch(server.url, Target(protocol=protocol))
    assert (seen.outcome, seen.http_status, seen.detail, seen.oddities) == (Outcome.COMPLETED, 200, "", {})
    assert content(seen) == 1
    assert seen.characters > 60
    assert seen.output_tokens == 30
    assert seen.first_content_at == seen.first_text_at == seen.last_content_at
    assert seen.first_content_at is not None
    assert seen.headers_at is not None
    assert seen.headers_at <= seen.first_content_at <= seen.ended_at
    assert seen.first_content_at - seen.due_at >= 50_000_000 + 29 * 5_000_000, "no sooner than the last token"
    assert seen.chunks[0].size == seen.body_bytes


@pytest.mark.parametrize("client", ["httpx", "anthropic"])
def test_a_library_hands_the_whole_answer_on_at_once(server: ReferenceServer, client: str) -> None:
    seen = fetch(server.url, Target(), client)
    assert (seen.outcome, seen.content_chunks) == (Outcome.COMPLETED, 1)
    (chunk,) = seen.chunks
    assert chunk.handed_at is not None
    assert chunk.handed_at >= chunk.perceived_at


def test_it_is_asked_for_as_a_document() -> None:
    def script(peer: Any) -> bytes:
        request: bytes = peer.request()
        peer.send(said(GOOD))
        return request

    with scripted(script) as peers:
        seen = fetch(peers.url, target())
        request = peers.result()
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"accept: application/json" in head
    assert b"event-stream" not in head
    assert json.loads(body)["stream"] is False
    assert (seen.outcome, seen.characters, seen.output_tokens, seen.stop_reason) == ("completed", 5, 2, "end_turn")


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        (said(b'{"error": {"message": "Overloaded"}}', b"529 Busy"), Outcome.REFUSED, "HTTP 529"),
        (said(b'{"error": {"type": "too_busy", "message": "later"}}'), Outcome.SERVER_ERROR, "too_busy: later"),
        (said(b"<html>"), Outcome.MALFORMED, "not plain_sse"),
        (said(b""), Outcome.TRUNCATED, "HTTP 200 without a body"),
        (said(GOOD, length=1_000), Outcome.TRUNCATED, "74 bytes of the 1000 that were promised"),
        (CHUNKED + chunk(GOOD[:20]), Outcome.TRUNCATED, "closed in mid-answer, before the HTTP message's end"),
    ],
)  # fmt: skip
def test_what_goes_wrong_has_the_outcome_of_a_stream(answer: bytes, outcome: Outcome, detail: str) -> None:
    with scripted(asked(answer)) as peers:
        seen = fetch(peers.url, target())
    assert seen.outcome is outcome
    assert detail in seen.detail
    assert (seen.content_chunks, seen.first_content_at) == (0, None)


@pytest.mark.parametrize("client", ["wire", "httpx"])
@pytest.mark.parametrize("protocol", ["custom", "ollama", "gemini", "ai_sdk", "ag_ui", *PROTOCOLS])
def test_a_whole_answer_without_a_body_is_no_fault_of_ours(protocol: ProtocolName, client: str) -> None:
    events = {"events": {"text": "t", "end": "close"}} if protocol == "custom" else {}
    wanted = msgspec.convert({"protocol": protocol, "model": "m", "path": "/", **events}, Target)
    with scripted(asked(said(b""))) as peers:
        seen = fetch(peers.url, wanted, client)
    assert (seen.outcome, seen.detail) == (Outcome.TRUNCATED, "HTTP 200 without a body")


@pytest.mark.parametrize("client", ["wire", "httpx"])
def test_raw_text_that_was_cut_off_is_not_whole(client: str) -> None:
    wanted = msgspec.convert({"protocol": "custom", "path": "/", "end": "close", "events": {"framing": "text"}}, Target)
    with scripted(asked(CHUNKED + chunk(b"Hello, I am"))) as peers:
        seen = fetch(peers.url, wanted, client)
    assert seen.outcome is Outcome.TRUNCATED


def test_a_compressed_answer_may_be_shorter_than_it_was_on_the_wire() -> None:
    small = gzip.compress(b'{"text": "Hi"}')
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(small)
    with scripted(asked(head + small)) as peers:
        seen = fetch(peers.url, target())
    assert (seen.outcome, seen.detail, seen.characters) == (Outcome.COMPLETED, "", 2)


def test_a_compressed_answer_that_was_cut_off_is_truncated() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1000\r\n\r\n"
    with scripted(asked(head + gzip.compress(GOOD)[:30])) as peers:
        seen = fetch(peers.url, target())
    assert seen.outcome is Outcome.TRUNCATED
    assert seen.detail == "the connection was closed in mid-answer, before the HTTP message's end"


GZIP = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"


def flushed(text: bytes) -> bytes:
    """The beginning of a gzip body, from which all of this text can be read."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("head", [GZIP, CHUNKED], ids=["compressed", "as it is"])
def test_an_answer_that_is_reset_is_so_whether_it_is_compressed_or_not(head: bytes) -> None:
    def script(peer: Any) -> None:
        peer.request()
        peer.send(head + chunk(flushed(GOOD[:20]) if head is GZIP else GOOD[:20]))
        peer.until_read()
        peer.reset()

    with scripted(script) as peers:
        seen = fetch(peers.url, target())
    assert seen.outcome is Outcome.RESET, seen.detail


@pytest.mark.parametrize("head", [GZIP, CHUNKED], ids=["compressed", "as it is"])
def test_an_answer_that_takes_too_long_is_timed_out_whether_it_is_compressed_or_not(head: bytes) -> None:
    body = flushed(GOOD[:20]) if head is GZIP else GOOD[:20]
    with scripted(held(head + chunk(body))) as peers:
        seen = fetch(peers.url, target({"total": "400ms"}))
    assert seen.outcome is Outcome.TIMED_OUT, seen.detail


@pytest.mark.parametrize("head", [GZIP, CHUNKED], ids=["compressed", "as it is"])
def test_an_answer_has_the_same_limit_whether_it_is_compressed_or_not(head: bytes) -> None:
    large = json.dumps({"text": "x" * 1_100_000}).encode()
    with scripted(asked(head + chunk(gzip.compress(large) if head is GZIP else large) + LAST)) as peers:
        seen = fetch(peers.url, target())
    assert seen.outcome is Outcome.MALFORMED
    assert "the limit is" in seen.detail or "an event of more than" in seen.detail, seen.detail


def test_only_the_total_timeout_ends_the_wait_for_a_whole_answer() -> None:
    with scripted(held(said(b"", length=10))) as peers:
        seen = fetch(peers.url, target({"first_token": "50ms", "idle": "60ms", "total": "400ms"}))
    assert seen.outcome is Outcome.TIMED_OUT
    assert seen.detail == "total: it was not over after 0.4 s"


def test_who_does_not_wait_for_it_has_nothing() -> None:
    with scripted(held()) as peers:
        seen = fetch(peers.url, target(), plan=Plan(patience=100_000_000))
    assert (seen.outcome, seen.detail) == (Outcome.CANCELLED, "left after 0.1 s without content, as planned")


def test_a_slow_link_brings_it_later(server: ReferenceServer) -> None:
    seen = fetch(server.url, Target(), link="slow_4g")
    assert seen.first_content_at is not None
    assert seen.first_content_wire_at is not None
    assert seen.first_content_at - seen.first_content_wire_at >= 75_000_000, "half of the link's round trip"
