"""The AI SDK's own client in Node reads the dialect and the corpus, and judges each end of an answer as we do."""

from collections.abc import Iterator
from typing import Any

import pytest

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.record.observation import Outcome
from tests.support import node_client
from tests.support.corpus import streams
from tests.support.hostile import Peer, Server, scripted
from tests.support.reference import ReferenceServer
from tests.support.stacks import observe

STREAMS = {
    stream.name: stream
    for stream in streams()
    if stream.target.protocol == "ai_sdk" and "leaves_after" not in stream.table
}
ENDS = {  # the fault, our outcome, and how the client's stream ends
    "": (Outcome.COMPLETED, "finish"),
    "error@5": (Outcome.SERVER_ERROR, "error"),
    "cut@5": (Outcome.TRUNCATED, "cut"),
    "close@5": (Outcome.TRUNCATED, "cut"),
    "reset@5": (Outcome.RESET, "cut"),
    "http_429": (Outcome.REFUSED, "cut"),
    "buffer:1000": (Outcome.COMPLETED, "finish"),
    "crlf": (Outcome.COMPLETED, "finish"),
}
ALIKE = {  # how the client's stream may end, by our outcome
    "completed": {"finish"},
    "server_error": {"error", "abort"},
    "truncated": {"cut"},
    "refused": {"cut"},
    "empty": {"finish"},
}


@pytest.fixture(scope="module")
def corpus() -> Iterator[Server]:
    def serve(peer: Peer) -> None:
        stream = STREAMS["/".join(peer.path().split("/")[1:3])]
        peer.send(*stream.wire())
        if stream.sent.get("then") == "silence":
            peer.until_gone()

    with scripted(serve) as running:
        yield running


@pytest.fixture(scope="module")
def found(server: ReferenceServer, corpus: Server) -> dict[str, Any]:
    """What the client made of each answer, by fault or by the name of the stream: one process for all of them."""
    asked = {fault: (f"{server.url}/api/chat", {"x-gauge-fault": fault} if fault else {}) for fault in ENDS}
    asked |= {name: (f"{corpus.url}/{name}/chat", {"connection": "close"}) for name in STREAMS}
    answers = node_client.read([{"url": url, "headers": headers} for url, headers in asked.values()])
    return dict(zip(asked, answers, strict=True))


def test_the_client_puts_the_message_together(found: dict[str, Any], server: ReferenceServer) -> None:
    seen = found[""]
    assert seen["types"][:3] == ["start", "start-step", "text-start"]
    assert seen["types"].count("text-delta") == 40
    (part,) = [part for part in seen["message"]["parts"] if part["type"] == "text"]
    assert (part["state"], len(part["text"]) > 60) == ("done", True)
    assert seen["message"]["metadata"]["usage"]["outputTokens"] == 40
    ours = observe("wire", server.url, protocol="ai_sdk")
    assert (ours.content_chunks, ours.output_tokens, ours.stop_reason) == (40, 40, "stop")


@pytest.mark.parametrize("fault", ENDS)
def test_both_judge_each_end_alike(found: dict[str, Any], server: ReferenceServer, fault: str) -> None:
    outcome, end = ENDS[fault]
    assert found[fault]["end"] == end, found[fault]
    assert (found[fault]["raised"] is not None) == (fault in {"close@5", "reset@5", "http_429"})
    headers = {"x-gauge-fault": fault} if fault else {}
    for stack in ("wire", "httpx"):
        assert observe(stack, server.url, protocol="ai_sdk", headers=headers).outcome is outcome


@pytest.mark.parametrize("name", STREAMS)
def test_the_client_does_not_contradict_what_the_corpus_says(found: dict[str, Any], name: str) -> None:
    stream, seen = STREAMS[name], found[name]
    if "although" not in stream.table:
        assert seen["end"] in ALIKE[stream.reading["outcome"]], seen
    thinking, text = seen["types"].count("reasoning-delta"), seen["types"].count("text-delta")
    assert (thinking, text) == (stream.reading.get("thinking", 0), stream.reading.get("text", 0))


def test_a_person_who_leaves_has_what_came_before(server: ReferenceServer) -> None:
    seen = observe("wire", server.url, Plan(leave_after_chunks=3), protocol="ai_sdk", headers={"x-gauge-itl": "100ms"})
    assert seen.outcome is Outcome.CANCELLED
    assert 3 <= seen.content_chunks < 40
    assert seen.first_content_at is not None
    assert seen.first_content_at >= seen.due_at
