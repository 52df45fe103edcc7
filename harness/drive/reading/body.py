"""Decodes the body of an answer: its events as columns. Pure; nothing that a server sends makes it raise.

The result is that of `sse.Decoder` and the protocol for each event, but few events are parsed. The chunks of a stream
usually differ only in one string, the token. First, the protocol is tried with two other strings in that place, which
shows that it takes the string for the content. After that, events that differ in nothing else need no parsing: a JSON
string without a quote, a backslash or a control character needs no unescaping.
"""

import ctypes
import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from streamgauge.harness.drive.protocols import Answer, Malformed, Protocol
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.protocol import Meaning
from streamgauge.harness.drive.reading import sse
from streamgauge.harness.native import library
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Kind
from streamgauge.harness.record.observation import CONTENT, Outcome

_MOST_EVENTS = 250_000  # in a stream; limits our memory, since even a tiny event needs some
_MOST_TRIALS = 16  # attempts to find a pattern in the chunks of a stream; some streams have none
_SLICE = 65_536  # bytes decoded at a time in a body without LF LF

_STRING = re.compile(rb':\x20?"((?:[^"\\]|\\.)*+)"')  # the value of a key
_TOKEN = re.compile(rb'[^"\\\x00-\x1f]*+')  # a JSON string that needs no unescaping
_ROOM = 1024  # events that compiled code matches at a time
_SIZES, _CHARACTERS = (ctypes.c_int64 * _ROOM)(), (ctypes.c_int64 * _ROOM)()
_CODES = {kind: code for code, kind in enumerate(arrivals.KINDS)}


@dataclass(slots=True)
class DecodedBody:
    sizes: "array[int]"  # of the events, one after another in the body
    kinds: bytes  # codes as in `arrivals`
    characters: "array[int]"  # of content
    answer: Answer
    ended: bool  # the terminal event has arrived
    fault: tuple[Outcome, str] | None  # outcome and detail, if the events show a failure


class _Pattern(NamedTuple):
    """Events of one kind that consist of `before`, a token and `after`."""

    before: bytes
    after: bytes
    kind: Kind


def decode(body: bytes, protocol: Protocol, event_bytes: int) -> DecodedBody:
    """The events of `body` up to the terminal event or the first fault. Events over `event_bytes` are a fault."""
    decoder = _BodyDecoder(protocol, event_bytes)
    decoder.decode(body)
    columns = decoder.sizes, bytes(decoder.kinds), decoder.characters
    return DecodedBody(*columns, decoder.answer, decoder.ended, decoder.fault)


class _BodyDecoder:
    def __init__(self, protocol: Protocol, event_bytes: int) -> None:
        self._understand: Callable[[Event, Answer], Meaning] = protocol.understand
        self._limit = event_bytes
        self._decoder = sse.Decoder()
        self._trials = _MOST_TRIALS
        self.sizes = array("q")
        self.kinds = bytearray()
        self.characters = array("q")
        self.answer = Answer()
        self.ended = False
        self.fault: tuple[Outcome, str] | None = None

    def decode(self, body: bytes) -> None:
        at, lines_blank, pattern = 0, True, None
        while at < len(body) and not self._over:
            end = body.find(b"\n\n", at) + 2 if lines_blank else 1
            if end == 1:
                lines_blank, end = False, at + _SLICE
            chunk = body[at:end]
            kind = self._add(chunk)
            if kind is not None:
                if pattern is None or not body.startswith(pattern.before, end):
                    pattern = self._pattern(chunk, kind, body, end)
                if pattern is not None:
                    end = self._match(pattern, body, end)
            at = end
        if not self._over and self._decoder.unfinished > self._limit:
            self.fault = Outcome.MALFORMED, f"an event of more than {self._limit:,} bytes, without an end"

    @property
    def _over(self) -> bool:
        return self.ended or self.fault is not None

    def _add(self, data: bytes) -> Kind | None:
        """Add the events that these bytes complete. Returns the kind if the bytes are exactly one chunk of content."""
        for event in self._decoder.feed(data):
            if event.size > self._limit:
                self.fault = Outcome.MALFORMED, f"an event of {event.size:,} bytes; the limit is {self._limit:,}"
                return None
            if len(self.sizes) >= _MOST_EVENTS:
                self.fault = Outcome.MALFORMED, f"more than {_MOST_EVENTS:,} events"
                return None
            try:
                meaning = self._understand(event, self.answer)
            except Malformed as malformed:
                self.fault = Outcome.MALFORMED, str(malformed)
                return None
            self.sizes.append(event.size)
            self.kinds.append(_CODES[meaning.kind])
            self.characters.append(meaning.characters)
            if meaning.error is not None:
                self.fault = Outcome.SERVER_ERROR, meaning.error
                return None
            if meaning.ends:
                self.ended = True
                return None
            if event.size == len(data) and meaning.kind in CONTENT:
                return meaning.kind
        return None

    def _pattern(self, chunk: bytes, kind: Kind, body: bytes, end: int) -> _Pattern | None:
        """The pattern of this chunk and the next, which begins at `end` of the body; None if they share none."""
        self._trials -= 1
        if self._trials < 0:
            return None
        for string in reversed(list(_STRING.finditer(chunk))):  # in most protocols the token is near the end
            before, after = chunk[: string.start(1)], chunk[string.end(1) :]
            pattern = _Pattern(before, after, kind)
            if body.startswith(before, end) and _holds(pattern, self._understand):
                return pattern
        return None

    def _match(self, pattern: _Pattern, body: bytes, at: int) -> int:
        """Add the events from `at` on that match the pattern. Returns where the first that does not match begins."""
        if library.LIBRARY is not None:
            return self._match_compiled(pattern, body, at)
        before, after, kind = pattern
        sizes, kinds, characters = self.sizes, self.kinds, self.characters
        code, ascii_only = _CODES[kind], body.isascii()
        while body.startswith(before, at) and len(sizes) < _MOST_EVENTS:
            begin = at + len(before)
            end = _TOKEN.match(body, begin).end()  # type: ignore[union-attr]  # always matches, possibly an empty string
            next_at = end + len(after)
            length = end - begin if ascii_only else _characters(body[begin:end])
            if not length or next_at - at > self._limit or not body.startswith(after, end):
                break
            sizes.append(next_at - at)
            kinds.append(code)
            characters.append(length)
            at = next_at
        return at

    def _match_compiled(self, pattern: _Pattern, body: bytes, at: int) -> int:
        before, after, kind = pattern
        begin, count = ctypes.c_int64(at), _ROOM
        while count == _ROOM:
            room = min(_ROOM, _MOST_EVENTS - len(self.sizes))
            strings = (before, len(before), after, len(after))
            count = library.LIBRARY.sg_match(body, len(body), begin, *strings, self._limit, room, _SIZES, _CHARACTERS)
            self.sizes.frombytes(memoryview(_SIZES).cast("B")[: 8 * count])
            self.characters.frombytes(memoryview(_CHARACTERS).cast("B")[: 8 * count])
            self.kinds += bytes([_CODES[kind]]) * count
        return begin.value


@lru_cache(maxsize=256)  # the streams of one server have the same patterns
def _holds(pattern: _Pattern, understand: Callable[[Event, Answer], Meaning]) -> bool:
    """Whether the protocol takes the string between `before` and `after` for the content. Tries two strings."""
    for token in ("x", "four"):
        found = sse.Decoder().feed(pattern.before + token.encode() + pattern.after)
        try:
            if len(found) != 1 or understand(found[0], Answer()) != Meaning(pattern.kind, token):
                return False
        except Malformed:
            return False
    return True


def _characters(token: bytes) -> int:
    """The number of characters in UTF-8 bytes; 0 if they are not well-formed."""
    try:
        return len(token.decode())
    except UnicodeDecodeError:
        return 0
