"""The beginning of a body, taken as every kind of stream that it could be. Pure; nothing in it makes this raise."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.lenient import steps, value_at, value_in
from streamgauge.harness.drive.protocols.protocol import JSON_FAULTS
from streamgauge.harness.drive.reading.ending import content_type
from streamgauge.harness.drive.reading.framing import decoder

_MOST_BYTES = 262_144  # of a body that are looked at
_MOST_EVENTS = 2_000
_MARKUP = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)


@dataclass(frozen=True)
class Sample:
    body: bytes
    headers: Mapping[str, str]

    @cached_property
    def events(self) -> list[Event]:
        """Of server-sent events, without comments."""
        body = self.body[:_MOST_BYTES]
        found = decoder("sse")
        events = [*found.feed(body), *found.feed(b"\n\n")]  # also one that has no end yet
        return [event for event in events if not event.comment][:_MOST_EVENTS]

    @cached_property
    def data(self) -> list[Any]:
        """The JSON of each event: a table, or None for data that is none."""
        return [_table(event.data) for event in self.events]

    @cached_property
    def values(self) -> list[Any]:
        """The JSON of each event, if it is a table, a list or a text; None for all other data."""
        return [value_in(event.data) for event in self.events]

    @cached_property
    def lines(self) -> list[Any]:
        """The JSON of each line, if every line is a table; none if there is only one. The last may be cut."""
        body = self.body[:_MOST_BYTES]
        lines = [_table(text) for text in body.splitlines() if text.strip()][:_MOST_EVENTS]
        if lines and lines[-1] is None and not body.endswith(b"\n"):
            lines.pop()
        return lines if len(lines) > 1 and all(isinstance(item, dict) for item in lines) else []

    @cached_property
    def document(self) -> Any:
        """The whole body as one JSON document; None if it is none."""
        try:
            return msgspec.json.decode(self.body)
        except JSON_FAULTS:
            return None

    @property
    def tables(self) -> list[dict[str, Any]]:
        """All tables of the stream, whatever its framing."""
        found = self.lines or self.data
        return [item for item in found if isinstance(item, dict)]

    @property
    def markup(self) -> bool:
        return bool(_MARKUP.match(self.body[:500]))

    @property
    def kind(self) -> str:
        """The content type."""
        return content_type(self.headers)

    def has(self, key: str, *values: str) -> bool:
        """Whether a table has one of these values at this key; without values, whether one has the key."""
        return any(key in item and (not values or item[key] in values) for item in self.tables if _hashable(item, key))

    def has_type(self, *beginnings: str) -> bool:
        """Whether a table's `type` begins like this."""
        types = (item.get("type") for item in self.tables)
        return any(isinstance(found, str) and found.startswith(beginnings) for found in types)

    def reaches(self, path: str) -> bool:
        """Whether a table has a value at this dotted path; a number is an index of a list."""
        return any(at(item, path) is not None for item in self.tables)


def at(value: Any, path: str) -> Any:
    """The value at a dotted path, `$` for the whole; None if there is none."""
    return value_at(value, steps(path))


def _table(data: bytes) -> Any:
    return value_in(data) if data.lstrip().startswith(b"{") else None


def _hashable(item: dict[str, Any], key: str) -> bool:
    return not isinstance(item.get(key), dict | list)
