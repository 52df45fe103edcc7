"""What is known of one stream at its end, and the record that is made of it. Pure, and off the hot path.

`observe` turns bytes and stamps into the record. Nothing that a server sends makes it raise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.drive.protocols.protocol import line
from streamgauge.harness.drive.reading.body import DecodedBody, decode
from streamgauge.harness.drive.reading.delivery import Delivery
from streamgauge.harness.drive.reading.ending import Ending, Received, ending
from streamgauge.harness.drive.reading.timing import Times, timed
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.reads import Read, Reads
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import ABANDONED, MOST_RETRY_AFTER, Outcome, StreamObservation

_LONGEST_DETAIL = 300  # characters
_LONGEST_WORD = 100
_CUT = 4  # how much longer a text may be before secrets are blotted out, which makes it shorter


class Interrupted(Exception):
    """The stream was ended on our side, not by its plan; `seen` is the record up to that moment.

    `by` ended it: GreenletExit at the end of the run, or what a scenario's own code raised, such as a gevent.Timeout.
    """

    def __init__(self, seen: StreamObservation, by: BaseException) -> None:
        super().__init__(seen.detail)
        self.seen = seen
        self.by = by


@dataclass(slots=True)
class Transcript:
    """Moments are CLOCK_MONOTONIC ns; None for what did not happen."""

    due_at: int
    delivery: Delivery
    address: str | None = None  # the server's IP address
    started_at: int | None = None
    resolved_at: int | None = None
    connected_at: int | None = None
    secured_at: int | None = None
    sent_at: int | None = None
    ended_at: int = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    headers_read: Read | None = None
    body: bytes | bytearray = b""
    complete: bool = True  # the HTTP message came to its end, or did not say where that is
    reads: Reads = field(default_factory=Reads)
    holds: Sequence[int] = ()  # when reading went on after each intended pause
    away: tuple[int, int] | None = None  # (start, end) of the app's time in the background
    handed: Sequence[int] | None = None  # when a library handed on each content chunk, in order; None: no library
    broken: Broken | None = None  # why the answer was cut short; None: it was not
    breathe: Callable[[], None] = lambda: None  # called again and again while a long answer is decoded


def observe(transcript: Transcript, site: Site, identity: Mapping[str, Any]) -> StreamObservation:
    """The record of the stream, with the site's secrets masked in the server's text."""
    clock = site.clock
    on_run = clock.from_monotonic
    # The body of an error status is not a stream.
    streamed = transcript.status is not None and transcript.status // 100 == 2
    received, limit = bytes(transcript.body), site.target.limits.event_bytes
    body = received if streamed else b""
    ends = transcript.reads.columns()[0].tolist() if body and site.protocol.framing == "text" else ()
    decoded = decode(body, site.protocol, limit, transcript.breathe, ends)
    outcome, detail = _outcome(transcript, received, decoded, site)
    answer = decoded.answer
    headers, headers_at = transcript.headers, None
    if transcript.headers_read is not None:
        headers_at = on_run(transcript.headers_read.arrived(clock))
    times = Times(clock, transcript.reads, transcript.holds, transcript.handed)
    if transcript.delivery.emulated or transcript.away is not None:
        times.shown = _perceived(transcript, clock)
    ended_at, left = on_run(transcript.ended_at), outcome in ABANDONED
    timing, last = timed(times, decoded, ended_at if left else None)  # a person who left never saw what was on the link
    if last is not None and not left:
        ended_at = max(ended_at, last)  # a slow link delivers the end later than the wire
    return StreamObservation(
        **identity,
        **timing,
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
        oddities=answer.oddities | _oddities(transcript, decoded, site),
        body_bytes=len(transcript.body),
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        cache_read_tokens=answer.cache_read_tokens,
        cache_write_tokens=answer.cache_write_tokens,
        request_id=word(headers.get("request-id") or headers.get("x-request-id"), site.secret),
        address=transcript.address,
        replica=word(headers.get((site.target.replica_header or "").lower()), site.secret),
        retry_after=retry_after(headers.get("retry-after")),
        send_lag=None if transcript.started_at is None else transcript.started_at - transcript.due_at,
    )


def _perceived(transcript: Transcript, clock: RunClock) -> NDArray[np.int64]:
    """When the person had each read, on the run's clock."""
    delivery = transcript.delivery
    perceived = delivery.shown() if delivery.emulated else transcript.reads.arrived(clock)
    if transcript.away is not None:
        left, back = transcript.away
        perceived = np.where((perceived >= left) & (perceived < back), back, perceived)
    return perceived - clock.origin


def _outcome(transcript: Transcript, body: bytes, decoded: DecodedBody, site: Site) -> Ending:
    """The outcome of the stream and its detail."""
    received = Received(transcript.status, transcript.headers, body, transcript.complete, transcript.broken)
    outcome, detail = ending(received, decoded, site.protocol)
    # A library may hand on several reads of raw text in one piece.
    told = outcome is Outcome.COMPLETED and site.protocol.framing != "text"
    lost = _lost_by_library(transcript, decoded) if told else ""
    return (Outcome.MALFORMED, lost) if lost else (outcome, detail)


def _oddities(transcript: Transcript, decoded: DecodedBody, site: Site) -> dict[str, int]:
    """What was odd about the response itself. The server did not condemn the answer by it, but other clients may."""
    encoding = transcript.headers.get("content-encoding", "").strip().lower()
    stayed = transcript.broken is None or transcript.broken.outcome not in ABANDONED
    found = {
        "compressed, although the request asked for no compression": encoding not in {"", "identity"}
        and site.headers.get("accept-encoding", "").strip().lower() == "identity",
        "the HTTP message did not end after the terminal event": decoded.ended and stayed and not transcript.complete,
    }
    return {what: 1 for what, is_so in found.items() if is_so}


def _lost_by_library(transcript: Transcript, decoded: DecodedBody) -> str:
    """A sentence if the client library did not hand on all content, although the person stayed; "" otherwise."""
    broken = transcript.broken
    if transcript.handed is None or not (broken is None or broken.outcome is Outcome.MALFORMED):
        return ""
    came, handed = sum(map(decoded.kinds.count, arrivals.CONTENT_CODES)), len(transcript.handed)
    return f"the client library handed on {handed} of the {came} content chunks that arrived" if handed < came else ""


def _moment(clock: RunClock, moment: int | None) -> int | None:
    return None if moment is None else clock.from_monotonic(moment)


def retry_after(header: str | None) -> int | None:
    """A Retry-After header, seconds or a date (RFC 9110, 10.2.3), in ns. None if missing or invalid."""
    if header is None:
        return None
    text = header.strip()[:_LONGEST_WORD]
    try:
        seconds = float(text) if text[:1].isdigit() else _until(text)
    except (ValueError, OverflowError):
        return None
    return round(min(max(0.0, seconds * 1e9), MOST_RETRY_AFTER))


def _until(date: str) -> float:
    at = parsedate_to_datetime(date)
    return (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def word(text: str | None, secret: Redaction) -> str | None:
    """A name from the server: printable, short, and with secrets masked. None if there is none."""
    return _line(text, secret, _LONGEST_WORD) if text else None


def sentence(text: str, secret: Redaction) -> str:
    """A sentence on a failure: printable, short, and with secrets masked. "" if there is none."""
    return _line(text, secret, _LONGEST_DETAIL)


def _line(text: str, secret: Redaction, limit: int) -> str:
    return line(secret.blotted(text[: _CUT * limit]), limit) if text else ""
