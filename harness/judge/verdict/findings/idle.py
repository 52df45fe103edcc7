"""Streams that are cut off after a constant time: a timeout on the way."""

from dataclasses import dataclass

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.verdict.findings.chance import ALPHA, at_least
from streamgauge.harness.judge.verdict.findings.evidence import SHORTEST, Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number
from streamgauge.harness.record.path_limits import KNOWN, whose, window

_FEWEST = 8  # streams cut at the same time
_MOSTLY = 0.5  # of those that broke after SHORTEST
_AROUND = 5.0  # times the window: breaks by chance would be spread over it
_SOURCE = "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_read_timeout"


@dataclass(frozen=True)
class _Cut:
    seconds: float  # of the window's middle
    hits: int
    of: int
    spread: float  # s, between the middle half of the hits


def idle_cut(evidence: Evidence) -> Finding | None:
    """Failures cluster at one time: after the last event (an idle timeout), or after the request (a total one).

    Of the streams that the other side broke after 5 s or more, at least 8 and half of them did within 0.5 s or 1 % of
    one time. Breaks that are spread evenly over five times that window would fall into it with a chance of 1 in 5
    each; the binomial chance of so many is below ALPHA, divided by the number of times that were tried.
    """
    times = {name: column[column >= SHORTEST] for name, column in _columns(evidence).items()}
    cuts = [(name, cut) for name, column in times.items() if (cut := _cut(column)) is not None]
    if not cuts:
        return None
    name, cut = min(cuts, key=lambda each: (each[1].spread, each[0] != "idle"))
    known = whose(cut.seconds)
    since = "without an event" if name == "idle" else "after the request"
    who = f", the limit of {known}" if known else ""
    certainty = Certainty.LIKELY if known else Certainty.POSSIBLE
    return Finding(
        id="idle_cut",
        advice=f"A timeout cuts answers off after {cut.seconds:.0f} s of silence: send a keep-alive every 15 s"
        if name == "idle"
        else f"Something cuts answers off after {cut.seconds:.0f} s, however much has come: raise that limit",
        sentence=f"{cut.hits:,} streams were cut off {cut.seconds:.0f} s {since}{who}",
        evidence=(
            Number("streams cut at this time", cut.hits, ""),
            Number("streams that broke after 5 s or more", cut.of, ""),
            Number("middle half of these times within", cut.spread, "s"),
        ),
        meaning="A timeout on the way ends answers that the server was still making"
        if name == "idle"
        else "Something allows an answer only so much time, however much of it has come",
        change="Send a keep-alive comment (`: ping`) every 15 s, and raise the timeout (nginx: proxy_read_timeout 1h; "
        "HAProxy: timeout server; AWS: idle_timeout.timeout_seconds)"
        if name == "idle"
        else "Raise the limit for this route (gunicorn: --timeout 0; Envoy: timeout: 0s; Vercel: maxDuration), or "
        "shorten answers with max_tokens",
        source=_SOURCE,
        certainty=certainty,
    )


def _columns(evidence: Evidence) -> dict[str, Floats]:
    return {"idle": evidence.broken.idle, "age": evidence.broken.age}


def _cut(column: Floats) -> _Cut | None:
    if len(column) < _FEWEST:
        return None
    tried = [*KNOWN, float(np.median(column))]
    best: _Cut | None = None
    for seconds in tried:
        away, near_by = np.abs(column - seconds), window(seconds)
        near = column[away <= near_by]
        if len(near) < _FEWEST or len(near) < _MOSTLY * len(column):
            continue
        p = at_least(len(near), int((away <= _AROUND * near_by).sum()), 1 / _AROUND)
        low, high = np.quantile(near, [0.25, 0.75])
        cut = _Cut(float(np.median(near)), len(near), len(column), float(high - low))
        if p < ALPHA / (2 * len(tried)) and (best is None or cut.hits > best.hits):
            best = cut
    return best
