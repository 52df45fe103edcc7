"""After how long the path ends a stream: when nothing comes, or whatever comes; and a connection that is idle. Pure."""

from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.products import fixes, who
from streamgauge.harness.doctor.result import Fix, Result, fail, fine, unknown, warn
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.record.observation import ABANDONED, Outcome
from streamgauge.harness.record.path_limits import whose

_HEARTBEAT = 15.0  # s between signs of life, as the standard for server-sent events advises
_LONG_ANSWER = 120.0  # s: some answers take so long
_TOGETHER = 2.0  # s between the ends of both streams, if one limit of the whole answer ended them
_BALANCER = 60.0  # s for which balancers keep an idle connection to a server
_NOTES = "https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes"
_IDLE_CONNECTIONS = (
    "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html"
)


def idle(evidence: Evidence) -> Result:
    silent = evidence.seen.get("silent")
    if silent is None or not silent.answered or not silent.events:
        return unknown(_why_not(evidence, "silent"))
    lasted = silent.silence / 1e3
    if _left_by_us(silent):
        return fine(f"{lasted:,.0f} s of silence ended nothing")
    if _by_whole_limit(evidence):
        return unknown("the limit of the whole answer came first")
    told = f"a stream was ended after {lasted:,.1f} s without an event"
    limit = whose(lasted)
    by = f": the limit of {limit}" if limit else ""
    lines = (Fix(": keep-alive  # a comment every 15 s", _NOTES), *fixes(evidence.products, "idle"))
    name = who(evidence.products, "idle") or limit or "a timeout on the path"
    if lasted < _HEARTBEAT:
        return fail(f"{told}{by}", *lines, headline=f"Silent streams are ended after {lasted:,.0f} s: {name}")
    return warn(f"{told}{by}", *lines)


def absolute(evidence: Evidence) -> Result:
    ticking = evidence.seen.get("ticking")
    if ticking is None or not ticking.answered:
        return unknown(_why_not(evidence, "ticking"))
    lasted = ticking.ms.get("ended", 0.0) / 1e3
    if _left_by_us(ticking) or ticking.completed:
        return fine(f"a stream that sent a token each second went on for {lasted:,.0f} s")
    limit = whose(lasted)
    by = f": the limit of {limit}" if limit else ""
    told = f"a stream that sent a token each second was ended after {lasted:,.1f} s{by}"
    name = who(evidence.products, "absolute") or limit or "a timeout on the path"
    if lasted < _LONG_ANSWER:
        return fail(told, *fixes(evidence.products, "absolute"),
                    headline=f"Every answer is ended after {lasted:,.0f} s: {name}")  # fmt: skip
    return warn(told, *fixes(evidence.products, "absolute"))


def _why_not(evidence: Evidence, name: str) -> str:
    seen = evidence.seen.get(name)
    return evidence.why_not(name) if seen is None else f"the stream did not begin: {seen.detail}"


def _left_by_us(seen: Seen) -> bool:
    return seen.outcome in ABANDONED or seen.outcome is Outcome.TIMED_OUT


def _by_whole_limit(evidence: Evidence) -> bool:
    """Whether a stream that was not silent was ended at the same age."""
    silent, ticking = evidence.seen["silent"], evidence.seen.get("ticking")
    if ticking is None or _left_by_us(ticking) or ticking.completed:
        return False
    return abs(silent.ms.get("ended", 0.0) - ticking.ms.get("ended", 0.0)) < _TOGETHER * 1e3


def idle_connection(evidence: Evidence) -> Result:
    """Of the server itself: a balancer in front must close its connections first."""
    if "origin" not in evidence.seen:
        return unknown(evidence.why_not("origin"))
    open_, closed = evidence.figures.get("origin_idle_open"), evidence.figures.get("origin_idle_closed")
    if open_ is None:
        return unknown("the server keeps no connection after an answer")
    if closed is None:
        return fine(f"the server kept an idle connection for {open_:,.0f} s, as long as the examination went on")
    if closed >= _BALANCER:
        return fine(f"the server closed an idle connection after {closed:,.0f} s")
    return warn(
        f"the server closes an idle connection after {closed:,.0f} s; what stands in front may keep it longer, and now "
        "and then sends a question into a closed connection",
        Fix("a keep-alive timeout longer than the balancer's: uvicorn --timeout-keep-alive 75", _IDLE_CONNECTIONS),
    )
