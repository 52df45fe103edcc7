"""Incidents for the terminal, and as a JSON document."""

import json
import time
from collections.abc import Sequence

from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.outputs.rich_text import Console, console_of, safe
from streamgauge.harness.judge.wording import escaped_json
from streamgauge.harness.monitor.incidents import Incident
from streamgauge.harness.monitor.watch import span

_STREAMS = 3  # of each incident


def render(found: Sequence[Incident], now: float, console: Console | None = None) -> None:
    console = console_of(console)
    if not found:
        console.print("no incident")
    for each in found:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(each.began))
        lasted = f"for {span(now - each.began)}" if each.ended is None else f"lasted {span(each.ended - each.began)}"
        state = "goes on" if each.ended is None else "over"
        console.print(safe(f"{each.severity}: {each.slo} of {each.target}, {state}"))
        left = f"{each.budget_left * 100:,.0f} % of the error budget left"
        console.print(safe(f"  since {began} UTC, {lasted}; {left}"))
        console.print(safe(f"  {each.summary}"))
        for seen in each.worst[:_STREAMS]:
            first = "" if seen.ttft_ms is None else f", TTFT {figure(seen.ttft_ms, 'ms')}"
            console.print(safe(f"  {seen.run} stream {seen.stream}: {seen.outcome}{first}"))


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
