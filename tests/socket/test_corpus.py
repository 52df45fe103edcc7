"""The corpus of other people's streams over real sockets: our clients read each as its file says, and the official SDK
reads the same bytes beside them.

What the SDK reads to the end with content is never MALFORMED for us. Where it raises, ours is never COMPLETED, unless
the file says why (`although`).

A test reads all streams of a protocol side by side, since some are silent for a second, and names all that differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from gevent.pool import Pool
from msgspec.structs import replace

from streamgauge.harness.config.schema import Events
from streamgauge.harness.drive import clients, network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.protocols.protocol import COUNTS
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.arrivals import Kind
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.command import PATIENCE
from tests.support.corpus import Stream, streams
from tests.support.hostile import IDENTITY, Peer, Server, observe, scripted, target
from tests.support.late import Late
from tests.support.reading import expected, lacking

if TYPE_CHECKING:
    import anthropic
    import openai
else:
    anthropic, openai = Late("anthropic"), Late("openai")

STREAMS = {stream.name: stream for stream in streams()}
PROTOCOLS = sorted({stream.target.protocol for stream in STREAMS.values()})
TEXT = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
CLOSE = {"connection": "close"}  # the server closes: the SDK must not ask again on such a connection
SOON = 120_000_000_000  # ns; our own timeouts are longer
AT_ONCE = 8  # few, so that none waits long for the others to be read


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for all streams: the first two words of the path say which."""
    with scripted(serve) as running:
        yield running


def serve(peer: Peer) -> None:
    stream = STREAMS["/".join(peer.path().split("/")[1:3])]
    peer.send(*stream.wire())
    if stream.sent.get("then") == "silence":
        peer.until_gone()
    if stream.sent.get("then") == "reset":
        peer.until_read()  # a reset throws away what the client has not read
        peer.reset()


def ask(name: str, server: Server, stream: Stream) -> StreamObservation:
    site = Site.of(
        f"{server.url}/{stream.name}",
        replace(stream.target, timeouts=target().timeouts),
        RunClock.starting_at(time.time_ns()),
    )
    plan = Plan(leave_after_chunks=stream.table.get("leaves_after"))
    client = clients.find(name)(site)
    try:
        link = network.Link(network.find("direct"), 1)
        return client.stream(Question(prompts.ask("Hello?"), plan, link, time.monotonic_ns(), IDENTITY)).observation
    finally:
        client.close()


def differing(client: str, server: Server, protocol: str) -> dict[str, dict[str, Any]]:
    """The streams of this protocol of which the client observes something else than the file says, and what."""

    def compare(stream: Stream) -> dict[str, Any]:
        try:
            return differences(ask(client, server, stream), expected(stream, client))
        except Exception as fault:  # noqa: BLE001 - named with its stream, beside the others
            return {"raised": repr(fault)}

    chosen = of(protocol)
    found = Pool(AT_ONCE).map(compare, chosen)
    return {stream.name: each for stream, each in zip(chosen, found, strict=True) if each}


def of(protocol: str) -> list[Stream]:
    return [stream for stream in STREAMS.values() if stream.target.protocol == protocol]


def differences(seen: StreamObservation, wanted: dict[str, Any]) -> dict[str, Any]:
    """By fact: what the client observed, and what the file says."""
    kinds = (Kind.TEXT, Kind.THINKING, Kind.TOOL)
    facts: dict[str, Any] = {kind.value: sum(chunk.kind is kind for chunk in seen.chunks) for kind in kinds}
    facts |= {"outcome": seen.outcome.value, "characters": sum(chunk.characters for chunk in seen.chunks)}
    facts |= {fact: getattr(seen, fact) for fact in ("stop_reason", *COUNTS)}
    found: dict[str, Any] = {fact: (facts[fact], wanted[fact]) for fact in facts if facts[fact] != wanted[fact]}
    if found or lacking(wanted["detail"], seen.detail):
        found["detail"] = seen.detail, wanted["detail"]
    if seen.ended_at - seen.due_at >= SOON:
        found["seconds"] = (seen.ended_at - seen.due_at) / 1e9, "soon"
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.usefixtures("reader")
def test_wire_reads_each_stream_as_its_file_says(protocol: str, server: Server) -> None:
    assert differing("wire", server, protocol) == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_httpx_reads_each_stream_as_its_file_says(protocol: str, server: Server) -> None:
    assert differing("httpx", server, protocol) == {}


def test_anthropics_sdk_as_a_client_reads_each_stream_as_its_file_says(server: Server) -> None:
    assert differing("anthropic", server, "anthropic_messages") == {}


@pytest.mark.usefixtures("reader")
def test_of_raw_text_each_read_is_a_chunk_even_if_it_ends_inside_a_character() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        for piece in (TEXT, b"Gr\xc3", b"\xbc\xc3\x9fe", b", friend"):
            peer.send(piece)
            peer.until_read()  # so that each is a read of its own

    with scripted(script) as server:
        seen = observe(server.url, protocol="custom", end="close", events=Events(framing="text"))
    assert (seen.outcome, seen.detail) == (Outcome.COMPLETED, "")
    assert [(chunk.kind, chunk.characters, chunk.size) for chunk in seen.chunks] == [
        (Kind.TEXT, 2, 3),
        (Kind.TEXT, 3, 4),
        (Kind.TEXT, 8, 8),
    ]


@pytest.fixture(scope="module")
def openai_sdk() -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", max_retries=0, default_headers=CLOSE) as sdk:
        yield sdk


def test_the_outcome_does_not_contradict_the_openai_sdk_reading_chat_completions(
    server: Server, openai_sdk: openai.OpenAI
) -> None:
    assert contradicting("openai_chat", lambda stream: read_openai(openai_sdk, server, stream)) == {}


def test_the_outcome_does_not_contradict_the_openai_sdk_reading_responses(
    server: Server, openai_sdk: openai.OpenAI
) -> None:
    assert contradicting("openai_responses", lambda stream: read_responses(openai_sdk, server, stream)) == {}


def test_the_outcome_does_not_contradict_the_anthropic_sdk(server: Server) -> None:
    with anthropic.Anthropic(api_key="none", max_retries=0, default_headers=CLOSE) as sdk:
        assert contradicting("anthropic_messages", lambda stream: read_anthropic(sdk, server, stream)) == {}


def contradicting(protocol: str, read: Callable[[Stream], tuple[int, str | None]]) -> dict[str, str]:
    """The streams of this protocol whose outcome is not what the SDK makes of them, and why."""
    chosen = [stream for stream in of(protocol) if "leaves_after" not in stream.table]
    assert chosen
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = threads.map(lambda stream: contradiction(stream, *read(stream)), chosen)
        return {stream.name: each for stream, each in zip(chosen, found, strict=True) if each}


def contradiction(stream: Stream, characters: int, fault: str | None) -> str | None:
    outcome, although = stream.reading["outcome"], stream.table.get("although")
    read = f"{outcome}, though the SDK read {characters} characters"
    if fault is not None:
        return f"{read} and then raised {fault}" if although is None and outcome == "completed" else None
    good = outcome != "malformed" if although else outcome in {"completed", "server_error"}
    return None if good or not characters else f"{read} to the end"


def patience(stream: Stream) -> float:
    """How long the SDK waits for the next byte, in seconds: on a busy machine it may come late, if it comes."""
    return 5 if stream.sent.get("then") == "silence" else PATIENCE


def length(text: Any) -> int:
    """What the SDK hands on may be of any type: an application that minds has its own errors, not the SDK's."""
    return len(text) if isinstance(text, str) else 0


def read_openai(sdk: openai.OpenAI, server: Server, stream: Stream) -> tuple[int, str | None]:
    """The characters that an application gets from the openai package, and what it raised."""
    characters, sdk = 0, sdk.with_options(base_url=f"{server.url}/{stream.name}/v1", timeout=patience(stream))
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


def read_responses(sdk: openai.OpenAI, server: Server, stream: Stream) -> tuple[int, str | None]:
    """The characters that an application gets from the openai package, and what it raised or reported as a failure."""
    characters, end = 0, None
    sdk = sdk.with_options(base_url=f"{server.url}/{stream.name}/v1", timeout=patience(stream))
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


def read_anthropic(sdk: anthropic.Anthropic, server: Server, stream: Stream) -> tuple[int, str | None]:
    """The characters that an application gets from the anthropic package, and what it raised."""
    characters, sdk = 0, sdk.with_options(base_url=f"{server.url}/{stream.name}", timeout=patience(stream))
    ask: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello?"}], "stream": True}
    try:
        for event in sdk.messages.create(**ask):
            if event.type == "content_block_delta":
                characters += length(getattr(event.delta, "text", None))
    except Exception as fault:  # noqa: BLE001 - whatever it raises ends the application's answer
        return characters, f"{type(fault).__name__}: {fault}"
    return characters, None
