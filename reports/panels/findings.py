"""What to try next: each finding with its evidence, what it means, what to change, and how sure it is."""

from markupsafe import Markup

from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.verdict.findings import Finding
from streamgauge.reports import html
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Panel, sentence

_NONE = "None found: no pattern in this run points to a cause beyond chance"


def draw(run: Material) -> Panel:
    findings, next_step = run.judgement.findings, run.judgement.next_step
    several_missed = len(findings) > 1 and run.judgement.verdict == "missed"
    first = ", those that explain missed rules first" if several_missed else ""
    found = f"{some(len(findings), 'finding')}{first}" if findings else _NONE
    body = html.template("findings.html.jinja").render(findings=list(map(_told, findings)))
    return Panel(
        name="findings",
        title="What to try next",
        lead=sentence(next_step or found),
        body=Markup(body) if findings else None,  # noqa: S704 - of our own template, which escapes
        notes=(sentence(_NONE),) if next_step and not findings else (),
    )


def _told(finding: Finding) -> dict[str, object]:
    return {
        "advice": sentence(finding.advice),
        "sentence": sentence(finding.sentence),
        "id": finding.id,
        "certainty": finding.certainty,
        "parts": {
            "Evidence": sentence(finding.numbers),
            "What it means": sentence(finding.meaning),
            "What to change": sentence(finding.change),
            "Source": finding.source,
        }.items(),
    }
