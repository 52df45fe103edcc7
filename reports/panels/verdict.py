"""The header: the verdict, key numbers, and which run it was."""

from datetime import datetime

from streamgauge.harness.judge.figures import money, some, span
from streamgauge.harness.judge.outputs import cells
from streamgauge.harness.judge.store import Run
from streamgauge.harness.judge.verdict.validity import was_spent
from streamgauge.reports import course_svg, facts, missed_svg
from streamgauge.reports.answers import answers
from streamgauge.reports.headline import headline
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Fact, Mark, Panel, Table, sentence

MOST_FINDINGS = 2  # the others are in their panel


def draw(run: Material) -> Panel:
    judgement = run.judgement
    reasons = [sentence(reason) for reason in judgement.reasons if reason != judgement.reason]
    told = [*filter(None, [judgement.next_step]), *(finding.advice for finding in judgement.findings)]
    of_warm_up = [reason for reason in reasons if reason.startswith("Warm-up: ")]  # says nothing against the figures
    return Panel(
        name="verdict",
        title=judgement.verdict,
        about=_about(run),
        lead=headline(judgement, _load(run)),
        facts=_facts(run),
        answers=answers(run),
        picture=missed_svg.draw(run) or course_svg.draw(run),
        tables=(Table("The run", ("", ""), _identity(run)),),
        notes=tuple(reason for reason in reasons if reason not in of_warm_up),
        remarks=tuple(of_warm_up),
        pointers=tuple(map(sentence, told[:MOST_FINDINGS])),
        status=judgement.verdict,
        counted=facts.counted(judgement.totals),
    )


def _facts(run: Material) -> tuple[Fact, ...]:
    judgement = run.judgement
    rules = facts.rules_that_count(run)
    found = [
        *facts.of_latency(judgement.metrics, judgement.totals, run.since, rules),
        *facts.of_rates(judgement.totals, run.since, rules),
    ]
    if (cost := judgement.cost) is not None:
        each = f"{money(cost.per_thousand, cost.currency)} per 1,000 answers"
        beside = cells.not_in_the_cost(judgement, cost)
        found.append(Fact("Cost", money(cost.total, cost.currency), "; ".join([each, *beside])))
    return tuple(found)


def _about(run: Material) -> str:
    """`chat against https://staging.example, 28 Nov 2026, 12:04:12 UTC, with up to 50 users for 1 min 15 s`."""
    of = run.judgement.run
    return f"{of.scenario} against {of.host}, {_when(of.started_at)}, with {_load(run)}{_ending(of)}"


def _load(run: Material) -> str:
    """`up to 50 users for 1 min 15 s`."""
    users = run.timeline.users
    most = f"up to {some(round(max(users)), 'user')}" if users else "an unknown number of users"
    return f"{most} for {span(run.judgement.took)}"


def _identity(run: Material) -> list[tuple[Cell, ...]]:
    judgement = run.judgement
    rows: list[tuple[Cell, ...]] = [("Run", judgement.run.id)]
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
