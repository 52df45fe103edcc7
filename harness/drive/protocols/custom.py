"""A stream format of your own, described by `[target.events]` in the config instead of by code.

A path points into the JSON of an event's data, as in `choices.0.delta.text`; a number is a list index, `*` every item
of a list, `$` the whole data. A path that does not exist, or that leads to null, false, zero or an empty value, finds
nothing. Without a path to the text, the data of every event that matches no other path is text. Requests are those of
plain_sse. Shipped protocols can be such mappings: see `tabled`.
"""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from streamgauge.harness.config.schema import Events, Place, Places, ProtocolName
from streamgauge.harness.drive.protocols import plain_sse
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.lenient import (
    Path,
    is_count,
    keep_stop_reason,
    keep_tokens,
    steps,
    text_in,
    value_at,
    value_in,
    written,
)
from streamgauge.harness.drive.protocols.protocol import (
    COUNTS,
    OTHER,
    UNKNOWN,
    Answer,
    Meaning,
    Protocol,
    failure,
    malformed,
)
from streamgauge.harness.record.arrivals import Kind

_LONGEST_MARKER = 64  # bytes
_UNESCAPED = re.compile(r"[\w .:#@+<>()\[\]-]+", re.ASCII)  # text that JSON and an event's name write as it is


def custom(events: Events, name: ProtocolName = "custom") -> Protocol:
    """The protocol that the table `[target.events]` describes."""
    mapping = _Mapping.of(events, name)
    return Protocol(
        name=name,
        path="/",
        headers={},
        terminals=mapping.terminals(),
        request=plain_sse.request,
        understand=mapping.understand,
        plain=mapping.plain,
        framing=events.framing,
        has_reasons=bool(mapping.stop_reason),
    )


@dataclass(frozen=True, slots=True)
class _Matcher:
    """Which events are meant, and where in them to look."""

    path: Path
    each: Path | None  # of a list, in whose items to look; None: look in the event
    sum: tuple[Path, ...]  # of numbers, which are added up in place of a value at `path`
    event: str | None  # None: events of any name
    data: bytes | None  # None: events with any data
    whole: bool  # content: it counts only if none of its kind came before
    where: tuple[tuple[Path, Any], ...]  # what must be the value at each of these paths

    @classmethod
    def of(cls, place: str | Place) -> "_Matcher":
        if isinstance(place, str):
            return cls(steps(place), None, (), None, None, whole=False, where=())
        each = None if place.each is None else steps(place.each)
        where = tuple((steps(path), value) for path, value in place.where.items())
        data = None if place.data is None else place.data.encode()
        return cls(steps(place.at), each, tuple(map(steps, place.sum)), place.event, data, place.whole, where)

    def matches(self, event: Event, decoded: object) -> bool:
        return self._means(event) and any(map(self._fits, self._items(decoded)))

    def value(self, event: Event, decoded: object) -> Any:
        if not self._means(event):
            return None
        if self.each is None and not self.sum:
            return value_at(decoded, self.path) if self._fits(decoded) else None
        paths = self.sum or (self.path,)
        values = (value_at(item, path) for item in self._items(decoded) if self._fits(item) for path in paths)
        return [value for value in values if value is not None] or None

    def _means(self, event: Event) -> bool:
        return self.event in {None, event.name} and self.data in {None, event.data}

    def _items(self, decoded: object) -> list[Any]:
        """Where to look: in the event, or in each item of its list."""
        items = [decoded] if self.each is None else value_at(decoded, self.each)
        return items if isinstance(items, list) else []

    def _fits(self, item: object) -> bool:
        return all(_same(value_at(item, path), value, path) for path, value in self.where)

    def markers(self) -> tuple[bytes, ...]:
        """Bytes of which one occurs in every event that matches; (): none are known."""
        if self.data:
            return (self.data[:_LONGEST_MARKER],)
        values = [value for _, value in self.where if isinstance(value, str)]
        keys = [step for step in self.path if not step.isdecimal() and step != "*"]
        words = [word for word in (self.event, *values, *keys[-1:]) if word and _UNESCAPED.fullmatch(word)]
        if words:
            return (max(words, key=len).encode()[:_LONGEST_MARKER],)
        for path, value in self.where:
            if isinstance(value, list) and all(map(_UNESCAPED.fullmatch, value)):
                return tuple(each.encode()[:_LONGEST_MARKER] for each in value)
            # Numbers and true, as all writers of JSON write them: with one space, or none.
            if not isinstance(value, list) and path and value is not False and _UNESCAPED.fullmatch(path[-1]):
                written = msgspec.json.encode(value)
                return tuple(b'"%b":%b%b' % (path[-1].encode(), space, written) for space in (b"", b" "))
        return ()


@dataclass(frozen=True, slots=True)
class _Mapping:
    """`[target.events]` with its places as matchers."""

    name: ProtocolName  # of the protocol, for messages
    contents: tuple[tuple[Kind, tuple[_Matcher, ...]], ...]
    counts: tuple[tuple[str, tuple[_Matcher, ...]], ...]  # field of the Answer, places
    error: tuple[_Matcher, ...]
    refused: tuple[_Matcher, ...]
    stop_reason: tuple[_Matcher, ...]
    ends: tuple[_Matcher, ...]  # an event that matches ends the stream
    end_paths: tuple[_Matcher, ...]  # an event that has a true value there ends it
    repeated: tuple[Kind, ...]  # kinds of content that may come whole after it came in pieces
    has_text_path: bool
    reads_json: bool
    only_json: bool

    @classmethod
    def of(cls, events: Events, name: ProtocolName) -> "_Mapping":
        contents = ((Kind.TEXT, events.text), (Kind.THINKING, events.thinking), (Kind.TOOL, events.tool))
        end_data = [Place(data=text) for text in _list(events.end_data)]
        end_event = [Place(event=name) for name in _list(events.end_event)]
        ends = [*end_data, *end_event, *(place for place in _list(events.end) if not _looks(place))]
        end_paths = [*_list(events.end_path), *(place for place in _list(events.end) if _looks(place))]
        json_fields = ("text", "thinking", "tool", "error", "refused", "stop_reason", "end", "end_path", *COUNTS)
        return cls(
            name=name,
            contents=tuple((kind, _matchers(places)) for kind, places in contents if places is not None),
            counts=tuple((field, _matchers(getattr(events, field))) for field in COUNTS),
            error=_matchers(events.error),
            refused=_matchers(events.refused),
            stop_reason=_matchers(events.stop_reason),
            ends=_matchers(ends),
            end_paths=_matchers(end_paths),
            repeated=tuple(kind for kind, places in contents if any(each.whole for each in _matchers(places))),
            has_text_path=events.text is not None,
            only_json=events.only_json,
            reads_json=any(getattr(events, field) is not None for field in json_fields),
        )

    def terminals(self) -> tuple[bytes, ...]:
        """What every event that ends a stream or tells an error has in it; (): nothing that they all have is known."""
        found = [matcher.markers() for matcher in (*self.ends, *self.end_paths, *self.error, *self.refused)]
        return tuple(sorted({marker for markers in found for marker in markers} - {b"error"})) if all(found) else ()

    def understand(self, event: Event, answer: Answer) -> Meaning:
        decoded = value_in(event.data) if self.reads_json else None
        ends = any(matcher.matches(event, decoded) for matcher in self.ends)
        if decoded is None:
            if ends:
                return Meaning(Kind.OTHER, ends=True)
            if self.only_json and event.data.strip():
                raise malformed(self.name, event.data, "no JSON")
            if self.has_text_path:
                return UNKNOWN if event.data.strip() else OTHER
            return _raw_text(self.name, event.data)
        meaning = self._find(event, decoded, answer)
        if meaning.error is None and (ends or _first(self.end_paths, event, decoded)):
            return Meaning(meaning.kind, meaning.text, ends=True)
        if meaning is OTHER and not self.has_text_path and not self._reports(event, decoded):
            return _raw_text(self.name, event.data)
        return meaning

    def plain(self, body: bytes, answer: Answer) -> Meaning:
        """The whole answer is read like one event of any name."""
        meaning = self.understand(Event(body, len(body), len(body)), answer)
        if meaning is UNKNOWN:
            raise malformed(self.name, body, "not JSON")
        return meaning if meaning.error is not None else Meaning(meaning.kind, meaning.text, ends=True)

    def _find(self, event: Event, decoded: object, answer: Answer) -> Meaning:
        """The error or content of an event. Writes token counts and the stop reason into `answer`."""
        for field, matchers in self.counts:
            keep_tokens(answer, field, _total(_first(matchers, event, decoded)))
        keep_stop_reason(answer, _first(self.stop_reason, event, decoded))
        if fault := _first(self.error, event, decoded):
            return failure(fault)
        if refusal := _first(self.refused, event, decoded):
            return Meaning(Kind.OTHER, error=f"the question was refused: {failure(refusal).error}", refused=True)
        for kind, matchers in self.contents:
            again = kind in answer.came
            content = _first(matchers, event, decoded, again=again)
            if isinstance(content, list):
                content = [item for item in content if item]
            text = text_in(content)
            if content and not text and kind is Kind.TOOL:  # a whole call as a table
                text = written(content)
            if text:
                if not again and kind in self.repeated:
                    answer.came += (kind,)
                return Meaning(kind, text)
            if content:
                return UNKNOWN
        return OTHER

    def _reports(self, event: Event, decoded: object) -> bool:
        """Whether an event without content reports a count or a stop reason."""
        reports = (*(matchers for _, matchers in self.counts), self.stop_reason)
        return any(_first(matchers, event, decoded) is not None for matchers in reports)


def _list(places: Any) -> list[Any]:
    if places is None:
        return []
    return places if isinstance(places, list) else [places]


def _matchers(places: Places) -> tuple[_Matcher, ...]:
    return tuple(map(_Matcher.of, _list(places)))


def _looks(place: str | Place) -> bool:
    """Whether an end is a true value at a path, and not any event of its kind."""
    return isinstance(place, str) or place.at is not None


def _first(matchers: tuple[_Matcher, ...], event: Event, decoded: object, *, again: bool = False) -> Any:
    """The first value that one of the matchers finds, even a zero or an empty one; None if none finds any.

    `again`: content of this kind came before, so what comes whole does not count.
    """
    values = (matcher.value(event, decoded) for matcher in matchers if not (again and matcher.whole))
    return next((value for value in values if value is not None), None)


def _total(value: Any) -> Any:
    """The sum of a list of counts; any other value as it is: a sum with a negative number in it is no count."""
    return sum(value) if isinstance(value, list) and value and all(map(is_count, value)) else value


def _same(found: Any, wanted: Any, path: Path) -> bool:
    """Equal, and of the same type: `true` is not 1. What does not exist is `false`; of several values one is enough."""
    if "*" in path and isinstance(found, list):
        return any(_same(item, wanted, ()) for item in found)
    if isinstance(wanted, list):
        return found in wanted
    found = False if found is None else found
    return type(found) is type(wanted) and bool(found == wanted)


def _raw_text(name: str, data: bytes) -> Meaning:
    try:
        text = data.decode()
    except UnicodeDecodeError as fault:
        raise malformed(name, data, fault) from fault
    return Meaning(Kind.TEXT, text) if text else OTHER
