"""One worker of the load generator that sees another server than the others do."""

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.verdict.findings.chance import ALPHA, more_often, rank_sum
from streamgauge.harness.judge.verdict.findings.evidence import Evidence, Texts
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number, quoted
from streamgauge.harness.record.observation import FAILURES

_FEWEST = 30  # streams of a worker
_LONGER, _LONGER_MS = 1.3, 20.0
_MORE_FAILED = 0.1  # share of the streams, more than elsewhere
_SOURCE = "https://docs.locust.io/en/stable/running-distributed.html"


def worker_differs(evidence: Evidence) -> Finding | None:
    """One worker's streams wait longer, or fail more often, than those of all others.

    At least two workers with 30 streams each. The median wait is 1.3 times and 20 ms longer than elsewhere, by user
    class and network (rank test), or 10 % more of its streams fail (Fisher's exact test); ALPHA is divided by twice the
    number of workers.
    """
    sample = evidence.sample
    workers = sample.text["worker"]
    if len(workers.values) < 2:
        return None
    relative = sample.relative(sample.wait)
    failed = np.logical_or.reduce([sample.text["outcome"].are(outcome.value) for outcome in FAILURES])
    found = [
        each
        for code in range(len(workers.values))
        for each in (_later(evidence, workers, code, relative), _failing(workers, code, failed))
        if each is not None
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def _later(evidence: Evidence, workers: Texts, code: int, relative: Floats) -> tuple[float, Finding] | None:
    known, mine = ~np.isnan(relative), workers.codes == code
    ours, others = relative[known & mine], relative[known & ~mine]
    if min(len(ours), len(others)) < _FEWEST:
        return None
    wait = evidence.sample.wait
    before, after = float(np.median(wait[known & ~mine])), float(np.median(wait[known & mine]))
    times = float(np.median(ours) / np.median(others))
    if times < _LONGER or after - before < _LONGER_MS or rank_sum(ours, others).p >= ALPHA / (2 * len(workers.values)):
        return None
    what = f"its streams waited {times:.1f} times as long for the first content as those of the others"
    numbers = (
        Number("its median wait", after, "ms"),
        Number("median wait of the others", before, "ms"),
        Number("its streams", len(ours), ""),
        Number("streams of the others", len(others), ""),
    )
    return times, _finding(workers.values[code], what, numbers)


def _failing(workers: Texts, code: int, failed: np.typing.NDArray[np.bool_]) -> tuple[float, Finding] | None:
    mine = workers.codes == code
    n, others = int(mine.sum()), int((~mine).sum())
    if min(n, others) < _FEWEST:
        return None
    hits, elsewhere = int(failed[mine].sum()), int(failed[~mine].sum())
    more = hits / n - elsewhere / others
    if more < _MORE_FAILED or more_often(hits, n, elsewhere, others) >= ALPHA / (2 * len(workers.values)):
        return None
    numbers = (
        Number("its failed streams", hits / n, "ratio"),
        Number("failed streams of the others", elsewhere / others, "ratio"),
        Number("its streams", n, ""),
        Number("streams of the others", others, ""),
    )
    return 1 + more, _finding(workers.values[code], f"{100 * hits / n:.0f} % of its streams failed", numbers)


def _finding(worker: str, what: str, numbers: tuple[Number, ...]) -> Finding:
    return Finding(
        id="worker_differs",
        sentence=f"Worker {quoted(worker)} differs from the others: {what}",
        evidence=numbers,
        meaning="All workers ask the same server for the same: the cause is that machine, the way from it, or another "
        "replica that its address leads to",
        change="Leave that worker out and compare; look at its network, its name lookup and its load",
        source=_SOURCE,
        certainty=Certainty.LIKELY,
    )
