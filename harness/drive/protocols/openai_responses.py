"""OpenAI Responses and compatible servers. https://platform.openai.com/docs/api-reference/responses-streaming

An event's type is the `type` in its data or, without one, the event's name. `response.completed` or
`response.incomplete` ends a stream and reports the usage; `response.failed` is an error. Unknown types are not content.
`input_tokens` includes tokens read from the prompt cache. Events are numbered, so lost and doubled ones are counted.
"""

from typing import Any

import msgspec

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.lenient import FAULTS, dict_at, keep_stop_reason, keep_tokens, read, text_in
from streamgauge.harness.drive.protocols.numbering import keep_number
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

NAME: ProtocolName = "openai_responses"
_DELTAS = {
    "response.output_text.delta": Kind.TEXT,
    "response.refusal.delta": Kind.TEXT,
    "response.audio.delta": Kind.TEXT,
    "response.audio.transcript.delta": Kind.TEXT,
    "response.reasoning_text.delta": Kind.THINKING,
    "response.reasoning_summary_text.delta": Kind.THINKING,
    "response.function_call_arguments.delta": Kind.TOOL,
    "response.custom_tool_call_input.delta": Kind.TOOL,
    "response.mcp_call_arguments.delta": Kind.TOOL,
    "response.code_interpreter_call_code.delta": Kind.TOOL,
    "response.shell_call_command.delta": Kind.TOOL,
}
_RESULT = "response.shell_call_output_content.delta"  # what a tool wrote, and not the model
_ENDS = {  # the status that each stands for, if the event gives none
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.done": None,
}
_SIGNS_OF_LIFE = ("ping", "keepalive")
_NO_WORDS = "the response failed, and the server does not say why"


class _Response(msgspec.Struct):
    """The answer so far, or a whole answer."""

    object: Any = None
    status: Any = None
    output: Any = None
    usage: Any = None
    error: Any = None
    incomplete_details: Any = None


class _Event(msgspec.Struct):
    type: Any = None
    object: Any = None
    sequence_number: Any = None
    delta: Any = None
    item: Any = None
    response: _Response | None = None
    error: Any = None


_event = msgspec.json.Decoder(_Event)
_response = msgspec.json.Decoder(_Response)


def request(target: Target, prompt: Prompt, stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": target.model,
        "max_output_tokens": prompt.max_tokens or target.max_tokens,
        "input": turns(prompt),
        "stream": stream,
        "store": False,  # the API would keep every answer of a load test for a month
    }
    if prompt.system is not None:
        body["instructions"] = prompt.system
    if prompt.tools:
        tool = {"type": "function", "parameters": {"type": "object", "properties": {}}}
        body["tools"] = [{**tool, "name": undated(name)} for name in prompt.tools]
    return body


def understand(event: Event, answer: Answer) -> Meaning:
    data = event.data.strip()
    if not data:
        return PING if event.name == "ping" else OTHER
    if data.startswith(b"[DONE]"):  # some servers send it after the end; the SDK reads nothing that comes later
        return END
    try:
        decoded = read(_event, data)
    except FAULTS as fault:
        raise malformed(NAME, data, fault) from fault
    keep_number(answer, decoded.sequence_number)
    kind = decoded.type or event.name
    if not isinstance(kind, str):
        return UNKNOWN
    if kind in _DELTAS:
        return _came(Meaning(_DELTAS[kind], text_in(decoded.delta)), answer)
    if kind == "response.output_item.added":
        return _came(Meaning(Kind.TOOL, _called(decoded.item)), answer)
    if kind == "response.output_item.done":
        return _came(_whole([decoded.item], answer), answer)
    if kind in _ENDS:
        response = decoded.response or _Response()
        unfinished = response.status in (None, "queued", "in_progress")  # left from an earlier event
        return _ended(response, _ENDS[kind] if unfinished else response.status, answer)
    if kind == "response.failed":
        response = decoded.response or _Response()
        _report(response, answer)
        return failure(response.error or decoded.error or _NO_WORDS)
    if kind in _SIGNS_OF_LIFE:
        return PING
    known = kind.startswith("response.") and (kind == _RESULT or not kind.endswith(".delta"))
    known = known or decoded.object == "response"  # a whole answer, which `plain` reads
    return OTHER if known else UNKNOWN


def plain(body: bytes, answer: Answer) -> Meaning:
    try:
        response = read(_response, body)
    except FAULTS as fault:
        raise malformed(NAME, body, fault) from fault
    if response.error and response.object != "response":
        return failure(response.error)
    if response.object != "response" and not isinstance(response.output, list):
        raise malformed(NAME, body, "not a response")
    return _ended(response, response.status, answer)


def _ended(response: _Response, status: Any, answer: Answer) -> Meaning:
    """The meaning of a response that has ended with this status. It has the whole answer, which came before, or not."""
    _report(response, answer)
    if response.error or status == "failed":
        return failure(response.error or _NO_WORDS)
    reason = _table(response.incomplete_details).get("reason")
    if status in ("incomplete", "queued", "in_progress") and not reason:
        return failure(f"the response is {status}, and the server does not say why")
    keep_stop_reason(answer, reason or status)
    meaning = OTHER if answer.came else _whole(response.output, answer)
    return Meaning(meaning.kind, meaning.text, ends=True)


def _came(meaning: Meaning, answer: Answer) -> Meaning:
    """The meaning, noted as content of its kind; OTHER if it has none."""
    if not meaning.text:
        return OTHER
    if meaning.kind not in answer.came:
        answer.came += (meaning.kind,)
    return meaning


def _whole(items: Any, answer: Answer) -> Meaning:
    """The content of whole items, by the most visible of its kinds, unless that has come in pieces before."""
    found = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    messages = [item.get("content") for item in found if item.get("type") == "message"]
    thoughts = [item.get(key) for item in found if item.get("type") == "reasoning" for key in ("summary", "content")]
    calls = [part for item in found for part in (_called(item), item.get("arguments"), item.get("input"))]
    texts = {Kind.TEXT: text_in(messages) or _refusal(messages), Kind.THINKING: text_in(thoughts)}
    texts[Kind.TOOL] = "".join(part for part in calls if isinstance(part, str))
    return next((Meaning(kind, text) for kind, text in texts.items() if text and kind not in answer.came), OTHER)


def _called(item: Any) -> str:
    """The name of the tool that an item calls: a function's own, or the type of a tool of the server."""
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(kind, str) or not kind.endswith("_call"):
        return ""
    name = item.get("name")
    return name if isinstance(name, str) and name else kind.removesuffix("_call")


def _refusal(messages: list[Any]) -> str:
    parts = [part for message in messages if isinstance(message, list) for part in message]
    return text_in([part.get("refusal") for part in parts if isinstance(part, dict)])


def _report(response: _Response, answer: Answer) -> None:
    usage = _table(response.usage)
    details = dict_at(usage, "input_tokens_details")
    keep_tokens(answer, "input_tokens", usage.get("input_tokens"))
    keep_tokens(answer, "output_tokens", usage.get("output_tokens"))
    keep_tokens(answer, "cache_read_tokens", details.get("cached_tokens"))
    keep_tokens(answer, "cache_write_tokens", details.get("cache_write_tokens"))


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


PROTOCOL = Protocol(
    name=NAME,
    path="/v1/responses",
    headers={},
    terminals=(b"response.completed", b"response.incomplete", b"response.failed", b"response.done", b"[DONE]"),
    request=request,
    understand=understand,
    plain=plain,
)
