"""What to try next: each finding with its evidence, what it means, what to change, and how sure it is."""

from streamgauge.harness.judge.verdict.findings import Finding
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Panel, Table, sentence

_NONE = "None found: no pattern in this run points to a cause beyond chance"
_COLUMNS = ("What was found", "Evidence", "What it means, and what to change", "Source")


def draw(run: Material) -> Panel:
    findings, next_step = run.judgement.findings, run.judgement.next_step
    others = f"; {len(findings) - 1} more below" if len(findings) > 1 else ""
    first = f"{findings[0].advice}{others}" if findings else _NONE
    table = Table("Findings", _COLUMNS, [_row(finding) for finding in findings], cards=True)
    return Panel(
        name="findings",
        title="What to try next",
        lead=sentence(next_step or first),
        tables=(table,) if findings else (),
        notes=(sentence(_NONE),) if next_step and not findings else (),
    )


def _row(finding: Finding) -> tuple[Cell, ...]:
    return (
        f"{sentence(finding.advice)} {sentence(finding.sentence)} ({finding.id}, {finding.certainty})",
        sentence(finding.numbers),
        f"{sentence(finding.meaning)} {sentence(finding.change)}",
        finding.source,
    )
