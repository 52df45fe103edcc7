"""Decompresses a response's body while it arrives: what browsers ask for and get. Pure, and bounded.

An event has arrived when the compressed bytes that complete it have. A server that compresses without flushing after
each event makes its events arrive in blocks, and that is what a browser's user sees, too.
"""

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli  # type: ignore[import-untyped]


class Inflater(Protocol):
    def feed(self, data: bytes, room: int) -> bytes:
        """What these bytes add to the body, at most about `room` bytes of it. `Damaged` if they are not encoded so."""


class Damaged(Exception):
    """The data is not encoded as the header says, or in a way that would cost too much; the message says which."""


_MOST_MEMBERS = 50_000  # of gzip in one body; each costs about 7 µs, even if it is empty
_NOT_SO = "but the body is not: every client fails"


class _Zlib:
    """gzip and deflate. Some servers send a gzip member for each event, and some send deflate without zlib's header."""

    def __init__(self, *window_bits: int) -> None:
        """`window_bits`: zlib's number for each way to try, in order; the first that fits the beginning is kept."""
        self._ways = list(window_bits)
        self._decoder = zlib.decompressobj(self._ways[0])
        self._fresh = True  # nothing was decoded yet
        self._members = 0

    def feed(self, data: bytes, room: int) -> bytes:
        found = bytearray()
        while data and len(found) < room:
            try:
                found += self._decoder.decompress(data, room - len(found))
            except zlib.error as fault:
                if not (self._fresh and len(self._ways) > 1):
                    raise Damaged(_NOT_SO) from fault
                self._ways.pop(0)
                self._decoder = zlib.decompressobj(self._ways[0])
                continue
            self._fresh = False
            data = self._decoder.unused_data
            if self._decoder.eof:
                self._members += 1
                if self._members > _MOST_MEMBERS:
                    raise Damaged(f"in more than {_MOST_MEMBERS:,} parts")
                self._decoder = zlib.decompressobj(self._ways[0])
        return bytes(found)


class _Brotli:
    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()

    def feed(self, data: bytes, room: int) -> bytes:
        try:
            found = bytearray(self._decoder.process(data, output_buffer_limit=room))
            while len(found) < room and not self._decoder.can_accept_more_data():
                found += self._decoder.process(b"", output_buffer_limit=room - len(found))
        except brotli.error as fault:
            raise Damaged(_NOT_SO) from fault
        return bytes(found)


_INFLATERS: dict[str, Callable[[], Inflater]] = {
    "gzip": lambda: _Zlib(31),
    "x-gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15, -15),
    "br": _Brotli,
}


def is_known(content_encoding: str) -> bool:
    """Whether a body with this value of the header can be read: it is compressed in a known way, or not at all."""
    try:
        inflater(content_encoding)
    except KeyError:
        return False
    return True


def inflater(content_encoding: str) -> Inflater | None:
    """The inflater for a header's value; None if the body is sent as it is. KeyError for an unknown encoding."""
    names = [name for name in content_encoding.lower().replace(" ", "").split(",") if name not in {"", "identity"}]
    if not names:
        return None
    return _INFLATERS[",".join(names)]()
