"""Streams that were refused because there were too many: a rate limit, or an overloaded server."""

from streamgauge.harness.judge.verdict.findings.chance import surely
from streamgauge.harness.judge.verdict.findings.evidence import Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number

_FEWEST = 3
_SHARE = 0.001  # of the streams, at the lower end of the interval


def rate_limited(evidence: Evidence) -> Finding | None:
    """HTTP 429 for at least 3 streams, and surely for one in a thousand (exact interval)."""
    hits = _counted(evidence, 429)
    if hits is None:
        return None
    return Finding(
        id="rate_limited",
        advice="A rate limit refuses streams: raise the limit, or send fewer requests",
        sentence=f"{hits:,} of {evidence.totals.initiated:,} streams were refused with HTTP 429: a rate limit",
        evidence=(Number("streams with HTTP 429", hits, ""), Number("all streams", evidence.totals.initiated, "")),
        meaning="The refused streams met a limit of the account or the gateway; all times are of the others",
        change="Raise the limit, or ask for less: fewer --users or a lower rate. `streamgauge doctor` says whether a "
        "refusal tells clients when to come back (retry-after)",
        source="https://www.rfc-editor.org/rfc/rfc6585#section-4",
        certainty=Certainty.SURE,
    )


def overloaded(evidence: Evidence) -> Finding | None:
    """HTTP 503 or 529 for at least 3 streams, and surely for one in a thousand (exact interval)."""
    hits = _counted(evidence, 503, 529)
    if hits is None:
        return None
    return Finding(
        id="overloaded",
        advice="The server refuses what is too much for it: add replicas, or send fewer requests at once",
        sentence=f"{hits:,} of {evidence.totals.initiated:,} streams were refused because the server was overloaded",
        evidence=(
            Number("streams with HTTP 503 or 529", hits, ""),
            Number("all streams", evidence.totals.initiated, ""),
        ),
        meaning="The server sheds load: the figures are those of the streams that it admitted",
        change="Add replicas or let more requests wait, send retry-after, and let clients retry with a growing pause",
        source="https://www.rfc-editor.org/rfc/rfc9110#name-503-service-unavailable",
        certainty=Certainty.SURE,
    )


def _counted(evidence: Evidence, *statuses: int) -> int | None:
    hits = sum(failure.n for failure in evidence.failures if failure.http_status in statuses)
    n = evidence.totals.initiated
    return hits if _FEWEST <= hits <= n and (surely(hits, n).low or 0.0) > _SHARE else None
