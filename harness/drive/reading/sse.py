"""Bytes → server-sent events, by the WHATWG standard. Pure: no I/O, no clock; does not interpret the events.

The events and their offsets do not depend on how the bytes are cut; time is linear in the bytes, even one at a time. An
event is complete with the first byte of its blank line's end: a CR completes it, whether or not an LF follows. An event
that the end of the body cuts off is not reported, as the standard demands; `Decoder.unfinished` is its size, and
`cut_off` gives it. Sizes are not limited here: the caller compares `unfinished` with its limit.

Three things that servers do are read beyond the standard: an event with a name and no data, which ends some formats,
the field `error:`, which llama.cpp sent until 2025, and an error as bare JSON between the events, as Gemini sends it.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

import re
from contextlib import suppress

import msgspec

from streamgauge.harness.drive.protocols.event import Event

BOM = b"\xef\xbb\xbf"
_CR, _LF = 13, 10
_IN_JSON = b'{}[]" \t'  # how a line of a JSON document over several lines begins; no field's name does


# Blank lines after two others. The last CR is left out: an LF may follow it.
_BLANK_LINES = re.compile(rb"\n\n(\n{8,})|\r\r(\r{7,})\r|(?:\r\n){2}((?:\r\n){8,})")
_TEN_BLANK = (10 * b"\n", 10 * b"\r", 10 * b"\r\n")  # found much faster than the pattern

# Nearly every event of every server has this form. Used only if no line ends in CR. The possessive quantifiers make
# other input fail in linear time. `.` is three times as fast as `[^\r\n]`.
_USUAL = re.compile(rb"(?:event:\x20?+(.*+)\n)?+data:\x20?+(.*+)\n\n")


class Decoder:
    """Decodes one body, whose bytes are fed in order in pieces of any size. Use a new one for every body.

    `last_id` and `retry` (milliseconds) are what a reconnecting client needs; None until the server gives them.
    """

    __slots__ = (
        "_after_cr",
        "_at",
        "_data",
        "_id",
        "_line",
        "_lines",
        "_name",
        "_reported",
        "_stray",
        "last_id",
        "retry",
    )

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.retry: int | None = None
        self._at = 0  # offset of the first byte that is not yet split into lines
        self._reported = 0  # end of the last event reported
        self._after_cr = False  # the last byte fed was a CR: an LF now belongs to it
        self._line = bytearray()  # the beginning of a line whose end has not arrived
        self._lines = 0  # bytes of the lines since the last blank one; these lines set the next three
        self._data: list[bytes] = []
        self._name = ""
        self._stray: list[bytes] = []  # lines of JSON that belong to no field
        self._id: str | None = None

    @property
    def unfinished(self) -> int:
        """Bytes of the event that is not complete yet."""
        return self._lines + len(self._line)

    def feed(self, data: bytes) -> list[Event]:
        """The events, including comments, that these bytes complete."""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
                self._at += 1
        if b"\n" not in data and b"\r" not in data:
            self._line += data
            return []
        if self._line:
            data = bytes(self._line) + data
            self._line.clear()
        if self._at == 0 and data.startswith(BOM):
            data = data[len(BOM) :]
            self._at = len(BOM)
        events: list[Event] = []
        if self._lines == 0 and b"\r" not in data:
            data = data[self._usual(data, events) :]
        if data:
            self._any(data, events)
        return events

    def next_usual(self, body: bytes, at: int) -> Event | None:
        """Decode the event at `at` of a body without CR if it has the usual form; otherwise None, and nothing is done.

        `feed` would decode the same, at a higher cost. It must have been fed everything before `at`, and the event's
        size is its length.
        """
        if self._line or self._at != self._reported:
            return None
        found = _USUAL.match(body, at)
        if found is None:
            return None
        name, content = found.groups()
        size = found.end() - at
        self._at = self._reported = end = self._at + size
        return Event(content, end, size, name.decode("utf-8", "replace") if name else "", self._id)

    def finish(self) -> list[Event]:
        """A bare JSON error at the end. The standard discards an event that the end of the body cuts off."""
        events: list[Event] = []
        if self._stray or self._line.startswith(b"{"):
            self._stray.append(bytes(self._line))
            self._data.clear()
            self._name = ""
            self._dispatch(self._at + len(self._line), events)
            self._line.clear()
        return events

    def cut_off(self) -> list[Event]:
        """The event that the end of the body cuts off, for a caller who believes an error even so."""
        events: list[Event] = []
        end = self._at + len(self._line)
        if self._line and not self._line.startswith(b":"):
            self._field(bytes(self._line))
        if self._data:
            self._dispatch(end, events)
        return events

    def _usual(self, data: bytes, events: list[Event]) -> int:
        """Decode events of the usual form, up to the first other bytes. Returns the number of bytes decoded.

        `_any` would find the same events, but takes two to three times as long.
        """
        read, base, reported = 0, self._at, self._reported  # locals, as this loop runs for every event of a run
        while found := _USUAL.match(data, read):
            name, content = found.groups()
            read = found.end()
            end = base + read
            events.append(
                Event(content, end, end - reported, name.decode("utf-8", "replace") if name else "", self._id)
            )
            reported = end
        self._reported = reported
        self._at += read
        return read

    def _any(self, data: bytes, events: list[Event]) -> None:
        """Decode lines of any form. A long run of blank lines changes nothing after its first two: it is skipped."""
        if any(blank in data for blank in _TEN_BLANK):
            while run := _BLANK_LINES.search(data):
                begin, end = run.span(run.lastindex or 0)
                self._decode_lines(data[:begin], events)
                self._at += end - begin
                data = data[end:]
        if data:
            self._decode_lines(data, events)

    def _decode_lines(self, data: bytes, events: list[Event]) -> None:
        # Like the standard, bytes.splitlines splits at CR, LF and CRLF only.
        lines, with_ends = data.splitlines(), data.splitlines(keepends=True)
        self._after_cr = data[-1] == _CR
        if data[-1] not in (_CR, _LF):
            self._line += lines.pop()
            with_ends.pop()
        for line, with_end in zip(lines, with_ends, strict=True):
            end = self._at + len(line) + 1  # the CR of a CRLF completes the line
            self._at += len(with_end)
            if line.startswith(b":"):
                events.append(Event(_value(line[1:]), end, end - self._reported, "", self.last_id, comment=True))
                self._reported = end
            elif line:
                self._field(line)
            else:
                self._dispatch(end, events)

    def _field(self, line: bytes) -> None:
        self._lines += len(line)
        if line[:1] == b"{" or (self._stray and line[:1] in _IN_JSON):
            self._stray.append(line)
            return
        name, _, rest = line.partition(b":")
        value = _value(rest)
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"error":  # llama.cpp had this field until 2025; the standard ignores it
            self._name = "error"
            self._data.append(value)
        elif name == b"retry" and value.isdigit() and len(value) < 16:  # a longer number is no sensible delay
            self.retry = int(value)

    def _dispatch(self, end: int, events: list[Event]) -> None:
        self.last_id = self._id
        if self._stray:
            self._take_stray()
        if self._data or self._name:  # the standard drops an event without data, but some formats end with one
            events.append(Event(b"\n".join(self._data), end, end - self._reported, self._name, self._id))
            self._reported = end
            self._data.clear()
        self._name = ""
        self._lines = 0

    def _take_stray(self) -> None:
        """If the lines of JSON are an error, they are the data; the standard ignores them."""
        text = b"\n".join(self._stray)
        self._stray.clear()
        if b'"error"' in text and not self._data:
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                msgspec.json.decode(text)
                self._data.append(text)


def _value(rest: bytes) -> bytes:
    return rest[1:] if rest.startswith(b" ") else rest
