"""OpenAI chat completions and compatible servers. https://platform.openai.com/docs/api-reference/chat

Only `[DONE]` ends a stream: usage and errors can follow a finish_reason. `input_tokens` includes tokens read from the
prompt cache.
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

NAME: ProtocolName = "openai_chat"


class _Details(msgspec.Struct):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: _Details | None = None


class _Function(msgspec.Struct):
    arguments: str | None = None


class _Call(msgspec.Struct):
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None  # DeepSeek, vLLM, SGLang
    reasoning: str | None = None  # OpenRouter, newer vLLM
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None  # in an answer that was not streamed
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_chunk = msgspec.json.Decoder(_Chunk).decode


def request(target: Target, prompt: Prompt, stream: bool) -> dict[str, Any]:
    system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    body: dict[str, Any] = {
        "model": target.model,
        "max_tokens": prompt.max_tokens or target.max_tokens,
        "messages": system + turns(prompt),
        "stream": stream,
    }
    if prompt.tools:
        body["tools"] = [{"type": "function", "function": {"name": undated(tool)}} for tool in prompt.tools]
    if stream:
        body["stream_options"] = {"include_usage": True}  # without it the API reports no usage
    return body


def understand(event: Event, answer: Answer) -> Meaning:
    if event.comment:
        return PING
    if event.data == b"[DONE]":
        return END
    decoded = _read(event.data)
    if decoded.error:
        return failure(decoded.error)
    meaning = OTHER
    for choice in decoded.choices or ():
        if choice.finish_reason is not None:
            answer.stop_reason = line(choice.finish_reason, 100)
        if choice.delta is not None and meaning is OTHER:
            meaning = _content(choice.delta)
    if decoded.usage is not None:
        _report(decoded.usage, answer)
    return meaning


def plain(body: bytes, answer: Answer) -> Meaning:
    decoded = _read(body)
    if decoded.error:
        return failure(decoded.error)
    text = ""
    for choice in decoded.choices or ():
        if choice.finish_reason is not None:
            answer.stop_reason = line(choice.finish_reason, 100)
        if choice.message is not None:
            text += choice.message.content or ""
    if decoded.usage is not None:
        _report(decoded.usage, answer)
    return Meaning(Kind.TEXT if text else Kind.OTHER, text, ends=True)


def _read(data: bytes) -> _Chunk:
    try:
        decoded = _chunk(data)
    except JSON_FAULTS as fault:
        raise malformed(NAME, data, fault) from fault
    if decoded.choices is None and decoded.usage is None and not decoded.error:
        raise malformed(NAME, data, "neither choices nor usage nor error")
    return decoded


def _content(delta: _Delta) -> Meaning:
    text = delta.content or delta.refusal
    if text:
        return Meaning(Kind.TEXT, text)
    thinking = delta.reasoning_content or delta.reasoning
    if thinking:
        return Meaning(Kind.THINKING, thinking)
    tool = "".join(call.function.arguments or "" for call in delta.tool_calls or () if call.function is not None)
    return Meaning(Kind.TOOL, tool) if tool else OTHER


def _report(usage: _Usage, answer: Answer) -> None:
    """Keep the reported values. Some servers report cumulative counts in every chunk: the last one counts."""
    if usage.prompt_tokens is not None:
        answer.input_tokens = usage.prompt_tokens
    if usage.completion_tokens is not None:
        answer.output_tokens = usage.completion_tokens
    details = usage.prompt_tokens_details
    if details is not None and details.cached_tokens is not None:
        answer.cache_read_tokens = details.cached_tokens
    if details is not None and details.cache_write_tokens is not None:
        answer.cache_write_tokens = details.cache_write_tokens


PROTOCOL = Protocol(
    name=NAME,
    path="/v1/chat/completions",
    headers={},
    terminal=b"[DONE]",
    request=request,
    understand=understand,
    plain=plain,
)
