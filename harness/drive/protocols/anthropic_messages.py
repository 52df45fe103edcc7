"""Anthropic's Messages API. https://docs.anthropic.com/en/api/messages-streaming

An event's type is its data's `type`, and failing that its name. Types that we do not know are no content: the API
says that new ones will come. `input_tokens` is without what was read from or written to the prompt cache.
"""

from typing import Any

import msgspec

from streamgauge.harness.config import Target
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.protocol import (
    END,
    JSON_FAULTS,
    OTHER,
    PING,
    Answer,
    Meaning,
    Protocol,
    Tokens,
    bare,
    failure,
    line,
    malformed,
    turns,
)
from streamgauge.harness.record.arrivals import Kind

NAME = "anthropic_messages"


class _Usage(msgspec.Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""


class _Message(msgspec.Struct):
    """Begins a stream, with its usage so far; is the whole of an answer that was not streamed."""

    type: str | None = None
    content: list[_Block] = []
    usage: _Usage | None = None
    stop_reason: str | None = None
    error: Any = None


class _Event(msgspec.Struct):
    type: str | None = None
    delta: _Delta | None = None
    message: _Message | None = None
    usage: _Usage | None = None
    error: Any = None


_event = msgspec.json.Decoder(_Event).decode
_message = msgspec.json.Decoder(_Message).decode


def request(target: Target, prompt: Prompt, stream: bool) -> bytes:
    messages: list[dict[str, Any]] = [*turns(prompt)]
    if prompt.goes_on:
        for question in messages[-1:-4:-2]:  # the last two; between them is an answer
            question["content"] = _marked(question["content"])
    body = {
        "model": target.model,
        "max_tokens": prompt.max_tokens or target.max_tokens,
        "messages": messages,
        "stream": stream,
    }
    if prompt.system is not None:
        body["system"] = _marked(prompt.system) if prompt.cached else prompt.system
    if prompt.tools:
        body["tools"] = [{"type": tool, "name": bare(tool)} for tool in prompt.tools]
    return msgspec.json.encode(body)


def _marked(text: str) -> list[dict[str, Any]]:
    """Up to its end, the prompt is to be kept in the server's cache, and looked for there."""
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]


def understand(event: Event, answer: Answer) -> Meaning:
    if event.comment:
        return PING
    try:
        said = _event(event.data)
    except JSON_FAULTS as fault:
        raise malformed(NAME, event.data, fault) from fault
    kind = said.type or event.name
    if kind == "content_block_delta":
        return _content(said.delta, event.data)
    if kind == "ping":
        return PING
    if kind == "message_stop":
        return END
    if kind == "error":
        return failure(said.error)
    if kind == "message_start" and said.message is not None:
        _report(said.message.usage, said.message.stop_reason, answer)
    elif kind == "message_delta":
        _report(said.usage, said.delta.stop_reason if said.delta is not None else None, answer)
    elif not kind:
        raise malformed(NAME, event.data, "an event without a type")
    return OTHER


def plain(body: bytes, answer: Answer) -> Meaning:
    try:
        said = _message(body)
    except JSON_FAULTS as fault:
        raise malformed(NAME, body, fault) from fault
    if said.type == "error":
        return failure(said.error)
    if said.type != "message":
        raise malformed(NAME, body, "not a message")
    _report(said.usage, said.stop_reason, answer)
    text = sum(len(block.text) for block in said.content)
    return Meaning(Kind.TEXT if text else Kind.OTHER, text, ends=True)


def _content(delta: _Delta | None, data: bytes) -> Meaning:
    if delta is None:
        raise malformed(NAME, data, "a content_block_delta without a delta")
    if delta.text and delta.type == "text_delta":
        return Meaning(Kind.TEXT, len(delta.text))
    if delta.thinking and delta.type == "thinking_delta":
        return Meaning(Kind.THINKING, len(delta.thinking))
    if delta.partial_json and delta.type == "input_json_delta":
        return Meaning(Kind.TOOL, len(delta.partial_json))
    return OTHER  # empty, a signature, a citation, or a delta of a type still to come


def _report(usage: _Usage | None, stop_reason: str | None, answer: Answer) -> None:
    """Keep what an event reports; counts are cumulative, so the last one holds."""
    if stop_reason is not None:
        answer.stop_reason = line(stop_reason, 100)
    if usage is None:
        return
    if usage.input_tokens is not None:
        answer.input_tokens = usage.input_tokens
    if usage.output_tokens is not None:
        answer.output_tokens = usage.output_tokens
    if usage.cache_read_input_tokens is not None:
        answer.cache_read_tokens = usage.cache_read_input_tokens
    if usage.cache_creation_input_tokens is not None:
        answer.cache_write_tokens = usage.cache_creation_input_tokens


PROTOCOL = Protocol(
    name=NAME,
    path="/v1/messages",
    headers={"anthropic-version": "2023-06-01"},
    terminal=b"message_stop",
    request=request,
    understand=understand,
    plain=plain,
)
