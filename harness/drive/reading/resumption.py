"""One answer over several connections: where it broke off, and what the next connection brought. Pure.

Uses the ids of server-sent events. Numbered ids (`req_1:17`, `req_1:18`) show what was lost or duplicated. Other ids
show only where to continue. Without ids, the answer begins anew.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import NamedTuple

import msgspec

from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.reading import sse
from streamgauge.harness.drive.reading.framing import decoded
from streamgauge.harness.drive.reading.transcript import word
from streamgauge.harness.record.arrivals import Chunk
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation

_NUMBERED = re.compile(r"(.*?)([0-9]{1,15})", re.DOTALL)
_LONGEST_ID = 1_000  # characters; a longer id is not sent back to the server
_BROKEN = frozenset({Outcome.RESET, Outcome.TRUNCATED, Outcome.TIMED_OUT, Outcome.UNREACHABLE})
_NO_CONTENT = 204  # tells an EventSource not to reconnect
_ROUNDING = 500  # ns; largest rounding error of a chunk's times

Received = Sequence[tuple[str | None, Chunk]]  # the events that the person has, each with the id in force


@dataclass(frozen=True, slots=True)
class Place:
    """How much of an answer the person had when the connection broke."""

    seen_at: int  # when they had the last content, or asked if they have none; ns on the run's clock
    last_id: str | None = None  # the id to send as Last-Event-ID; None: the answer begins anew
    retry: float | None = None  # the server's `retry:` field, seconds
    prefix: str | None = None  # the part of the ids before their number; None: they are not numbered
    number: int | None = None  # number of the last event; content without an id has the numbers after it
    lost: int = 0  # skipped numbers that no record has counted yet


def follow(
    record: StreamObservation,
    body: bytes,
    place: Place | None,
    secret: Redaction,
    *,
    by_link: bool,
    breathe: Callable[[], None] = lambda: None,
) -> tuple[StreamObservation, Place | None]:
    """The record with its `resumed_from` and `resume_…` fields, and the new place, or None if the answer is over.

    `body` is the body that the record was made from. `place` is the place before this stream; None: it was the first.
    `secret` matches what to mask. `by_link`: the emulated link broke the connection. `breathe`: see `framing.decoded`.
    The refusal of a first stream is final. Later, 429 and 5xx are temporary; any other status refuses to resume, and
    the answer begins anew.
    """
    if record.outcome is Outcome.REFUSED and place is not None:
        assert record.http_status is not None
        if record.http_status == 429 or record.http_status >= 500:
            return record, place
        return record, Place(place.seen_at, retry=place.retry) if place.last_id else None
    broken = record.outcome in _BROKEN and record.http_status != _NO_CONTENT
    decoder = sse.Decoder()
    received = _received(record, decoded(decoder, body, breathe))
    record, now = _resumed(record, received, decoder, place or Place(record.due_at), secret)
    return record, now if broken or (by_link and record.outcome is Outcome.CANCELLED) else None


def _resumed(
    record: StreamObservation, received: Received, decoder: sse.Decoder, place: Place, secret: Redaction
) -> tuple[StreamObservation, Place]:
    ids = [id for id, _ in groupby(id for id, _ in received) if id]
    prefix = _prefix(ids)
    asked = place.last_id if ids else None
    resumed = asked is not None and (place.prefix is None or ids[0].startswith(place.prefix))
    if resumed or not ids:
        prefix = place.prefix
    counted = _count(received, prefix, place.number if resumed else None)
    seen_at = max((chunk.perceived_at for _, chunk in received if chunk.kind in CONTENT), default=place.seen_at)
    now = replace(place, seen_at=seen_at, retry=place.retry if decoder.retry is None else decoder.retry / 1e3)
    if ids:
        now = replace(now, last_id=sendable(ids[-1]), prefix=prefix, number=counted.number, lost=0)
    elif seen_at != place.seen_at:  # content without ids: a new answer, which cannot be resumed
        now = Place(seen_at, retry=now.retry)
    if asked is None or not resumed:
        return record, replace(now, lost=counted.lost) if ids else now
    first, numbered = counted.first_new_at, prefix is not None
    record = msgspec.structs.replace(
        record,
        resumed_from=word(asked, secret),
        resume_gap=None if first is None else first - place.seen_at,
        resume_lost=place.lost + counted.lost if numbered else None,
        resume_duplicated=counted.duplicated if numbered else None,
    )
    return record, now


def _received(record: StreamObservation, events: Iterable[Event]) -> Received:
    """The events that the person has, without those that were still on the link when it broke."""
    until = record.ended_at + _ROUNDING if record.outcome is Outcome.CANCELLED else None
    return [
        (event.id, chunk)
        for event, chunk in zip(events, record.chunks, strict=False)  # there are fewer chunks if an event was malformed
        if not event.comment and (until is None or chunk.perceived_at <= until)
    ]


class _Counted(NamedTuple):
    number: int | None  # of the last event
    lost: int  # numbers that were skipped
    duplicated: int  # content chunks whose number had arrived before
    first_new_at: int | None  # when the person had the first content chunk with a new number


def _count(received: Received, prefix: str | None, number: int | None) -> _Counted:
    """Count the events of a stream; `number` is that of the last event before it, None if there is none.

    Content without an id of its own has the next number; other events without an id are not counted.
    """
    lost, duplicated, first_new_at, in_force = 0, 0, None, None
    for id, chunk in received:
        content, again = chunk.kind in CONTENT, False
        own_number = _number(id, prefix) if id != in_force else None
        in_force = id
        if own_number is not None:
            again = number is not None and own_number <= number
            lost += max(0, own_number - number - 1) if number is not None else 0
            number = own_number if number is None else max(number, own_number)
        elif content and number is not None:
            number += 1
        if content and again:
            duplicated += 1
        elif content and first_new_at is None:
            first_new_at = chunk.perceived_at
    return _Counted(number, lost, duplicated, first_new_at)


def _prefix(ids: Sequence[str]) -> str | None:
    """The common part of these ids before their number; None if they differ in it or are not numbered by one."""
    found = [_NUMBERED.fullmatch(id) for id in ids]
    prefixes = {each and each[1] for each in found}
    if len(prefixes) != 1:
        return None
    steps = [int(after[2]) - int(before[2]) for before, after in pairwise(found) if before and after]
    return prefixes.pop() if 2 * steps.count(1) >= len(steps) else None


def _number(id: str | None, prefix: str | None) -> int | None:
    found = _NUMBERED.fullmatch(id) if id and prefix is not None else None
    return int(found[2]) if found and found[1] == prefix else None


def sendable(id: str) -> str | None:
    """The id if it is safe to send in a header; otherwise None. A hostile server may have chosen it."""
    return id if len(id) <= _LONGEST_ID and id.isascii() and id.isprintable() else None
