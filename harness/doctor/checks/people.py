"""What happens with several people, and with those who leave, read slowly or come back. Pure."""

from collections.abc import Mapping

from streamgauge.harness.counting import some
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.products import fixes, who
from streamgauge.harness.doctor.result import Fix, Result, Status, fail, fine, unknown, warn
from streamgauge.harness.doctor.seen import Seen

_OVERLAP = 500.0  # ms that the light answer must have gone on after the heavy question
_AT_ONCE = 50.0  # ms after the light answer's end, in which the heavy one begins if it had waited for it
_STALL = 250.0  # ms; a person notices it
_FEW = 20  # tokens that a server may generate until it notices that the client has gone
_TO_FIRST_LOOK = 1_000.0  # ms from leaving to the first look at the counters
_BETWEEN_LOOKS = 1_500.0  # ms between the last two looks at the counters after leaving
_LEAVING = "https://www.starlette.dev/requests/#body"
_SLOW = "https://nginx.org/en/docs/http/ngx_http_core_module.html#send_timeout"
_RESUME = "https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header"
_CACHE = "https://platform.openai.com/docs/guides/prompt-caching"


def together(evidence: Evidence) -> Result:
    """Whether a second question waits for the first one's whole answer."""
    both = _both(evidence)
    if both is None:
        return unknown(_why_not_both(evidence))
    light, heavy = both
    light_end, waited = light.due + light.moments[-1], heavy.ms.get("headers", 0.0)
    begun = heavy.due + (heavy.moments[0] if heavy.moments else waited)
    alone = evidence.seen.get("heavy_again")
    quick = alone is None or "headers" not in alone.ms or alone.ms["headers"] < waited / 2
    at_its_end = -_AT_ONCE / 2 <= heavy.due + waited - light_end <= _AT_ONCE * 10
    if light_end - heavy.due >= _OVERLAP and at_its_end and quick:
        name = who(evidence.products, "one_by_one")
        return fail(
            f"a second question waited {waited:,.0f} ms, until the first answer had ended",
            *fixes(evidence.products, "one_by_one"),
            headline=f"Answers are given one at a time{f': {name}' if name else ''}",
        )
    if begun >= light_end:
        return unknown(
            f"the second answer began after {begun - heavy.due:,.0f} ms, when the first one had ended: by chance, or "
            "because it waited. A longer answer (--question) would tell"
        )
    return fine(f"a second stream began after {begun - heavy.due:,.0f} ms, while the first one ran")


def _both(evidence: Evidence) -> tuple[Seen, Seen] | None:
    light, heavy = evidence.seen.get("light"), evidence.seen.get("heavy")
    if light is None or heavy is None or not light.moments or not heavy.answered:
        return None
    return (light, heavy) if heavy.due < light.due + light.moments[-1] else None


def _why_not_both(evidence: Evidence) -> str:
    for name in ("light", "heavy"):
        seen = evidence.seen.get(name)
        if seen is None:
            return evidence.why_not(name)
        if not seen.answered:
            return f"the question beside another was answered by {seen.record.detail or seen.status}"
    return "the first answer was over before the second question"


def undisturbed(evidence: Evidence) -> Result:
    """Whether a stream stands still while another question begins."""
    both = _both(evidence)
    if both is None:
        return unknown(_why_not_both(evidence))
    light, heavy = both
    if len(light.gaps) < 10 or light.held:
        return unknown("the light answer had too few events to tell")
    begins, until = heavy.due, heavy.due + (heavy.moments[0] if heavy.moments else heavy.ms.get("ended", 0.0))
    inside, outside = [0.0], [0.0]
    for at, gap in zip(light.moments[1:], light.gaps, strict=True):
        overlaps = light.due + at > begins and light.due + at - gap < until + _AT_ONCE
        (inside if overlaps else outside).append(gap)
    pace = light.pace or 0.0
    told = (
        f"a stream's longest gap: {max(inside):,.0f} ms while another question began, {max(outside):,.0f} ms otherwise"
    )
    if max(inside) >= max(_STALL, 5 * pace, 2 * max(outside)):
        return warn(told, *fixes(evidence.products, "blocked"))
    return fine(told)


def leaving(evidence: Evidence) -> Result:
    left, figures = evidence.seen.get("leave"), evidence.figures
    if left is None:
        return unknown(evidence.why_not("leave"))
    names = [f"{what}_{when}" for what in ("active", "generated") for when in ("before", "soon", "late")]
    if not left.content or any(name not in figures for name in names):
        return unknown("the answer did not begin, or the server's counters could not be read")
    if figures["active_before"] > 0:
        return unknown("the server works for others, too: its counters do not tell which answer goes on")
    if left.completed:
        return unknown("the answer was over before it could be left")
    until, after = (figures[f"generated_{when}"] - figures["generated_before"] for when in ("soon", "late"))
    if until <= 0 or after < until:
        return unknown("the server's counters did not count this answer: they may be those of another process")
    told = (
        f"left after {some(len(left.content), 'chunk')}; the server generated {until:,.0f} tokens until a second after "
        f"that, and {after - until:,.0f} later"
    )
    fix = Fix(
        "stop the generation when the client disconnects; a pure ASGI middleware in place of BaseHTTPMiddleware",
        _LEAVING,
    )
    if after > until or figures["active_late"] > 0:
        if not _ours(figures, until, after - until, left) or not _idle_without_us(figures):
            return unknown(f"{told}, perhaps for others: that is not what one answer at its pace would be")
        if resume(evidence).status is Status.PASS:
            return unknown(f"{told}, perhaps for a person who comes back: its answers can be resumed")
        return fail(told, fix, headline="The server goes on generating for people who have left")
    if until > len(left.content) + _FEW + 1_000.0 / max(1.0, left.pace or 1_000.0):
        return warn(told, fix)
    return fine(told)


def _ours(figures: Mapping[str, float], until: float, after: float, left: Seen) -> bool:
    """Whether these tokens, until the first look after leaving and then until the second one, are those of one answer
    that went on at its pace: from the first to the last, since somebody else's may have begun in between."""
    each = max(0.1, left.pace or 0.1)
    alone = figures["active_soon"] == figures["active_late"] == 1
    expected = ((until, len(left.content) + _TO_FIRST_LOOK / each), (after, _BETWEEN_LOOKS / each))
    return alone and all(0.5 * most <= tokens <= 1.6 * most for tokens, most in expected)


def _idle_without_us(figures: Mapping[str, float]) -> bool:
    """Whether the server generated nothing while nothing was asked."""
    quiet = figures.get("active_quiet") == figures.get("active_control") == 0
    return quiet and figures.get("generated_quiet") == figures.get("generated_control")


def slow_reader(evidence: Evidence) -> Result:
    seen = evidence.seen.get("slow_reader")
    if seen is None or evidence.first is None or not evidence.first.completed:
        return unknown(
            evidence.why_not("slow_reader") if seen is None else "no answer was complete, for fast readers neither"
        )
    if seen.completed:
        return fine(f"a reader at 32 kbit/s got the whole answer in {seen.ms.get('ended', 0.0) / 1e3:,.1f} s")
    if seen.left:
        return unknown(f"doctor left the answer before its end: {seen.record.detail}")
    return warn(
        f"a reader at 32 kbit/s did not get the whole answer: {seen.record.detail or seen.outcome}",
        Fix("nginx: send_timeout 5m; and a server that waits when its socket is full", _SLOW),
    )


def resume(evidence: Evidence) -> Result:
    first, seen = evidence.first, evidence.seen.get("resume")
    if seen is None or first is None:
        return unknown(evidence.why_not("resume"))
    if not seen.answered:
        return warn(f"HTTP {seen.status} to `Last-Event-ID`", Fix("continue the answer after that event", _RESUME))
    if not seen.completed:
        return unknown(f"the answer to `Last-Event-ID` did not come to its end: {seen.record.detail or seen.outcome}")
    if len(seen.content) < len(first.content) * 0.8:
        return fine(
            f"after `Last-Event-ID`, {some(len(seen.content), 'event')} of {len(first.content):,} came: the rest"
        )
    return warn(
        "after `Last-Event-ID`, a whole new answer came: a browser that reconnects shows it twice",
        Fix("continue the answer after that event, or send no ids", _RESUME),
    )


def prompt_cache(evidence: Evidence) -> Result:
    first, again = evidence.seen.get("heavy"), evidence.seen.get("heavy_again")
    if first is None or again is None or first.wait is None or again.wait is None:
        return unknown(evidence.why_not("heavy_again"))
    told = (
        f"first content of a long prompt after {first.wait:,.0f} ms, of the same once more after {again.wait:,.0f} ms"
    )
    cached = again.record.cache_read_tokens
    if cached:
        return fine(f"{told}; {cached:,} tokens came from the prompt cache")
    return unknown(f"{told}; the server reports no tokens from a prompt cache")
