"""A diagnosis as an HTML page in the report's design, which escapes every text. Opens without a network."""

import re

from streamgauge.harness.counting import some
from streamgauge.harness.doctor.diagnosis import Diagnosis, Item
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.result import Status
from streamgauge.harness.doctor.seen import Seen
from streamgauge.reports.page import assemble
from streamgauge.reports.panel import Cell, Fact, Panel, Table, sentence

_TITLES = {
    Status.FAIL: "What is wrong",
    Status.WARN: "What may be wrong",
    Status.UNKNOWN: "What could not be looked at",
    Status.PASS: "What is right",
}
_MEANS = {
    Status.FAIL: "People who use the endpoint are worse off, and the evidence leaves no doubt.",
    Status.WARN: "It may harm somebody, or it is suspected.",
    Status.UNKNOWN: "Nothing is known of these: the evidence says why.",
    Status.PASS: "These were looked at.",
}
_COLUMNS: tuple[str, ...] = ("Expected", "Evidence", "Why it matters")
_QUESTIONS = ("question", ">HTTP", "outcome", ">events", ">reads", ">first content", ">last content", "content type")
_QUOTED = re.compile("`([^`]*)`")


def render(diagnosis: Diagnosis) -> str:
    return assemble(_panels(diagnosis), diagnosis.evidence.url, "the answers of one examination", kind="doctor")


def _panels(diagnosis: Diagnosis) -> list[Panel]:
    header = Panel(
        name="diagnosis",
        title=diagnosis.status,
        lead=sentence(_plain(diagnosis.sentence)),
        facts=tuple(Fact(_TITLES[status], str(n)) for status, n in diagnosis.counts),
        tables=(Table("The examination", ("", ""), _identity(diagnosis.evidence)),),
        notes=tuple(f"{each.says} {each.lines}".strip() for each in diagnosis.evidence.advice),
        status=diagnosis.status,
    )
    groups = [(status, diagnosis.having(status)) for status, n in diagnosis.counts if n]
    return [header, *(_group(status, items) for status, items in groups), _questions(diagnosis.evidence)]


def _identity(evidence: Evidence) -> list[tuple[Cell, ...]]:
    stopped = ", stopped before all was asked" if evidence.stopped else ""
    return [
        ("endpoint", evidence.url),
        *([("server without the proxy", evidence.origin)] if evidence.origin else []),
        ("read as", evidence.protocol),
        ("asked", f"{some(evidence.requests, 'request')} in {evidence.seconds:,.0f} s{stopped}"),
        ("recognised", ", ".join(product.name for product in evidence.products) or "nothing"),
    ]


def _group(status: Status, items: list[Item]) -> Panel:
    rows: list[tuple[Cell, ...]] = [_row(item) for item in items]
    columns = _COLUMNS
    if any(item.result.fixes for item in items):
        rows = [(*row, _changes(item)) for row, item in zip(rows, items, strict=True)]
        columns = (*_COLUMNS, "What to change")
    table = Table(some(len(items), "check"), columns, rows, cards=True)
    return Panel(status, _TITLES[status], _MEANS[status], tables=(table,))


def _row(item: Item) -> tuple[Cell, ...]:
    result, why = item.result, item.check.why
    return _plain(item.check.title), sentence(_plain(result.says)), sentence(_plain(why))


def _changes(item: Item) -> str:
    return " · ".join(f"{_plain(fix.line)} — explained at {fix.source}" for fix in item.result.fixes)


def _plain(text: str) -> str:
    """What backticks mark in a terminal, in quotation marks."""
    return _QUOTED.sub("“\\1”", text)


def _questions(evidence: Evidence) -> Panel:
    rows: list[tuple[Cell, ...]] = [_question(name, seen) for name, seen in evidence.seen.items()]
    untried = tuple(f"{name}: {_plain(why)}." for name, why in evidence.untried.items() if name)
    table = Table(some(len(rows), "question"), _QUESTIONS, rows)
    return Panel("questions", "What was asked", "In the order of asking.", tables=(table,), notes=untried)


def _question(name: str, seen: Seen) -> tuple[Cell, ...]:
    detail = f": {_plain(seen.detail)}" if seen.detail else ""
    return (
        name.replace("_", " "),
        "" if seen.status is None else str(seen.status),
        "" if name.startswith("metrics") and seen.answered else f"{seen.outcome}{detail}",
        f"{len(seen.events):,}",
        f"{seen.record.reads:,}",
        "" if seen.wait is None else f"{seen.wait:,.0f} ms",
        "" if seen.whole is None else f"{seen.whole:,.0f} ms",
        seen.headers.get("content-type", ""),
    )
