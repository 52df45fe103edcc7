"""OpenAI chat completions and compatible servers. https://platform.openai.com/docs/api-reference/chat

`[DONE]` ends a stream: usage and errors can follow a finish_reason. `input_tokens` includes tokens read from the prompt
cache. The older completions (`choices[].text`) are read, too.
"""

from typing import Any

import msgspec

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.lenient import FAULTS, dict_at, keep_stop_reason, keep_tokens, read, text_in
from streamgauge.harness.drive.protocols.protocol import (
    END,
    OTHER,
    PING,
    UNKNOWN,
    Answer,
    Choice,
    Meaning,
    Protocol,
    failure,
    malformed,
    turns,
    undated,
)
from streamgauge.harness.record.arrivals import Kind

NAME: ProtocolName = "openai_chat"
_MOST_CHOICES = 128  # as many as the API gives
_DEEPEST = 3  # levels at which usage is looked for


class _Delta(msgspec.Struct):
    content: Any = None  # text, or a list of parts (Mistral)
    refusal: Any = None
    audio: Any = None
    reasoning_content: Any = None  # DeepSeek, vLLM, SGLang
    reasoning: Any = None  # OpenRouter, newer vLLM
    reasoning_details: Any = None  # MiniMax, OpenRouter
    tool_calls: Any = None
    function_call: Any = None  # before tool_calls


class _Choice(msgspec.Struct):
    index: Any = None
    delta: _Delta | None = None
    message: _Delta | None = None  # in an answer that was not streamed
    text: Any = None  # of the older completions
    finish_reason: Any = None
    error: Any = None  # OpenRouter


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_chunk = msgspec.json.Decoder(_Chunk)
_anything = msgspec.json.Decoder(Any)


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
    data = event.data.strip()
    if not data:
        return PING if event.name == "ping" else OTHER
    if data.startswith(b"[DONE]"):
        return END
    decoded = _read(data)
    error = _error(decoded)
    if error:
        return failure(error)
    usage = _usage_in(data) if b'"usage"' in data else {}
    if decoded.choices is None and not usage:
        return UNKNOWN
    _report(usage, answer)
    meaning = OTHER
    for choice in decoded.choices or ():
        if choice.delta is None and answer.begun:  # MiniMax sends the whole message once more at the end
            choice.message = None
        found = _content(choice)
        _keep_choice(choice, found, answer)
        meaning = found if meaning is OTHER else meaning
    answer.begun = answer.begun or meaning is not OTHER
    return meaning


def plain(body: bytes, answer: Answer) -> Meaning:
    decoded = _read(body)
    error = _error(decoded)
    if error:
        return failure(error)
    if decoded.choices is None:
        raise malformed(NAME, body, "no choices")
    if b'"usage"' in body:
        _report(_usage_in(body), answer)
    meaning = OTHER
    for choice in decoded.choices:
        found = _content(choice)
        _keep_choice(choice, found, answer)
        meaning = found if meaning is OTHER else meaning
    return Meaning(meaning.kind, meaning.text, ends=True)


def _read(data: bytes) -> _Chunk:
    try:
        return read(_chunk, data)
    except FAULTS as fault:
        raise malformed(NAME, data, fault) from fault


def _error(decoded: _Chunk) -> Any:
    return decoded.error or next((choice.error for choice in decoded.choices or () if choice.error), None)


def _keep_choice(choice: _Choice, found: Meaning, answer: Answer) -> None:
    """Keep whether this choice has ended, and whether it brought something."""
    ended = keep_stop_reason(answer, choice.finish_reason)
    kept = answer.choices.get(str(choice.index))
    if kept is None and len(answer.choices) < _MOST_CHOICES:
        kept = answer.choices[str(choice.index)] = Choice()
    if kept is not None:
        kept.brought = kept.brought or (found is not OTHER and found.visible)
        kept.ended = kept.ended or ended


def _content(choice: _Choice) -> Meaning:
    """The content of a choice: of its text, thinking and tool calls, the first that there is."""
    delta = choice.delta or choice.message or _Delta()
    text, thinking = _text_and_thinking(delta.content)
    text = text or text_in(choice.text) or text_in(delta.refusal) or text_in(delta.audio)
    if text:
        return Meaning(Kind.TEXT, text)
    thinking = (
        thinking or text_in(delta.reasoning_content) or text_in(delta.reasoning) or text_in(delta.reasoning_details)
    )
    if thinking:
        return Meaning(Kind.THINKING, thinking)
    calls = delta.tool_calls if isinstance(delta.tool_calls, list) else [{"function": delta.function_call}]
    tool = "".join(map(_call, calls))
    return Meaning(Kind.TOOL, tool) if tool else OTHER


def _text_and_thinking(content: Any) -> tuple[str, str]:
    """The two kinds of content; Mistral mixes parts of both in one list."""
    if not isinstance(content, list):
        return text_in(content), ""
    thoughts = [part for part in content if isinstance(part, dict) and part.get("type") == "thinking"]
    return text_in([part for part in content if part not in thoughts]), text_in(thoughts)


def _call(call: Any) -> str:
    """The new part of a tool call: its name, arguments or both."""
    function = dict_at(call, "function") or dict_at(call, "custom")
    words = [function.get(key) for key in ("name", "arguments", "input")]
    return "".join(word if isinstance(word, str) else str(word) for word in words if word)


def _usage_in(data: bytes) -> dict[str, Any]:
    """The usage of an event, wherever it is. A part that is not needed may be damaged: then there is none."""
    try:
        return _usage(read(_anything, data))
    except FAULTS:
        return {}


def _usage(decoded: Any, depth: int = 0) -> dict[str, Any]:
    """The usage of an event: at the top, in the last choice, or under a vendor's key."""
    if isinstance(decoded, list):
        return next((found for item in reversed(decoded) if (found := _usage(item, depth))), {})
    if not isinstance(decoded, dict) or depth == _DEEPEST:
        return {}
    usage = dict_at(decoded, "usage")
    return usage or next((found for item in decoded.values() if (found := _usage(item, depth + 1))), {})


def _report(usage: dict[str, Any], answer: Answer) -> None:
    """Keep the reported values. Some servers report cumulative counts in every chunk: the last one counts."""
    keep_tokens(answer, "input_tokens", usage.get("prompt_tokens"))
    keep_tokens(answer, "output_tokens", usage.get("completion_tokens"))
    details = dict_at(usage, "prompt_tokens_details")
    cached = [details.get("cached_tokens"), *(usage.get(key) for key in ("prompt_cache_hit_tokens", "cached_tokens"))]
    keep_tokens(answer, "cache_read_tokens", next((count for count in cached if count is not None), None))
    keep_tokens(answer, "cache_write_tokens", details.get("cache_write_tokens"))


PROTOCOL = Protocol(
    name=NAME,
    path="/v1/chat/completions",
    headers={},
    terminals=(b"[DONE]",),
    request=request,
    understand=understand,
    plain=plain,
)
