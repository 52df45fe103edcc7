"""The HTTP response to one request, filled in by httptools' parser."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httptools

from streamgauge.harness.drive.wire.inflate import Inflater, inflater
from streamgauge.harness.drive.wire.reads import Read

MOST_FIELDS = 500  # header fields of an answer, with those of its interim answers and trailers
_INTERIM = frozenset(range(100, 200)) - {101}  # Switching Protocols is a final answer


class Response:
    """`feed` extends `body`. Call `close` at the end: this object and the parser refer to each other."""

    __slots__ = (
        "_headers",
        "_parser",
        "body",
        "chunks",
        "complete",
        "feed",
        "fields",
        "headers",
        "headers_read",
        "inflater",
        "keeps_alive",
        "on_body",
        "read",
        "status",
    )

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.chunks = 0  # HTTP chunks that were parsed
        self.fields = 0  # header fields so far; those after MOST_FIELDS are not kept
        self.status: int | None = None
        self.headers: dict[str, str] = {}  # names in lower case
        self.headers_read: Read | None = None  # the read that completed them
        self.inflater: Inflater | None = None  # None: the body is not compressed
        self.complete = False  # the HTTP message has ended properly
        self.keeps_alive = False  # the connection can be used for another exchange
        self.read = Read(0, 0, 0)  # the read that is being parsed; its end is not used
        self.on_body = self.body.extend  # httptools calls it for each piece of the body, without a Python frame
        self._parser: Any = httptools.HttpResponseParser(self)
        # What other clients read: chunks beside a content-length (RFC 9112, 6.3), which then does not count; chunk
        # sizes padded with spaces; in the head, lines that end in LF alone (2.2) and folded values (5.2).
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self.feed: Callable[[bytes], None] = self._parser.feed_data  # raises httptools' errors

    @property
    def has_length(self) -> bool:
        """Whether the headers say how to tell the message's end; otherwise, closing the connection ends it."""
        return bool(self.headers.keys() & {"content-length", "transfer-encoding"})

    def close(self) -> None:
        self._parser = None
        del self.feed

    def forget_headers(self) -> None:
        """As if they had not arrived."""
        self.status, self.headers, self.headers_read = None, {}, None

    # httptools calls these by name.

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("a second answer to one request")  # httptools stops parsing

    def on_header(self, name: bytes, value: bytes) -> None:
        if b"\0" in value:
            raise ValueError(f"a NUL in the header {name.decode('latin-1')!r}")
        self.fields += 1
        if self.fields <= MOST_FIELDS:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status in _INTERIM:  # the final answer follows
            self._headers.clear()
            return
        # Nobody reads a chunk that ends in LF alone: it may hold one byte more or less than its size says.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=False)
        self.status = status
        self.headers_read = self.read
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._headers}
        self._headers.clear()
        with suppress(KeyError):  # the exchange ends if the encoding is unknown
            self.inflater = inflater(self.headers.get("content-encoding", ""))

    def on_chunk_header(self) -> None:
        self.chunks += 1

    def on_message_complete(self) -> None:
        if self.status is not None:
            self.complete = True
            self.keeps_alive = self._parser.should_keep_alive()
