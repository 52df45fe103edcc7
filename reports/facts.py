"""The key numbers at the top of the page, and the table of percentiles: of all streams, or of a part of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.compare.since_accepted import Since
from streamgauge.harness.judge.figures import change, changes, figure, some
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.measure.reader_model import STALL_US
from streamgauge.harness.judge.measure.statistics import Interval, ratio_interval
from streamgauge.harness.judge.measure.totals import Totals
from streamgauge.harness.judge.verdict.sla import WORST_FIRST, RuleStatus, Verdict
from streamgauge.harness.judge.verdict.summary import Summary
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.record.observation import FAILURES, Outcome
from streamgauge.reports import course_svg
from streamgauge.reports.facets import SHOWN_OF_PARTS
from streamgauge.reports.material import Material
from streamgauge.reports.panel import TOO_FEW, Cell, Fact, Mark, Picture, Table, figure_or_never, interval_of

_TITLES = {"ttft": "TTFT", "itl": "ITL", "tpot": "TPOT", "e2e": "E2E", "longest_stall": "Longest stall"}
_LATENCY = {"ttft": "TTFT: first token", "itl": "ITL: chunk to chunk", "longest_stall": "longest stall"}
_RATES = {"error_rate": "Error rate", "completion_rate": "Completion rate"}
_READERS = "as a reader waits: shorter than on the wire, since text that came before is read meanwhile"
_LONGEST_REASON = 160  # characters
_OF = {"error_rate": "that ended", "completion_rate": "whose person stayed"}
_COLUMNS = ("", ">P50", ">P95", ">95 % interval", ">P99", ">n", ">Never came", ">P95 with these")


def counted(totals: Totals) -> str:
    """`312 streams: 290 completed, 12 left on purpose (5 before the first token), 10 failed.` "" if there is none."""
    gave_up = int(totals.sum("gave_up"))
    before = f" ({gave_up:,} before the first token)" if gave_up else ""
    ways = {
        "completed": totals.count(Outcome.COMPLETED),
        f"left on purpose{before}": totals.count(Outcome.CANCELLED),
        "failed": totals.count(*FAILURES),
        "still running when the run ended": totals.count(Outcome.INTERRUPTED),
    }
    if not totals.streams:
        return ""
    return f"{some(totals.streams, 'stream')}: {', '.join(f'{n:,} {way}' for way, n in ways.items() if n)}."


class Shown(NamedTuple):
    """What the page shows in place of the figures of all streams once its reader has chosen a part."""

    kind: str
    value: str
    told: str  # which streams, and how many
    facts: tuple[Fact, ...]
    picture: Picture | None
    percentiles: Table


def rules_that_count(run: Material) -> Sequence[Verdict]:
    """The verdicts of a run's rules; none if the run is invalid."""
    return run.judgement.verdicts if run.judgement.verdict != "invalid" else []


def parts(run: Material) -> Iterator[Shown]:
    all_streams, rules = run.judgement.totals.streams, rules_that_count(run)
    for facet in run.facets:
        if facet.is_told:
            continue
        yield Shown(
            kind=facet.kind,
            value=facet.name,
            told=f"Only {facet.kind.lower()} {facet.name}: {facet.totals.streams:,} of {some(all_streams, 'stream')}.",
            facts=(*_latency_of_part(facet.metrics, facet.totals, rules), *of_rates(facet.totals)),
            picture=course_svg.of_facet(run, facet),
            percentiles=percentiles(f"{facet.kind} {facet.name}", facet.metrics),
        )


def of_latency(
    metrics: Mapping[str, Summary], totals: Totals, since: Since | None = None, rules: Sequence[Verdict] = ()
) -> Iterator[Fact]:
    """Of all streams, with the verdicts of these rules."""
    for name in _LATENCY:
        q = _asked(name, rules)
        fact = _fact(metrics[name], name, q, since)
        judged = _judged(fact, f"{q}({name})", rules)
        yield judged if judged.value != fact.value else _with_lost(judged, _never(name, metrics[name], totals))


def _latency_of_part(metrics: Mapping[str, Summary], totals: Totals, rules: Sequence[Verdict]) -> Iterator[Fact]:
    """The same figures of a part of the streams, which these rules of all streams do not judge.

    Where a rule asks for a figure, streams that never came count as in that rule.
    """
    for name in _LATENCY:
        summary, q = metrics[name], _asked(name, rules)
        fact, plain, gated = _fact(summary, name, q), getattr(summary.quantiles, q), getattr(summary.gated, q)
        limits = [rule.limit for rule in _about(f"{q}({name})", rules)]
        never = _never(name, summary, totals)
        if not limits or gated in {None, plain} or (gated == math.inf and plain is not None and plain > min(limits)):
            yield _with_lost(fact, never)
        elif gated == math.inf:
            yield replace(fact, value=never, doubt=_came(fact) if summary.n else fact.doubt)
        else:
            doubt = f"{_counted(never, summary.failed)}; {_came(fact)}"
            yield replace(fact, value=figure(gated, summary.unit), doubt=doubt)


def _asked(name: str, rules: Sequence[Verdict]) -> str:
    """The percentile that a rule is about, P95 if none is."""
    asked = {rule.subject.aggregation for rule in rules if rule.figure == name and rule.where == Where()}
    return next((q for q in ("p95", "p99", "p50") if q in asked), "p95")


def _fact(summary: Summary, name: str, q: str, since: Since | None = None) -> Fact:
    value, interval = getattr(summary.quantiles, q), getattr(summary.intervals, q)
    n = some(summary.n, "gap" if METRICS[name].pooled else "stream")
    doubt = f"{_interval(interval, 'ms')}, {n}" if value is not None else n
    if name == "longest_stall" and value is not None and value >= STALL_US / 1e3:
        doubt += f"; {_READERS}"
    return Fact(f"{q.upper()} {_LATENCY[name]}", figure(value, "ms"), doubt, _since(since, f"{q}({name})"))


def _never(name: str, summary: Summary, totals: Totals) -> str:
    """How many streams count as infinitely late, of which some may have been left; "" if none."""
    in_time = " in time" if name == "ttft" and totals.sum("gave_up") else ""
    return f"{summary.failed:,} never came{in_time}" if summary.failed else ""


def _with_lost(fact: Fact, never: str) -> Fact:
    return replace(fact, doubt=f"{fact.doubt}; {never}") if never else fact


def _interval(interval: Interval, unit: str) -> str:
    return f"interval: {TOO_FEW}" if None in interval else interval_of(interval, unit)


def of_rates(totals: Totals, since: Since | None = None, rules: Sequence[Verdict] = ()) -> Iterator[Fact]:
    left = totals.count(Outcome.CANCELLED)
    for name, title in _RATES.items():
        rate = RATES[name].over(totals, 0.0)  # shares, which no length of a run changes
        doubt = f"{rate.hits or 0:,} of {rate.n:,} {_OF[name]}"
        if rate.hits is not None and rate.n:
            doubt = f"{_interval(ratio_interval(rate.hits, rate.n), 'ratio')}; {doubt}"
        if name == "completion_rate" and left:
            doubt += f"; {left:,} who left {'is' if left == 1 else 'are'} not in it"
        yield _judged(Fact(title, figure(rate.value, "ratio"), doubt, _since(since, name)), name, rules)


def _judged(fact: Fact, subject: str, rules: Sequence[Verdict]) -> Fact:
    """With the verdict of the rule about this figure of all streams: the worst, if there are several."""
    about = _about(subject, rules)
    if not about:
        return fact
    worst = min(about, key=lambda rule: WORST_FIRST.index(rule.status))
    shown = figure_or_never(worst.limit, worst.unit)
    limit = f"limit {shown}"
    if worst.status is RuleStatus.INCONCLUSIVE:
        limit += f": {shortened(worst.reason.replace(f'the limit of {shown}', 'it'), _LONGEST_REASON)}"
    elif worst.observed == math.inf:
        limit += f", as {worst.lost}"
    judged = replace(_with_failures(fact, worst), rule=Mark(worst.status.value), limit=limit)
    only_lost = worst.observed == math.inf and (worst.plain is None or worst.came_in_time)
    if not only_lost or worst.status is RuleStatus.MET:
        return judged
    lost = _lost(judged, worst)
    return replace(lost, limit=f"limit {shown}") if lost.value == worst.lost else lost


def _about(subject: str, rules: Sequence[Verdict]) -> list[Verdict]:
    return [rule for rule in rules if rule.subject.text.replace(" ", "") == subject and rule.where == Where()]


def _with_failures(fact: Fact, rule: Verdict) -> Fact:
    """The figure that the rule judged, where streams that never came count as infinitely late and make it higher."""
    if not rule.failed or rule.observed is None or rule.observed in {rule.plain, math.inf}:
        return fact
    doubt = f"{_counted(rule.lost, rule.failed)}; {_came(fact)}"
    return replace(fact, value=figure(rule.observed, rule.unit), doubt=doubt)


def _came(fact: Fact) -> str:
    """The figure of the streams that came, beside one in which others count."""
    return f"{fact.value} for those that came ({fact.doubt})"


def _counted(lost: str, n: int) -> str:
    """`1 never came, and counts in it`: why a figure is higher than that of the streams that came."""
    return f"{lost}, and {'counts' if n == 1 else 'count'} in it"


def _lost(fact: Fact, rule: Verdict) -> Fact:
    """A figure that keeps its limit for all streams that came: what breaks the rule is how many never did."""
    came = f"of {some(rule.n, 'stream')}" if rule.plain is None else _came(fact)
    return replace(
        fact, value=f"{rule.failed:,} never came{' in time' if rule.waiting or rule.left else ''}", doubt=came
    )


def _since(since: Since | None, subject: str) -> str:
    """`+3.1 % (-2.0 % to +8.5 %) against main`; empty without a baseline, or if the figure was not observed."""
    if since is None or subject not in since.changes:
        return ""
    found = since.changes[subject]
    doubt = changes(found.interval, found.unit)
    return f"{change(found.by, found.unit)}{f' ({doubt})' if doubt else ''} against {shortened(since.name, 30)}"


def percentiles(of: str, metrics: Mapping[str, Summary]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in SHOWN_OF_PARTS:
        seen = metrics[name]
        if not (seen.n or seen.failed):
            continue
        p50, p95, p99 = (figure(value, seen.unit) for value in seen.quantiles)
        lost = (f"{seen.failed:,}", figure_or_never(seen.gated.p95, seen.unit)) if seen.failed else ("0", p95)
        rows.append((_TITLES[name], p50, p95, interval_of(seen.intervals.p95, seen.unit), p99, f"{seen.n:,}", *lost))
    return Table(f"Percentiles of {of}", _COLUMNS, rows)
