"""One of several workers of the load generator, or of several servers, that differs from the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats, Mask
from streamgauge.harness.judge.verdict.findings.chance import ALPHA, more_often, rank_sum
from streamgauge.harness.judge.verdict.findings.evidence import Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number, quoted
from streamgauge.harness.record.observation import FAILURES

_FEWEST = 30  # streams of one
_MOST = 100  # that are looked at, those with the most streams: a header may have another value for each stream
_LONGER, _LONGER_MS = 1.3, 20.0
_MORE_FAILED = 0.1  # share of the streams, more than elsewhere


@dataclass(frozen=True)
class _Kind:
    """What a run has several of."""

    key: str  # of the sample's texts
    finding: str  # its id
    name: str  # as a sentence begins
    meaning: str
    advice: str  # behind its name and its value
    change: str
    source: str


_WORKER = _Kind(
    key="worker",
    finding="worker_differs",
    name="Worker",
    meaning="All workers ask the same server for the same: the cause is that machine, the way from it, or another "
    "replica that its address leads to",
    advice="differs from the other workers: leave it out and compare",
    change="Leave that worker out and compare; look at its network, its name lookup and its load",
    source="https://docs.locust.io/en/stable/running-distributed.html",
)
_OF_SERVERS = "The same streams are dealt to all servers: the cause is that server, its machine, or the way to it"
_TAKEN_OUT = "Take that server out and compare; look at its load, hardware, version and caches, and have it ejected"
_ADVICE = "differs from the others: take it out and compare"
_OUTLIERS = "https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier"
_ADDRESS = _Kind("address", "server_differs", "The server at", _OF_SERVERS, _ADVICE, _TAKEN_OUT, _OUTLIERS)
_REPLICA = _Kind("replica", "server_differs", "The replica", _OF_SERVERS, _ADVICE, _TAKEN_OUT, _OUTLIERS)


def worker_differs(evidence: Evidence) -> Finding | None:
    """One worker's streams wait longer, or fail more often, than those of all others; see `_strongest`."""
    return _strongest(evidence, [_WORKER])


def server_differs(evidence: Evidence) -> Finding | None:
    """The same of one server: by the name that it gives itself in a header, otherwise by its IP address."""
    return _strongest(evidence, [_REPLICA, _ADDRESS])


def _strongest(evidence: Evidence, kinds: Sequence[_Kind]) -> Finding | None:
    """At least two of a kind with 30 streams each.

    The median wait of one is 1.3 times and 20 ms longer than elsewhere, by user class and network (rank test), or 10 %
    more of its streams fail (Fisher's exact test); ALPHA is divided by the number of tests.
    """
    sample = evidence.sample
    failed = np.logical_or.reduce([sample.text["outcome"].are(outcome.value) for outcome in FAILURES])
    relative = sample.relative(sample.wait)
    asked = [(kind, value, mine, others) for kind in kinds for value, mine, others in _each(evidence, kind)]
    alpha = ALPHA / max(1, 2 * len(asked))
    found: list[tuple[float, Finding]] = []
    for kind, value, mine, others in asked:
        for effect in (
            _later(relative, sample.wait, mine, others, alpha),
            _failing(failed[mine], failed[others], alpha),
        ):
            if effect is not None:
                found.append((effect.size, _finding(kind, value, effect)))
    return max(found, key=lambda each: each[0])[1] if found else None


def _each(evidence: Evidence, kind: _Kind) -> list[tuple[str, Mask, Mask]]:
    """Each value with enough streams, its streams, and those of all others. A stream without a value is in neither."""
    texts = evidence.sample.text[kind.key]
    known = ~texts.are("")
    counts = np.bincount(texts.codes[known], minlength=len(texts.values))
    often = [code for code in np.argsort(-counts, kind="stable")[:_MOST].tolist() if counts[code] >= _FEWEST]
    groups = [(texts.values[code], known & (texts.codes == code), known & (texts.codes != code)) for code in often]
    return [group for group in groups if group[2].sum() >= _FEWEST]


@dataclass(frozen=True)
class _Effect:
    size: float  # to choose the strongest by: how many times as long, or 1 and the share that failed more
    what: str
    evidence: tuple[Number, ...]


def _later(relative: Floats, wait: Floats, mine: Mask, others: Mask, alpha: float) -> _Effect | None:
    known = ~np.isnan(relative)
    ours, theirs = relative[known & mine], relative[known & others]
    if min(len(ours), len(theirs)) < _FEWEST:
        return None
    before, after = float(np.median(wait[known & others])), float(np.median(wait[known & mine]))
    times = float(np.median(ours) / np.median(theirs))
    if times < _LONGER or after - before < _LONGER_MS or rank_sum(ours, theirs).p >= alpha:
        return None
    what = f"its streams waited {times:.1f} times as long for the first content as those of the others"
    numbers = (
        Number("its median wait", after, "ms"),
        Number("median wait of the others", before, "ms"),
        Number("its streams", len(ours), ""),
        Number("streams of the others", len(theirs), ""),
    )
    return _Effect(times, what, numbers)


def _failing(mine: Mask, others: Mask, alpha: float) -> _Effect | None:
    hits, elsewhere = int(mine.sum()), int(others.sum())
    more = hits / len(mine) - elsewhere / len(others)
    if more < _MORE_FAILED or more_often(hits, len(mine), elsewhere, len(others)) >= alpha:
        return None
    numbers = (
        Number("its failed streams", hits / len(mine), "ratio"),
        Number("failed streams of the others", elsewhere / len(others), "ratio"),
        Number("its streams", len(mine), ""),
        Number("streams of the others", len(others), ""),
    )
    return _Effect(1 + more, f"{100 * hits / len(mine):.0f} % of its streams failed", numbers)


def _finding(kind: _Kind, value: str, effect: _Effect) -> Finding:
    return Finding(
        id=kind.finding,
        advice=f"{kind.name} {quoted(value)} {kind.advice}",
        sentence=f"{kind.name} {quoted(value)} differs from the others: {effect.what}",
        evidence=effect.evidence,
        meaning=kind.meaning,
        change=kind.change,
        source=kind.source,
        certainty=Certainty.LIKELY,
    )
