"""Anthropic's Messages API. https://docs.anthropic.com/en/api/messages-streaming

An event's type is the `type` in its data or, without one, the event's name. Unknown types are not content: the API's
documentation says that new ones will be added. `input_tokens` excludes tokens read from or written to the prompt cache.
"""

from typing import Any

import msgspec

from streamgauge.harness.config.schema import ProtocolName, Target
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
    failure,
    line,
    malformed,
    turns,
    undated,
)
from streamgauge.harness.record.arrivals import Kind

NAME: ProtocolName = "anthropic_messages"


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
    """The start of a stream with the usage so far, or a whole answer that was not streamed."""

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


def request(target: Target, prompt: Prompt, stream: bool) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [*turns(prompt)]
    if prompt.goes_on:
        for question in messages[-1:-4:-2]:  # the last two questions; the answer between them is skipped
            question["content"] = _marked(question["content"])
    body: dict[str, Any] = {
        "model": target.model,
        "max_tokens": prompt.max_tokens or target.max_tokens,
        "messages": messages,
        "stream": stream,
    }
    if prompt.system is not None:
        body["system"] = _marked(prompt.system) if prompt.cached else prompt.system
    if prompt.tools:
        body["tools"] = [{"type": tool, "name": undated(tool)} for tool in prompt.tools]
    return body


def _marked(text: str) -> list[dict[str, Any]]:
    """A text block with a cache mark: the server caches the prompt up to its end, and looks that prefix up."""
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]


def understand(event: Event, answer: Answer) -> Meaning:
    if event.comment:
        return PING
    try:
        decoded = _event(event.data)
    except JSON_FAULTS as fault:
        raise malformed(NAME, event.data, fault) from fault
    kind = decoded.type or event.name
    if kind == "content_block_delta":
        return _content(decoded.delta, event.data)
    if kind == "ping":
        return PING
    if kind == "message_stop":
        return END
    if kind == "error":
        return failure(decoded.error)
    if kind == "message_start" and decoded.message is not None:
        _report(decoded.message.usage, decoded.message.stop_reason, answer)
    elif kind == "message_delta":
        _report(decoded.usage, decoded.delta.stop_reason if decoded.delta is not None else None, answer)
    elif not kind:
        raise malformed(NAME, event.data, "an event without a type")
    return OTHER


def plain(body: bytes, answer: Answer) -> Meaning:
    try:
        message = _message(body)
    except JSON_FAULTS as fault:
        raise malformed(NAME, body, fault) from fault
    if message.type == "error":
        return failure(message.error)
    if message.type != "message":
        raise malformed(NAME, body, "not a message")
    _report(message.usage, message.stop_reason, answer)
    text = "".join(block.text for block in message.content)
    return Meaning(Kind.TEXT if text else Kind.OTHER, text, ends=True)


def _content(delta: _Delta | None, data: bytes) -> Meaning:
    if delta is None:
        raise malformed(NAME, data, "a content_block_delta without a delta")
    if delta.text and delta.type == "text_delta":
        return Meaning(Kind.TEXT, delta.text)
    if delta.thinking and delta.type == "thinking_delta":
        return Meaning(Kind.THINKING, delta.thinking)
    if delta.partial_json and delta.type == "input_json_delta":
        return Meaning(Kind.TOOL, delta.partial_json)
    return OTHER  # empty, a signature, a citation, or a type that we do not know


def _report(usage: _Usage | None, stop_reason: str | None, answer: Answer) -> None:
    """Keep the reported values. Counts are cumulative: a later one replaces an earlier one."""
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
