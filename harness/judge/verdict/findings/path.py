"""Something on the way holds chunks back and releases them together."""

import numpy as np

from streamgauge.harness.judge.verdict.findings.chance import surely
from streamgauge.harness.judge.verdict.findings.evidence import Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number
from streamgauge.harness.record.held_back import FEWEST_CHUNKS, LATE, STEADY, Pattern

_FEWEST = 10  # streams with so many chunks
_SHARE = 0.2  # of them, at the lower end of the interval
_SOURCE = "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering"


def buffered(evidence: Evidence) -> Finding | None:
    """Chunks that the model made one by one arrive collapsed (all at once) or coalesced (in bursts).

    Of the streams with 20 chunks or more that we read in time, surely a fifth (exact interval) is either *collapsed*
    (all content within 5 % of the time since the request, faster than 5,000 chunks a second) or *coalesced* (most
    bursts hold two chunks or more, within 1 ms, and bursts are 10 ms apart or more, so that the model is not just
    fast).
    """
    sample = evidence.sample
    judged = (sample.chunks >= FEWEST_CHUNKS) & (sample.late_reads <= LATE) & ~np.isnan(sample.wait)
    n = int(judged.sum())
    if n < _FEWEST:
        return None
    columns = (sample.wait, sample.span, sample.chunks, sample.bursts, sample.lone_bursts)
    pattern = Pattern(*(column[judged] for column in columns))
    hits = int((pattern.collapsed | pattern.coalesced).sum())
    if (surely(hits, n).low or 0.0) <= _SHARE:
        return None
    how, numbers = _how(pattern)
    counts = (Number("streams that came so", hits, ""), Number("streams with 20 chunks or more", n, ""))
    return Finding(
        id="buffered",
        advice="Something on the way buffers answers: switch that off (nginx: `proxy_buffering off;`)",
        sentence=f"Something between the model and us holds answers back: {how}",
        evidence=(*counts, *numbers),
        meaning="People look at nothing while the answer is already there; TTFT is too high and ITL says little",
        change="Send `X-Accel-Buffering: no` and `Cache-Control: no-transform`, or set nginx `proxy_buffering off;` "
        "and `gzip off;`, Caddy `flush_interval -1`; or let the server flush each event. Compare with a run "
        "against the server itself",
        source=_SOURCE,
        certainty=Certainty.LIKELY,
    )


def _how(pattern: Pattern) -> tuple[str, tuple[Number, ...]]:
    """How most of these streams came, in words and in numbers."""
    collapsed, coalesced = pattern.collapsed, pattern.coalesced
    if collapsed.sum() >= coalesced.sum():
        wait = float(np.median(pattern.wait[collapsed]))
        within = Number("then all content within", float(np.median(pattern.span[collapsed])), "ms")
        return "whole answers arrived at once", (Number("median wait for the first content", wait, "ms"), within)
    steps = pattern.apart[coalesced]
    each, step = float(np.median((pattern.chunks / pattern.bursts)[coalesced])), float(np.median(steps))
    timer = " by a timer" if float(np.std(steps)) < STEADY * step else ""
    numbers = (Number("chunks together", each, "chunks"), Number("time between bursts", step, "ms"))
    return f"about {each:.0f} chunks came together, every {step:.0f} ms{timer}", numbers
