"""The openai package works with the reference server as with any server of that API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.script import write_script
from streamgauge.reference_server.model.settings import ModelSettings
from tests.support.late import Late
from tests.support.reference import ReferenceServer, reference_server

if TYPE_CHECKING:
    import openai
else:
    openai = Late("openai")

PROMPT = "What does a gauge do?"
QUESTION: Any = {"model": "reference", "messages": [{"role": "user", "content": PROMPT}]}
TEXT = "".join(step.text for step in write_script(ModelSettings(tokens=(40, 40)), ModelInput(PROMPT)).steps)
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Höfn", "Passau"]}}},
    },
}


@pytest.fixture(scope="module")
def client(server: ReferenceServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as running:
        yield running


def test_a_stream_is_a_role_then_text_then_the_reason_then_usage(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(**QUESTION, stream=True, stream_options={"include_usage": True}))
    first, *text, last, usage = chunks
    assert first.choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in text) == TEXT
    assert [chunk.choices[0].finish_reason for chunk in (first, *text, last)] == [None] * 41 + ["stop"]
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.completion_tokens == 40
    assert usage.usage.total_tokens == usage.usage.prompt_tokens + 40
    assert all(chunk.usage is None for chunk in (first, *text, last))


def test_the_stream_helper_puts_the_answer_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**QUESTION) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        completion = stream.get_final_completion()
    assert "".join(deltas) == completion.choices[0].message.content == TEXT
    assert completion.choices[0].finish_reason == "stop"


def test_a_whole_answer_is_the_same_message(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(**QUESTION)
    assert completion.choices[0].message.content == TEXT
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 40
    assert str(completion._request_id).startswith("req_")


def test_the_async_client_streams_and_answers(server: ReferenceServer) -> None:
    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            chunks = await client.chat.completions.create(**QUESTION, stream=True)
            texts = [chunk.choices[0].delta.content or "" async for chunk in chunks]
            assert "".join(texts) == TEXT
            whole = await client.chat.completions.create(**QUESTION)
            assert whole.choices[0].message.content == TEXT

    asyncio.run(ask())


def test_a_tool_is_called_in_pieces_and_its_result_is_answered_with_text(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**QUESTION, tools=[WEATHER]) as stream:
        pieces = [event.arguments_delta for event in stream if event.type == "tool_calls.function.arguments.delta"]
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert len(pieces) > 1
    assert "".join(pieces) == call.function.arguments
    assert json.loads(call.function.arguments)["city"] in {"Höfn", "Passau"}
    assert call.id.startswith("call_")

    result = {"role": "tool", "tool_call_id": call.id, "content": "snow"}
    messages = [*QUESTION["messages"], choice.message.model_dump(exclude_none=True), result]
    answer = client.chat.completions.create(**QUESTION | {"messages": messages, "tools": [WEATHER]})
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content


def test_a_tool_is_called_in_a_whole_answer_too(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(**QUESTION, tools=[WEATHER]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    assert [call.type for call in choice.message.tool_calls] == ["function"]


def test_reasoning_comes_before_the_text_and_is_counted(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            **QUESTION, reasoning_effort="low", stream=True, stream_options={"include_usage": True}
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    thoughts = [bool(getattr(delta, "reasoning_content", None)) for delta in deltas[1:-1]]
    assert thoughts == sorted(thoughts, reverse=True)
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == sum(thoughts) > 0
    assert usage.completion_tokens == sum(thoughts) + 40


def test_a_stop_sequence_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    word = TEXT.split()[5]
    choice = client.chat.completions.create(**QUESTION, stop=[word]).choices[0]
    assert choice.message.content == TEXT.partition(word)[0]
    assert choice.finish_reason == "stop"


def test_a_cut_answer_says_length(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(**QUESTION, max_completion_tokens=5)
    assert completion.choices[0].finish_reason == "length"


def test_mistakes_are_the_packages_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"messages\.0\.role") as refused:
        client.chat.completions.create(**QUESTION | {"messages": [{"role": "ghost", "content": "?"}]})
    assert refused.value.type == "invalid_request_error"
    assert str(refused.value.request_id).startswith("req_")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="reference", input="?")


def test_a_full_server_is_the_packages_own_error() -> None:
    with (
        reference_server("--max-streams", "1", "--ttft", "10m") as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
        client.chat.completions.create(**QUESTION, stream=True),
        pytest.raises(openai.InternalServerError) as refused,
    ):
        client.chat.completions.create(**QUESTION)
    assert refused.value.status_code == 503
    assert refused.value.response.headers["retry-after"] == "1"


def test_an_error_in_the_middle_of_a_stream_is_raised_there(client: openai.OpenAI) -> None:
    slow = {"x-gauge-itl": "20ms", "x-gauge-deadline": "200ms"}
    chunks = client.chat.completions.create(**QUESTION, stream=True, extra_headers=slow)
    with pytest.raises(openai.APIError, match="not finished within"):
        list(chunks)


def test_a_wrong_key_is_the_packages_own_error() -> None:
    with reference_server("--api-key", "s3cret", "--ttft", "1ms", "--itl", "1ms") as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="guessed", max_retries=0) as stranger:
            with pytest.raises(openai.AuthenticationError) as refused:
                stranger.chat.completions.create(**QUESTION)
            assert refused.value.code == "invalid_api_key"
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="s3cret", max_retries=0) as client:
            assert client.chat.completions.create(**QUESTION)
