"""One stream as its socket saw it, and what that means. Pure: made after the stream, off the hot path.

`observe` turns bytes and stamps into the record. Nothing that a server sent can make it raise.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import arrivals
from harness.clock import RunClock
from harness.drive.clients.reading import Reading, read
from harness.drive.clients.site import Site
from harness.drive.network import Link
from harness.drive.protocols.protocol import line
from harness.drive.wire import Broken
from harness.observation import Outcome, StreamObservation, moments_of

_LATE = 500_000  # ns of read lag from which a read of several chunks is our own doing
_LEFT = frozenset({Outcome.CANCELLED, Outcome.INTERRUPTED})
_STREAM_TYPES = {"text/event-stream", "text/plain", ""}  # what a stream may call itself
_LONGEST_DETAIL = 300  # characters
_LONGEST_WORD = 100


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
    reads: Sequence[int] = ()  # three of each: end in the body, kernel's stamp, our time; see `wire.Exchange`
    holds: Sequence[int] = ()  # when reading went on after it had been held back on purpose (CLOCK_MONOTONIC ns)
    shown: list[int] = field(default_factory=list)  # when the person had the first reads, as far as that was asked for
    away: tuple[int, int] | None = None  # from when to when the person did not look (the same)
    handed: Sequence[int] | None = None  # when a library gave each content chunk on, in order; None: no library
    broken: Broken | None = None  # why it ended before the server's end


def observe(transcript: Transcript, site: Site, link: Link, identity: Mapping[str, Any]) -> StreamObservation:
    """The record of the stream, with the site's secrets blotted out of what the server said."""
    clock = site.clock
    on_run = clock.from_monotonic
    ends, stamps, seen = _numbers(transcript.reads).reshape(-1, 3).T
    arrived = stamps - (clock.offset + clock.origin)
    came = readable = stamps - clock.offset
    if len(transcript.holds):
        readable = np.maximum(came, _held_until(seen, transcript.holds))
    lags = stamped_lags = seen - readable
    if np.count_nonzero(stamps) < len(stamps):
        stamped = stamps != 0
        stamped_lags = lags[stamped]
        arrived = np.where(stamped, arrived, seen - clock.origin)
    perceived = _perceived(transcript, clock, link, arrived, ends)
    # An error page is not a stream.
    streamed = transcript.status is not None and transcript.status // 100 == 2
    reading = read(bytes(transcript.body) if streamed else b"", site.protocol, site.target.limits.event_bytes)
    outcome, detail = _outcome(transcript, reading)
    answer = reading.answer
    headers, headers_at = transcript.headers, None
    if transcript.headers_read is not None:
        stamp, looked = transcript.headers_read
        headers_at = clock.from_realtime(stamp) if stamp else on_run(looked)
    in_read = ends.searchsorted(reading.ends)  # the read that completed each event
    at = perceived_at = arrived[in_read]
    if perceived is not arrived:
        perceived_at = perceived[in_read]
    content = arrivals.is_content(reading.kind)
    coalesced = _coalesced(in_read[content])
    client_lag = np.full(len(at), arrivals.NOT_HANDED, np.int64)
    if transcript.handed is not None:
        client_lag = _client_lag(content, _numbers(transcript.handed) - clock.origin, at, perceived_at)
    at_us = perceived_us = arrivals.microseconds(at)
    if perceived_at is not at:
        perceived_us = arrivals.microseconds(perceived_at)
    columns = arrivals.Columns(at_us, reading.kind, reading.characters, reading.sizes, perceived_us, client_lag)
    ended_at = on_run(transcript.ended_at)
    if outcome in _LEFT:  # what was still on the link then was never seen
        had = perceived_at <= ended_at
        moments = moments_of(reading.kind[had], reading.characters[had], at[had], perceived_at[had])
    else:
        moments = moments_of(reading.kind, reading.characters, at, perceived_at)
        ended_at = max([ended_at, *perceived[-1:].tolist()])  # a slow link ends after the wire
    return StreamObservation(
        **identity,
        **moments,
        due_at=on_run(transcript.due_at),
        started_at=_moment(clock, transcript.started_at),
        resolved_at=_moment(clock, transcript.resolved_at),
        connected_at=_moment(clock, transcript.connected_at),
        secured_at=_moment(clock, transcript.secured_at),
        sent_at=_moment(clock, transcript.sent_at),
        headers_at=headers_at,
        ended_at=ended_at,
        outcome=outcome,
        detail=sentence(detail, site.secret),
        http_status=transcript.status,
        stop_reason=word(answer.stop_reason, site.secret),
        body_bytes=len(transcript.body),
        arrivals=arrivals.pack(columns),
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        cache_read_tokens=answer.cache_read_tokens,
        cache_write_tokens=answer.cache_write_tokens,
        request_id=word(headers.get("request-id") or headers.get("x-request-id"), site.secret),
        send_lag=None if transcript.started_at is None else transcript.started_at - transcript.due_at,
        reads=len(arrived),
        coalesced_reads=len(coalesced),
        saturated_reads=int(((lags > _LATE) & (stamps != 0) & (readable == came))[coalesced].sum())
        if len(coalesced)
        else 0,
        unstamped_reads=len(arrived) - len(stamped_lags),
        read_lag_mean=round(int(stamped_lags.sum()) / len(stamped_lags)) if len(stamped_lags) else None,
        read_lag_max=int(stamped_lags.max()) if len(stamped_lags) else None,
    )


def _perceived(
    transcript: Transcript, clock: RunClock, link: Link, arrived: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """When the person had each read: the same array, where nothing was between them and the wire."""
    on_run, perceived = clock.from_monotonic, arrived
    if link.emulated:
        reads = zip(arrived.tolist(), np.diff(ends, prepend=0).tolist(), strict=True)
        began = on_run(transcript.started_at or transcript.due_at)
        shown = [on_run(at) for at in transcript.shown]  # the link has delivered these already
        later = [began + link.deliver(at - began, size) for at, size in islice(reads, len(shown), None)]
        perceived = _numbers(shown + later)
    if transcript.away is not None:
        gone, back = map(on_run, transcript.away)
        perceived = np.where((perceived >= gone) & (perceived < back), back, perceived)
    return perceived


def _held_until(seen: NDArray[np.int64], holds: Sequence[int]) -> NDArray[np.int64]:
    """For each read the end of the last hold before it, 0 where there was none."""
    ends = np.concatenate([[0], _numbers(holds)])
    before: NDArray[np.int64] = ends[np.searchsorted(ends, seen, side="right") - 1]
    return before


def _coalesced(content_reads: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which reads held several content chunks, given the read of each."""
    again = content_reads[1:][content_reads[1:] == content_reads[:-1]]
    return np.unique(again) if len(again) else again  # nearly always none, and `unique` takes its time


def _client_lag(
    content: NDArray[np.bool_], moments: NDArray[np.int64], at: NDArray[np.int64], perceived_at: NDArray[np.int64]
) -> NDArray[np.int64]:
    """From a chunk's being there to its being given on by a library, µs; `moments` are of the content, in order.

    The library had them on the wire's time; with an emulated link, it would have had all that much later.
    """
    lags = np.full(len(at), arrivals.NOT_HANDED, np.int64)
    given = np.flatnonzero(content)[: len(moments)]
    # The offset of the kernel's clock is known to a few µs only.
    lag = np.maximum(0, moments[: len(given)] - at[given])
    lags[given] = arrivals.microseconds(perceived_at[given] + lag) - arrivals.microseconds(perceived_at[given])
    return lags


def _numbers(values: Sequence[int]) -> NDArray[np.int64]:
    """As numpy's own; an `array` of 64-bit integers is taken as it lies in memory, which must not grow after this."""
    return np.asarray(values, np.int64)


def _outcome(transcript: Transcript, reading: Reading) -> tuple[Outcome, str]:
    """What became of the stream. What the server said counts before what the connection did after it."""
    broken = transcript.broken
    if transcript.status is not None and transcript.status // 100 != 2:
        return Outcome.REFUSED, f"HTTP {transcript.status}: {_excerpt(transcript.body)}"
    if reading.fault is not None:
        return reading.fault
    if reading.ended:
        if transcript.handed is not None and (broken is None or broken.outcome is Outcome.MALFORMED):
            came, handed = int(arrivals.is_content(reading.kind).sum()), len(transcript.handed)
            if handed < came:  # and nobody left before it could
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


def word(said: str | None, secret: re.Pattern[str]) -> str | None:
    """A name that the server gave: printable, short, and without what must not be stored. None for nothing."""
    return _line(said, secret, _LONGEST_WORD) if said else None


def sentence(said: str, secret: re.Pattern[str]) -> str:
    """The same of what the server, or somebody quoting it, says went wrong; "" for nothing."""
    return _line(said, secret, _LONGEST_DETAIL)


def _line(text: str, secret: re.Pattern[str], limit: int) -> str:
    return line(secret.sub("…", text), limit) if text else ""
