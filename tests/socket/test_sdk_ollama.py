"""The ollama package works with the reference server as with any server of that API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.late import Late
from tests.support.reference import ReferenceServer

if TYPE_CHECKING:
    import ollama
else:
    ollama = Late("ollama")

QUESTION: Any = {"model": "reference", "messages": [{"role": "user", "content": "What does a gauge do?"}]}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Höfn", "Passau"]}}},
    },
}


@pytest.fixture(scope="module")
def client(server: ReferenceServer) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.url) as running:
        yield running


def test_a_stream_is_the_same_answer_as_one_in_one_piece(client: ollama.Client) -> None:
    parts = list(client.chat(**QUESTION, stream=True))
    whole = client.chat(**QUESTION)
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * 40 + [True]
    for last in (parts[-1], whole):
        assert (last.done_reason, last.eval_count, last.model) == ("stop", 40, "reference")
        assert last.prompt_eval_count


def test_thinking_comes_before_the_text(client: ollama.Client) -> None:
    thoughts = [bool(part.message.thinking) for part in client.chat(**QUESTION, stream=True, think=True)]
    assert thoughts == sorted(thoughts, reverse=True)
    assert any(thoughts)


def test_a_tool_is_called_and_its_result_is_answered_with_text(client: ollama.Client) -> None:
    for parts in (client.chat(**QUESTION, tools=[WEATHER], stream=True), [client.chat(**QUESTION, tools=[WEATHER])]):
        messages = [part.message for part in parts]
        (call,) = (call for message in messages for call in message.tool_calls or [])
        assert call.function.name == "weather"
        assert call.function.arguments["city"] in {"Höfn", "Passau"}
    asked = ollama.Message(role="assistant", content="", tool_calls=[call])
    result = {"role": "tool", "tool_name": "weather", "content": "snow"}
    answer = client.chat("reference", messages=[*QUESTION["messages"], asked, result], tools=[WEATHER])
    assert answer.message.content
    assert not answer.message.tool_calls


def test_options_limit_and_stop_the_answer(client: ollama.Client) -> None:
    cut = client.chat(**QUESTION, options={"num_predict": 5})
    assert (cut.done_reason, cut.eval_count) == ("length", 5)
    text = client.chat(**QUESTION).message.content or ""
    word = text.split()[5]
    assert client.chat(**QUESTION, options={"stop": [word]}).message.content == text.partition(word)[0]


def test_a_mistake_and_a_failure_are_the_packages_own_errors(client: ollama.Client, server: ReferenceServer) -> None:
    with pytest.raises(ollama.ResponseError, match=r"tools\.0") as refused:
        client._request(ollama.ChatResponse, "POST", "/api/chat", json={**QUESTION, "tools": [1]})
    assert refused.value.status_code == 400
    with (
        ollama.Client(host=server.url, headers={"x-gauge-fault": "error@3"}) as failing,
        pytest.raises(ollama.ResponseError, match="the fault error was asked for"),
    ):
        list(failing.chat(**QUESTION, stream=True))
