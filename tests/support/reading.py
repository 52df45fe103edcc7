"""The reading of a stream of the corpus without a socket: as the client reads what has arrived when the stream ends."""

from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from streamgauge.harness.drive.protocols import Answer, Malformed, Protocol, for_target
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.protocol import COUNTS
from streamgauge.harness.drive.reading.body import DecodedBody, decode
from streamgauge.harness.drive.reading.ending import Received, ending
from streamgauge.harness.drive.reading.framing import cut_off_error, decoder
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.record.arrivals import CONTENT_CODES, KINDS, Kind
from streamgauge.harness.record.observation import CONTENT, Outcome
from tests.support.corpus import Stream

SILENCE = Broken(Outcome.TIMED_OUT, "idle: nothing arrived for 30 s")
RESET = Broken(Outcome.RESET, "the connection broke: Connection reset by peer")


def broken(stream: Stream) -> Broken | None:
    """Why the client stopped reading this stream; None: it did not."""
    if "leaves_after" in stream.table:
        return Broken(Outcome.CANCELLED, f"left after {stream.table['leaves_after']} chunks, as planned")
    return {"silence": SILENCE, "reset": RESET}.get(stream.sent.get("then", "close"))


class Reading(NamedTuple):
    outcome: str
    detail: str
    kinds: dict[Kind, int]  # content chunks of each kind
    characters: int
    answer: Answer
    ended: int | None  # bytes up to the end of the terminal event


def read(stream: Stream, body: bytes, *, complete: bool, why: Broken | None = None) -> Reading:
    """What is made of this body, under the head of the stream."""
    target = stream.target
    protocol = for_target(target)
    decoded = decode(body if stream.status // 100 == 2 else b"", protocol, target.limits.event_bytes)
    received = Received(stream.status, stream.headers, body, complete, why)
    return _reading(*ending(received, decoded, protocol), decoded)


def read_slowly(stream: Stream, pieces: Sequence[bytes], *, complete: bool) -> Reading:
    """The same event by event, as the bytes come: without the patterns by which `decode` avoids most of the work."""
    target = stream.target
    protocol, answer = for_target(target), Answer()
    if stream.status // 100 != 2 or protocol.framing == "text":  # of text, each piece would be another event
        return read(stream, b"".join(pieces), complete=complete)
    events = decoder(protocol.framing)
    found = DecodedBody(array("q"), b"", array("q"), answer, False, None)
    came = [event for piece in pieces for event in events.feed(piece)]
    for event in [*came, *events.finish()]:
        if not found.ended and found.fault is None:
            _take(event, found, protocol)
    if not found.ended and found.fault is None:
        for event in cut_off_error(events, protocol.meaning_of):
            _take(event, found, protocol)
    if found.ended:
        _read_after_end(b"".join(pieces)[sum(found.sizes) :], answer, protocol)
    received = Received(stream.status, stream.headers, b"".join(pieces), complete, None)
    return _reading(*ending(received, found, protocol), found)


def _take(event: Event, found: DecodedBody, protocol: Protocol) -> None:
    try:
        meaning = protocol.meaning_of(event, found.answer)
    except Malformed as fault:
        found.fault = Outcome.MALFORMED, str(fault)
        return
    found.sizes.append(event.size)
    found.kinds += bytes([KINDS.index(meaning.kind)])
    found.characters.append(meaning.characters)
    found.answer.visible = found.answer.visible or (meaning.kind in CONTENT and meaning.visible)
    if meaning.error is not None:
        found.fault = Outcome.REFUSED if meaning.refused else Outcome.SERVER_ERROR, meaning.error
    found.ended = meaning.ends and meaning.error is None


def _read_after_end(rest: bytes, answer: Answer, protocol: Protocol) -> None:
    late, kinds = Answer(), set()
    for event in decoder(protocol.framing).feed(rest):
        with suppress(Malformed):
            kinds.add(protocol.meaning_of(event, late).kind)
    for count in COUNTS:
        setattr(answer, count, getattr(answer, count) if getattr(late, count) is None else getattr(late, count))
    if kinds & CONTENT:
        answer.odd("content after the terminal event")


def _reading(outcome: Outcome, detail: str, decoded: DecodedBody) -> Reading:
    kinds = {KINDS[code]: decoded.kinds.count(code) for code in CONTENT_CODES if code in decoded.kinds}
    ended = sum(decoded.sizes) if decoded.ended else None
    return Reading(outcome.value, detail, kinds, sum(decoded.characters), decoded.answer, ended)


def expected(stream: Stream, client: str = "wire") -> dict[str, Any]:
    """The stream's `reading` by this client, with what it leaves out."""
    counts = dict.fromkeys(("text", "thinking", "tool", "characters"), 0)
    facts = dict.fromkeys(("stop_reason", *COUNTS))
    return {"detail": [], "oddities": {}, **counts, **facts, **stream.reading, **stream.table.get(client, {})}


def lacking(words: Iterable[str], detail: str) -> list[str]:
    return [word for word in words if word not in detail]
