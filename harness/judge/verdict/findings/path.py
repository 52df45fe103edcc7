"""Something on the way holds chunks back and releases them together."""

import numpy as np

from streamgauge.harness.judge.measure.arrays import Mask
from streamgauge.harness.judge.verdict.findings.chance import surely
from streamgauge.harness.judge.verdict.findings.evidence import Evidence, Sample
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number

_FEWEST_CHUNKS = 20  # of a stream: fewer may come together by chance
_FEWEST = 10  # such streams
_SHARE = 0.2  # of them, at the lower end of the interval
_COLLAPSED = 0.05  # of the time from the request to the last content
_FASTEST_MS = 0.2  # a chunk: no model generates 5,000 a second
_HELD = 2.0  # chunks in a burst, on average
_APART_MS = 10.0  # between two bursts: a fast model sends several chunks within a millisecond, and soon the next ones
_LATE = 0.05  # share of the reads that we were late for: then we held the chunks together
_STEADY = 0.15  # coefficient of variation of the time between bursts, over streams: a timer
_SOURCE = "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering"


def buffered(evidence: Evidence) -> Finding | None:
    """Chunks that the model made one by one arrive collapsed (all at once) or coalesced (in bursts).

    Of the streams with 20 chunks or more that we read in time, surely a fifth (exact interval) is either *collapsed*
    (all content within 5 % of the time since the request, faster than 5,000 chunks a second) or *coalesced* (most
    bursts hold two chunks or more, within 1 ms, and bursts are 10 ms apart or more, so that the model is not just
    fast).
    """
    sample = evidence.sample
    judged = (sample.chunks >= _FEWEST_CHUNKS) & (sample.late_reads <= _LATE) & ~np.isnan(sample.wait)
    n = int(judged.sum())
    if n < _FEWEST:
        return None
    chunks, bursts, span = sample.chunks[judged], sample.bursts[judged], sample.span[judged]
    whole = sample.wait[judged] + span
    collapsed = (span <= _COLLAPSED * whole) & (span <= _FASTEST_MS * (chunks - 1))
    apart = span / np.maximum(bursts - 1, 1)
    coalesced = (
        ~collapsed
        & (bursts > 1)
        & (sample.lone_bursts[judged] < bursts / 2)
        & (chunks >= _HELD * bursts)
        & (apart >= _APART_MS)
    )
    hits = int((collapsed | coalesced).sum())
    if (surely(hits, n).low or 0.0) <= _SHARE:
        return None
    how, numbers = _how(sample, judged, (collapsed, coalesced))
    counts = (Number("streams that came so", hits, ""), Number("streams with 20 chunks or more", n, ""))
    return Finding(
        id="buffered",
        sentence=f"Something between the model and us holds answers back: {how}",
        evidence=(*counts, *numbers),
        meaning="People look at nothing while the answer is already there; TTFT is too high and ITL says little",
        change="Send `X-Accel-Buffering: no` and `Cache-Control: no-transform`, or set nginx `proxy_buffering off;` "
        "and `gzip off;`, Caddy `flush_interval -1`; or let the server flush each event. Compare with a run "
        "against the server itself",
        source=_SOURCE,
        certainty=Certainty.LIKELY,
    )


def _how(sample: Sample, judged: Mask, kinds: tuple[Mask, Mask]) -> tuple[str, tuple[Number, ...]]:
    """How most of these streams came, in words and in numbers."""
    collapsed, coalesced = kinds
    span = sample.span[judged]
    if collapsed.sum() >= coalesced.sum():
        wait = float(np.median(sample.wait[judged][collapsed]))
        within = Number("then all content within", float(np.median(span[collapsed])), "ms")
        return "whole answers arrived at once", (Number("median wait for the first content", wait, "ms"), within)
    bursts = sample.bursts[judged][coalesced]
    steps = span[coalesced] / (bursts - 1)
    each, step = float(np.median(sample.chunks[judged][coalesced] / bursts)), float(np.median(steps))
    timer = " by a timer" if float(np.std(steps)) < _STEADY * step else ""
    numbers = (Number("chunks together", each, "chunks"), Number("time between bursts", step, "ms"))
    return f"about {each:.0f} chunks came together, every {step:.0f} ms{timer}", numbers
