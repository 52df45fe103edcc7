"""Decodes the body of an answer: its events as columns. Pure; nothing that a server sends makes it raise.

The result is that of `sse.Decoder` and the protocol for each event, but few events are parsed. The chunks of a stream
usually differ only in one string, the token. First, the protocol is tried with two other strings in that place, which
shows that it takes the string for the content. After that, events that differ in nothing else need no parsing: a JSON
string without a quote, a backslash or a control character needs no unescaping.
"""

import ctypes
import re
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from streamgauge.harness.config.schema import Framing
from streamgauge.harness.drive.protocols import Answer, Malformed, Protocol
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.protocol import COUNTS, Meaning
from streamgauge.harness.drive.reading import sse
from streamgauge.harness.drive.reading.framing import SEPARATORS, cut_off_error, decoder
from streamgauge.harness.native import library
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Kind
from streamgauge.harness.record.observation import CONTENT, Outcome

_MOST_EVENTS = 250_000  # in a stream; limits our memory, since even a tiny event needs some
_MOST_TRIALS = 16  # attempts to find a pattern in the chunks of a stream; some streams have none
_PART = 4_096  # bytes decoded at a time, unless an event ends before
_AFTER_END = 8_192  # bytes after the terminal event that are looked at
_MANY = 16  # parts in a row without content
_BREAK = 4_000  # bytes and events between two breaks, weighed by what they cost; about a millisecond
_EVENT_WORK = 8  # what an event costs beside its bytes
_LONGEST_PATTERN = 4_096  # bytes of an event that may become a pattern
_MOST_STRINGS = 16  # of such an event that are tried as its token

_STRING = re.compile(rb':\x20?"((?:[^"\\]|\\.)*+)"')  # the value of a key
_TOKEN = re.compile(rb'[^"\\\x00-\x1f]*+')  # a JSON string that needs no unescaping
_LINE_FEEDS = re.compile(rb"\n*+")
_ROOM = 1024  # events matched at a time
_SIZES, _CHARACTERS = (ctypes.c_int64 * _ROOM)(), (ctypes.c_int64 * _ROOM)()
_SIZES_BYTES, _CHARACTERS_BYTES = memoryview(_SIZES).cast("B"), memoryview(_CHARACTERS).cast("B")
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


def decode(
    body: bytes,
    protocol: Protocol,
    event_bytes: int,
    breathe: Callable[[], None] = lambda: None,
    reads: Sequence[int] = (),
) -> DecodedBody:
    """The events of `body` up to the terminal event or the first fault. Events over `event_bytes` are a fault.

    Of the events after the terminal one, only the usage counts. `reads`: where each read ended; of raw text, each is an
    event.

    `breathe` is called about every millisecond: a long body must not stop the reading of other streams.
    """
    decoder = _BodyDecoder(protocol, event_bytes, breathe)
    if protocol.framing == "text":
        decoder.decode_reads(body, reads or (len(body),))
    else:
        decoder.decode(body)
    columns = decoder.sizes, bytes(decoder.kinds), decoder.characters
    return DecodedBody(*columns, decoder.answer, decoder.ended, decoder.fault)


class _BodyDecoder:
    def __init__(self, protocol: Protocol, event_bytes: int, breathe: Callable[[], None]) -> None:
        self._breathe = breathe
        self._work = 0  # since the last break
        self._read_to = 0  # bytes of the body up to the end of the last event added
        self._blank = 0  # where a blank line ends, at or after the place that was last asked for
        self._ascii_only = False
        self._understand: Callable[[Event, Answer], Meaning] = protocol.meaning_of
        self._limit = event_bytes
        self._framing = protocol.framing
        self._separator = SEPARATORS[protocol.framing]
        self._decoder = decoder(protocol.framing)
        self._trials = _MOST_TRIALS
        self.sizes = array("q")
        self.kinds = bytearray()
        self.characters = array("q")
        self.answer = Answer()
        self.ended = False
        self.fault: tuple[Outcome, str] | None = None

    def decode(self, body: bytes) -> None:
        at, pattern, without_content = 0, None, 0
        next_usual = self._decoder.next_usual if b"\r" not in body else _none
        self._ascii_only = library.LIBRARY is None and body.isascii()
        while at < len(body) and not self._over:
            if self._work > _BREAK:
                self._rest()
            if without_content == _MANY:  # there is probably no pattern, and larger parts cost less
                end = min(at + _PART, len(body))
                kind = self._add(body, at, end)
            elif (event := next_usual(body, at)) is not None:
                end, kind = at + event.size, self._take(event)
                self._work += event.size
            else:
                end = min(at + _PART, self._after_blank(body, at))
                kind = self._add(body, at, end)
            without_content = 0 if kind is not None or without_content == _MANY else without_content + 1
            if kind is not None:
                if pattern is None or not body.startswith(pattern.before, end):
                    pattern = self._pattern(body[at:end], kind, body, end)
                if pattern is not None:
                    end = self._match(pattern, body, end)
            at = end
        if not self._over:
            self._take_all(self._decoder.finish())
        if not self._over:
            self._take_all(cut_off_error(self._decoder, self._understand))
        if self.ended:
            self._read_after_end(body[self._read_to : self._read_to + _AFTER_END])

    def decode_reads(self, body: bytes, reads: Sequence[int]) -> None:
        for begin, end in pairwise([0, *reads]):
            if not self._over:
                self._add(body, begin, end)
                if self._work > _BREAK:
                    self._rest()

    def _rest(self) -> None:
        self._work = 0
        self._breathe()

    def _read_after_end(self, rest: bytes) -> None:
        """Keep the token counts of later events. Count it as an oddity if there is content: no client reads it."""
        if not rest.strip():
            return
        late, kinds = Answer(), set()
        for event in decoder(self._framing).feed(rest):
            with suppress(Malformed):
                kinds.add(self._understand(event, late).kind)
        for field in COUNTS:
            if (count := getattr(late, field)) is not None:
                setattr(self.answer, field, count)
        if kinds & CONTENT:
            self.answer.odd("content after the terminal event")

    def _after_blank(self, body: bytes, at: int) -> int:
        """Where the first blank line from `at` on ends, with all others that follow it at once."""
        if self._blank <= at:
            found = body.find(self._separator, at)
            self._blank = found + len(self._separator)
            if found < 0:
                self._blank = len(body)  # there is none; do not search again
            elif body.startswith(b"\n", self._blank):
                self._blank = _LINE_FEEDS.match(body, self._blank).end()  # type: ignore[union-attr]  # always matches
        return self._blank

    @property
    def _over(self) -> bool:
        return self.ended or self.fault is not None

    def _add(self, body: bytes, at: int, end: int) -> Kind | None:
        """Add the events that these bytes complete. Returns the kind if the bytes are exactly one visible chunk.

        A blank line after a comment belongs to the next event, and one after that event to the next but one. So an
        event can be as long as these bytes and not be them.
        """
        found = self._decoder.feed(body[at:end])
        self._work += end - at
        kind = self._take_all(found)
        if not self._over and self._decoder.unfinished > self._limit:
            self.fault = Outcome.MALFORMED, f"an event of more than {self._limit:,} bytes"
        return kind if len(found) == 1 and found[0].size == end - at and self._read_to == end else None

    def _take_all(self, events: list[Event]) -> Kind | None:
        """Add these events, up to one that ends the answer. Returns the kind of the last if it is visible."""
        kind = None
        for event in events:
            kind = self._take(event)
            if self._over:
                break
        return kind

    def _take(self, event: Event) -> Kind | None:
        """Add an event. Returns its kind if it is visible, and the answer goes on.

        The events that are like it will not be looked into, and whether a person sees anything has to be known.
        """
        size = event.size
        self._work += _EVENT_WORK
        if size > self._limit:
            self.fault = Outcome.MALFORMED, f"an event of {size:,} bytes; the limit is {self._limit:,}"
            return None
        if len(self.sizes) >= _MOST_EVENTS:
            self.fault = Outcome.MALFORMED, f"more than {_MOST_EVENTS:,} events"
            return None
        try:
            meaning = self._understand(event, self.answer)
        except Malformed as malformed:
            self.fault = Outcome.MALFORMED, str(malformed)
            return None
        kind = meaning.kind
        self._read_to += size
        self.sizes.append(size)
        self.kinds.append(_CODES[kind])
        self.characters.append(meaning.characters if meaning.text else 0)
        visible = kind in CONTENT and meaning.visible
        self.answer.visible = self.answer.visible or visible
        if meaning.error is not None:
            self.fault = Outcome.REFUSED if meaning.refused else Outcome.SERVER_ERROR, meaning.error
        elif meaning.ends:
            self.ended = True
        elif visible:
            return kind
        return None

    def _pattern(self, chunk: bytes, kind: Kind, body: bytes, end: int) -> _Pattern | None:
        """The pattern of this chunk and the next, which begins at `end` of the body; None if they share none."""
        self._trials -= 1
        if self._trials < 0 or len(chunk) > _LONGEST_PATTERN or chunk.startswith(sse.BOM):
            return None
        strings = list(_STRING.finditer(chunk))[-_MOST_STRINGS:]
        for string in reversed(strings):  # in most protocols the token is near the end
            before, after = chunk[: string.start(1)], chunk[string.end(1) :]
            pattern = _Pattern(before, after, kind)
            if body.startswith(before, end) and _holds(pattern, self._understand, self._framing):
                return pattern
        return None

    def _match(self, pattern: _Pattern, body: bytes, at: int) -> int:
        """Add the events from `at` on that match the pattern. Returns where the first that does not match begins."""
        if library.LIBRARY is not None:
            return self._match_compiled(pattern, body, at)
        before, after, kind = pattern
        sizes, kinds, characters = self.sizes, self.kinds, self.characters
        code, ascii_only, most = _CODES[kind], self._ascii_only, min(_MOST_EVENTS, len(sizes) + _ROOM)
        while body.startswith(before, at) and len(sizes) < most:
            begin = at + len(before)
            end = _TOKEN.match(body, begin).end()  # type: ignore[union-attr]  # always matches, possibly an empty string
            next_at = end + len(after)
            length = end - begin if ascii_only else _characters(body[begin:end])
            if not length or next_at - at > self._limit or not body.startswith(after, end):
                break
            sizes.append(next_at - at)
            kinds.append(code)
            characters.append(length)
            self._read_to += next_at - at
            at = next_at
        return at

    def _match_compiled(self, pattern: _Pattern, body: bytes, at: int) -> int:
        before, after, kind = pattern
        begin, room = ctypes.c_int64(at), min(_ROOM, _MOST_EVENTS - len(self.sizes))
        strings = (before, len(before), after, len(after))
        count = library.LIBRARY.sg_match(body, len(body), begin, *strings, self._limit, room, _SIZES, _CHARACTERS)
        self.sizes.frombytes(_SIZES_BYTES[: 8 * count])
        self.characters.frombytes(_CHARACTERS_BYTES[: 8 * count])
        self.kinds += bytes([_CODES[kind]]) * count
        self._work += count
        self._read_to += begin.value - at
        return begin.value


def _none(_body: bytes, _at: int) -> None:
    return None


@lru_cache(maxsize=256)  # the streams of one server have the same patterns
def _holds(pattern: _Pattern, understand: Callable[[Event, Answer], Meaning], framing: Framing) -> bool:
    """Whether the protocol takes the string between `before` and `after` for the content. Tries two strings.

    Events that say something else as well have no pattern: two that are alike have the same sequence number, and a
    token count that stands in one of them may not be the last one.
    """
    answer = Answer()  # the same for both: the second may mean something else than the first, as a whole item does
    for token in ("x", "four"):
        found = decoder(framing).feed(pattern.before + token.encode() + pattern.after)
        try:
            if len(found) != 1 or understand(found[0], answer) != Meaning(pattern.kind, token):
                return False
        except Malformed:
            return False
        if answer.number is not None or answer.stop_reason is not None or answer.oddities:
            return False
    return all(getattr(answer, count) is None for count in COUNTS)


def _characters(token: bytes) -> int:
    """The number of characters in UTF-8 bytes; 0 if they are not well-formed."""
    try:
        return len(token.decode())
    except UnicodeDecodeError:
        return 0
