"""Anthropic's Messages API. https://docs.anthropic.com/en/api/messages-streaming

An event's type is the `type` in its data or, without one, the event's name. Unknown types are not content: the API's
documentation says that new ones will be added. `input_tokens` excludes tokens read from or written to the prompt cache.
"""

from typing import Any

import msgspec

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.lenient import FAULTS, keep_stop_reason, keep_tokens, read, text_in
from streamgauge.harness.drive.protocols.protocol import (
    END,
    OTHER,
    PING,
    UNKNOWN,
    Answer,
    Meaning,
    Protocol,
    failure,
    malformed,
    turns,
    undated,
)
from streamgauge.harness.record.arrivals import Kind

NAME: ProtocolName = "anthropic_messages"
# Key of the usage → field of the Answer.
_COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}
# The same for what AWS Bedrock adds to the end.
_BEDROCK = {
    "inputTokenCount": "input_tokens",
    "outputTokenCount": "output_tokens",
    "cacheReadInputTokenCount": "cache_read_tokens",
    "cacheWriteInputTokenCount": "cache_write_tokens",
}
_BLOCKS = {"content_block_start", "content_block_delta", "content_block_stop"}
_TYPES = {"message_start", "message_delta", "message_stop", "ping", *_BLOCKS}


class _Delta(msgspec.Struct):
    type: Any = None
    text: Any = None
    thinking: Any = None
    partial_json: Any = None
    stop_reason: Any = None


class _Block(msgspec.Struct):
    type: Any = None
    text: Any = None
    thinking: Any = None
    data: Any = None  # of thinking that the server encrypted
    name: Any = None  # of a tool that is called
    input: Any = None


class _Message(msgspec.Struct):
    """The start of a stream with the usage so far, or a whole answer that was not streamed."""

    type: Any = None
    content: list[_Block] | None = None
    usage: Any = None
    stop_reason: Any = None
    error: Any = None


class _Event(msgspec.Struct):
    type: Any = None
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Message | None = None
    usage: Any = None
    error: Any = None
    metrics: Any = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")


_event = msgspec.json.Decoder(_Event)
_message = msgspec.json.Decoder(_Message)


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
    if not event.data.strip():
        return PING if event.name == "ping" else OTHER
    try:
        decoded = read(_event, event.data)
    except FAULTS as fault:
        if event.name not in _TYPES and not event.data.startswith(b"{"):
            return UNKNOWN  # the SDK reads the data only of events that it knows by name
        raise malformed(NAME, event.data, fault) from fault
    kind = decoded.type or event.name
    if kind == "content_block_delta":
        return _content(decoded.delta, event.data)
    if kind == "content_block_start":
        return OTHER if decoded.content_block is None else _block(decoded.content_block)
    if kind == "ping":
        return PING
    if kind == "message_stop":
        _keep(decoded.metrics, _BEDROCK, answer)
        return END
    if kind == "error":
        return failure(decoded.error)
    if kind == "message_start" and decoded.message is not None:
        _report(decoded.message.usage, decoded.message.stop_reason, answer)
        return _blocks(decoded.message.content)
    if kind == "message_delta":
        _report(decoded.usage, decoded.delta.stop_reason if decoded.delta is not None else None, answer)
    elif not kind:
        return UNKNOWN
    return OTHER


def plain(body: bytes, answer: Answer) -> Meaning:
    try:
        message = read(_message, body)
    except FAULTS as fault:
        raise malformed(NAME, body, fault) from fault
    if message.type == "error" or (message.error and message.type != "message"):
        return failure(message.error)
    if message.type != "message":
        raise malformed(NAME, body, "not a message")
    _report(message.usage, message.stop_reason, answer)
    meaning = _blocks(message.content)
    return Meaning(meaning.kind, meaning.text, ends=True)


def _content(delta: _Delta | None, data: bytes) -> Meaning:
    if delta is None:
        raise malformed(NAME, data, "a content_block_delta without a delta")
    if delta.type == "text_delta" and (text := text_in(delta.text)):
        return Meaning(Kind.TEXT, text)
    if delta.type == "thinking_delta" and (text := text_in(delta.thinking)):
        return Meaning(Kind.THINKING, text)
    if delta.type == "input_json_delta" and (text := text_in(delta.partial_json)):
        return Meaning(Kind.TOOL, text)
    return OTHER  # empty, a signature, a citation, or a type that we do not know


def _block(block: _Block) -> Meaning:
    """What a block has when it starts: a tool's name, or its first text."""
    if block.type == "text" and (text := text_in(block.text)):
        return Meaning(Kind.TEXT, text)
    if block.type in ("thinking", "redacted_thinking") and (text := text_in(block.thinking) or text_in(block.data)):
        return Meaning(Kind.THINKING, text)
    if isinstance(block.type, str) and block.type.endswith("tool_use") and isinstance(block.name, str) and block.name:
        return Meaning(Kind.TOOL, block.name)
    return OTHER


def _blocks(blocks: list[_Block] | None) -> Meaning:
    """Several blocks at once, by the most visible of their kinds."""
    if not blocks:
        return OTHER
    found = [_block(block) for block in blocks]
    for kind in (Kind.TEXT, Kind.THINKING, Kind.TOOL):
        if text := "".join(meaning.text for meaning in found if meaning.kind is kind):
            return Meaning(kind, text)
    return OTHER


def _report(usage: Any, stop_reason: Any, answer: Answer) -> None:
    """Keep the reported values. Counts are cumulative: a later one replaces an earlier one."""
    if stop_reason is not None:
        keep_stop_reason(answer, stop_reason)
    _keep(usage, _COUNTS, answer)


def _keep(usage: Any, counts: dict[str, str], answer: Answer) -> None:
    if isinstance(usage, dict):
        for key, field in counts.items():
            if (count := usage.get(key)) is not None:
                keep_tokens(answer, field, count)


PROTOCOL = Protocol(
    name=NAME,
    path="/v1/messages",
    headers={"anthropic-version": "2023-06-01"},
    terminals=(b"message_stop",),
    request=request,
    understand=understand,
    plain=plain,
    cached_in_input=False,
)
