"""The header: the verdict, key numbers, and which run it was."""

import math
from datetime import datetime

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import money, some
from streamgauge.harness.judge.outputs import cells
from streamgauge.harness.judge.store import Run
from streamgauge.harness.judge.verdict.judgement import OF_FAILURES, Judgement
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict
from streamgauge.harness.judge.verdict.validity import was_spent
from streamgauge.harness.judge.wording import words
from streamgauge.reports import course_svg, facts
from streamgauge.reports.answers import answers
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Fact, Mark, Panel, Table, figure_or_never, sentence, span

MOST_RULES = 3
MOST_FINDINGS = 2  # the others are in their panel


def draw(run: Material) -> Panel:
    judgement = run.judgement
    return Panel(
        name="verdict",
        title=judgement.verdict,
        lead=_lead(judgement),
        facts=_facts(run),
        answers=answers(run),
        picture=course_svg.draw(run),
        tables=(Table("The run", ("", ""), _identity(run)),),
        notes=tuple(sentence(reason) for reason in judgement.reasons if reason != judgement.reason),
        pointers=tuple(sentence(finding.sentence) for finding in judgement.findings[:MOST_FINDINGS]),
        status=judgement.verdict,
    )


def _lead(judgement: Judgement) -> str:
    """What matters most: the worst missed rule with its figure, or the rule that is nearest to its limit."""
    if not judgement.totals.streams:
        return sentence(f"Nothing was measured: the run has no stream. {judgement.reason}")
    alike = [verdict for verdict in judgement.verdicts if verdict.status_text == judgement.verdict]
    if judgement.verdict == "missed" and alike:
        others = [verdict for verdict in judgement.verdicts if verdict not in alike]
        more = f"; {some(len(alike) - 1, 'more rule')} missed" if len(alike) > 1 else ""
        kept = "; everything else kept" if others and all(each.status is RuleStatus.MET for each in others) else ""
        # Streams that failed make many figures infinite. What failed is the reason, and those figures are not.
        causes = [verdict for verdict in alike if verdict.figure in OF_FAILURES] or alike
        worst = max(causes if max(alike, key=_used).observed == math.inf else alike, key=_used)
        return sentence(f"SLA missed: {_told(worst)}{more}{kept}")
    if judgement.verdict == "inconclusive" and alike:
        rules = [_rule(verdict) for verdict in alike[:MOST_RULES]]
        rest = f" and {len(alike) - MOST_RULES} more" if len(alike) > MOST_RULES else ""
        return sentence(f"{judgement.reason}: {', '.join(rules)}{rest}{_would_settle(alike, judgement.seconds)}")
    if judgement.verdict == "invalid":
        return sentence(f"This run cannot be judged: {judgement.reason}")
    if judgement.verdict == "met" and len(alike) > 1:
        return sentence(f"{judgement.reason}. The nearest to its limit: {_told(max(alike, key=_used))}")
    return sentence(judgement.reason)


def _used(verdict: Verdict) -> float:
    """How much of its limit a rule has used up: 1 at the limit."""
    if verdict.observed is None:
        return 0.0
    if verdict.wants_low:
        part, whole = verdict.observed, verdict.limit
    elif verdict.unit == "ratio":  # 99 % of a rule that wants 98 % has used up half of the 2 % that may be missing
        part, whole = 1 - verdict.observed, 1 - verdict.limit
    else:
        part, whole = verdict.limit, verdict.observed
    return part / whole if whole > 0 else math.inf if part > 0 else 0.0


def _told(verdict: Verdict) -> str:
    """`p95(ttft) of network slow_3g was 4,900 ms, limit 4,000 ms`."""
    subject = verdict.subject.text
    of = "" if verdict.where == Where() else f" of {words(verdict.where)}"
    limit = figure_or_never(verdict.limit, verdict.unit)
    if verdict.observed == math.inf:
        # Not counting the streams that make it infinite: `p95(ttft) was 4,462 ms, not counting 4 of 78 streams …`.
        failed = f"{verdict.failed:,} of {some(verdict.n, 'stream')}"
        if verdict.plain is None:
            return f"{failed}{of} never had a {verdict.figure}; limit {limit}"
        plain = figure_or_never(verdict.plain, verdict.unit)
        return f"{subject}{of} was {plain}, not counting {failed} that never had one; limit {limit}"
    return f"{subject.replace('_', ' ')}{of} was {figure_or_never(verdict.observed, verdict.unit)}, limit {limit}"


def _would_settle(verdicts: list[Verdict], seconds: float) -> str:
    """How long a run at the same load they need, if this one took so many seconds; "" if that is not known of all."""
    longer = [verdict.needed / verdict.n for verdict in verdicts if verdict.needed is not None and verdict.n]
    if len(longer) < len(verdicts) or max(longer) <= 1:
        return ""
    them, needed = "it" if len(verdicts) == 1 else "them", span(max(longer) * seconds)
    return f". About {max(longer):.2g} times as many streams would settle {them}: {needed} of the same load"


def _rule(verdict: Verdict) -> str:
    rule = verdict.rule.replace(" ", "\N{NO-BREAK SPACE}")
    return rule if verdict.where == Where() else f"{rule} ({words(verdict.where)})"


def _facts(run: Material) -> tuple[Fact, ...]:
    judgement = run.judgement
    found = [*facts.of_latency(judgement.metrics, run.since), *facts.of_rates(judgement.rates, run.since)]
    if (cost := judgement.cost) is not None:
        each = f"{money(cost.per_thousand, cost.currency)} per 1,000 answers"
        beside = cells.not_in_the_cost(judgement, cost)
        found.append(Fact("Cost", money(cost.total, cost.currency), "; ".join([each, *beside])))
    return tuple(found)


def _identity(run: Material) -> list[tuple[Cell, ...]]:
    judgement = run.judgement
    users = run.timeline.users
    rows: list[tuple[Cell, ...]] = [
        ("Scenario", judgement.run.scenario),
        ("Host", judgement.run.host),
        ("When", _when(judgement.run.started_at)),
        ("How long", f"{span(judgement.took)}{_ending(judgement.run)}"),
        ("Users", f"up to {max(users):,.0f} at once" if users else "not counted"),
        ("Streams", f"{judgement.totals.streams:,}"),
        ("Run", judgement.run.id),
    ]
    if run.since is not None:
        compared = run.since.runs
        rows.append(("Baseline", f"{run.since.name}, {some(len(compared), 'run')} up to {compared[-1]}"))
    return [*rows, ("Measurement", Mark(judgement.validity.value))]


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
