"""The load generator near its limit: soon it would measure itself."""

from collections.abc import Iterator

from streamgauge.harness.judge.verdict import short_of_cores, time_lost, validity
from streamgauge.harness.judge.verdict.findings.chance import surely
from streamgauge.harness.judge.verdict.findings.evidence import Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number
from streamgauge.harness.judge.verdict.processes import fewer_users_or_more_processes
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import capitalised
from streamgauge.harness.record.vitals import Vital

_NEAR = 0.5  # of the limit beyond which a run is degraded
_BUSY_PERCENT, _BUSY_SHARE, _BUSY_SECONDS = 75.0, 0.2, 5.0  # of one core, of the time, and s
_SOURCE = "https://docs.locust.io/en/stable/running-distributed.html"


def generator_near_limit(evidence: Evidence) -> Finding | None:
    """A process that simulates users has little room left: its figures are fine, and with more load they would not be.

    Half of a limit of docs/concepts/validity.md is exceeded: late reads that held several chunks (exact interval), or
    stops of 50 ms and more; or a thread used 75 % of a core for 5 s and a fifth of the time.
    """
    numbers = tuple(_numbers(evidence))
    if not numbers:
        return None
    in_time = evidence.validity is Validity.VALID
    limit = f"The load generator is {'near' if in_time else 'at'} its limit"
    what_helps = short_of_cores.remedy(evidence.run, evidence.vitals) or fewer_users_or_more_processes(evidence.run)
    return Finding(
        id="generator_near_limit",
        advice=f"{limit}: {what_helps}",
        sentence="It kept up, with little to spare" if in_time else "It did not keep up",
        evidence=numbers,
        meaning="With more users, the generator’s own delays would be in the figures"
        if in_time
        else "The generator’s own delays are in the figures",
        change=capitalised(what_helps),
        source=_SOURCE,
        certainty=Certainty.SURE,
    )


def _numbers(evidence: Evidence) -> Iterator[Number]:
    late, reads = validity.packed_by_us(evidence.totals)
    if reads and (surely(min(late, reads), reads).low or 0.0) > _NEAR * validity.SATURATED_DEGRADED:
        yield Number("reads that came late and held several chunks", late / reads, "ratio")
    stops = [lost.share for lost in time_lost.stopped(evidence.vitals)]
    if stops and max(stops) > _NEAR * validity.STOPPED_DEGRADED:
        yield Number("time that the event loop stood still", max(stops), "ratio")
    for what, vital in (("Python’s thread", Vital.PYTHON_PERCENT), ("the reading thread", Vital.READER_PERCENT)):
        busy = [
            lost.share
            for lost in time_lost.beyond(evidence.vitals[vital], _BUSY_PERCENT)
            if lost.seconds >= _BUSY_SECONDS and lost.share > _BUSY_SHARE
        ]
        if busy:
            yield Number(f"time that {what} used 75 % of a core or more", max(busy), "ratio")
