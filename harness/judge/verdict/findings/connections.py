"""New connections: what the first request on a connection waits for, which later ones do not."""

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats, Mask
from streamgauge.harness.judge.verdict.findings.chance import ALPHA, rank_sum
from streamgauge.harness.judge.verdict.findings.evidence import Evidence, Sample
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number

_FEWEST = 20  # streams on new connections
_MOSTLY = 0.2  # of the streams: fewer are the first of each user
_LONGER, _LONGER_MS = 0.2, 20.0  # of the TTFT on a connection that was there
_BLOCKS = 20  # of the run: a new connection is compared only with streams of the same time
_SOURCE = "https://www.rfc-editor.org/rfc/rfc9112#name-persistence"


def cold_connections(evidence: Evidence) -> Finding | None:
    """Many streams pay for a new connection, and it is a large part of what they wait.

    At least 20 streams and 20 % of them opened a connection. Their TTFT is at least 20 % and 20 ms longer than on
    connections that were there, in the same twentieth of the run and on the same network (rank test); if fewer than
    20 were there, connecting itself is at least 20 % and 20 ms of the rest of the TTFT.
    """
    sample = evidence.sample
    known = ~np.isnan(sample.ttft) & (sample.ttft > 0)
    cold = known & ~np.isnan(sample.connect)
    count, streams = int(cold.sum()), int(known.sum())
    if count < _FEWEST or count < _MOSTLY * streams:
        return None
    connect, ttft = float(np.median(sample.connect[cold])), float(np.median(sample.ttft[cold]))
    numbers = [
        Number("streams on a new connection", count, ""),
        Number("all streams", streams, ""),
        Number("median time to connect", connect, "ms"),
        Number("their median TTFT", ttft, "ms"),
    ]
    reused = known & ~cold
    if reused.sum() < _FEWEST:
        rest = float(np.median(sample.ttft[cold] - sample.connect[cold]))
        if connect < max(_LONGER * rest, _LONGER_MS):
            return None
        return _finding(f"{100 * connect / ttft:.0f} % of the TTFT was connecting", numbers, Certainty.SURE)
    relative = _relative(sample, known, reused)
    compared = ~np.isnan(relative)
    if (cold & compared).sum() < _FEWEST or (reused & compared).sum() < _FEWEST:
        return None
    longer = float(np.median(relative[cold & compared])) - 1
    usual = float(np.median(sample.ttft[reused]))
    p = rank_sum(relative[cold & compared], relative[reused & compared]).p
    if longer < _LONGER or longer * usual < _LONGER_MS or p >= ALPHA:
        return None
    numbers.append(Number("median TTFT on a connection that was there", usual, "ms"))
    certainty = Certainty.SURE if connect > longer * usual / 2 else Certainty.LIKELY
    return _finding(f"the first request on a connection waited {100 * longer:.0f} % longer", numbers, certainty)


def _relative(sample: Sample, known: Mask, reused: Mask) -> Floats:
    """Each TTFT divided by the median on reused connections of the same time and network; NaN without three of them."""
    last = float(sample.due.max()) if len(sample) else 1.0
    block = np.clip(sample.due / max(last, 1e-9) * _BLOCKS, 0, _BLOCKS - 1).astype(np.int64)
    group = sample.text["network"].codes * _BLOCKS + block
    relative = np.full(len(sample), np.nan)
    for one in np.unique(group[reused]):
        mine = known & (group == one)
        if (mine & reused).sum() >= 3:
            relative[mine] = sample.ttft[mine] / float(np.median(sample.ttft[mine & reused]))
    return relative


def _finding(what: str, numbers: list[Number], certainty: Certainty) -> Finding:
    return Finding(
        id="cold_connections",
        advice="Streams open connections of their own: keep connections alive on both sides",
        sentence=f"{numbers[0].value:,} of {numbers[1].value:,} streams opened a connection of their own: {what}",
        evidence=tuple(numbers),
        meaning="Name lookup, TCP and TLS are paid again and again, and people wait for them before anything is asked",
        change="Keep connections alive on both sides (nginx: keepalive_timeout, keepalive_requests; clients: one "
        "shared session), allow TLS resumption, and do not send `Connection: close`",
        source=_SOURCE,
        certainty=certainty,
    )
