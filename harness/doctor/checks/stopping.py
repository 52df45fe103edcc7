"""Whether an answer stops when nobody wants it any more: its person leaves, or cancels it by its id. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streamgauge.harness.counting import some
from streamgauge.harness.doctor.checks.people import resume
from streamgauge.harness.doctor.checks.reach import REFUSES_FOR_NOW
from streamgauge.harness.doctor.evidence import BETWEEN_LOOKS, TO_FIRST_LOOK, Evidence
from streamgauge.harness.doctor.result import Fix, Result, Status, fail, fine, unknown, warn
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.record.observation import Outcome

_COUNTED = 0.5  # of the chunks that came, at least: a chunk is a token or more, but for some that split words
_FEW = 20  # tokens that a server may generate until it notices that the client has gone
_GOES_ON = 3_000.0  # ms after the cancel was accepted: content that still comes then was not on the way before
_SLOW = 1_000.0  # ms between two chunks, from which a few seconds without any tell nothing
_AS_LONG = 0.5  # of an ordinary answer: it may have come to its own end
_VARIED = 1.5  # times the shortest ordinary answer: if the longest is longer, an early end may be chance
_SOON = 2_000.0  # ms after the cancel; a later end may have had another cause
_NOT_IMPLEMENTED = 501
_AS_IT_SHOULD = {Outcome.COMPLETED, Outcome.EMPTY, Outcome.SERVER_ERROR}  # ended by an event of the protocol
_OF_OTHERS = ", perhaps for others: one answer at this pace would have brought another number of tokens"
_LEAVING = "https://www.starlette.dev/requests/#body"
_CANCELLING = "https://platform.openai.com/docs/guides/background"
_OTHER_ADVICE = "--cancel names the method and the path of your server's cancel"
_ADVICE = {
    400: "Can this answer be cancelled? OpenAI Responses cancels answers in the background only",
    401: "Does the cancel need another key than the question? --header sends one with both",
    403: "Does the cancel need another key than the question? --header sends one with both",
    **dict.fromkeys(REFUSES_FOR_NOW, "Try again when the server takes more requests"),
}


class _Generation(NamedTuple):
    """What the server's counters tell of its generation after an answer was stopped."""

    says: str  # the counts, or why they tell nothing
    unknown: bool = False  # they tell nothing
    goes_on: bool = False
    ours: bool = False  # what goes on is our answer, and no other
    late: bool = False  # it stopped, and not at once


def leaving(evidence: Evidence) -> Result:
    left = evidence.seen.get("leave")
    if left is None:
        return unknown(evidence.untried.get("leave") or _no_counters(evidence, ""))
    if not left.content:
        return unknown("the answer did not begin")
    if left.completed:
        return unknown("the answer was over before it could be left")
    found = _generation(evidence, "", left)
    if found.unknown:
        return unknown(found.says)
    told = f"left after {some(len(left.content), 'chunk')}; {found.says}"
    fix = Fix(
        "stop the generation when the client disconnects; a pure ASGI middleware in place of BaseHTTPMiddleware",
        _LEAVING,
    )
    if found.goes_on and not found.ours:
        return unknown(f"{told}{_OF_OTHERS}")
    if found.goes_on and resume(evidence).status is Status.PASS:
        return unknown(f"{told}, perhaps for a person who comes back: its answers can be resumed")
    if found.goes_on:
        return fail(told, fix, headline="The server goes on generating for people who have left")
    return warn(told, fix) if found.late else fine(told)


def cancel(evidence: Evidence) -> Result:
    stream, call = evidence.seen.get("cancel"), evidence.seen.get("cancel_call")
    if stream is None:
        return unknown(evidence.why_not("cancel"))
    if not stream.answered:
        why = stream.detail or stream.status
        return unknown(f"an answer that can be cancelled was refused: {why}. --cancel names another way to cancel")
    if evidence.stopped:
        return unknown("doctor was stopped before it could tell")
    if call is None:
        return unknown(evidence.why_not("cancel_call"))
    accepted = _accepted(call)
    if isinstance(accepted, Result):
        return accepted
    after = [moment for moment in stream.moments if stream.due + moment > accepted + _GOES_ON]
    fix = Fix("stop the generation, and end the stream, when an answer is cancelled by its id", _CANCELLING)
    if len(after) > 1:  # one may have been made before, by a model that is slow
        came = sum(stream.due + moment > accepted for moment in stream.moments)
        return fail(
            f"HTTP {call.status} to the cancel, and {some(came, 'content event')} came after it, the last one "
            f"{(stream.due + stream.moments[-1] - accepted) / 1e3:,.1f} s later",
            fix,
            headline="A cancel is accepted, and the answer goes on",
        )
    if stream.left or stream.outcome is Outcome.TIMED_OUT:
        return _still_open(stream, call, fix)
    return _ended(evidence, stream, call, fix)


def _accepted(call: Seen) -> float | Result:
    """When the server accepted the cancel, on the shared clock, ms; or what there is to say if it did not."""
    fix = Fix("answer a cancel at once, and with HTTP 200, 202 or 204", _CANCELLING)
    if call.outcome is Outcome.UNREACHABLE:
        return unknown(f"the cancel could not be sent: {call.detail}")
    if call.status is None:
        why = f"within {call.ms.get('ended', 0.0) / 1e3:,.0f} s" if call.left else f"({call.detail})"
        return warn(f"the cancel got no answer {why}", fix)
    told = f"HTTP {call.status} to the cancel"
    if call.status // 100 == 5 and call.status != _NOT_IMPLEMENTED and call.status not in REFUSES_FOR_NOW:
        return warn(f"{told}: {call.words or 'no words'}", fix)
    if call.status // 100 == 3:
        to = call.headers.get("location", "nowhere")
        return unknown(f"{told}, to {to}, where doctor does not go. {_OTHER_ADVICE}")
    if not call.answered:
        return unknown(f"{told}: {call.words or 'no words'}. {_ADVICE.get(call.status, _OTHER_ADVICE)}")
    if call.instead == "a web page":
        return unknown(f"{told}, with a web page: {_OTHER_ADVICE}")
    return call.due + call.ms.get("headers", 0.0)


def _still_open(stream: Seen, call: Seen, fix: Fix) -> Result:
    """Of a stream in which nothing more came, and which did not end either."""
    told = f"HTTP {call.status} to the cancel; the content ended, and the stream stayed open"
    if (stream.pace or _SLOW) >= _SLOW:
        return unknown(f"{told}; at this answer's pace, that tells nothing: a faster model, or a longer answer would")
    return warn(f"{told}, so that people wait for what does not come", fix)


def _ended(evidence: Evidence, stream: Seen, call: Seen, fix: Fix) -> Result:
    """Of a stream that ended by itself or by the cancel."""
    took = (stream.end or 0.0) - call.due - call.ms.get("sent", 0.0)
    if took < 0:
        return unknown("the answer was over before it was cancelled: a longer one (--question) would tell")
    whole = [seen.record.characters for seen in evidence.ordinary if seen.completed]
    came = some(len(stream.content), "content event")
    told = f"the stream ended {took:,.0f} ms after the cancel and after {came} ({_how(stream)})"
    if by_itself := _by_itself(stream, whole, took):
        return unknown(f"{told}; it may have ended by itself: {by_itself}")
    beside = evidence.seen.get("light")
    if beside is not None and "heavy" in evidence.seen and beside.record.characters < min(whole) / _VARIED:
        return unknown(f"{told}; but a stream also ends early when another question comes")
    found = _generation(evidence, "cancel_", stream)
    if found.unknown:
        return unknown(f"{told}; whether its generation stopped is not known: {found.says}")
    told = f"{told}; {found.says}"
    if found.goes_on and not found.ours:
        return unknown(f"{told}{_OF_OTHERS}")
    if found.goes_on:
        return fail(told, fix, headline="A cancel ends the stream, and the server goes on generating")
    if stream.outcome not in _AS_IT_SHOULD:
        return warn(
            f"{told}; clients take this end for a broken connection",
            Fix("end a cancelled stream with the protocol's last event", _CANCELLING),
        )
    return warn(told, fix) if found.late else fine(told)


def _by_itself(stream: Seen, whole: Sequence[int], took: float) -> str:
    """Why the stream may have come to its own end, with what to do; "": the cancel ended it.

    `whole`: the characters of answers that nobody cancelled.
    """
    if not whole:
        return "no other answer was complete"
    if took > _SOON:
        return "that is late"
    if stream.record.characters >= _AS_LONG * min(whole):
        came = f"{stream.record.characters:,} characters"
        return f"it had {came}, others {min(whole):,}. A longer one (--question) would tell"
    if max(whole) > _VARIED * min(whole):
        return f"answers to this question have {min(whole):,} to {max(whole):,} characters. --question asks another"
    return ""


def _how(stream: Seen) -> str:
    if stream.outcome in _AS_IT_SHOULD:
        reason = stream.record.stop_reason
        return f"stop reason {reason}" if reason else stream.detail or "with its terminal event"
    return stream.detail or str(stream.outcome)


def _no_counters(evidence: Evidence, of: str) -> str:
    """Why the counters are not known from before an answer was stopped until after it."""
    for when in ("before", "soon", "late"):
        name = f"metrics_{of}{when}"
        page = evidence.seen.get(name)
        if name in evidence.untried or page is None:
            return evidence.why_not(name)
        if not page.answered:
            got = "no answer" if page.status is None else f"HTTP {page.status}"
            return f"{got} for {page.url}: [target.metrics] names the page that has the server's counters"
        if not page.whole_body:
            return f"the metrics page did not come whole: {page.detail}"
        if not {f"active_{of}{when}", f"generated_{of}{when}"} <= {*evidence.figures}:
            break
    return "the metrics page has no counters that are known, or no numbers for them: [target.metrics] names others"


def _generation(evidence: Evidence, of: str, stopped: Seen) -> _Generation:
    """By the looks at the counters whose names have `of`."""
    figures = evidence.figures
    names = [f"{what}_{when}" for what in ("active", "generated") for when in ("before", "soon", "late")]
    names += [f"{what}_{when}" for what in ("active", "generated") for when in ("quiet", "control")]
    counts = {name: figures[named] for name in names if (named := name.replace("_", f"_{of}", 1)) in figures}
    if any(name not in counts for name in names[:6]):
        return _Generation(_no_counters(evidence, of), unknown=True)
    if counts["active_before"] > 0:
        says = "the server works for others, too: its counters do not tell which answer goes on"
        return _Generation(says, unknown=True)
    until, after = (counts[f"generated_{when}"] - counts["generated_before"] for when in ("soon", "late"))
    if until < _COUNTED * max(1, len(stopped.content)) or after < until:
        says = (
            f"the server's counter did not count this answer: it went up by {until:,.0f}, and "
            f"{some(len(stopped.content), 'chunk')} came. It may count something else, or for another process"
        )
        return _Generation(says, unknown=True)
    return _Generation(
        f"the server generated {some(int(until), 'token')} until a second after that, and {after - until:,.0f} later",
        goes_on=after > until or counts["active_late"] > 0,
        ours=_one_answer(counts, until, after - until, stopped) and _idle_without_us(counts),
        late=until > len(stopped.content) + _FEW + 1_000.0 / max(1.0, stopped.pace or 1_000.0),
    )


def _one_answer(counts: Mapping[str, float], until: float, after: float, stopped: Seen) -> bool:
    """Whether these tokens, until the first look after the stop and then until the second one, are those of one answer
    that went on at its pace: from the first to the last, since somebody else's may have begun in between."""
    each = max(0.1, stopped.pace or 0.1)
    alone = counts["active_soon"] == counts["active_late"] == 1
    expected = (
        (until, len(stopped.content) + TO_FIRST_LOOK * 1e3 / each),
        (after, BETWEEN_LOOKS * 1e3 / each),
    )
    return alone and all(0.5 * most <= tokens <= 1.6 * most for tokens, most in expected)


def _idle_without_us(counts: Mapping[str, float]) -> bool:
    """Whether the server generated nothing while nothing was asked."""
    quiet = counts.get("active_quiet") == counts.get("active_control") == 0
    return quiet and counts.get("generated_quiet") == counts.get("generated_control")
