"""Bytes → events, one for each piece that arrived: raw text without a format (`framing = "text"`). Pure.

The same face as `sse.Decoder`. What arrives at once is one event, without the beginning of a character whose rest has
not arrived: that belongs to the next event.
"""

import codecs

from streamgauge.harness.drive.protocols.event import Event


class Decoder:
    """Decodes one body, whose bytes are fed in order, as they arrived. Use a new one for every body."""

    __slots__ = ("_at", "_utf8", "last_id", "retry")

    unfinished = 0  # no event is ever incomplete

    def __init__(self) -> None:
        self.last_id: str | None = None  # these two are what server-sent events have
        self.retry: int | None = None
        self._at = 0  # bytes fed
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> list[Event]:
        """The event that these bytes are."""
        self._at += len(data)
        return [Event(self._utf8.decode(data).encode(), self._at, len(data))] if data else []

    def next_usual(self, _body: bytes, _at: int) -> None:
        """None: there is no cheaper way than `feed`."""

    def finish(self) -> list[Event]:
        """Nothing: every byte was reported."""
        return []

    def cut_off(self) -> list[Event]:
        """Nothing, as with `finish`."""
        return []
