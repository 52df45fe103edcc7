"""The dialects whose protocols are tables, over a socket: what our clients record of them, and what is their own."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from streamgauge.harness.config.schema import Request
from streamgauge.harness.drive import clients, network
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.arrivals import Kind
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.hostile import IDENTITY, content, target
from tests.support.reference import ReferenceServer, reference_server

PROMPT = Prompt((("user", "How deep?"), ("assistant", "Deep."), ("user", "And now?")), system="Be brief.")
THINKS = {"ollama": {"think": True}, "gemini": {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}}
QUESTIONS: dict[str, dict[str, Any]] = {
    "/api/chat": {"model": "m", "messages": [{"role": "user", "content": "?"}]},
    "/v1beta/models/m:streamGenerateContent?alt=sse": {"contents": [{"parts": [{"text": "?"}]}]},
}
each_path = pytest.mark.parametrize("path", QUESTIONS, ids=["ollama", "gemini"])
pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--ttft", "30ms", "--itl", "2ms", "--tokens", "20") as running:
        yield running


def ask(
    server: ReferenceServer, client: str, protocol: str, prompt: Prompt, plan: Plan | None = None, **settings: Any
) -> StreamObservation:
    site = Site.of(server.url, target(protocol=protocol, **settings), RunClock.starting_at(time.time_ns()))
    person = clients.find(client)(site)
    try:
        link = network.Link(network.find("direct"), 1)
        return person.stream(Question(prompt, plan or Plan(), link, time.monotonic_ns(), IDENTITY)).observation
    finally:
        person.close()


def kinds(seen: StreamObservation) -> set[Kind]:
    return {chunk.kind for chunk in seen.chunks}


@pytest.mark.parametrize("client", ["wire", "httpx"])
@pytest.mark.parametrize("protocol", ["ollama", "gemini"])
def test_our_clients_record_what_the_server_did(server: ReferenceServer, protocol: str, client: str) -> None:
    seen = ask(server, client, protocol, PROMPT)
    (row,) = (row for row in server.truth() if row["id"] == seen.request_id)
    assert (seen.outcome, seen.detail, seen.oddities) == (Outcome.COMPLETED, "", {})
    assert (content(seen), seen.output_tokens, row["tokens"], len(row["sent"])) == (20, 20, 20, 20)
    assert seen.stop_reason in {"stop", "STOP"}
    assert seen.input_tokens
    assert seen.first_content_at is not None
    assert seen.first_content_at - seen.due_at >= 30_000_000

    whole = ask(server, client, protocol, Prompt(PROMPT.messages, PROMPT.system, streamed=False))
    assert (whole.outcome, content(whole), whole.characters) == (Outcome.COMPLETED, 1, seen.characters)
    assert (whole.input_tokens, whole.output_tokens) == (seen.input_tokens, 20)

    thought = ask(server, client, protocol, PROMPT, body=THINKS[protocol], headers={"x-gauge-thinking": "5"})
    assert (thought.outcome, content(thought), thought.output_tokens) == (Outcome.COMPLETED, 25, 25)
    assert kinds(thought) >= {Kind.THINKING, Kind.TEXT}

    tool = ask(server, client, protocol, Prompt(PROMPT.messages, tools=("look",)))
    assert tool.outcome is Outcome.COMPLETED
    assert kinds(tool) >= {Kind.TEXT, Kind.TOOL}

    limited = ask(server, client, protocol, Prompt(PROMPT.messages, max_tokens=5))
    assert (limited.outcome, content(limited)) == (Outcome.COMPLETED, 5)
    assert limited.stop_reason in {"length", "MAX_TOKENS"}

    long = {"x-gauge-itl": "20ms", "x-gauge-tokens": "400"}  # 8 s, of which a busy machine may need some to leave
    left = ask(server, client, protocol, PROMPT, Plan(leave_after_chunks=3), headers=long)
    assert left.outcome is Outcome.CANCELLED
    assert content(left) >= 3
    (row,) = (row for row in server.truth() if row["id"] == left.request_id)
    assert row["outcome"] == "disconnected"


def test_a_model_that_is_only_loaded_brought_nothing(server: ReferenceServer) -> None:
    seen = ask(server, "wire", "ollama", PROMPT, request=Request(body={"model": "m", "note": "{prompt}"}))
    assert (seen.outcome, seen.stop_reason) == (Outcome.EMPTY, "load")


@each_path
def test_silence_is_silence_and_ids_are_not_given(client: httpx.Client, path: str) -> None:
    """Their clients know neither comments nor ids."""
    headers = {"x-gauge-keep-alive": "10ms", "x-gauge-ttft": "100ms", "x-gauge-resumable": "10s"}
    answer = client.post(path, json=QUESTIONS[path], headers=headers)
    lines = [line for line in answer.text.splitlines() if line]
    assert answer.status_code == 200
    assert all(json.loads(line.removeprefix("data: ")) for line in lines)
    assert len(lines) == 21


@each_path
def test_refusals_have_the_form_of_the_api(client: httpx.Client, path: str) -> None:
    for answer, status in [
        (client.post(path, json={}), 400),
        (client.post(path, content=b"{"), 400),
        (client.post(path, json=QUESTIONS[path], headers={"x-gauge-fault": "http_529"}), 529),
        (client.post(path, json=QUESTIONS[path] | {"messages": [{"role": "tool"}], "contents": 1}), 400),
    ]:
        error = answer.json()["error"]
        assert answer.status_code == status
        assert answer.headers["x-request-id"].startswith("req_")
        if path == "/api/chat":
            assert isinstance(error, str)
        else:
            assert (error["code"], bool(error["message"]), error["status"].isupper()) == (status, True, True)


def test_geminis_other_paths_say_what_is_missing(client: httpx.Client) -> None:
    answer = client.post("/v1beta/models/m:streamGenerateContent", json={"contents": [{"parts": [{"text": "?"}]}]})
    assert "add ?alt=sse" in answer.json()["error"]["message"]
    assert client.post("/v1beta/models/m:countTokens", json={}).json()["error"]["status"] == "NOT_FOUND"


def test_the_model_of_the_path_is_that_of_the_answer(client: httpx.Client) -> None:
    answer = client.post("/v1beta/models/tuned-1:generateContent", json={"contents": [{"parts": [{"text": "?"}]}]})
    assert answer.json()["modelVersion"] == "tuned-1"


def test_geminis_key_is_in_its_own_header() -> None:
    with reference_server("--api-key", "s3cret", "--ttft", "1ms", "--itl", "1ms", "--tokens", "3") as server:
        seen = ask(server, "wire", "gemini", PROMPT, headers={"x-goog-api-key": "s3cret"})
        refused = ask(server, "wire", "gemini", PROMPT, headers={"x-goog-api-key": "guessed-key"})
    assert (seen.outcome, refused.http_status) == (Outcome.COMPLETED, 401)
