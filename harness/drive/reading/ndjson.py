"""Bytes → events, one for each line: JSON documents separated by line ends (NDJSON, JSON Lines). Pure.

The same face as `sse.Decoder`. An event is complete with its LF; the last line of a body needs none if it is a whole
document. One that the end of the body cuts off is not reported. Empty lines are no events.
"""

import msgspec

from streamgauge.harness.drive.protocols.event import Event


class Decoder:
    """Decodes one body, whose bytes are fed in order in pieces of any size. Use a new one for every body."""

    __slots__ = ("_at", "_line", "_reported", "last_id", "retry")

    def __init__(self) -> None:
        self.last_id: str | None = None  # these two are what server-sent events have
        self.retry: int | None = None
        self._at = 0  # offset of the first byte that is not yet split into lines
        self._reported = 0  # end of the last event reported
        self._line = bytearray()  # the beginning of a line whose end has not arrived

    @property
    def unfinished(self) -> int:
        """Bytes of the line that is not complete yet."""
        return len(self._line)

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete."""
        if b"\n" not in data:
            self._line += data
            return []
        *lines, rest = (bytes(self._line) + data).split(b"\n")
        self._line[:] = rest
        events: list[Event] = []
        for line in lines:
            self._at += len(line) + 1
            self._report(line, events)
        return events

    def next_usual(self, _body: bytes, _at: int) -> None:
        """None: there is no cheaper way than `feed`."""

    def finish(self) -> list[Event]:
        """The event of a last line without its LF."""
        events: list[Event] = []
        try:
            msgspec.json.decode(self._line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return events
        self._at += len(self._line)
        self._report(bytes(self._line), events)
        self._line.clear()
        return events

    def cut_off(self) -> list[Event]:
        """Nothing: `finish` has it."""
        return []

    def _report(self, line: bytes, events: list[Event]) -> None:
        if line := line.strip():
            events.append(Event(line, self._at, self._at - self._reported))
            self._reported = self._at
