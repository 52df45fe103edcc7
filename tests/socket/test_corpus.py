"""The corpus of other people's streams over real sockets: our clients read each as its file says, and the official SDK
reads the same bytes beside them.

What the SDK reads to the end with content is never MALFORMED for us. Where it raises, ours is never COMPLETED, unless
the file says why (`although`).
"""

import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import anthropic
import openai
import pytest

from streamgauge.harness.config.schema import Events
from streamgauge.harness.drive import clients, network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.protocols.protocol import COUNTS
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.arrivals import Kind
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.corpus import Stream, streams
from tests.support.hostile import IDENTITY, Peer, Server, observe, scripted
from tests.support.reading import expected, lacking

STREAMS = {stream.name: stream for stream in streams()}
OPENAI = [name for name, stream in STREAMS.items() if stream.target.protocol == "openai_chat"]
RESPONSES = [name for name, stream in STREAMS.items() if stream.target.protocol == "openai_responses"]
ANTHROPIC = [name for name, stream in STREAMS.items() if stream.target.protocol == "anthropic_messages"]
TEXT = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
CLOSE = {"connection": "close"}  # the server closes: the SDK must not ask again on such a connection
SOON = 5_000_000_000  # ns; our own timeouts are six times as long


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for all streams: the first two words of the path say which."""
    with scripted(serve) as running:
        yield running


def serve(peer: Peer) -> None:
    stream = STREAMS["/".join(peer.request().split()[1].decode().split("/")[1:3])]
    peer.send(*stream.wire())
    if stream.sent.get("then") == "silence":
        peer.until_gone()
    if stream.sent.get("then") == "reset":
        time.sleep(0.1)  # until the client has read: a reset throws away what it has not
        peer.reset()


def ask(name: str, server: Server, stream: Stream) -> StreamObservation:
    site = Site.of(f"{server.url}/{stream.name}", stream.target, RunClock.starting_at(time.time_ns()))
    plan = Plan(leave_after_chunks=stream.table.get("leaves_after"))
    client = clients.find(name)(site)
    try:
        link = network.Link(network.find("direct"), 1)
        return client.stream(Question(prompts.ask("Hello?"), plan, link, time.monotonic_ns(), IDENTITY)).observation
    finally:
        client.close()


def check(name: str, client: str, server: Server) -> None:
    """What this client observes is what the file says."""
    stream = STREAMS[name]
    seen, wanted = ask(client, server, stream), expected(stream, client)
    counts = {kind.value: sum(chunk.kind is kind for chunk in seen.chunks) for kind in Kind}
    facts = {"outcome": seen.outcome.value, **{kind: counts[kind] for kind in ("text", "thinking", "tool")}}
    facts["characters"] = sum(chunk.characters for chunk in seen.chunks)
    facts |= {fact: getattr(seen, fact) for fact in ("stop_reason", *COUNTS)}
    assert facts == {fact: wanted[fact] for fact in facts}, seen.detail
    assert lacking(wanted["detail"], seen.detail) == [], seen.detail
    assert seen.ended_at - seen.due_at < SOON


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.usefixtures("reader")
def test_wire_reads_each_stream_as_its_file_says(name: str, server: Server) -> None:
    check(name, "wire", server)


@pytest.mark.parametrize("name", STREAMS)
def test_httpx_reads_each_stream_as_its_file_says(name: str, server: Server) -> None:
    check(name, "httpx", server)


@pytest.mark.parametrize("name", ANTHROPIC)
def test_anthropics_sdk_as_a_client_reads_each_stream_as_its_file_says(name: str, server: Server) -> None:
    check(name, "anthropic", server)


@pytest.mark.usefixtures("reader")
def test_of_raw_text_each_read_is_a_chunk_even_if_it_ends_inside_a_character() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        for piece in (TEXT, b"Gr\xc3", b"\xbc\xc3\x9fe", b", friend"):
            peer.send(piece)
            time.sleep(0.2)  # so that each is a read of its own

    with scripted(script) as server:
        seen = observe(server.url, protocol="custom", end="close", events=Events(framing="text"))
    assert (seen.outcome, seen.detail) == (Outcome.COMPLETED, "")
    assert [(chunk.kind, chunk.characters, chunk.size) for chunk in seen.chunks] == [
        (Kind.TEXT, 2, 3),
        (Kind.TEXT, 3, 4),
        (Kind.TEXT, 8, 8),
    ]


@pytest.mark.parametrize("name", [*OPENAI, *RESPONSES, *ANTHROPIC])
def test_the_outcome_does_not_contradict_the_official_sdk(name: str, server: Server) -> None:
    stream = STREAMS[name]
    if "leaves_after" in stream.table:
        pytest.skip("the person leaves")
    outcome, although = stream.reading["outcome"], stream.table.get("although")
    read = {"openai_chat": read_openai, "openai_responses": read_responses, "anthropic_messages": read_anthropic}
    characters, fault = read[stream.target.protocol](server, stream)
    if fault is None and characters and although is None:
        assert outcome in {"completed", "server_error"}
    if fault is None and characters:
        assert outcome != "malformed"
    if fault is not None and although is None:
        assert outcome != "completed", fault


def length(text: Any) -> int:
    """What the SDK hands on may be of any type: an application that minds has its own errors, not the SDK's."""
    return len(text) if isinstance(text, str) else 0


def read_openai(server: Server, stream: Stream) -> tuple[int, str | None]:
    """The characters that an application gets from the openai package, and what it raised."""
    characters, sdk = 0, openai_sdk().with_options(base_url=f"{server.url}/{stream.name}/v1")
    ask: Any = {"model": "m", "stream": True}
    try:
        if stream.target.path == "/v1/completions":
            for completion in sdk.completions.create(**ask, prompt="Hello?"):
                characters += sum(length(choice.text) for choice in completion.choices)
            return characters, None
        for chunk in sdk.chat.completions.create(**ask, messages=[{"role": "user", "content": "Hello?"}]):
            for choice in getattr(chunk, "choices", None) or ():
                characters += length(getattr(getattr(choice, "delta", None), "content", None))
    except Exception as fault:  # noqa: BLE001 - whatever it raises ends the application's answer
        return characters, f"{type(fault).__name__}: {fault}"
    return characters, None


def read_responses(server: Server, stream: Stream) -> tuple[int, str | None]:
    """The characters that an application gets from the openai package, and what it raised or reported as a failure."""
    characters, end, sdk = 0, None, openai_sdk().with_options(base_url=f"{server.url}/{stream.name}/v1")
    try:
        for event in sdk.responses.create(model="m", input="Hello?", stream=True):
            if event.type in {"response.output_text.delta", "response.refusal.delta"}:
                characters += length(getattr(event, "delta", None))
            if event.type in {"error", "response.failed"}:
                return characters, f"an event {event.type}"
            if event.type in {"response.completed", "response.incomplete"}:
                end = event.response.status
    except Exception as fault:  # noqa: BLE001 - whatever it raises ends the application's answer
        return characters, f"{type(fault).__name__}: {fault}"
    reasons = {None: "no terminal event", "cancelled": "cancelled", "failed": "failed"}
    return characters, reasons.get(end)


def read_anthropic(server: Server, stream: Stream) -> tuple[int, str | None]:
    """The characters that an application gets from the anthropic package, and what it raised."""
    characters, sdk = 0, anthropic_sdk().with_options(base_url=f"{server.url}/{stream.name}")
    ask: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello?"}], "stream": True}
    try:
        for event in sdk.messages.create(**ask):
            if event.type == "content_block_delta":
                characters += length(getattr(event.delta, "text", None))
    except Exception as fault:  # noqa: BLE001 - whatever it raises ends the application's answer
        return characters, f"{type(fault).__name__}: {fault}"
    return characters, None


@cache
def openai_sdk() -> openai.OpenAI:
    return openai.OpenAI(api_key="none", max_retries=0, timeout=0.3, default_headers=CLOSE)


@cache
def anthropic_sdk() -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="none", max_retries=0, timeout=0.3, default_headers=CLOSE)
