"""A team's own stream format, mapped by `[target.events]` instead of code.

A path leads into the JSON of an event's data: `choices.0.delta.text`, a number being an index of a list. A path that
leads nowhere, or to null, false, zero or something empty, finds nothing. Without a path to the text, what is not one
of the other things is text as it stands. Questions are put as in plain_sse.
"""

from typing import Any

import msgspec

from streamgauge.harness.config import Events
from streamgauge.harness.drive.protocols import plain_sse
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.protocol import (
    JSON_FAULTS,
    OTHER,
    PING,
    Answer,
    Meaning,
    Protocol,
    failure,
    line,
    malformed,
)
from streamgauge.harness.record.arrivals import Kind

NAME = "custom"


def custom(events: Events) -> Protocol:
    """The protocol that the table `[target.events]` describes."""
    contents = [
        (kind, path.split("."))
        for kind, path in ((Kind.TEXT, events.text), (Kind.THINKING, events.thinking), (Kind.TOOL, events.tool))
        if path is not None
    ]
    counts = {
        field: path.split(".")
        for field, path in (("input_tokens", events.input_tokens), ("output_tokens", events.output_tokens))
        if path is not None
    }
    error = events.error.split(".") if events.error else []
    stop_reason = events.stop_reason.split(".") if events.stop_reason else []
    end_path = events.end_path.split(".") if events.end_path else []
    end_data = None if events.end_data is None else events.end_data.encode()
    reads_json = bool(contents or counts or error or stop_reason or end_path)

    def understand(event: Event, answer: Answer) -> Meaning:
        if event.comment:
            return PING
        ends = event.data == end_data or (events.end_event is not None and event.name == events.end_event)
        said = _json(event.data) if reads_json else None
        if said is None:
            if ends:
                return Meaning(Kind.OTHER, ends=True)
            if events.text is not None:
                raise malformed(NAME, event.data, "no JSON object or list")
            return _as_it_stands(event.data)
        meaning = find(said, event.data, answer)
        ends = ends or bool(_at(said, end_path))
        if ends:
            return Meaning(meaning.kind, meaning.characters, meaning.error, ends=True)
        if meaning is OTHER and events.text is None and not reported(said):
            return _as_it_stands(event.data)
        return meaning

    def find(said: object, data: bytes, answer: Answer) -> Meaning:
        """Error or content; what is reported beside it goes into the answer."""
        fault = _at(said, error)
        if fault:
            return failure(fault)
        for field, path in counts.items():
            count = _at(said, path)
            if count is not None:
                setattr(answer, field, _count(count, data))
        reason = _at(said, stop_reason)
        if reason:
            answer.stop_reason = line(str(reason), 100)
        for kind, path in contents:
            content = _at(said, path)
            if content:
                return Meaning(kind, len(_string(content, data)))
        return OTHER

    def reported(said: object) -> bool:
        return any(_at(said, path) is not None for path in (*counts.values(), stop_reason))

    def plain(body: bytes, answer: Answer) -> Meaning:
        meaning = understand(Event(body, len(body), len(body)), answer)
        return Meaning(meaning.kind, meaning.characters, meaning.error, ends=meaning.error is None)

    return Protocol(
        name=NAME,
        path="/",
        headers={},
        terminal=_terminal(events),
        request=plain_sse.request,
        understand=understand,
        plain=plain,
    )


def _terminal(events: Events) -> bytes:
    if events.end_data or events.end_event:
        return (events.end_data or events.end_event or "").encode()
    keys = [step for step in (events.end_path or "").split(".") if not step.isdecimal()]
    return keys[-1].encode() if keys else b""


def _json(data: bytes) -> Any:
    """The object or list that the data is; None for anything else."""
    if not data.lstrip().startswith((b"{", b"[")):
        return None
    try:
        return msgspec.json.decode(data)
    except JSON_FAULTS:
        return None


def _at(said: Any, path: list[str]) -> Any:
    """What a path leads to; None where it leads nowhere, and for no path."""
    if not path:
        return None
    for step in path:
        if isinstance(said, dict):
            said = said.get(step)
        elif isinstance(said, list) and step.isdecimal() and int(step) < len(said):
            said = said[int(step)]
        else:
            return None
    return said


def _as_it_stands(data: bytes) -> Meaning:
    try:
        text = data.decode()
    except UnicodeDecodeError as fault:
        raise malformed(NAME, data, fault) from fault
    return Meaning(Kind.TEXT, len(text)) if text else OTHER


def _count(value: object, data: bytes) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise malformed(NAME, data, "a number of tokens that is none")
    return value


def _string(value: object, data: bytes) -> str:
    if not isinstance(value, str):
        raise malformed(NAME, data, "content that is no string")
    return value
