"""What happens with several people, and with those who read slowly or come back. Pure."""

from itertools import pairwise

from streamgauge.harness.counting import some
from streamgauge.harness.doctor.disturbance import AT_ONCE, gaps, of_both, overlapping
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.products import fixes, who
from streamgauge.harness.doctor.result import Fix, Result, fail, fine, unknown, warn
from streamgauge.harness.doctor.seen import Seen

_OVERLAP = 500.0  # ms that the light answer must have gone on after the heavy question
_ALL_THE_TIME = 0.5  # of a time: the longest gap in it
_SLOW = "https://nginx.org/en/docs/http/ngx_http_core_module.html#send_timeout"
_RESUME = "https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header"


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
    at_its_end = -AT_ONCE / 2 <= heavy.due + waited - light_end <= AT_ONCE * 10
    if light_end - heavy.due >= _OVERLAP and at_its_end and quick and _went_on(light, heavy.due):
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


def _went_on(light: Seen, since: float) -> bool:
    """Whether its content came all the time from then on: a server that stands still makes everybody wait."""
    moments = [since, *(at for moment in light.moments if (at := light.due + moment) > since)]
    return max(after - before for before, after in pairwise(moments)) < _ALL_THE_TIME * (moments[-1] - since)


def _both(evidence: Evidence) -> tuple[Seen, Seen] | None:
    return overlapping(evidence.seen.get("light"), evidence.seen.get("heavy"))


def _why_not_both(evidence: Evidence) -> str:
    for name in ("light", "heavy"):
        seen = evidence.seen.get(name)
        if seen is None:
            return evidence.why_not(name)
        if not seen.answered:
            return f"one of two questions at the same time was refused or broke off: {seen.detail or seen.status}"
    return "the first answer was over before the second question"


def undisturbed(evidence: Evidence) -> Result:
    """Whether a stream stands still while another question begins: once may be chance, so it is asked again."""
    both = _both(evidence)
    if both is None:
        return unknown(_why_not_both(evidence))
    found = gaps(*both)
    if found is None:
        return unknown("the light answer had too few events to tell")
    again = of_both(evidence.seen.get("light_again"), evidence.seen.get("heavy_beside_it"))  # if it stood still
    told = f"a stream's longest gap: {found.beginning:,.0f} ms while another question began, "
    if again is None:
        told += f"{found.otherwise:,.0f} ms otherwise"
    else:
        told += f"and {again.beginning:,.0f} ms when both were asked again"
    if found.stood_still and (again is None or again.stood_still):
        return warn(told, *fixes(evidence.products, "blocked"))
    return fine(told)


def slow_reader(evidence: Evidence) -> Result:
    seen = evidence.seen.get("slow_reader")
    if seen is None or evidence.first is None or not evidence.first.completed:
        return unknown(
            evidence.why_not("slow_reader") if seen is None else "no answer was complete, not even at full speed"
        )
    if seen.completed:
        return fine(f"a reader at 32 kbit/s got the whole answer in {seen.ms.get('ended', 0.0) / 1e3:,.1f} s")
    if seen.left:
        return unknown(f"doctor left the answer before its end: {seen.detail}")
    return warn(
        f"a reader at 32 kbit/s did not get the whole answer: {seen.detail or seen.outcome}",
        Fix("nginx: send_timeout 5m; and a server that waits when its socket is full", _SLOW),
    )


def resume(evidence: Evidence) -> Result:
    first, seen = evidence.first, evidence.seen.get("resume")
    if seen is None or first is None:
        return unknown(evidence.why_not("resume"))
    if not seen.answered:
        return warn(f"HTTP {seen.status} to `Last-Event-ID`", Fix("continue the answer after that event", _RESUME))
    if not seen.completed:
        return unknown(f"the answer to `Last-Event-ID` did not come to its end: {seen.detail or seen.outcome}")
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
