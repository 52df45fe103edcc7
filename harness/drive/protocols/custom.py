"""A stream format of your own, described by `[target.events]` in the config instead of by code.

A path points into the JSON of an event's data, as in `choices.0.delta.text`; a number is a list index. A path that does
not exist, or that leads to null, false, zero or an empty value, finds nothing. Without a path to the text, the data of
every event that matches no other path is text. Requests are those of plain_sse.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from streamgauge.harness.config.schema import Events, ProtocolName
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

NAME: ProtocolName = "custom"


def custom(events: Events) -> Protocol:
    """The protocol that the table `[target.events]` describes."""
    mapping = _Mapping.of(events)
    return Protocol(
        name=NAME,
        path="/",
        headers={},
        terminal=_terminal(events),
        request=plain_sse.request,
        understand=mapping.understand,
        plain=mapping.plain,
    )


_Path = tuple[str, ...]  # keys and list indices; empty: no path is configured


@dataclass(frozen=True, slots=True)
class _Mapping:
    """`[target.events]` with its paths split into steps."""

    contents: tuple[tuple[Kind, _Path], ...]
    counts: tuple[tuple[str, _Path], ...]  # field of the Answer, path
    error: _Path
    stop_reason: _Path
    end_path: _Path
    end_data: bytes | None
    end_event: str | None
    has_text_path: bool

    @classmethod
    def of(cls, events: Events) -> "_Mapping":
        contents = ((Kind.TEXT, events.text), (Kind.THINKING, events.thinking), (Kind.TOOL, events.tool))
        counts = (("input_tokens", events.input_tokens), ("output_tokens", events.output_tokens))
        return cls(
            contents=tuple((kind, _steps(path)) for kind, path in contents if path is not None),
            counts=tuple((field, _steps(path)) for field, path in counts if path is not None),
            error=_steps(events.error),
            stop_reason=_steps(events.stop_reason),
            end_path=_steps(events.end_path),
            end_data=None if events.end_data is None else events.end_data.encode(),
            end_event=events.end_event,
            has_text_path=events.text is not None,
        )

    @property
    def reads_json(self) -> bool:
        return bool(self.contents or self.counts or self.error or self.stop_reason or self.end_path)

    def understand(self, event: Event, answer: Answer) -> Meaning:
        if event.comment:
            return PING
        ends = event.data == self.end_data or (self.end_event is not None and event.name == self.end_event)
        decoded = _json(event.data) if self.reads_json else None
        if decoded is None:
            if ends:
                return Meaning(Kind.OTHER, ends=True)
            if self.has_text_path:
                raise malformed(NAME, event.data, "not a JSON object or list")
            return _raw_text(event.data)
        meaning = self._find(decoded, event.data, answer)
        if ends or _at(decoded, self.end_path):
            return Meaning(meaning.kind, meaning.text, meaning.error, ends=True)
        if meaning is OTHER and not self.has_text_path and not self._reports(decoded):
            return _raw_text(event.data)
        return meaning

    def plain(self, body: bytes, answer: Answer) -> Meaning:
        meaning = self.understand(Event(body, len(body), len(body)), answer)
        return Meaning(meaning.kind, meaning.text, meaning.error, ends=meaning.error is None)

    def _find(self, decoded: object, data: bytes, answer: Answer) -> Meaning:
        """The error or content of an event. Writes token counts and the stop reason into `answer`."""
        fault = _at(decoded, self.error)
        if fault:
            return failure(fault)
        for field, path in self.counts:
            count = _at(decoded, path)
            if count is not None:
                setattr(answer, field, _count(count, data))
        reason = _at(decoded, self.stop_reason)
        if reason:
            answer.stop_reason = line(str(reason), 100)
        for kind, path in self.contents:
            content = _at(decoded, path)
            if content:
                return Meaning(kind, _string(content, data))
        return OTHER

    def _reports(self, decoded: object) -> bool:
        """Whether an event without content reports a count or a stop reason."""
        return any(_at(decoded, path) is not None for path in (*(path for _, path in self.counts), self.stop_reason))


def _steps(path: str | None) -> _Path:
    return tuple(path.split(".")) if path else ()


def _terminal(events: Events) -> bytes:
    if events.end_data or events.end_event:
        return (events.end_data or events.end_event or "").encode()
    keys = [step for step in (events.end_path or "").split(".") if not step.isdecimal()]
    return keys[-1].encode() if keys else b""


def _json(data: bytes) -> Any:
    """The data as a JSON object or list; None for anything else."""
    if not data.lstrip().startswith((b"{", b"[")):
        return None
    try:
        return msgspec.json.decode(data)
    except JSON_FAULTS:
        return None


def _at(value: Any, path: _Path) -> Any:
    """The value at a path; None if it does not exist or the path is empty."""
    if not path:
        return None
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _raw_text(data: bytes) -> Meaning:
    try:
        text = data.decode()
    except UnicodeDecodeError as fault:
        raise malformed(NAME, data, fault) from fault
    return Meaning(Kind.TEXT, text) if text else OTHER


def _count(value: object, data: bytes) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise malformed(NAME, data, "the token count is not a whole number")
    return value


def _string(value: object, data: bytes) -> str:
    if not isinstance(value, str):
        raise malformed(NAME, data, "the content is not a string")
    return value
