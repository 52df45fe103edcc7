"""The header: the verdict, key numbers, and which run it was."""

from datetime import datetime

from streamgauge.harness.judge.figures import money, some
from streamgauge.harness.judge.outputs import cells
from streamgauge.harness.judge.store import Run
from streamgauge.harness.judge.verdict.validity import was_spent
from streamgauge.reports import course_svg, facts
from streamgauge.reports.answers import answers
from streamgauge.reports.headline import headline
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Fact, Mark, Panel, Table, sentence, span

MOST_FINDINGS = 2  # the others are in their panel


def draw(run: Material) -> Panel:
    judgement = run.judgement
    return Panel(
        name="verdict",
        title=judgement.verdict,
        lead=headline(judgement),
        facts=_facts(run),
        answers=answers(run),
        picture=course_svg.draw(run),
        tables=(Table("The run", ("", ""), _identity(run)),),
        notes=tuple(sentence(reason) for reason in judgement.reasons if reason != judgement.reason),
        pointers=tuple(sentence(finding.sentence) for finding in judgement.findings[:MOST_FINDINGS]),
        status=judgement.verdict,
    )


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
