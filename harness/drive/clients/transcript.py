"""One stream as its socket saw it, and what that means. Pure: made after the stream, off the hot path.

`observe` turns bytes and stamps into the record. Nothing that a server sent can make it raise.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from harness import arrivals
from harness.clock import RunClock
from harness.drive import sse
from harness.drive.clients.site import Site
from harness.drive.network import Link
from harness.drive.protocols import Answer, Malformed
from harness.drive.protocols.protocol import line
from harness.drive.wire import Broken
from harness.observation import CONTENT, Chunk, Outcome, StreamObservation, content_moments

_LATE = 500_000  # ns of read lag from which a read of several chunks is our own doing
_STREAM_TYPES = {"text/event-stream", "text/plain", ""}  # what a stream may call itself
_LONGEST_DETAIL = 300  # characters
_LONGEST_WORD = 100
_MOST_EVENTS = 250_000  # in a stream; each costs memory of ours, however small it is
_SLICE = 65_536  # bytes decoded at a time


class Interrupted(Exception):
    """The greenlet that the stream ran in was killed; `seen` is the record up to then."""

    def __init__(self, seen: StreamObservation) -> None:
        super().__init__("the run ended before the stream did")
        self.seen = seen


@dataclass(slots=True)
class Transcript:
    """Moments are CLOCK_MONOTONIC ns; None where it did not come to that."""

    due_at: int
    started_at: int | None = None
    resolved_at: int | None = None
    connected_at: int | None = None
    secured_at: int | None = None
    sent_at: int | None = None
    ended_at: int = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    headers_read: tuple[int, int] | None = None  # as a stamp and our own time, see below
    body: bytes | bytearray = b""
    ends: Sequence[int] = ()  # read i ended at this byte of the body,
    stamps: Sequence[int] = ()  # was stamped then by the kernel (CLOCK_REALTIME ns, 0 for no stamp)
    seen: Sequence[int] = ()  # and seen then by us (CLOCK_MONOTONIC ns)
    handed: Sequence[int] | None = None  # when a library gave each content chunk on, in order; None: no library
    broken: Broken | None = None  # why it ended before the server's end


def observe(transcript: Transcript, site: Site, link: Link, identity: Mapping[str, Any]) -> StreamObservation:
    """The record of the stream, with the site's secrets blotted out of what the server said."""
    clock = site.clock
    on_run = clock.from_monotonic
    arrived = [
        clock.from_realtime(stamp) if stamp else on_run(seen)
        for stamp, seen in zip(transcript.stamps, transcript.seen, strict=True)
    ]
    lags = [
        on_run(seen) - at for stamp, seen, at in zip(transcript.stamps, transcript.seen, arrived, strict=True) if stamp
    ]
    perceived = arrived
    if link.emulated:
        starts = [0, *transcript.ends]
        perceived = [link.deliver(at, end - start) for at, start, end in zip(arrived, starts, transcript.ends)]  # noqa: B905 - starts is one longer
    reading = _read(transcript, site, arrived, perceived)
    outcome, detail = _outcome(transcript, reading)
    if transcript.handed is not None:
        reading.chunks = list(_handed(reading.chunks, map(on_run, transcript.handed)))
    answer = reading.answer
    headers, headers_at = transcript.headers, None
    if transcript.headers_read is not None:
        stamp, seen = transcript.headers_read
        headers_at = clock.from_realtime(stamp) if stamp else on_run(seen)
    late = [on_run(seen) - at > _LATE for seen, at in zip(transcript.seen, arrived, strict=True)]
    return StreamObservation(
        **identity,
        **content_moments(reading.chunks),
        due_at=on_run(transcript.due_at),
        started_at=_moment(clock, transcript.started_at),
        resolved_at=_moment(clock, transcript.resolved_at),
        connected_at=_moment(clock, transcript.connected_at),
        secured_at=_moment(clock, transcript.secured_at),
        sent_at=_moment(clock, transcript.sent_at),
        headers_at=headers_at,
        ended_at=max([on_run(transcript.ended_at), *perceived[-1:]]),  # a slow link ends after the wire
        outcome=outcome,
        detail=_line(detail, site.secret, _LONGEST_DETAIL),
        http_status=transcript.status,
        stop_reason=_word(answer.stop_reason, site.secret),
        body_bytes=len(transcript.body),
        arrivals=arrivals.encode(reading.chunks),
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        cache_read_tokens=answer.cache_read_tokens,
        cache_write_tokens=answer.cache_write_tokens,
        request_id=_word(headers.get("request-id") or headers.get("x-request-id"), site.secret),
        send_lag=None if transcript.started_at is None else transcript.started_at - transcript.due_at,
        reads=len(arrived),
        coalesced_reads=len(reading.coalesced),
        saturated_reads=sum(late[index] for index in reading.coalesced),
        unstamped_reads=len(arrived) - len(lags),
        read_lag_mean=round(sum(lags) / len(lags)) if lags else None,
        read_lag_max=max(lags, default=None),
    )


@dataclass(slots=True)
class _Reading:
    """What the body said."""

    chunks: list[Chunk] = field(default_factory=list)
    answer: Answer = field(default_factory=Answer)
    ended: bool = False  # the terminal event came
    fault: tuple[Outcome, str] | None = None  # what the events themselves say went wrong
    coalesced: list[int] = field(default_factory=list)  # reads that held several content chunks


def _read(transcript: Transcript, site: Site, arrived: Sequence[int], perceived: Sequence[int]) -> _Reading:
    reading = _Reading()
    if transcript.status is None or transcript.status // 100 != 2:
        return reading  # an error page is not a stream
    limit = site.target.limits.event_bytes
    decoder = sse.Decoder()
    read, content = 0, 0  # content chunks in the read that we are at
    for event in _events(transcript.body, decoder):
        while transcript.ends[read] < event.end:
            read, content = read + 1, 0
        if event.size > limit:
            reading.fault = (
                Outcome.MALFORMED,
                f"an event of {event.size:,} bytes; the limit is {limit:,}",
            )
            return reading
        if len(reading.chunks) == _MOST_EVENTS:
            reading.fault = (Outcome.MALFORMED, f"more than {_MOST_EVENTS:,} events")
            return reading
        try:
            meaning = site.protocol.understand(event, reading.answer)
        except Malformed as fault:
            reading.fault = (Outcome.MALFORMED, str(fault))
            return reading
        reading.chunks.append(Chunk(arrived[read], meaning.kind, meaning.characters, event.size, perceived[read]))
        if meaning.kind in CONTENT:
            content += 1
            if content == 2:
                reading.coalesced.append(read)
        if meaning.error is not None:
            reading.fault = (Outcome.SERVER_ERROR, meaning.error)
            return reading
        if meaning.ends:
            reading.ended = True
            return reading
    if decoder.unfinished > limit:
        reading.fault = (Outcome.MALFORMED, f"an event passed {limit:,} bytes and had no end")
    return reading


def _events(body: bytes | bytearray, decoder: sse.Decoder) -> Iterator[sse.Event]:
    for start in range(0, len(body), _SLICE):
        yield from decoder.feed(bytes(body[start : start + _SLICE]))


def _handed(chunks: Iterable[Chunk], moments: Iterator[int]) -> Iterator[Chunk]:
    """The chunks with the moments at which a library gave on the content among them.

    The library had them on the wire's time; with an emulated link, it would have had all that much later.
    """
    for chunk in chunks:
        moment = next(moments, None) if chunk.kind in CONTENT else None
        if moment is None:
            yield chunk
        else:
            lag = max(0, moment - chunk.at)  # the offset of the kernel's clock is known to a few µs only
            yield msgspec.structs.replace(chunk, handed_at=chunk.perceived_at + lag)


def _outcome(transcript: Transcript, reading: _Reading) -> tuple[Outcome, str]:
    """What became of the stream. What the server said counts before what the connection did after it."""
    broken = transcript.broken
    if transcript.status is not None and transcript.status // 100 != 2:
        return Outcome.REFUSED, f"HTTP {transcript.status}: {_excerpt(transcript.body)}"
    if reading.fault is not None:
        return reading.fault
    if reading.ended:
        came = sum(chunk.kind in CONTENT for chunk in reading.chunks)
        handed = came if transcript.handed is None else len(transcript.handed)
        if handed < came and (broken is None or broken.outcome is Outcome.MALFORMED):  # nobody left before it could
            return Outcome.MALFORMED, f"the client library gave on {handed} of the {came} content chunks that came"
        return Outcome.COMPLETED, ""
    kind = transcript.headers.get("content-type", "").partition(";")[0].strip().lower()
    if transcript.status is not None and kind not in _STREAM_TYPES:
        return Outcome.MALFORMED, f"{kind} instead of text/event-stream: {_excerpt(transcript.body)}"
    encoding = transcript.headers.get("content-encoding", "identity").strip().lower()
    if transcript.status is not None and encoding != "identity":
        return Outcome.MALFORMED, f"the stream is {encoding}-encoded, which was not asked for"
    if broken is not None:
        return broken.outcome, str(broken)
    if transcript.status is None:
        return Outcome.RESET, "the connection was closed before an answer came"
    return Outcome.TRUNCATED, "the answer ended without its terminal event"


def _moment(clock: RunClock, moment: int | None) -> int | None:
    return None if moment is None else clock.from_monotonic(moment)


def _excerpt(body: bytes | bytearray) -> str:
    return bytes(body).decode("utf-8", "replace")  # not cut yet: the cut could leave a part of a secret unrecognised


def _word(said: str | None, secret: re.Pattern[str]) -> str | None:
    return _line(said, secret, _LONGEST_WORD) if said else None


def _line(text: str, secret: re.Pattern[str], limit: int) -> str:
    """One printable line of bounded length, without what must not be stored."""
    return line(secret.sub("…", text), limit)
