"""One answer over several connections: where its reader was when one broke, and what the next made of that. Pure.

Goes by the ids of server-sent events. Where they count (`req_1:17`, `req_1:18`), they tell what was lost and what came
twice. Ids that do not count tell only where to go on from, and without ids an answer begins anew.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import NamedTuple

import msgspec

from streamgauge.harness.drive.reading import sse
from streamgauge.harness.drive.reading.transcript import word
from streamgauge.harness.record.arrivals import Chunk
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation

_COUNTED = re.compile(r"(.*?)([0-9]{1,15})", re.DOTALL)
_LONGEST_ID = 1_000  # characters that are sent back to a server
_BROKEN = frozenset({Outcome.RESET, Outcome.TRUNCATED, Outcome.TIMED_OUT, Outcome.UNREACHABLE})
_NO_CONTENT = 204  # what tells an EventSource not to come back
_ROUNDING = 500  # ns, of a chunk's times

Had = Sequence[tuple[str | None, Chunk]]  # events that the reader has, each with the id in force


@dataclass(frozen=True, slots=True)
class Place:
    """How far into an answer its reader is, once the connection is gone."""

    seen_at: int  # when they had the last content, or asked, where they have none; ns on the run's clock
    last_id: str | None = None  # of the events that they have: what to send back; None: the answer begins anew
    retry: float | None = None  # seconds that the server wants them to wait before they come back
    prefix: str | None = None  # of the ids, before their number; None: they do not count
    number: int | None = None  # of the last event that they have, with the content after it that had no id of its own
    lost: int = 0  # numbers left out before, which no record tells of yet


def follow(
    seen: StreamObservation, body: bytes, place: Place | None, secret: re.Pattern[str], *, by_link: bool
) -> tuple[StreamObservation, Place | None]:
    """The record with what it went on from, lost and brought again; and where the reader is, if there may be more.

    `body` is what the record was made of; `place` is where the reader was before, None for a first try; `secret` is
    blotted out; `by_link`: the emulated link broke the connection. A refusal is final at a first try. Later, one that
    says "too much" or "out of order" is for the time being, and any other one only for going on: then the answer
    begins anew.
    """
    if seen.outcome is Outcome.REFUSED and place is not None:
        assert seen.http_status is not None
        if seen.http_status == 429 or seen.http_status >= 500:
            return seen, place
        return seen, Place(place.seen_at, retry=place.retry) if place.last_id else None
    broken = seen.outcome in _BROKEN and seen.http_status != _NO_CONTENT
    seen, now = _resumed(seen, body, place or Place(seen.due_at), secret)
    return seen, now if broken or (by_link and seen.outcome is Outcome.CANCELLED) else None


def _resumed(
    seen: StreamObservation, body: bytes, place: Place, secret: re.Pattern[str]
) -> tuple[StreamObservation, Place]:
    decoder = sse.Decoder()
    events = decoder.feed(body)
    # What was still on the link, the reader does not have.
    until = seen.ended_at + _ROUNDING if seen.outcome is Outcome.CANCELLED else None
    had = [
        (event.id, chunk)
        for event, chunk in zip(events, seen.chunks, strict=False)  # fewer chunks: the answer went wrong before its end
        if not event.comment and (until is None or chunk.perceived_at <= until)
    ]
    ids = [id for id, _ in groupby(id for id, _ in had) if id]
    prefix = _prefix(ids)
    asked = place.last_id if ids else None
    resumed = asked is not None and (place.prefix is None or ids[0].startswith(place.prefix))
    if resumed or not ids:
        prefix = place.prefix
    walked = _walk(had, prefix, place.number if resumed else None)
    seen_at = max((chunk.perceived_at for _, chunk in had if chunk.kind in CONTENT), default=place.seen_at)
    now = replace(place, seen_at=seen_at, retry=place.retry if decoder.retry is None else decoder.retry / 1e3)
    if ids:
        now = replace(now, last_id=_sendable(ids[-1]), prefix=prefix, number=walked.number, lost=0)
    elif seen_at != place.seen_at:  # content without ids: another answer, in which nobody can be found again
        now = Place(seen_at, retry=now.retry)
    if asked is None or not resumed:
        return seen, replace(now, lost=walked.lost) if ids else now
    first, counts = walked.first_new_at, prefix is not None
    record = msgspec.structs.replace(
        seen,
        resumed_from=word(asked, secret),
        resume_gap=None if first is None else first - place.seen_at,
        resume_lost=place.lost + walked.lost if counts else None,
        resume_duplicated=walked.duplicated if counts else None,
    )
    return record, now


class _Walked(NamedTuple):
    number: int | None  # of the last event
    lost: int  # numbers that were left out
    duplicated: int  # content chunks whose number had come before
    first_new_at: int | None  # when the reader had the first content chunk that had not


def _walk(had: Had, prefix: str | None, number: int | None) -> _Walked:
    """Go on from this number of the last event before; None: whatever comes first is the first.

    Content that has no id of its own has the next number; other events without one are not counted.
    """
    lost, duplicated, first_new_at, in_force = 0, 0, None, None
    for id, chunk in had:
        content, again = chunk.kind in CONTENT, False
        its_own = _number(id, prefix) if id != in_force else None
        in_force = id
        if its_own is not None:
            again = number is not None and its_own <= number
            lost += max(0, its_own - number - 1) if number is not None else 0
            number = its_own if number is None else max(number, its_own)
        elif content and number is not None:
            number += 1
        if content and again:
            duplicated += 1
        elif content and first_new_at is None:
            first_new_at = chunk.perceived_at
    return _Walked(number, lost, duplicated, first_new_at)


def _prefix(ids: Sequence[str]) -> str | None:
    """What these ids begin with before their number; None where that differs, or where they do not count by one."""
    found = [_COUNTED.fullmatch(id) for id in ids]
    prefixes = {each and each[1] for each in found}
    if len(prefixes) != 1:
        return None
    steps = [int(after[2]) - int(before[2]) for before, after in pairwise(found) if before and after]
    return prefixes.pop() if 2 * steps.count(1) >= len(steps) else None


def _number(id: str | None, prefix: str | None) -> int | None:
    found = _COUNTED.fullmatch(id) if id and prefix is not None else None
    return int(found[2]) if found and found[1] == prefix else None


def _sendable(id: str) -> str | None:
    """What may stand in a header of ours, whoever made it up."""
    return id if len(id) <= _LONGEST_ID and id.isascii() and id.isprintable() else None
