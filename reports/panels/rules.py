"""Each rule with its observed value, confidence interval, verdict and reason."""

import math

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.verdict.sla import WORST_FIRST, Verdict
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import shortened, words
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Mark, Panel, Table, figure_or_never, interval_of, sentence

MOST_OF_A_REASON = 320  # characters; a reason may list every user class


def draw(run: Material) -> Panel:
    verdicts = sorted(run.judgement.verdicts, key=lambda verdict: WORST_FIRST.index(verdict.status))
    columns = ("Status", "Rule", ">Observed", ">Limit", ">95 % interval", ">n", "Why")
    table = Table("Rules", columns, [_row(verdict) for verdict in verdicts], cards=True)
    return Panel(
        name="sla",
        title="Service levels",
        lead=_lead(verdicts, run.judgement.validity),
        tables=(table,) if verdicts else (),
        notes=_notes(verdicts),
    )


def _lead(verdicts: list[Verdict], validity: Validity) -> str:
    if not verdicts:
        return "No rules were given, so nothing was judged. Put them into streamgauge.toml, under [[sla]]."
    n = {status: sum(verdict.status is status for verdict in verdicts) for status in WORST_FIRST}
    counts = [f"{n[status]} {status.value}" for status in WORST_FIRST if n[status]]
    none_counts = " The run is invalid, so none of them counts." if validity is Validity.INVALID else ""
    return f"{some(len(verdicts), 'rule')}: {', '.join(counts)}.{none_counts}"


def _row(verdict: Verdict) -> tuple[Cell, ...]:
    needed = f" About {verdict.needed:,} samples like these would settle it." if _needed_is_missing(verdict) else ""
    of = "" if verdict.where == Where() else f", of {words(verdict.where)}"
    return (
        Mark(verdict.status.value),
        f"{verdict.rule}{of}{verdict.origin}{'' if verdict.severity == 'fail' else ' (only warns)'}",
        _observed(verdict),
        figure_or_never(verdict.limit, verdict.unit),
        interval_of(Interval(verdict.low, verdict.high), verdict.unit),
        f"{verdict.n:,}",
        f"{shortened(sentence(verdict.reason), MOST_OF_A_REASON)}{needed}",
    )


def _observed(verdict: Verdict) -> str:
    """Where it is `never`, with the figure of the streams that came, which stands at the top of the page."""
    if verdict.observed != math.inf or verdict.plain is None:
        return figure_or_never(verdict.observed, verdict.unit)
    return f"never ({figure(verdict.plain, verdict.unit)})"


def _needed_is_missing(verdict: Verdict) -> bool:
    return verdict.needed is not None and f"{verdict.needed:,}" not in verdict.reason


def _notes(verdicts: list[Verdict]) -> tuple[str, ...]:
    if not verdicts:
        return ()
    notes = ["A rule is met or missed only when its whole 95 % interval is on one side of the limit."]
    if any(verdict.failed for verdict in verdicts):
        notes.append(
            "A failed stream counts as an answer that never came (∞); otherwise failing fast would look good. "
            "So does the first token of a person who left before it. “Never” is where the percentile falls on one "
            "of these streams; in brackets, that of the streams that came."
        )
    return tuple(notes)
