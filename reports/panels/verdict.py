"""The header: the verdict, key numbers, and which run it was."""

from datetime import datetime

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import figure, money, some
from streamgauge.harness.judge.measure.statistics import ratio_interval
from streamgauge.harness.judge.outputs import cells
from streamgauge.harness.judge.store import Run
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import Verdict
from streamgauge.harness.judge.verdict.validity import Validity, was_spent
from streamgauge.harness.judge.wording import words
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Fact, Mark, Panel, Table, figure_or_never, interval_of, sentence, span

MOST_RULES = 3


def draw(run: Material) -> Panel:
    judgement = run.judgement
    return Panel(
        name="verdict",
        title=judgement.verdict,
        lead=_lead(judgement),
        facts=_facts(judgement),
        tables=(Table("The run", ("", ""), _identity(run)),),
        notes=tuple(sentence(reason) for reason in judgement.reasons),
        status=judgement.verdict,
    )


def _lead(judgement: Judgement) -> str:
    alike = [verdict for verdict in judgement.verdicts if verdict.status_text == judgement.verdict]
    if judgement.verdict not in {"missed", "inconclusive"} or not alike:
        return sentence(judgement.reason)
    rules = [_rule(verdict) for verdict in alike[:MOST_RULES]]
    rest = f" and {len(alike) - MOST_RULES} more" if len(alike) > MOST_RULES else ""
    return sentence(f"{judgement.reason}: {', '.join(rules)}{rest}")


def _rule(verdict: Verdict) -> str:
    rule = verdict.rule.replace(" ", "\N{NO-BREAK SPACE}")
    return rule if verdict.where == Where() else f"{rule} ({words(verdict.where)})"


def _facts(judgement: Judgement) -> tuple[Fact, ...]:
    facts = []
    for name, title in (("ttft", "P95 TTFT"), ("itl", "P95 ITL")):
        summary = judgement.metrics[name]
        p95, n = summary.quantiles.p95, f"n = {summary.n:,}"
        doubt = n if p95 is None else f"{interval_of(summary.intervals.p95, 'ms')}, {n}"
        if summary.failed:
            doubt += f"; {figure_or_never(summary.gated.p95, 'ms')} with failures"
        facts.append(Fact(title, figure(p95, "ms"), doubt))
    for name, title in (("error_rate", "Error rate"), ("completion_rate", "Completion rate")):
        rate = judgement.rates[name]
        doubt = f"{rate.hits or 0:,} of {some(rate.n, 'stream')}"
        if rate.hits is not None and rate.n:
            doubt = f"{interval_of(ratio_interval(rate.hits, rate.n), 'ratio')}; {doubt}"
        facts.append(Fact(title, figure(rate.value, "ratio"), doubt))
    if (cost := judgement.cost) is not None:
        each = f"{money(cost.per_thousand, cost.currency)} per 1,000 answers"
        beside = cells.not_in_the_cost(judgement, cost)
        facts.append(Fact("Cost", money(cost.total, cost.currency), "; ".join([each, *beside])))
    return tuple(facts)


def _identity(run: Material) -> list[tuple[str | Mark, ...]]:
    judgement = run.judgement
    users = run.timeline.users
    rows: list[tuple[str | Mark, ...]] = [
        ("Scenario", judgement.run.scenario),
        ("Host", judgement.run.host),
        ("When", _when(judgement.run.started_at)),
        ("How long", f"{span(judgement.took)}{_ending(judgement.run)}"),
        ("Users", f"up to {max(users):,.0f} at once" if users else "not counted"),
        ("Streams", f"{judgement.totals.streams:,}"),
        ("Run", judgement.run.id),
    ]
    if judgement.validity is not Validity.VALID:
        rows.append(("Measurement", Mark(judgement.validity.value)))
    return rows


def _when(started_at: str) -> str:
    try:
        started = datetime.fromisoformat(started_at)
    except ValueError:
        return started_at
    return f"{started.day} {started:%b %Y, %H:%M:%S} {started.tzname() or ''}".strip()


def _ending(run: Run) -> str:
    early = ", then ended by its budget" if was_spent(run) else ", then ended early"
    endings = {"interrupted": ", then interrupted", "aborted": early, "running": ", and not ended"}
    return endings.get(run.status, "")
