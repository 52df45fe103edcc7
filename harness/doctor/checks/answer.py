"""Whether the answer is whole, and can be read by everybody. Pure."""

import codecs
import re
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from streamgauge.harness.counting import some
from streamgauge.harness.doctor.checks.reach import REFUSES_FOR_NOW
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.products import fixes, who
from streamgauge.harness.doctor.result import Fix, Result, fail, fine, unknown, warn
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.record.path_limits import whose

_SSE = "https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream"
_END = "https://www.rfc-editor.org/rfc/rfc9112#section-8"
_USAGE = "https://platform.openai.com/docs/api-reference/chat/create#chat-create-stream_options"
_PROBLEM = "https://www.rfc-editor.org/rfc/rfc9457"
_LONG = 5.0  # s: known limits of a whole answer are longer
_SILENT = 0.8  # s without an event, from which a timeout may have ended it
_LATE = 0.5  # s that a cut by the same timeout may come later than another
_FIELD = re.compile(rb"(?:data|event|id|retry)(?::|$)|:")
_ENOUGH = 40  # characters of an offending line
_GUESSED_END = re.compile('^end = "(\\w+)"', re.MULTILINE)
_BROKEN = {
    Outcome.TRUNCATED,
    Outcome.RESET,
    Outcome.TIMED_OUT,
    Outcome.SERVER_ERROR,
    Outcome.UNREACHABLE,
    Outcome.REFUSED,
}


def end(evidence: Evidence) -> Result:
    """Every ordinary answer to which the server said yes."""
    first, every = evidence.first, [*evidence.ordinary, *_light(evidence)]
    asked = [seen for seen in every if not (seen.left or seen.dropped or seen.status in REFUSES_FOR_NOW)]
    if first is None or not first.answered:
        return unknown("there was no answer to look at")
    if first.outcome is Outcome.TIMED_OUT and not first.content:
        return warn(
            f"{first.detail}, and doctor did not wait longer",
            Fix("the server's log: is the model loaded, and how long is its queue?", _END),
        )
    if not asked:
        return unknown(f"doctor left the answers before their end: {_why(every[0])}")
    if first.instead == "nothing":
        return fail(
            f"HTTP {first.status} without a body",
            Fix("the server's log; the path may be of another kind of request", _END),
            headline="The server says yes and sends nothing",
        )
    broken = [seen for seen in asked if seen.outcome in _BROKEN]
    if broken and (not first.instead or broken[0].outcome is Outcome.SERVER_ERROR):
        return _cut(evidence, asked, broken)
    if first.instead:
        return unknown(f"{evidence.no_stream}: {first.words}")
    unread = [seen for seen in asked if seen.outcome is Outcome.MALFORMED]
    if unread:
        return unknown(f"{len(unread)} of {some(len(asked), 'answer')} cannot be read to the end: {_why(unread[0])}")
    return _whole_ones(evidence, asked)


def _whole_ones(evidence: Evidence, asked: list[Seen]) -> Result:
    """Of answers that ended as they should."""
    empty = [seen for seen in asked if seen.outcome is Outcome.EMPTY]
    if empty:
        return warn(
            f"{len(empty)} of {some(len(asked), 'answer')} ended as they should and brought nothing: {empty[0].detail}",
            Fix("a larger max_tokens, if the model thinks first", _USAGE),
        )
    guessed = _GUESSED_END.search(evidence.lines)
    if guessed is not None:
        only = "the stop reason" if guessed[1] == "finish_reason" else "the end of the HTTP message"
        return warn(
            f"only {only} tells the end of {some(len(asked), 'answer')}: there is no terminal event",
            Fix("send the protocol's last event, such as `data: [DONE]`, in every answer", _SSE),
        )
    reason = asked[0].record.stop_reason
    return fine(f"{some(len(asked), 'answer')} came to their end{f', stop reason {reason}' if reason else ''}")


def _light(evidence: Evidence) -> Iterator[Seen]:
    for name in ("light", "heavy_again"):
        if name in evidence.seen:
            yield evidence.seen[name]


def _cut(evidence: Evidence, asked: list[Seen], broken: list[Seen]) -> Result:
    worst = broken[0]
    told = f"{len(broken)} of {some(len(asked), 'answer')} did not come to an end: {_why(worst)}"
    whole = worst.outcome is Outcome.TRUNCATED and worst.complete  # a proxy may end a chunked body as a server does
    limit = _limit([seen for seen in broken if seen.outcome in {Outcome.TRUNCATED, Outcome.RESET}])
    known = limit and whose(limit.seconds)
    by = limit and (who(evidence.products, limit.symptom) or known)
    if limit and by and (known or not whole):
        return fail(
            f"{told}, after {limit.seconds:.1f} s{limit.how}",
            *fixes(evidence.products, limit.symptom),
            headline=f"Answers are cut off after {limit.seconds:.0f} s{limit.how}: {by}",
        )
    if whole and not worst.content:
        return _without_content(worst)
    if whole:
        return _without_terminal_event(evidence, asked, told)
    advice = tuple(Fix(each.says, _END) for each in evidence.advice[:1])
    headline = f"An error ends the answer: {worst.detail}" if worst.outcome is Outcome.SERVER_ERROR else ""
    return fail(
        told,
        *(advice or (Fix("the server's log, and a proxy's timeouts", _END),)),
        headline=headline or f"Answers do not come to their end: {_why(worst)}",
    )


class _Limit(NamedTuple):
    symptom: str  # as in `products`
    seconds: float
    how: str


def _limit(cut: list[Seen]) -> _Limit | None:
    """The time after which each of these answers was cut: of silence, or of the whole answer; None if there is none."""
    silences, ages = [seen.silence / 1e3 for seen in cut], [seen.ms.get("ended", 0.0) / 1e3 for seen in cut]
    if not cut:
        return None
    longest_gaps = [max(seen.gaps, default=0.0) / 1e3 for seen in cut]
    if _alike(silences) and all(one > max(_SILENT, 2 * gap) for one, gap in zip(silences, longest_gaps, strict=True)):
        return _Limit("idle", median(silences), " without an event")
    known = whose(median(ages)) if median(ages) >= _LONG else None
    if _alike(ages) and (known or len(cut) > 1):
        return _Limit("absolute", median(ages), "")
    return None


def _alike(seconds: list[float]) -> bool:
    """Whether a timeout can have made them: it is exact, and a busy machine is late."""
    return max(seconds) - min(seconds) <= max(_LATE, 0.05 * max(seconds))


def _without_terminal_event(evidence: Evidence, asked: list[Seen], told: str) -> Result:
    """An HTTP message that ended as a whole one does, without the terminal event in it."""
    others = [seen for seen in asked if seen.outcome in {Outcome.COMPLETED, Outcome.EMPTY}]
    if not others:
        return fail(
            told,
            Fix("send the protocol's last event, such as `data: [DONE]`, in every answer", _SSE),
            headline="The answer has no terminal event: a cut cannot be told from an end",
        )
    logs = Fix("the logs of the server and of each proxy, for an answer that ended early", _END)
    by = who(evidence.products, "cut")
    return fail(
        f"{told}; {some(len(others), 'answer')} had it",
        *(fixes(evidence.products, "cut") or (logs,)),
        headline=f"An answer was cut, and then ended like a whole one{f': {by}' if by else ''}",
    )


def _without_content(seen: Seen) -> Result:
    """Of an answer that the server ended, in which nothing was part of an answer."""
    if seen.events and all(event.what.startswith("ping") for event in seen.events):
        return fail(
            f"only {some(len(seen.events), 'sign')} of life came, and no answer",
            Fix("the log of the server, or of the gateway that waits for the model", _END),
            headline="Only signs of life come, and no answer",
        )
    return unknown(f"nothing that came was understood as part of an answer: {_why(seen)}")


def _why(seen: Seen) -> str:
    return seen.detail or seen.outcome


def sse(evidence: Evidence) -> Result:
    """By the standard, and as the protocol has it."""
    first = evidence.stream
    if first is None:
        return unknown(evidence.no_stream)
    malformed = [seen for seen in evidence.ordinary if seen.outcome is Outcome.MALFORMED]
    unread = next((seen for seen in malformed if not seen.left), None)
    if unread is not None:
        advice = tuple(Fix(each.says, _SSE) for each in evidence.advice[:1])
        lines = advice or (Fix(f"events as {evidence.protocol} has them, or another --protocol", _SSE),)
        return fail(unread.detail, *lines, headline="The events cannot be read")
    if evidence.framing != "sse":
        return fine(f"read as {evidence.protocol}, which has no server-sent events")
    in_vain = first.outcome is Outcome.TRUNCATED and not first.content
    for fault in _faults(first):
        return fail(
            _why(first) if in_vain else fault,
            Fix("UTF-8, lines such as `data: …`, and a blank line after each event", _SSE),
            headline="The events are not as the standard has them",
        )
    if in_vain and not all(event.what.startswith("ping") for event in first.events):
        return unknown(f"the events are not those of {evidence.protocol}: {_why(first)}")
    odd = [f"{what} ({times:,} times)" for what, times in first.record.oddities.items() if "compress" not in what]
    if odd:
        return warn("; ".join(odd), Fix("the server, or the gateway that makes these events", _SSE))
    if not first.events:
        return unknown("no event came")
    return fine(f"{some(len(first.events), 'event')}, each understood as {evidence.protocol}")


def _faults(seen: Seen) -> Iterator[str]:
    body = seen.body
    cut = seen.left or (seen.outcome in _BROKEN and not (seen.complete and not seen.content))
    try:
        codecs.getincrementaldecoder("utf-8")().decode(body, final=not cut)
    except UnicodeDecodeError as fault:
        yield f"byte {fault.start:,} is no UTF-8: {body[fault.start : fault.start + 8]!r}"
    lines = re.split(rb"\r\n|\n|\r", body.removeprefix(b"\xef\xbb\xbf"))
    strange = next((each for each in (lines[:-1] if cut else lines) if each and not _FIELD.match(each)), None)
    if strange is not None:
        shown = seen.blotted(strange[:_ENOUGH].decode("utf-8", "replace"))
        yield f"a line without a field's name, which clients skip: {shown!r}"
    if any(each.startswith((b"data: data:", b"data:data:")) for each in lines[:20]):
        yield "`data:` is written twice"
    if not cut and (lines[-1] or (len(lines) > 1 and lines[-2])):
        yield "the last event has no blank line after it, so clients discard it"


def usage(evidence: Evidence) -> Result:
    whole = [seen for seen in evidence.ordinary if seen.completed]
    if not whole:
        return unknown("no answer was complete")
    counted = [seen for seen in whole if seen.record.output_tokens is not None]
    if not counted and evidence.protocol == "custom":
        return unknown("no place of token counts is known: [target.events] output_tokens names it")
    if len(counted) < len(whole):
        line = (
            '"stream_options": {"include_usage": true}'
            if evidence.protocol == "openai_chat"
            else "tokens in the last event"
        )
        return warn(
            f"{len(whole) - len(counted)} of {some(len(whole), 'answer')} told no tokens: cost and tpot are unknown",
            Fix(f"{line}, or what the server takes in its place", _USAGE),
        )
    record = counted[0].record
    told = f"{record.input_tokens:,} input and " if record.input_tokens is not None else ""
    return fine(f"{told}{record.output_tokens:,} output tokens")


def whole(evidence: Evidence) -> Result:
    seen = evidence.seen.get("whole")
    if seen is None or evidence.first is None or not evidence.first.answered:
        return unknown(evidence.why_not("whole"))
    if seen.completed and len(seen.content) > 1 and evidence.protocol == "custom":
        return unknown("a format of its own was streamed, since nothing says how to ask for it in one piece")
    if seen.completed and len(seen.content) > 1:
        return warn("asked for the answer in one piece, the server streamed it", Fix('heed "stream": false', _PROBLEM))
    if seen.completed:
        return fine(f"HTTP {seen.status}, `{seen.headers.get('content-type', '')}`, {some(len(seen.body), 'byte')}")
    if seen.left:
        return unknown(f"doctor left the answer before its end: {_why(seen)}")
    return warn(
        f"asked for the answer in one piece: {seen.outcome}, {seen.detail or f'HTTP {seen.status}'}",
        Fix("an answer in one piece, or a refusal that says so", _PROBLEM),
    )


def bad_request(evidence: Evidence) -> Result:
    seen = evidence.seen.get("bad_request")
    if seen is None:
        return unknown(evidence.why_not("bad_request"))
    fix = Fix('HTTP 400 with a JSON body: {"error": {"message": "…"}}', _PROBLEM)
    if seen.status is None:
        return warn(f"a body that is no JSON broke the connection: {seen.detail}", fix)
    if seen.status // 100 != 4:
        return warn(f"a body that is no JSON got HTTP {seen.status}, not 400", fix)
    if "json" not in seen.kind:
        return warn(
            f"HTTP {seen.status} with `{seen.kind or 'no content type'}`, which programs cannot read: {seen.words}",
            fix,
        )
    return fine(f"a body that is no JSON got HTTP {seen.status}: {seen.words}")


def stream_error(evidence: Evidence) -> Result:
    asked, came = (
        evidence.seen.get("error"),
        [seen for seen in evidence.streams.values() if seen.outcome is Outcome.SERVER_ERROR],
    )
    if asked is not None and asked.answered:
        if asked.outcome is Outcome.SERVER_ERROR:
            return fine(f"an error inside the stream is told as one: {asked.detail}")
        if asked.left:
            return unknown(f"doctor left the answer before its end: {_why(asked)}")
        return warn(
            f"an error inside the stream could not be read: {asked.outcome}, {asked.detail}",
            Fix("an event with `error` in it, and then the end", _PROBLEM),
        )
    if came:
        return fine(f"an error inside the stream is told as one: {came[0].detail}")
    return unknown(evidence.why_not("error"))
