"""Incidents as a table for the terminal, and as a JSON document."""

import json
import time
from collections.abc import Sequence

from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.outputs.rich_text import Console, Text, console_of, safe, table_of
from streamgauge.harness.judge.wording import escaped_json
from streamgauge.harness.monitor.incidents import Incident
from streamgauge.harness.monitor.watch import span

_STREAMS = 3  # of each incident, in the table


def render(found: Sequence[Incident], now: float, console: Console | None = None) -> None:
    console = console_of(console)
    if not found:
        console.print("no incident")
        return
    table = table_of("began (UTC)", "lasted", "severity", "service level", "target", ">budget left", "worst streams")
    for each in found:
        lasted = f"{span(now - each.began)}, goes on" if each.ended is None else span(each.ended - each.began)
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(each.began))
        worst = "\n".join(_stream(*seen[:2], seen.outcome, seen.ttft_ms) for seen in each.worst[:_STREAMS])
        left = f"{each.budget_left * 100:,.3g} %"
        table.add_row(*map(safe, (began, lasted, each.severity, each.slo, each.target, left)), safe_lines(worst))
    console.print(table)


def safe_lines(text: str) -> Text:
    """`safe`, with line breaks of our own."""
    whole = safe("")
    for number, line in enumerate(text.split("\n")):
        whole.append("\n" if number else "")
        whole.append_text(safe(line))
    return whole


def _stream(number: int, run: str, outcome: str, ttft: float | None) -> str:
    first = "" if ttft is None else f", TTFT {figure(ttft, 'ms')}"
    return f"{run} stream {number}: {outcome}{first}"


def document(found: Sequence[Incident]) -> str:
    incidents = [
        {
            "key": each.key,
            "slo": each.slo,
            "target": each.target,
            "severity": each.severity,
            "objective": each.objective,
            "began": each.began,
            "ended": each.ended,
            "budget_left": each.budget_left,
            "summary": each.summary,
            "evidence": each.evidence,
            "worst": [seen._asdict() for seen in each.worst],
        }
        for each in found
    ]
    return escaped_json(json.dumps({"incidents": incidents}, indent=2, ensure_ascii=False))
