"""Bytes → server-sent events, by the WHATWG standard. Pure: no I/O, no clock, no opinion on what an event means.

However the bytes are cut, the same events come out at the same offsets; time is linear in the bytes, even one at a
time. An event is complete with the first byte of its blank line's end: it does not wait to see whether a CR becomes
CRLF. An event that the end of the body cuts off is never told, as the standard wants; `Decoder.unfinished` is what
is left of it. No size is limited here: the caller knows its limits.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

import msgspec

_BOM = b"\xef\xbb\xbf"
_CR, _LF = 13, 10


class Event(msgspec.Struct, frozen=True, gc=False):
    data: bytes  # its data lines joined with LF, not yet decoded; of a comment, its text
    end: int  # offset in the body just after the byte that completed it
    size: int  # bytes of the body since the event before; sizes add up to `end`
    name: str = ""  # as sent; "" is the standard's "message"
    id: str | None = None  # the last event id in force; None until the server gives one
    comment: bool = False  # a line that begins with a colon: no event, but a sign that the connection lives


class Decoder:
    """One body's bytes, fed in order, in whatever pieces. Use a new one for every body.

    `last_id` and `retry` (milliseconds) are what a reconnecting client needs; None until the server gives them.
    """

    __slots__ = ("_after_cr", "_at", "_data", "_held", "_id", "_line", "_name", "_told", "last_id", "retry")

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.retry: int | None = None
        self._line = bytearray()  # of a line whose end has not come
        self._at = 0  # offset of that line's first byte
        self._after_cr = False  # the last byte fed was a CR: an LF now belongs to it
        self._told = 0  # end of the last event told
        self._data: list[bytes] = []  # of the event whose blank line has not come, as are the next three
        self._held = 0
        self._name = ""
        self._id: str | None = None

    @property
    def unfinished(self) -> int:
        """Bytes held for an event that is not complete: to be compared with a limit after each feed."""
        return self._held + len(self._line)

    def feed(self, data: bytes) -> list[Event]:
        """The events, comments among them, that these bytes complete."""
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
        if self._at == 0 and data.startswith(_BOM):
            data = data[len(_BOM) :]
            self._at = len(_BOM)
        # bytes.splitlines knows CR, LF and CRLF, and no other line end: just what the standard wants.
        lines, whole = data.splitlines(), data.splitlines(keepends=True)
        last = data[-1]
        if last not in (_CR, _LF):
            self._line += lines.pop()
            whole.pop()
        self._after_cr = last == _CR
        return self._read(lines, whole)

    def _read(self, lines: list[bytes], whole: list[bytes]) -> list[Event]:
        """Complete lines, without and with their ends → events."""
        events = []
        next_at = self._at
        for line, with_end in zip(lines, whole, strict=True):
            end = next_at + len(line) + 1  # the CR of a CRLF completes the line
            next_at += len(with_end)
            if not line:
                self.last_id = self._id
                if self._data:
                    content = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    events.append(Event(content, end, end - self._told, self._name, self._id))
                    self._told = end
                    self._data = []
                    self._held = 0
                self._name = ""
                continue
            field, colon, value = line.partition(b":")
            if value.startswith(b" "):
                value = value[1:]
            if field == b"data":
                self._data.append(value)
                self._held += len(line)
            elif field == b"event":
                self._name = str(value, "utf-8", "replace")
            elif colon and not field:
                events.append(Event(value, end, end - self._told, "", self.last_id, comment=True))
                self._told = end
            elif field == b"id" and b"\0" not in value:
                self._id = str(value, "utf-8", "replace")
            elif field == b"retry" and value.isdigit() and len(value) < 16:  # more digits are no time to wait
                self.retry = int(value)
        self._at = next_at
        return events
