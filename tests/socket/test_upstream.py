"""The reference server in front of a real model: a second reference server, and one that says what a test tells it to.

Whatever the first asks of the second with the official SDK, the clients of the first get in their own dialect.
"""

import contextlib
import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import anthropic
import httpx
import openai
import pytest

from streamgauge.reference_server.app import DIALECTS
from tests.support.reference import ReferenceServer, counts, events, reference_server, wait_for

KEY = "sk-the-upstreams-own"
PROMPT = "What does a gauge do?"
QUESTION: Any = {"model": "reference", "max_tokens": 2000, "messages": [{"role": "user", "content": PROMPT}]}
GAUGE: Any = {"type": "gauge_level_20261101", "name": "gauge_level"}
WEATHER: Any = {
    "name": "weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Höfn", "Passau"]}}},
}
HANDBOOK = "Read the staff twice. " * 300

every_dialect = pytest.mark.parametrize("path", DIALECTS)


@contextlib.contextmanager
def in_front_of(url: str, *args: str) -> Iterator[ReferenceServer]:
    words = ("--upstream", "anthropic", "--upstream-url", url, *args)
    with reference_server(*words, environment={"ANTHROPIC_API_KEY": KEY}) as running:
        yield running


@pytest.fixture(scope="module")
def upstream() -> Iterator[ReferenceServer]:
    quick = ("--ttft", "5ms", "--itl", "1ms", "--spread", "0", "--pauses", "0", "--tokens", "40")
    with reference_server(*quick, "--api-key", KEY) as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: ReferenceServer) -> Iterator[ReferenceServer]:
    with in_front_of(upstream.url, "--upstream-model", "reference") as running:
        yield running


@pytest.fixture(scope="module")
def sdk(server: ReferenceServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as running:
        yield running


@pytest.fixture(scope="module")
def direct(upstream: ReferenceServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=upstream.url, api_key=KEY, max_retries=0) as running:
        yield running


def text_of(message: Any) -> str:
    (block,) = message.content
    return str(block.text)


# Answers


def test_an_anthropic_client_gets_what_the_upstream_says(sdk: anthropic.Anthropic, direct: anthropic.Anthropic) -> None:
    said = direct.messages.create(**QUESTION)
    whole = sdk.messages.create(**QUESTION)
    with sdk.messages.stream(**QUESTION) as stream:
        texts = list(stream.text_stream)
        streamed = stream.get_final_message()
    assert len(texts) == 40
    for message in (whole, streamed):
        assert text_of(message) == text_of(said)
        assert (message.stop_reason, message.usage) == (said.stop_reason, said.usage)


def test_an_openai_client_gets_what_the_upstream_says(server: ReferenceServer, direct: anthropic.Anthropic) -> None:
    said = direct.messages.create(**QUESTION)
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        whole = client.chat.completions.create(model="m", messages=QUESTION["messages"])
        assert whole.choices[0].message.content == text_of(said)
        assert whole.choices[0].finish_reason == "stop"
        cut = client.chat.completions.create(
            model="m", messages=QUESTION["messages"], max_tokens=5, stream=True, stream_options={"include_usage": True}
        )
        *_, last, usage = cut
    assert last.choices[0].finish_reason == "length"
    assert usage.usage is not None
    assert (usage.usage.prompt_tokens, usage.usage.completion_tokens) == (said.usage.input_tokens, 5)


def test_a_plain_client_gets_what_the_upstream_says(client: httpx.Client, direct: anthropic.Anthropic) -> None:
    system = {"role": "system", "content": "Be brief."}
    body = {"system": "You are a gauge.", "messages": [system, *QUESTION["messages"]]}
    said = direct.messages.create(**QUESTION, system="You are a gauge.\nBe brief.")
    *text, usage, done = events(client.post("/chat/stream", json=body).text)
    assert "".join(data for _, data in text).replace("\n", "") == text_of(said).replace("\n", "")
    assert json.loads(usage[1])["input_tokens"] == said.usage.input_tokens
    assert done == ("", "[DONE]")
    assert client.post("/chat/stream", json=body | {"stream": False}).json()["text"] == text_of(said)


def test_a_message_is_counted_by_the_upstream(sdk: anthropic.Anthropic, direct: anthropic.Anthropic) -> None:
    asked: Any = {"model": "m", "messages": QUESTION["messages"], "tools": [WEATHER]}
    assert sdk.messages.count_tokens(**asked) == direct.messages.count_tokens(**asked)


def test_what_the_prompt_cache_did_is_in_the_last_event_and_in_the_counts(
    server: ReferenceServer, sdk: anthropic.Anthropic
) -> None:
    system: Any = [{"type": "text", "text": HANDBOOK, "cache_control": {"type": "ephemeral"}}]
    before = counts(server.url)
    first = sdk.messages.create(**QUESTION, system=system).usage
    *_, delta, _ = sdk.messages.create(**QUESTION, system=system, stream=True)
    assert delta.type == "message_delta"
    written = first.cache_creation_input_tokens
    assert written
    assert delta.usage.cache_read_input_tokens == written
    assert delta.usage.cache_creation_input_tokens == 0
    after = counts(server.url)
    for what in ("read", "written"):
        name = f"reference_prompt_cache_tokens_total:{what}"
        assert after[name] - before[name] == written


@pytest.mark.parametrize(
    ("path", "has"), [("/chat/stream", "cache_read_tokens"), ("/v1/chat/completions", "cached_tokens")]
)
def test_dialects_without_marks_for_the_prompt_cache_have_it_all_the_same(
    client: httpx.Client, path: str, has: str
) -> None:
    messages = [{"role": "system", "content": f"{path} {HANDBOOK}"}, *QUESTION["messages"]]
    body = {"model": "m", "stream": True, "stream_options": {"include_usage": True}, "messages": messages}
    first, second = (events(client.post(path, json=body).text)[-2][1] for _ in range(2))
    assert f'"{has}":0' in first
    read = int(second.split(f'"{has}":')[1].split(",")[0])
    assert read > 1024


# Thinking


def test_a_thought_keeps_the_upstreams_signature_and_can_be_sent_back(
    sdk: anthropic.Anthropic, direct: anthropic.Anthropic
) -> None:
    asked: Any = QUESTION | {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    with sdk.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    said = [block.model_dump() for block in direct.messages.create(**asked).content]
    assert [block.model_dump(exclude={"parsed_output"}) for block in streamed.content] == said
    assert [block.model_dump() for block in sdk.messages.create(**asked).content] == said
    thought = streamed.content[0]
    assert thought.type == "thinking"
    turns = [{"role": "assistant", "content": streamed.content}, {"role": "user", "content": "And?"}]
    assert sdk.messages.create(**asked | {"messages": QUESTION["messages"] + turns})
    thought.thinking += " No."
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking` block"):
        sdk.messages.create(**asked | {"messages": QUESTION["messages"] + turns})


# Tools


def test_the_servers_own_tool_runs_between_two_turns_of_the_upstream(
    upstream: ReferenceServer, sdk: anthropic.Anthropic
) -> None:
    before = counts(upstream.url, KEY)["reference_streams_started_total"]
    with sdk.messages.stream(**QUESTION, tools=[GAUGE]) as stream:
        message: Any = stream.get_final_message()
    assert counts(upstream.url, KEY)["reference_streams_started_total"] - before == 2
    text, use, result, more = message.content
    assert (text.type, use.type, result.type, more.type) == (
        "text",
        "server_tool_use",
        "gauge_level_tool_result",
        "text",
    )
    assert result.tool_use_id == use.id
    assert use.input["station"]
    assert message.stop_reason == "end_turn"

    again: Any = [{"role": "assistant", "content": message.content}, {"role": "user", "content": "Thanks."}]
    assert sdk.messages.create(**QUESTION | {"messages": [*QUESTION["messages"], *again]}).stop_reason == "end_turn"


def test_the_usage_of_an_answer_with_tools_is_that_of_all_its_turns(
    upstream: ReferenceServer, sdk: anthropic.Anthropic
) -> None:
    usage = sdk.messages.create(**QUESTION, tools=[GAUGE], extra_headers={"x-gauge-stream": "summed"}).usage
    turns = [row for row in upstream.truth() if row["client"] == "summed"]
    assert len(turns) == 2
    assert usage.output_tokens == sum(row["tokens"] for row in turns)


def test_a_plain_client_is_told_of_the_tools(client: httpx.Client) -> None:
    seen = events(client.post("/chat/stream", json=QUESTION | {"tools": ["gauge_level"]}).text)
    (started,) = (json.loads(data) for name, data in seen if name == "tool_start")
    (ended,) = (json.loads(data) for name, data in seen if name == "tool_end")
    assert started["name"] == ended["name"] == "gauge_level"
    assert started["input"]["station"]
    assert ended["result"]


def test_tools_that_never_stop_calling_are_stopped(client: httpx.Client) -> None:
    headers = {"x-gauge-tools": "100"}
    seen = events(client.post("/chat/stream", json=QUESTION | {"tools": ["gauge_level"]}, headers=headers).text)
    assert [name for name, _ in seen].count("tool_end") == 5
    assert json.loads(seen[-2][1])["stop_reason"] == "end_turn"


def test_a_choice_that_forces_a_tool_forces_one(sdk: anthropic.Anthropic) -> None:
    message = sdk.messages.create(**QUESTION, tools=[GAUGE], tool_choice={"type": "any"})
    assert message.stop_reason == "end_turn"


def test_a_clients_tool_is_the_clients(server: ReferenceServer, sdk: anthropic.Anthropic) -> None:
    asked = sdk.messages.create(**QUESTION, tools=[WEATHER, GAUGE], tool_choice={"type": "tool", "name": "weather"})
    assert asked.stop_reason == "tool_use"
    assert [block.type for block in asked.content] == ["text", "tool_use"]

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER["input_schema"]}}]
        messages: Any = QUESTION["messages"]
        choice = client.chat.completions.create(model="m", messages=messages, tools=tools).choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls
        (call,) = choice.message.tool_calls
        assert call.type == "function"
        assert json.loads(call.function.arguments)["city"] in {"Höfn", "Passau"}
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        turns = [*messages, choice.message, result]
        answer = client.chat.completions.create(model="m", messages=turns, tools=tools).choices[0]
    assert answer.finish_reason == "stop"
    assert answer.message.content


# Leaving


SLOW = {"x-gauge-itl": "200ms", "x-gauge-tokens": "10000"}
LONG = QUESTION | {"max_tokens": 10_000, "stream": True}


def upstream_row(upstream: ReferenceServer, stream: str) -> dict[str, Any]:
    (row,) = (row for row in upstream.truth() if row["client"] == stream)
    return row


@every_dialect
def test_a_client_that_leaves_stops_the_upstream_within_one_token(
    upstream: ReferenceServer, server: ReferenceServer, client: httpx.Client, path: str
) -> None:
    before = counts(upstream.url, KEY)
    headers = SLOW | {"x-gauge-stream": f"leaves {path}"}
    with client.stream("POST", path, json=LONG, headers=headers) as answer:
        pieces = answer.iter_bytes()
        for _ in range(4):
            next(pieces)
    ours = next(row for row in server.truth() if row["client"] == f"leaves {path}")
    theirs = upstream_row(upstream, f"leaves {path}")
    assert (ours["outcome"], theirs["outcome"]) == ("disconnected", "disconnected")
    assert theirs["tokens"] <= ours["tokens"] + 1
    after = counts(upstream.url, KEY)
    name = "reference_streams_ended_total:disconnected"
    assert after[name] - before[name] == 1
    assert after["reference_streams_active"] == 0


def test_a_stream_that_is_cancelled_from_elsewhere_stops_the_upstream(
    upstream: ReferenceServer, client: httpx.Client
) -> None:
    headers = SLOW | {"x-gauge-stream": "cancelled"}
    with client.stream("POST", "/v1/messages", json=LONG, headers=headers) as answer:
        stopped = client.post(f"/streams/{answer.headers['request-id']}/cancel").json()
        assert answer.read().endswith(b"\n\n")
    assert stopped["state"] == "cancelled"
    assert upstream_row(upstream, "cancelled")["outcome"] == "disconnected"


def test_a_client_that_reads_nothing_pauses_the_upstream(upstream: ReferenceServer, server: ReferenceServer) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps(QUESTION | {"max_tokens": 100_000, "stream": True})
    head = f"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n"
    fast = "x-gauge-itl: 0ms\r\nx-gauge-tokens: 100000\r\nx-gauge-stream: paused\r\n"
    before = counts(upstream.url, KEY)["reference_streams_paused_total"]
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect((host, int(port)))
        reader.sendall(f"{head}{fast}\r\n{body}".encode())
        wait_for(lambda: counts(upstream.url, KEY)["reference_streams_paused_total"] > before)
    assert upstream_row(upstream, "paused")["tokens"] < 100_000


# Errors of the upstream


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def block(index: int, started: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        event("content_block_start", index=index, content_block=started),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


USAGE = {"input_tokens": 3, "output_tokens": 1}
START = event(
    "message_start",
    message={"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": USAGE},
)
TEXT = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"})
STOP = event("message_stop")


def end(stop_reason: str) -> dict[str, Any]:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return event("message_delta", delta=delta, usage={"output_tokens": 9})


SCRIPTS: dict[str, list[dict[str, Any]]] = {
    "refuses": [START, *TEXT, end("refusal"), STOP],
    "breaks off": [START, *TEXT],
    "overloaded": [START, *TEXT[:2], event("error", error={"type": "overloaded_error", "message": "Overloaded"})],
    "thinks in secret": [
        START,
        *block(
            0, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "signature_delta", "signature": "S1"}
        ),
        *block(1, {"type": "redacted_thinking", "data": "S2"}),
        *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"}),
        end("end_turn"),
        STOP,
    ],
    "says half a character": [
        START,
        *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a\ud83db"}),
        end("end_turn"),
        STOP,
    ],
    "calls what takes nothing": [
        START,
        *block(
            0,
            {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
        ),
        end("tool_use"),
        STOP,
    ],
}


class Scripted(http.server.BaseHTTPRequestHandler):
    """An upstream that does as the question's model says."""

    left = threading.Event()  # a client has left one that never begins
    asked: ClassVar[dict[str, Any]] = {}  # the latest question
    asked_with: ClassVar[dict[str, str]] = {}  # its headers

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).asked, type(self).asked_with = body, {k.lower(): v for k, v in self.headers.items()}
        model: str = body["model"]
        if model.isdigit():
            return self._refuse(int(model))
        if model == "silent":
            self.rfile.read(1)  # until the client leaves
            return None
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        if model == "never begins":
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b": not yet\n\n")
                    self.connection.settimeout(0.05)
                    with contextlib.suppress(TimeoutError):
                        if not self.connection.recv(1):
                            break
            self.left.set()
            return None
        for each in SCRIPTS[model]:
            self.wfile.write(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode())
        return None

    def _refuse(self, status: int) -> None:
        said = f"told you, {self.headers['authorization']}" if status == 401 else "told you"
        document = json.dumps({"type": "error", "error": {"type": "some_error", "message": said}}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(document)))
        self.send_header("retry-after", "7")
        self.end_headers()
        self.wfile.write(document)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def scripted() -> Iterator[httpx.Client]:
    """A client of a server in front of `Scripted`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{service.server_port}"
        with (
            in_front_of(url, "--upstream-silence", "300ms") as server,
            httpx.Client(base_url=server.url, timeout=20, headers={"x-api-key": "theirs"}) as client,
        ):
            yield client
        service.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "path", "told", "kind"),
    [
        (400, "/v1/messages", 400, "invalid_request_error"),
        (404, "/v1/messages", 404, "not_found_error"),
        (413, "/v1/chat/completions", 413, "invalid_request_error"),
        (429, "/v1/messages", 429, "rate_limit_error"),
        (429, "/v1/chat/completions", 429, "rate_limit_error"),
        (500, "/v1/messages", 500, "api_error"),
        (529, "/v1/messages", 529, "overloaded_error"),
        (529, "/v1/chat/completions", 503, "server_error"),
    ],
)
def test_a_refusal_of_the_upstream_is_passed_on_as_the_dialect_has_it(
    scripted: httpx.Client, status: int, path: str, told: int, kind: str
) -> None:
    refused = scripted.post(path, json=LONG | {"model": str(status)})
    assert refused.status_code == told
    assert refused.headers["retry-after"] == "7"
    assert refused.json()["error"]["type"] == kind
    assert refused.json()["error"]["message"] == "told you"


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_wrong_with_the_servers_own_key_is_not_the_clients_fault(scripted: httpx.Client, status: int) -> None:
    refused = scripted.post("/v1/messages", json=LONG | {"model": str(status)})
    assert refused.status_code == 502
    assert "this server's own key" in refused.json()["error"]["message"]
    assert KEY not in refused.text + str(refused.headers)


def test_the_upstream_is_asked_with_the_servers_key_and_all_that_the_client_sent(scripted: httpx.Client) -> None:
    sent = LONG | {"model": "refuses", "top_k": 5, "metadata": {"user_id": "u"}}
    scripted.post("/v1/messages", json=sent, headers={"anthropic-beta": "b", "authorization": "Bearer theirs"})
    assert Scripted.asked == sent
    assert Scripted.asked_with["authorization"] == f"Bearer {KEY}"
    assert Scripted.asked_with["anthropic-beta"] == "b"
    assert "theirs" not in str(Scripted.asked_with)


def test_an_error_in_the_middle_of_the_upstreams_answer_is_one_in_ours(scripted: httpx.Client) -> None:
    seen = events(scripted.post("/v1/messages", json=LONG | {"model": "overloaded"}).text)
    assert seen[-2][0] == "content_block_delta"
    assert seen[-1][0] == "error"
    assert json.loads(seen[-1][1])["error"] == {"type": "overloaded_error", "message": "Overloaded"}


def test_an_answer_that_the_upstream_breaks_off_is_no_complete_one(scripted: httpx.Client) -> None:
    seen = events(scripted.post("/v1/messages", json=LONG | {"model": "breaks off"}).text)
    assert (seen[-1][0], "broke off" in seen[-1][1]) == ("error", True)
    whole = scripted.post("/v1/messages", json=LONG | {"model": "breaks off", "stream": False})
    assert whole.status_code == 502


def test_an_upstream_that_is_silent_is_given_up(scripted: httpx.Client) -> None:
    refused = scripted.post("/v1/messages", json=LONG | {"model": "silent"})
    assert refused.status_code == 504
    assert refused.json()["error"] == {"type": "timeout_error", "message": "the upstream was silent for too long"}


def test_an_upstream_that_does_not_begin_in_time_is_given_up(scripted: httpx.Client) -> None:
    Scripted.left.clear()
    asked = LONG | {"model": "never begins"}
    refused = scripted.post("/v1/messages", json=asked, headers={"x-gauge-deadline": "100ms"})
    assert refused.status_code == 504
    assert Scripted.left.wait(10)


def test_a_client_that_leaves_before_the_upstream_has_begun_ends_the_call(scripted: httpx.Client) -> None:
    host, port = str(scripted.base_url).removeprefix("http://").rstrip("/").split(":")
    body = json.dumps(LONG | {"model": "never begins"})
    Scripted.left.clear()
    Scripted.asked = {}
    with socket.create_connection((host, int(port))) as reader:
        reader.sendall(f"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        wait_for(lambda: Scripted.asked.get("model") == "never begins")
    assert Scripted.left.wait(10)
    assert scripted.get("/healthz").json()["active"] == 0


def test_an_upstream_that_cannot_be_reached_is_a_bad_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with in_front_of(f"http://127.0.0.1:{port}") as server:
        refused = httpx.post(f"{server.url}/v1/messages", json=LONG)
        assert refused.status_code == 502
        assert refused.json()["error"]["message"].startswith("the upstream cannot be reached")
        unnamed = httpx.post(f"{server.url}/chat/stream", json={"messages": QUESTION["messages"]})
        assert unnamed.status_code == 400
        assert "--upstream-model" in unnamed.json()["error"]["message"]


# What only a real model does


def test_a_thought_that_is_kept_secret_is_passed_on_as_it_is(scripted: httpx.Client) -> None:
    secret = [{"type": "thinking", "thinking": "", "signature": "S1"}, {"type": "redacted_thinking", "data": "S2"}]
    asked = LONG | {"model": "thinks in secret"}
    whole = scripted.post("/v1/messages", json=asked | {"stream": False}).json()
    assert whole["content"] == [*secret, {"type": "text", "text": "Hello"}]
    seen = [json.loads(data) for _, data in events(scripted.post("/v1/messages", json=asked).text)]
    kinds = [each["content_block"]["type"] for each in seen if each["type"] == "content_block_start"]
    assert kinds == ["thinking", "redacted_thinking", "text"]
    assert {"type": "signature_delta", "signature": "S1"} in [each.get("delta") for each in seen]
    answer = scripted.post("/v1/chat/completions", json=asked | {"stream": False}).json()
    assert answer["choices"][0]["message"]["content"] == "Hello"


def test_half_a_character_is_replaced_before_it_does_harm(scripted: httpx.Client) -> None:
    asked = LONG | {"model": "says half a character", "stream": False}
    assert scripted.post("/v1/messages", json=asked).json()["content"][0]["text"] == "a?b"


def test_a_refusal_to_answer_is_a_reason_to_stop_in_each_dialect(scripted: httpx.Client) -> None:
    asked = LONG | {"model": "refuses", "stream": False}
    assert scripted.post("/v1/messages", json=asked).json()["stop_reason"] == "refusal"
    assert scripted.post("/v1/chat/completions", json=asked).json()["choices"][0]["finish_reason"] == "content_filter"


def test_a_tool_that_takes_nothing_is_called_all_the_same(scripted: httpx.Client) -> None:
    asked = LONG | {"model": "calls what takes nothing", "stream": False}
    (use,) = scripted.post("/v1/messages", json=asked).json()["content"]
    assert use == {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
    (call,) = scripted.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "now", "arguments": "{}"}


# Starting


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--upstream", "anthropic"], "set ANTHROPIC_API_KEY"),
        (["--upstream", "anthropic", "--ttft", "1s", "--itl", "1s"], "a real model answers; leave out --itl, --ttft"),
        (["--upstream", "anthropic", "--upstream-url", "ftp://a"], "write it as http://… or https://…"),
        (["--upstream-model", "m"], "--upstream-url and --upstream-model go with --upstream anthropic"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_make_no_sense_are_one_line(words: list[str], said: str) -> None:
    command = [sys.executable, "-m", "streamgauge.reference_server", "--port", "0", *words]
    environment = {"PATH": "", "PYTHONIOENCODING": "utf-8"}
    ran = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2], check=False
    )
    assert ran.returncode == 2
    assert said in ran.stderr
    assert ran.stderr.count("\n") == 1
