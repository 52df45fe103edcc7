"""The official SDK, sync and async, talks to the reference server as to the real service."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import anthropic
import pytest
from reference import ReferenceServer, reference_server

from reference_server.model import Ask, Shape, plan

PROMPT = "What does a gauge do?"
QUESTION: Any = {"model": "reference", "max_tokens": 200, "messages": [{"role": "user", "content": PROMPT}]}
TEXT = "".join(plan(Shape(spread=0, tokens=(40, 40)), Ask(PROMPT)).texts)


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--ttft", "10ms", "--itl", "1ms", "--spread", "0", "--tokens", "40") as running:
        yield running


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
    assert kinds[:2] == ["message_start", "content_block_start"]
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

    asyncio.run(ask())


def test_breaking_off_a_stream_stops_its_generation(server: ReferenceServer, client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        **QUESTION | {"max_tokens": 100_000}, extra_headers={"x-gauge-tokens": "100000", "x-gauge-itl": "5ms"}
    ) as stream:
        next(iter(stream.text_stream))
    row = server.truth()[-1]
    assert row["outcome"] == "disconnected"
    assert 1 <= row["tokens"] < 100_000


def test_a_bad_body_is_the_sdks_own_error(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.0\.role") as refused:
        client.messages.create(**QUESTION | {"messages": [{"role": "ghost", "content": "?"}]})
    assert cast("Any", refused.value.body)["error"]["type"] == "invalid_request_error"
    assert str(refused.value.request_id).startswith("req_")


def test_too_large_a_body_and_an_unknown_path_are_the_sdks_own_errors(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.RequestTooLargeError):
        client.messages.create(**QUESTION | {"system": "x" * 1_100_000})
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("reference")


def test_an_overloaded_server_is_the_sdks_own_error() -> None:
    with (
        reference_server("--max-streams", "1", "--ttft", "10m") as server,
        anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as client,
        client.messages.create(**QUESTION, stream=True),
        pytest.raises(anthropic.OverloadedError),
    ):
        client.messages.create(**QUESTION)
