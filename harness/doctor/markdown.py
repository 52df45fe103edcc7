"""A diagnosis as Markdown, for a step summary or a comment. Text from outside makes no markup and mentions nobody."""

from collections.abc import Iterator

from streamgauge.harness.doctor.diagnosis import Diagnosis, Item
from streamgauge.harness.doctor.result import Status
from streamgauge.harness.doctor.screen import about
from streamgauge.harness.judge.outputs.markdown import bounded, code, heading, row, table, text


def render(diagnosis: Diagnosis) -> str:
    return bounded(_lines(diagnosis))


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    yield heading(diagnosis.status, diagnosis.sentence)
    yield ""
    yield text(about(diagnosis))
    told = [item for item in diagnosis.items if item.result.status in {Status.FAIL, Status.WARN}]
    for item in told:
        yield ""
        yield from _item(item)
    yield ""
    yield from table("", "check", "evidence")
    for item in diagnosis.items:
        if item not in told:
            yield row(item.result.status, text(item.check.title), text(item.result.says))
    for advice in diagnosis.evidence.advice:
        yield ""
        yield text(advice.says)
        yield from (f"- {code(line)}" for line in advice.lines.splitlines())


def _item(item: Item) -> Iterator[str]:
    result = item.result
    expected = f"Expected: {text(item.check.title)}. {text(item.check.why)}."
    yield f"**{result.status.upper()}** {text(result.says)}. {expected}"
    for fix in result.fixes:
        yield f"- {code(fix.line)} <{fix.source}>"
