"""One event of a stream: the output of `reading.sse` and the input of a protocol."""

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False):
    data: bytes  # the data lines joined with LF, not decoded; the text of a comment
    end: int  # offset in the body just after the byte that completed it
    size: int  # bytes of the body since the previous event's end; sizes add up to `end`
    name: str = ""  # as sent; "" is the standard's "message"
    id: str | None = None  # the last event id in force; None until the server gives one
    comment: bool = False  # a line that begins with a colon: used as keep-alive
