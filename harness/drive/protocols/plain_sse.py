"""Plain SSE: the text stands in `data:` as it is, and `[DONE]` ends it.

Among the text, four JSON objects have a meaning of their own: `{"done": true, …}`, which ends the stream and reports
usage, `{"error": …}`, and `{"event": "tool_start" | "tool_end", …}`. Any other JSON is text: models write JSON. Events
named `thinking` are thoughts. `tool_start`, as name or as `"event"`, tells the whole of a tool's input, which is
content; `tool_end` is progress and none.
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

NAME = "plain_sse"
_KINDS = {"thinking": Kind.THINKING, "tool_start": Kind.TOOL}  # by event name; all others: text


class _Report(msgspec.Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_tokens: Tokens | None = None
    cache_creation_tokens: Tokens | None = None
    stop_reason: str | None = None
    error: Any = None


class _Control(_Report):
    done: bool = False
    event: str | None = None


class _Whole(_Report):
    text: str | None = None


_control = msgspec.json.Decoder(_Control).decode
_whole = msgspec.json.Decoder(_Whole).decode


def request(target: Target, prompt: Prompt, stream: bool) -> bytes:
    body: dict[str, Any] = {
        "model": target.model,
        "max_tokens": prompt.max_tokens or target.max_tokens,
        "messages": turns(prompt),
        "stream": stream,
    }
    if prompt.system is not None:
        body["system"] = prompt.system
    if prompt.tools:
        body["tools"] = [bare(tool) for tool in prompt.tools]
    return msgspec.json.encode(body)


def understand(event: Event, answer: Answer) -> Meaning:
    if event.comment:
        return PING
    if event.name == "tool_end":
        return OTHER
    kind = _KINDS.get(event.name, Kind.TEXT)
    meaning = _control_event(event.data, answer) if kind is Kind.TEXT else None
    if meaning is not None:
        return meaning
    try:
        characters = len(event.data.decode())
    except UnicodeDecodeError as fault:
        raise malformed(NAME, event.data, fault) from fault
    return Meaning(kind, characters) if characters else OTHER


def plain(body: bytes, answer: Answer) -> Meaning:
    """An answer that was not streamed: `{"text": "…", …}` with the same reports beside it."""
    try:
        said = _whole(body)
    except JSON_FAULTS as fault:
        raise malformed(NAME, body, fault) from fault
    if said.error:
        return failure(said.error)
    if said.text is None:
        raise malformed(NAME, body, "no text")
    _report(said, answer)
    return Meaning(Kind.TEXT if said.text else Kind.OTHER, len(said.text), ends=True)


def _control_event(data: bytes, answer: Answer) -> Meaning | None:
    """The meaning of `[DONE]` and the four objects; None for everything else."""
    if data == b"[DONE]":
        return END
    if not data.startswith(b"{"):
        return None
    try:
        said = _control(data)
    except JSON_FAULTS:
        return None
    if said.error:
        return failure(said.error)
    if said.done:
        _report(said, answer)
        return END
    if said.event == "tool_start":
        return Meaning(Kind.TOOL, len(data.decode("utf-8", "replace")))
    return OTHER if said.event == "tool_end" else None


def _report(said: _Report, answer: Answer) -> None:
    answer.input_tokens = said.input_tokens
    answer.output_tokens = said.output_tokens
    answer.cache_read_tokens = said.cache_read_tokens
    answer.cache_write_tokens = said.cache_creation_tokens
    answer.stop_reason = None if said.stop_reason is None else line(said.stop_reason, 100)


PROTOCOL = Protocol(
    name=NAME,
    path="/chat/stream",
    headers={},
    terminal=b"",  # `{"done": true}`, in whatever spelling, ends it, too
    request=request,
    understand=understand,
    plain=plain,
)
