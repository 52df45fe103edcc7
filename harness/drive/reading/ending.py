"""How an answer ended: the outcome of a stream, and one sentence on it for a person. Pure.

A terminal event is necessary for success, and not sufficient: an answer that says that the server gave up, that gives
no reason where its protocol has reasons, or that brought nothing, is a failure.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from streamgauge.harness.config.schema import End, Framing
from streamgauge.harness.drive.protocols import Answer, Protocol
from streamgauge.harness.drive.protocols.protocol import excerpt, failure, table_in, untold_error_in
from streamgauge.harness.drive.reading.body import DecodedBody
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.inflate import is_known
from streamgauge.harness.record.arrivals import CONTENT_CODES
from streamgauge.harness.record.observation import Outcome

_STREAM_TYPES = {"text/event-stream", "text/plain", "application/x-ndjson", ""}  # accepted content types of a stream
# By framing: what a stream is made of, and the words for another content type that came.
_WANTED: dict[Framing, tuple[str, str]] = {
    "sse": ("server-sent events", "instead of text/event-stream"),
    "ndjson": ("JSON documents, one on each line", "instead of application/x-ndjson"),
    "text": ("text", "instead of text/plain"),
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_TEXT = 65_536  # bytes
_GZIP = b"\x1f\x8b"

Ending = tuple[Outcome, str]


@dataclass(frozen=True, slots=True)
class Received:
    """What came of a response, apart from its events."""

    status: int | None
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    complete: bool  # the HTTP message has its end, or has none by which one could tell
    broken: Broken | None  # why the answer was cut short; None: it was not


def ending(received: Received, decoded: DecodedBody, protocol: Protocol) -> Ending:
    """The server's events take precedence over the end of the connection."""
    if received.status is not None and received.status // 100 != 2:
        return Outcome.REFUSED, f"HTTP {received.status}{_redirect(received)}: {_text(received.body)}"
    if decoded.fault is not None:
        return decoded.fault
    clean = received.broken is None and received.status is not None and received.complete
    if protocol.framing == "text" and clean and (wrong := _not_text(received)) is not None:
        return wrong
    if _has_ended(decoded, protocol.end, clean=clean):
        return of_answer(decoded.answer, protocol, protocol.end, brought=any(map(decoded.kinds.count, CONTENT_CODES)))
    if received.broken is not None and received.broken.outcome in {Outcome.CANCELLED, Outcome.INTERRUPTED}:
        return received.broken.outcome, str(received.broken)  # on our side: says nothing about the server
    if decoded.answer.gave_up:
        return _given_up(decoded.answer)
    if received.status is not None and not decoded.sizes:
        return _not_a_stream(received, *_WANTED[protocol.framing])
    if received.broken is not None:
        return received.broken.outcome, str(received.broken)
    if received.status is None:
        return Outcome.RESET, "the connection was closed before an answer arrived"
    return Outcome.TRUNCATED, _truncated(received, decoded.answer, protocol)


def of_answer(answer: Answer, protocol: Protocol, end: End | None, *, brought: bool) -> Ending:
    """The outcome of an answer that has ended as it should; `brought`: whether it had content."""
    reason = answer.stop_reason
    if answer.gave_up:
        return _given_up(answer)
    if reason is None and protocol.has_reasons and end is None:
        return Outcome.TRUNCATED, (
            "the answer ended with its terminal event, but without a stop reason: it was cut short. "
            'If this server never gives one, write target.end = "marker"'
        )
    tokens = "" if answer.output_tokens is None else f", {answer.output_tokens} output tokens"
    told = f"({'no stop reason' if reason is None else f'stop reason {reason!r}'}{tokens})"
    if brought and not answer.visible:
        return Outcome.EMPTY, f"the answer ended as it should, but brought only blanks and line ends {told}"
    if answer.empty_choices:
        share = f"{answer.empty_choices} of its {len(answer.choices)} choices"
        return Outcome.EMPTY, f"the answer ended as it should, but {share} brought nothing {told}"
    if brought:
        return Outcome.COMPLETED, ""
    if answer.unknown is not None:
        return Outcome.MALFORMED, f"not {protocol.name}: no content, and events that it does not know: {answer.unknown}"
    return Outcome.EMPTY, f"the answer ended as it should, but brought nothing {told}"


def _given_up(answer: Answer) -> Ending:
    return Outcome.SERVER_ERROR, f"the server gave up: its stop reason is {answer.stop_reason!r}"


def _has_ended(decoded: DecodedBody, end: End | None, *, clean: bool) -> bool:
    if end == "finish_reason":
        return decoded.answer.stop_reason is not None and (decoded.ended or clean)
    return decoded.ended or (end == "close" and clean and bool(decoded.sizes))


def _not_text(received: Received) -> Ending | None:
    """The outcome of an answer that was to be raw text, of which anything would be content; None if it is."""
    kind = content_type(received.headers)
    error = _error_of(received.body)
    if error is not None:
        return Outcome.SERVER_ERROR, error
    if kind in {"text/event-stream", "text/html"}:
        return Outcome.MALFORMED, f'{kind} instead of text (target.events.framing = "text"): {_text(received.body)}'
    return None


def content_type(headers: Mapping[str, str]) -> str:
    """Without its parameters, in lower case; "" if there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _not_a_stream(received: Received, events: str, instead: str) -> Ending:
    """The outcome of an answer that brought not one event; `events` were to come."""
    status, body = received.status, received.body
    kind = content_type(received.headers)
    if kind not in _STREAM_TYPES:
        error = _error_of(body) or _untold_error_of(body)
        if error is not None:
            return Outcome.SERVER_ERROR, error
        return Outcome.MALFORMED, f"{kind} {instead}: {_text(body)}"
    if received.broken is not None and not body:
        return received.broken.outcome, str(received.broken)
    if not body:
        return Outcome.TRUNCATED, f"HTTP {status} without a body" + _cut(received)
    encoding = received.headers.get("content-encoding", "").strip()
    if not is_known(encoding):
        return Outcome.MALFORMED, f"the stream is {encoding}-encoded, which streamgauge cannot read, or not at all"
    if body.startswith(_GZIP):
        return Outcome.MALFORMED, "the body is compressed with gzip, but the headers do not say so" + _inflated(body)
    error = _error_of(body) or _untold_error_of(body)
    if error is not None:
        return Outcome.SERVER_ERROR, error
    if received.broken is not None:
        return received.broken.outcome, str(received.broken)
    if b"data:" in body and events == _WANTED["sse"][0]:
        words = "lines of data: without a blank line between them are one event without an end"
    elif kind == "text/plain":
        words = (
            f"plain text and no {events}. "
            'If that is the format, write target.protocol = "custom", '
            'target.end = "close" and target.events.framing = "text"'
        )
    else:
        words = f"no {events}"
    return Outcome.TRUNCATED, f"{words}: {excerpt(body)}" + _cut(received)


def _truncated(received: Received, answer: Answer, protocol: Protocol) -> str:
    if not received.complete:
        return "the connection was closed in mid-answer, before the HTTP message's end, as by a proxy's timeout"
    if answer.unknown is not None:
        return f"the answer ended without its terminal event; not {protocol.name}? It does not know {answer.unknown}"
    if answer.stop_reason is not None:
        return (
            f"the answer ended with stop reason {answer.stop_reason!r}, but without its terminal event. "
            'If this server never sends one, write target.end = "finish_reason"'
        )
    return "the answer ended without its terminal event"


def _cut(received: Received) -> str:
    return "" if received.complete else "; the connection was closed in mid-answer, before the HTTP message's end"


def _redirect(received: Received) -> str:
    """Where a redirect leads. It is not followed: it would measure another server, and send the secrets to it."""
    location = received.headers.get("location")
    return f" redirects to {location}, which is not followed" if location and received.status in _REDIRECTS else ""


def _error_of(body: bytes) -> str | None:
    """The server's words in a body that is one JSON document with an error."""
    table = table_in(body)
    error = table.get("error") or table.get("errors") or table.get("detail")
    # A tuple and no set: any of these may be a list, which has no hash.
    if error is None and "error" in (table.get("object"), table.get("type"), table.get("status")):
        error = table
    return None if not error else failure(error).error


def _untold_error_of(body: bytes) -> str | None:
    """The same where no key says that it is an error, in a body that was to be events."""
    error = untold_error_in(table_in(body))
    return None if error is None else failure(error).error


def _inflated(body: bytes) -> str:
    """The beginning of what is in a gzip body."""
    try:
        return f": {excerpt(zlib.decompressobj(31).decompress(body, 1_000))}"
    except zlib.error:
        return ""


def _text(body: bytes) -> str:
    # Much longer than a detail: if it were cut as short, a secret might be cut, and not be recognised.
    return body[:_LONGEST_TEXT].decode("utf-8", "replace")
