"""What a decoder hands to a protocol: one event of a stream, not yet understood."""

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False):
    data: bytes  # its data lines joined with LF, not yet decoded; of a comment, its text
    end: int  # offset in the body just after the byte that completed it
    size: int  # bytes of the body since the event before; sizes add up to `end`
    name: str = ""  # as sent; "" is the standard's "message"
    id: str | None = None  # the last event id in force; None until the server gives one
    comment: bool = False  # a line that begins with a colon: no event, but a sign that the connection lives
