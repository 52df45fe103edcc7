"""The reference server in front of a real model: a second reference server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from streamgauge.reference_server.dialects import DIALECTS
from tests.support.dialects import in_dialect
from tests.support.late import Late
from tests.support.reference import ReferenceServer, counts, events, reference_server, wait_for
from tests.support.upstream import KEY, LONG, QUESTION, in_front_of

if TYPE_CHECKING:
    import anthropic
    import openai
else:
    anthropic = Late("anthropic")
    openai = Late("openai")

GAUGE: Any = {"type": "gauge_level_20261101", "name": "gauge_level"}
WEATHER: Any = {
    "name": "weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Höfn", "Passau"]}}},
}
HANDBOOK = "Read the staff twice. " * 300
every_dialect = pytest.mark.parametrize("path", [path for path in DIALECTS if "{" not in path])


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


def test_an_anthropic_client_gets_the_upstreams_answer(sdk: anthropic.Anthropic, direct: anthropic.Anthropic) -> None:
    said = direct.messages.create(**QUESTION)
    whole = sdk.messages.create(**QUESTION)
    with sdk.messages.stream(**QUESTION) as stream:
        texts = list(stream.text_stream)
        streamed = stream.get_final_message()
    assert len(texts) == 40
    for message in (whole, streamed):
        assert text_of(message) == text_of(said)
        assert (message.stop_reason, message.usage) == (said.stop_reason, said.usage)


def test_an_openai_client_gets_the_upstreams_answer(server: ReferenceServer, direct: anthropic.Anthropic) -> None:
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


def test_a_plain_client_gets_the_upstreams_answer(client: httpx.Client, direct: anthropic.Anthropic) -> None:
    system = {"role": "system", "content": "Be brief."}
    body = {"system": "You are a gauge.", "messages": [system, *QUESTION["messages"]]}
    said = direct.messages.create(**QUESTION, system="You are a gauge.\nBe brief.")
    *text, usage, done = events(client.post("/chat/stream", json=body).text)
    assert "".join(data for _, data in text).replace("\n", "") == text_of(said).replace("\n", "")
    assert json.loads(usage[1])["input_tokens"] == said.usage.input_tokens
    assert done == ("", "[DONE]")
    assert client.post("/chat/stream", json=body | {"stream": False}).json()["text"] == text_of(said)


def test_the_upstream_counts_the_tokens_of_a_message(sdk: anthropic.Anthropic, direct: anthropic.Anthropic) -> None:
    asked: Any = {"model": "m", "messages": QUESTION["messages"], "tools": [WEATHER]}
    assert sdk.messages.count_tokens(**asked) == direct.messages.count_tokens(**asked)


def test_cache_reads_and_writes_are_in_the_last_event_and_in_the_counts(
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
def test_dialects_without_cache_marks_use_the_prompt_cache_too(client: httpx.Client, path: str, has: str) -> None:
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


def test_the_usage_of_an_answer_with_tools_is_the_sum_of_its_turns(
    upstream: ReferenceServer, sdk: anthropic.Anthropic
) -> None:
    usage = sdk.messages.create(**QUESTION, tools=[GAUGE], extra_headers={"x-gauge-stream": "summed"}).usage
    turns = [row for row in upstream.truth() if row["client"] == "summed"]
    assert len(turns) == 2
    assert usage.output_tokens == sum(row["tokens"] for row in turns)


def test_a_plain_client_gets_events_of_the_tools(client: httpx.Client) -> None:
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


def test_a_tool_choice_that_forces_a_tool_forces_only_the_first(sdk: anthropic.Anthropic) -> None:
    message = sdk.messages.create(**QUESTION, tools=[GAUGE], tool_choice={"type": "any"})
    assert message.stop_reason == "end_turn"


def test_a_clients_tool_runs_at_the_client(server: ReferenceServer, sdk: anthropic.Anthropic) -> None:
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


# Clients that leave
SLOW = {"x-gauge-itl": "200ms", "x-gauge-tokens": "10000"}


def upstream_row(upstream: ReferenceServer, stream: str) -> dict[str, Any]:
    (row,) = (row for row in upstream.truth() if row["client"] == stream)
    return row


@every_dialect
def test_a_client_that_leaves_stops_the_upstream_within_one_token(
    upstream: ReferenceServer, server: ReferenceServer, client: httpx.Client, path: str
) -> None:
    before = counts(upstream.url, KEY)
    headers = SLOW | {"x-gauge-stream": f"leaves {path}"}
    with client.stream("POST", path, json=in_dialect(path, LONG), headers=headers) as answer:
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


def test_cancelling_a_stream_from_another_connection_stops_the_upstream(
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
    head = f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
    fast = "x-gauge-itl: 0ms\r\nx-gauge-tokens: 100000\r\nx-gauge-stream: paused\r\n"
    before = counts(upstream.url, KEY)["reference_streams_paused_total"]
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect((host, int(port)))
        reader.sendall(f"{head}{fast}\r\n{body}".encode())
        wait_for(lambda: counts(upstream.url, KEY)["reference_streams_paused_total"] > before)
    assert upstream_row(upstream, "paused")["tokens"] < 100_000
