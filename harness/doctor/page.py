"""A diagnosis as an HTML page in the report's design, which escapes every text. Opens without a network."""

from streamgauge.harness.doctor.diagnosis import Diagnosis, Item
from streamgauge.harness.doctor.result import Fix, Status
from streamgauge.harness.doctor.screen import about
from streamgauge.harness.doctor.seen import Seen
from streamgauge.reports.page import assemble
from streamgauge.reports.panel import Cell, Fact, Mark, Panel, Table, sentence

_TITLES = {
    Status.FAIL: "What is wrong",
    Status.WARN: "What may be wrong",
    Status.UNKNOWN: "What could not be looked at",
    Status.PASS: "What is right",
}
_COLUMNS = ("Expected", "Result", "Evidence", "Why it matters, and what to change")
_ANSWERS = ("question", ">HTTP", "outcome", ">events", ">reads", ">first content", ">last content", "content type")


def render(diagnosis: Diagnosis) -> str:
    return assemble(_panels(diagnosis), diagnosis.evidence.url, "the answers of one examination", kind="doctor")


def _panels(diagnosis: Diagnosis) -> list[Panel]:
    facts = tuple(Fact(_TITLES[status], str(n)) for status, n in diagnosis.counts)
    header = Panel(
        name="diagnosis",
        title=sentence(diagnosis.sentence),
        lead=sentence(about(diagnosis)),
        facts=facts,
        notes=tuple(f"{advice.says} {advice.lines}".strip() for advice in diagnosis.evidence.advice),
        status=diagnosis.status,
    )
    groups = [(status, diagnosis.having(status)) for status, n in diagnosis.counts if n]
    return [header, *(_group(status, items) for status, items in groups), _answers(diagnosis)]


def _group(status: Status, items: list[Item]) -> Panel:
    rows = [_row(item) for item in items]
    return Panel(
        status, _TITLES[status], sentence(items[0].check.title), tables=(Table("Checks", _COLUMNS, rows, cards=True),)
    )


def _row(item: Item) -> tuple[Cell, ...]:
    result = item.result
    change = " ".join([f"{item.check.why}.", *map(_fix, result.fixes)])
    return item.check.title, Mark(result.status), sentence(result.says), change


def _fix(fix: Fix) -> str:
    return f"To change: {fix.line} ({fix.source})."


def _answers(diagnosis: Diagnosis) -> Panel:
    evidence = diagnosis.evidence
    rows: list[tuple[Cell, ...]] = [_answer(name, seen) for name, seen in evidence.seen.items()]
    untried = tuple(sentence(f"{name}: {why}") for name, why in evidence.untried.items() if name)
    table = Table("Every question, in the order of asking", _ANSWERS, rows)
    return Panel("answers", "What was asked", sentence(about(diagnosis)), tables=(table,), notes=untried)


def _answer(name: str, seen: Seen) -> tuple[Cell, ...]:
    return (
        name,
        "" if seen.status is None else str(seen.status),
        f"{seen.outcome}{f': {seen.record.detail}' if seen.record.detail else ''}",
        f"{len(seen.events):,}",
        f"{seen.record.reads:,}",
        "" if seen.wait is None else f"{seen.wait:,.0f} ms",
        "" if seen.whole is None else f"{seen.whole:,.0f} ms",
        seen.headers.get("content-type", ""),
    )
