"""The cells of the tables in the terminal and in Markdown. Plain text; each format escapes it."""

from streamgauge.harness.judge.compare.comparison import Comparison, Row
from streamgauge.harness.judge.figures import NONE, between_or, change, changes, figure, money, some
from streamgauge.harness.judge.measure.cost import Cost
from streamgauge.harness.judge.measure.rates import RATES, Figure
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import Verdict
from streamgauge.harness.judge.verdict.summary import Summary
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.record.failure import TOLD
from streamgauge.harness.record.observation import FAILURES

_MOST_OF_A_FAILURE = 300  # characters
METRIC_COLUMNS = ("metric", ">p50", ">p95", ">p99", ">p95 interval", ">n", ">failed")  # `>` aligns right
RATE_COLUMNS = ("rate", ">value", ">n")
RULE_COLUMNS = (">observed", ">95 % interval", ">n")
COMPARED_COLUMNS = (">candidate", ">change", ">95 % interval")


def of_metric(summary: Summary) -> list[str]:
    """All of METRIC_COLUMNS but the name and the failed streams."""
    quantiles = [figure(value, summary.unit) for value in summary.quantiles]
    return [*quantiles, between_or("", summary.intervals.p95, summary.unit), f"{summary.n:,}"]


def of_rate(name: str, rate: Figure) -> list[str]:
    """All of RATE_COLUMNS but the name."""
    return [figure(rate.value, RATES[name].unit), f"{rate.n:,}"]


def of_rule(verdict: Verdict) -> list[str]:
    """RULE_COLUMNS."""
    interval = between_or("", Interval(verdict.low, verdict.high), verdict.unit)
    return [figure(verdict.observed, verdict.unit), interval, f"{verdict.n:,}"]


def of_compared(row: Row) -> list[str]:
    """The baseline's figure and COMPARED_COLUMNS."""
    return [
        figure(row.baseline, row.unit),
        figure(row.candidate, row.unit),
        NONE if row.change is None else change(row.change, row.unit),
        changes(row.interval, row.unit),
    ]


def coalesced(judgement: Judgement) -> str:
    """How much `itl` leaves out, since the chunks came together."""
    gaps = some(judgement.totals.gaps, "gap")
    return f"{judgement.coalesced:,} of {gaps} are left out of ITL: the chunks came together"


def failures(judgement: Judgement) -> list[str]:
    """Why streams failed, the five most frequent: `12 refused: HTTP 401: …`; a last line counts the rest."""
    told = [shortened(str(failure), _MOST_OF_A_FAILURE) for failure in judgement.failures[:TOLD]]
    rest = judgement.totals.count(*FAILURES) - sum(failure.n for failure in judgement.failures[:TOLD])
    return [*told, f"{rest:,} otherwise"] if rest else told


def cost(judgement: Judgement) -> str:
    """`1.234 USD, 3.41 USD per 1,000 answers`, and what is not in it. Empty if the run had no prices."""
    found = judgement.cost
    if found is None:
        return ""
    each = f", {money(found.per_thousand, found.currency)} per 1,000 answers" if found.per_thousand is not None else ""
    return "; ".join([f"{money(found.total, found.currency)}{each}", *not_in_the_cost(judgement, found)])


def not_in_the_cost(judgement: Judgement, found: Cost) -> list[str]:
    """Which streams are not in it, which only in part, and what a warm-up cost beside it."""
    of = f"of {some(found.streams, 'stream')}"
    sentences = []
    if found.silent:
        sentences.append(f"{found.silent:,} {of} reported no usage: not in the cost")
    if found.partial:
        sentences.append(f"{found.partial:,} {of} may have reported only a part of it: that part counts")
    if found.resumed:
        sentences.append(f"{found.resumed:,} {of} resumed an answer: what the server reported of it twice counts twice")
    if judgement.warm_up is not None and judgement.warm_up.cost is not None:
        sentences.append(f"the warm-up cost {money(judgement.warm_up.cost, found.currency)} more")
    return sentences


def outcomes(judgement: Judgement) -> str:
    """`340 completed, 30 refused`; empty without streams."""
    return ", ".join(f"{count:,} {name}" for name, count in judgement.totals.outcomes.items())


def candidate_runs(comparison: Comparison) -> str:
    """`3 runs and 5 fresh`."""
    fresh = f" and {len(comparison.fresh_runs)} fresh" if comparison.fresh_runs else ""
    return f"{some(len(comparison.first_runs), 'run')}{fresh}"
