"""What the reference server refuses: bodies, headers and too many streams."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from streamgauge.reference_server.delivery.incoming import BODY_LIMIT
from streamgauge.reference_server.dialects import DIALECTS
from tests.support import patient
from tests.support.dialects import PATHS, complaint, in_dialect
from tests.support.reference import ReferenceServer, reference_server

QUICK = ("--preset", "exact", "--ttft", "10ms", "--itl", "1ms", "--tokens", "60")
PROMPT = "Why is the line flat?"
BODY = {"model": "reference", "max_tokens": 500, "messages": [{"role": "user", "content": PROMPT}]}
ENDLESS = {"x-gauge-ttft": "0ms", "x-gauge-itl": "5ms", "x-gauge-tokens": "100000"}
BODY_OF_AGES = BODY | {"max_tokens": 100_000}
OWN_PLACES = {  # of a fault, where a dialect has another name for it
    ("/v1/responses", "messages"): "input",
    ("/v1/responses", "max_tokens"): "max_output_tokens",
    ("/v1/responses", "messages.0.role"): "input.0.message.role",
    ("/agent", "messages.0.role"): "messages.0.said.role",
}
every_dialect = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*QUICK) as running:
        yield running


# Mistakes and limits


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/api/chat"])  # of two dialects: see below
@pytest.mark.parametrize(
    ("body", "place"),
    [
        (None, "not valid JSON"),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "?"}], "max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "ghost", "content": "?"}]}, "messages.0.role"),
    ],
)
def test_a_bad_body_is_refused_in_the_dialects_own_form(
    client: httpx.Client, path: str, body: dict[str, Any] | None, place: str
) -> None:
    content = "{" if body is None else json.dumps(in_dialect(path, {"model": "m", "max_tokens": 5} | body))
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert OWN_PLACES.get((path, place), place) in complaint(answer)
    assert answer.headers[DIALECTS[path].request_id_header].startswith("req_")


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([{"role": "ghost", "parts": []}], "messages.0.role"),
        ([{"role": "user", "content": "?", "parts": [1]}], "messages.0.parts.0"),
        ([{"role": "user", "content": 1}], "messages.0.content"),
    ],
)
def test_where_two_dialects_share_a_path_a_message_with_parts_is_the_ai_sdks(
    client: httpx.Client, messages: list[Any], place: str
) -> None:
    answer = client.post("/api/chat", json={"model": "m", "messages": messages})
    assert answer.status_code == 400
    assert place in complaint(answer)
    both = [{"role": "user", "content": '{"parts": ["?"]}', "parts": [{"type": "text", "text": "?"}]}]
    said = client.post("/api/chat", json={"model": "m", "messages": both})
    assert said.headers["content-type"].startswith("text/event-stream")
    said = client.post("/api/chat", json={"model": "m", "messages": [{"role": "user", "content": both[0]["content"]}]})
    assert said.headers["content-type"].startswith("application/x-ndjson")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (
            "/api/chat",
            {"messages": [{"role": "user", "parts": []}], "tools": [{"name": "look"}]},
            "no tool called 'look'",
        ),
        ("/agent", {"messages": [{"role": "tool", "toolCallId": "c", "content": "snow"}]}, "must be a response to a"),
        (
            "/v1/responses",
            {
                "messages": [
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                    {"role": "user", "content": "And?"},
                    {"type": "function_call_output", "call_id": "c", "output": "snow"},
                ]
            },
            "must be followed by tool messages",
        ),
    ],
)
def test_what_only_the_translation_of_a_question_shows_is_refused_too(
    client: httpx.Client, path: str, body: dict[str, Any], said: str
) -> None:
    own = _as_it_is(path, {"model": "m", **body})
    answer = client.post(path, json=own)
    assert (answer.status_code, said in complaint(answer)) == (400, True), answer.text


def _as_it_is(path: str, body: dict[str, Any]) -> dict[str, Any]:
    return body if path == "/api/chat" else in_dialect(path, body)


def test_content_of_an_unknown_type_is_refused_with_its_place(client: httpx.Client) -> None:
    answer = client.post("/v1/messages", json=BODY | {"messages": [{"role": "user", "content": [{"type": "video"}]}]})
    assert answer.json()["error"]["message"] == "messages.0.content.0: there is no content of this type"


def test_each_dialect_has_its_own_kind_of_error(client: httpx.Client) -> None:
    assert client.post("/v1/messages", json={}).json()["error"]["type"] == "invalid_request_error"
    assert client.post("/v1/chat/completions", json={}).json()["error"].keys() == {"message", "type", "param", "code"}
    assert client.post("/chat/stream", json={}).json()["error"]["status"] == 400
    assert client.get("/v1/messages").status_code == 405
    assert client.get("/nowhere").status_code == 404


@pytest.mark.parametrize("header", ["x-gauge-ttft", "x-gauge-itl", "x-gauge-spread", "x-gauge-tokens", "x-gauge-seed"])
def test_a_bad_header_is_refused_by_name(client: httpx.Client, header: str) -> None:
    answer = client.post("/v1/messages", json=BODY, headers={header: "much"})
    assert answer.status_code == 400
    assert f"{header}: 'much'" in answer.json()["error"]["message"]


def test_keep_alives_cannot_be_so_frequent_that_a_stream_is_all_comments(client: httpx.Client) -> None:
    answer = client.post("/chat/stream", json=BODY, headers={"x-gauge-keep-alive": "0s"})
    assert answer.status_code == 400
    assert "x-gauge-keep-alive: '0s' is too short: at least 10ms" in answer.json()["error"]["message"]


def test_an_unknown_setting_is_refused_with_a_list_of_the_known_ones(client: httpx.Client) -> None:
    answer = client.post("/chat/stream", json=BODY, headers={"x-gauge-tftt": "1s"})
    assert answer.status_code == 400
    said = "header x-gauge-tftt: there is no such setting; there are cached, deadline, fault, flush, idle, itl, "
    assert answer.json()["error"]["message"].startswith(said)


@pytest.mark.parametrize("path", [*PATHS, "/v1/messages/count_tokens"])
def test_a_body_is_read_as_json_whatever_its_content_type(client: httpx.Client, path: str) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}  # as `curl -d` sends it
    assert client.post(path, content=json.dumps(in_dialect(path, BODY)), headers=form).status_code == 200


@every_dialect
def test_a_body_over_the_limit_is_refused(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=b" " * (BODY_LIMIT + 1), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert complaint(answer) == "the body is larger than 1048576 bytes"


def test_streams_over_the_limit_are_refused_until_one_ends() -> None:
    with reference_server(*QUICK, "--max-streams", "1") as server, patient.Client(base_url=server.url) as client:
        with client.stream("POST", "/chat/stream", json=BODY_OF_AGES, headers=ENDLESS):
            for path, status in [("/v1/messages", 529), ("/v1/chat/completions", 503), ("/chat/stream", 503)]:
                refused = client.post(path, json=BODY)
                assert (refused.status_code, refused.headers["retry-after"]) == (status, "1")
        assert len(server.truth()) == 1
        assert client.post("/v1/messages", json=BODY).status_code == 200
