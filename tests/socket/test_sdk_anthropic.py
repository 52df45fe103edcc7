"""The official SDK, sync and async, works with the reference server as with the real service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.script import write_script
from streamgauge.reference_server.model.settings import ModelSettings
from tests.support.late import Late
from tests.support.reference import ReferenceServer, reference_server

if TYPE_CHECKING:
    import anthropic
else:
    anthropic = Late("anthropic")

PROMPT = "What does a gauge do?"
QUESTION: Any = {"model": "reference", "max_tokens": 2000, "messages": [{"role": "user", "content": PROMPT}]}
TEXT = "".join(step.text for step in write_script(ModelSettings(tokens=(40, 40)), ModelInput(PROMPT)).steps)
WEATHER: Any = {
    "name": "weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Höfn", "Passau"]}}},
}
GAUGE: Any = {"type": "gauge_level_20261101", "name": "gauge_level"}
FORECAST: Any = {"type": "forecast_20261101", "name": "forecast"}
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture(scope="module")
def client(server: ReferenceServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as running:
        yield running


def text_of(message: anthropic.types.Message) -> str:
    (block,) = message.content
    assert block.type == "text"
    return block.text


def test_the_stream_helper_gives_the_text_token_by_token_and_the_whole_message(client: anthropic.Anthropic) -> None:
    with client.messages.stream(**QUESTION) as stream:
        texts = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(texts) == 40
    assert "".join(texts) == TEXT
    assert text_of(message) == TEXT
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == 40
    assert message.usage.input_tokens > 0
    assert message.usage.cache_read_input_tokens == 0


def test_raw_events_come_in_the_protocols_order(client: anthropic.Anthropic) -> None:
    kinds = [event.type for event in client.messages.create(**QUESTION, stream=True)]
    assert kinds[:2] == ["message_start", "content_block_start"]  # the SDK does not yield pings
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert kinds.count("content_block_delta") == 40


def test_a_whole_answer_is_the_same_message(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**QUESTION)
    assert (text_of(message), message.stop_reason, message.usage.output_tokens) == (TEXT, "end_turn", 40)


def test_the_message_carries_the_request_id_of_the_truth_log(
    server: ReferenceServer, client: anthropic.Anthropic
) -> None:
    with client.messages.stream(**QUESTION) as stream:
        request_id = stream.request_id
        stream.until_done()
    assert server.truth()[-1]["id"] == request_id


# Tools


def test_a_clients_tool_is_called_in_pieces_and_its_result_is_answered_with_text(client: anthropic.Anthropic) -> None:
    with client.messages.stream(**QUESTION, tools=[WEATHER]) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        asked = stream.get_final_message()
    assert asked.stop_reason == "tool_use"
    text, use = asked.content
    assert text.type == "text"
    assert use.type == "tool_use"
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == use.input
    assert use.input["city"] in {"Höfn", "Passau"}

    result = {"type": "tool_result", "tool_use_id": use.id, "content": "no such city", "is_error": True}
    turns = [{"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(**QUESTION | {"messages": QUESTION["messages"] + turns, "tools": [WEATHER]})
    assert answer.stop_reason == "end_turn"
    assert text_of(answer)


def test_the_sdks_own_tool_loop_runs_to_the_end(client: anthropic.Anthropic) -> None:
    ran: list[str] = []

    @anthropic.beta_tool
    def depth(river: str) -> str:
        """How deep a river is.

        Args:
            river: its name
        """
        ran.append(river)
        return "3 m"

    runner = client.beta.messages.tool_runner(**QUESTION, tools=[depth], extra_headers={"x-gauge-tools": "3"})
    messages = list(runner)
    assert [message.stop_reason for message in messages] == ["tool_use"] * 3 + ["end_turn"]
    assert len(ran) == 3


def test_a_choice_of_no_tool_is_followed(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(**QUESTION, tools=[WEATHER], tool_choice={"type": "none"})
    assert answer.stop_reason == "end_turn"


def test_a_tool_of_the_server_runs_in_the_middle_of_the_answer(client: anthropic.Anthropic) -> None:
    with client.messages.stream(**QUESTION, tools=[GAUGE]) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    text, use, result, more = cast("Any", message.content)
    assert (text.type, use.type, result.type, more.type) == (
        "text",
        "server_tool_use",
        "gauge_level_tool_result",
        "text",
    )
    assert use.name == "gauge_level"
    assert json.loads("".join(pieces)) == use.input
    assert result.tool_use_id == use.id
    assert message.stop_reason == "end_turn"
    again = {"role": "assistant", "content": message.content}
    messages = [*QUESTION["messages"], again, {"role": "user", "content": "Thanks."}]
    assert client.messages.create(**QUESTION | {"messages": messages}).stop_reason == "end_turn"


def test_a_tool_of_the_server_that_fails_does_not_end_the_answer(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**QUESTION, tools=[FORECAST], extra_headers={"x-gauge-tools": "2"})
    kinds = [block.type for block in message.content]
    assert kinds == ["text", "server_tool_use", "forecast_tool_result"] * 2 + ["text"]
    failed = cast("Any", message.content[2]).content
    assert failed["type"] == "forecast_tool_result_error"
    assert failed["error_message"] == "no result within 0.2 s"


# Thinking, caching, counting


def test_thinking_comes_first_is_signed_and_can_be_sent_back(client: anthropic.Anthropic) -> None:
    with client.messages.stream(**QUESTION, thinking=THINKING) as stream:
        thoughts = [event.thinking for event in stream if event.type == "thinking"]
        message = stream.get_final_message()
    thinking, text = message.content
    assert thinking.type == "thinking"
    assert thinking.thinking == "".join(thoughts)
    assert text.type == "text"
    assert text.text == TEXT
    details = message.usage.output_tokens_details
    assert details is not None
    assert message.usage.output_tokens == details.thinking_tokens + 40 == len(thoughts) + 40

    turns = [{"role": "assistant", "content": message.content}, {"role": "user", "content": "And?"}]
    assert client.messages.create(**QUESTION | {"messages": QUESTION["messages"] + turns})
    thinking.thinking += " No."
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking` block"):
        client.messages.create(**QUESTION | {"messages": QUESTION["messages"] + turns})


def test_a_marked_prompt_is_written_to_the_cache_and_then_read_from_it(client: anthropic.Anthropic) -> None:
    handbook = "Read the staff twice. " * 300
    system: Any = [{"type": "text", "text": handbook, "cache_control": {"type": "ephemeral"}}]
    first, second = (client.messages.create(**QUESTION, system=system).usage for _ in range(2))
    written = first.cache_creation_input_tokens
    assert written is not None
    assert written > 1024
    assert (first.cache_read_input_tokens, second.cache_creation_input_tokens) == (0, 0)
    assert second.cache_read_input_tokens == written
    assert first.input_tokens == second.input_tokens < 20


def test_the_tokens_of_a_message_can_be_counted_without_an_answer(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="reference", messages=QUESTION["messages"])
    assert counted.input_tokens == client.messages.create(**QUESTION).usage.input_tokens
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.count_tokens(model="reference", messages=[])
    assert refused.value.type == "invalid_request_error"


def test_a_stop_sequence_ends_the_answer_before_it_and_is_named(client: anthropic.Anthropic) -> None:
    word = TEXT.split()[5]
    message = client.messages.create(**QUESTION, stop_sequences=["xyzzy", word])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", word)
    assert text_of(message) == TEXT.partition(word)[0]


def test_a_cut_answer_says_max_tokens(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**QUESTION | {"max_tokens": 5})
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 5)


def test_system_blocks_and_content_blocks_are_understood(client: anthropic.Anthropic) -> None:
    blocks = [{"type": "text", "text": PROMPT, "cache_control": {"type": "ephemeral"}}]
    message = client.messages.create(**QUESTION | {"system": blocks, "messages": [{"role": "user", "content": blocks}]})
    assert message.usage.input_tokens > len(PROMPT) / 4


def test_the_async_client_streams_and_answers(server: ReferenceServer) -> None:
    async def ask() -> None:
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key="none", max_retries=0) as client:
            async with client.messages.stream(**QUESTION) as stream:
                assert "".join([text async for text in stream.text_stream]) == TEXT
                assert (await stream.get_final_message()).stop_reason == "end_turn"
            events = await client.messages.create(**QUESTION, stream=True)
            assert [event.type async for event in events].count("content_block_delta") == 40
            assert text_of(await client.messages.create(**QUESTION)) == TEXT
            asked = await client.messages.create(**QUESTION, tools=[WEATHER])
            assert [block.type for block in asked.content] == ["text", "tool_use"]

    asyncio.run(ask())


def test_closing_a_stream_early_stops_its_generation(server: ReferenceServer, client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        **QUESTION | {"max_tokens": 100_000}, extra_headers={"x-gauge-tokens": "100000", "x-gauge-itl": "5ms"}
    ) as stream:
        next(iter(stream.text_stream))
    row = server.truth()[-1]
    assert row["outcome"] == "disconnected"
    assert 1 <= row["tokens"] < 100_000


# Errors


def test_an_error_in_the_middle_of_a_stream_is_raised_there(client: anthropic.Anthropic) -> None:
    texts: list[str] = []
    slow = {"x-gauge-itl": "20ms", "x-gauge-deadline": "200ms"}
    with (
        pytest.raises(anthropic.APIStatusError, match="not finished within") as broken,
        client.messages.stream(**QUESTION, extra_headers=slow) as stream,
    ):
        texts += stream.text_stream
    assert texts
    assert broken.value.type == "timeout_error"


def test_a_wrong_key_is_the_sdks_own_error() -> None:
    with reference_server("--api-key", "s3cret", "--ttft", "1ms", "--itl", "1ms") as server:
        with anthropic.Anthropic(base_url=server.url, api_key="guessed", max_retries=0) as stranger:
            with pytest.raises(anthropic.AuthenticationError) as refused:
                stranger.messages.create(**QUESTION)
            assert refused.value.type == "authentication_error"
        with anthropic.Anthropic(base_url=server.url, api_key="s3cret", max_retries=0) as client:
            assert client.messages.create(**QUESTION)


def test_a_bad_body_is_the_sdks_own_error(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.0\.role") as refused:
        client.messages.create(**QUESTION | {"messages": [{"role": "ghost", "content": "?"}]})
    assert cast("Any", refused.value.body)["error"]["type"] == "invalid_request_error"
    assert str(refused.value.request_id).startswith("req_")


def test_a_body_that_is_too_large_and_an_unknown_path_are_the_sdks_own_errors(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.RequestTooLargeError):
        client.messages.create(**QUESTION | {"system": "x" * 1_100_000})
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("reference")


def test_an_overloaded_server_is_the_sdks_own_error() -> None:
    with (
        reference_server("--max-streams", "1", "--ttft", "10m") as server,
        anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as client,
        client.messages.create(**QUESTION, stream=True),
        pytest.raises(anthropic.OverloadedError) as refused,
    ):
        client.messages.create(**QUESTION)
    assert refused.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, "BadRequestError", "invalid_request_error"),
        (401, "AuthenticationError", "authentication_error"),
        (403, "PermissionDeniedError", "permission_error"),
        (404, "NotFoundError", "not_found_error"),
        (413, "RequestTooLargeError", "request_too_large"),
        (429, "RateLimitError", "rate_limit_error"),
        (500, "InternalServerError", "api_error"),
        (504, "DeadlineExceededError", "timeout_error"),
        (529, "OverloadedError", "overloaded_error"),
    ],
)
def test_each_status_has_its_kind_of_error(client: anthropic.Anthropic, status: int, error: str, kind: str) -> None:
    with pytest.raises(getattr(anthropic, error), match="was asked for") as refused:
        client.messages.create(**QUESTION, extra_headers={"x-gauge-fault": f"http_{status}:7s"})
    assert (refused.value.status_code, refused.value.type) == (status, kind)
    assert refused.value.response.headers["retry-after"] == "7"
