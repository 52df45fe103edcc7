"""Plain SSE: `data:` holds the text itself, and `[DONE]` ends the stream.

Four JSON objects have a special meaning: `{"done": true, …}` ends the stream and reports usage; `{"error": …}` is an
error; `{"event": "tool_start", …}` has a tool's whole input and is content; `{"event": "tool_end", …}` is not content.
Any other JSON is text, since models write JSON. The event's name, too, can be `thinking`, `tool_start` or `tool_end`.
"""

from typing import Any

import msgspec

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.lenient import FAULTS, keep_stop_reason, keep_tokens, read
from streamgauge.harness.drive.protocols.protocol import (
    END,
    OTHER,
    PING,
    Answer,
    Meaning,
    Protocol,
    failure,
    malformed,
    turns,
    undated,
)
from streamgauge.harness.record.arrivals import Kind

NAME: ProtocolName = "plain_sse"
_KINDS = {"thinking": Kind.THINKING, "tool_start": Kind.TOOL}  # by event name; every other name is text


class _Report(msgspec.Struct):
    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_tokens: Any = None
    cache_creation_tokens: Any = None
    stop_reason: Any = None
    error: Any = None


class _Control(_Report):
    done: Any = None
    event: Any = None


class _Whole(_Report):
    text: str | None = None


_control = msgspec.json.Decoder(_Control)
_whole = msgspec.json.Decoder(_Whole)


def request(target: Target, prompt: Prompt, stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": target.model,
        "max_tokens": prompt.max_tokens or target.max_tokens,
        "messages": turns(prompt),
        "stream": stream,
    }
    if prompt.system is not None:
        body["system"] = prompt.system
    if prompt.tools:
        body["tools"] = [undated(tool) for tool in prompt.tools]
    return body


def understand(event: Event, answer: Answer) -> Meaning:
    if event.name in {"tool_end", "ping"}:
        return PING if event.name == "ping" else Meaning(Kind.OTHER)  # an error in it is the tool's, not the stream's
    kind = _KINDS.get(event.name, Kind.TEXT)
    meaning = _control_event(event.data, answer) if kind is Kind.TEXT else None
    if meaning is not None:
        return meaning
    try:
        text = event.data.decode()
    except UnicodeDecodeError as fault:
        raise malformed(NAME, event.data, fault) from fault
    return Meaning(kind, text) if text else OTHER


def plain(body: bytes, answer: Answer) -> Meaning:
    """An answer that was not streamed: `{"text": "…", …}` with the same usage fields."""
    try:
        decoded = read(_whole, body)
    except FAULTS as fault:
        raise malformed(NAME, body, fault) from fault
    if decoded.error:
        return failure(decoded.error)
    if decoded.text is None:
        raise malformed(NAME, body, "no text")
    _report(decoded, answer)
    return Meaning(Kind.TEXT if decoded.text else Kind.OTHER, decoded.text, ends=True)


def _control_event(data: bytes, answer: Answer) -> Meaning | None:
    """The meaning of `[DONE]` and of the four special objects; None for everything else."""
    if data.strip() == b"[DONE]":
        return END
    if not data.startswith(b"{"):
        return None
    try:
        decoded = read(_control, data)
    except FAULTS:
        return None
    if decoded.error:
        return failure(decoded.error)
    if decoded.done is True:
        _report(decoded, answer)
        return END
    if decoded.event == "tool_start":
        return Meaning(Kind.TOOL, data.decode("utf-8", "replace"))
    return OTHER if decoded.event == "tool_end" else None


def _report(decoded: _Report, answer: Answer) -> None:
    keep_tokens(answer, "input_tokens", decoded.input_tokens)
    keep_tokens(answer, "output_tokens", decoded.output_tokens)
    keep_tokens(answer, "cache_read_tokens", decoded.cache_read_tokens)
    keep_tokens(answer, "cache_write_tokens", decoded.cache_creation_tokens)
    keep_stop_reason(answer, decoded.stop_reason)


PROTOCOL = Protocol(
    name=NAME,
    path="/chat/stream",
    headers={},
    terminals=(),  # none: `{"done": true}` also ends a stream, with any spacing
    request=request,
    understand=understand,
    plain=plain,
    has_reasons=False,
)
