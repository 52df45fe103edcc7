"""Incidents for the terminal, and as a JSON document."""

import json
import time
from collections.abc import Sequence
from typing import Any

from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.outputs.rich_text import Console, console_of, safe
from streamgauge.harness.judge.wording import escaped_json
from streamgauge.harness.monitor.incidents import Firing, Incident
from streamgauge.harness.monitor.watch import span

_STREAMS = 3  # of each incident


def render(found: Sequence[Incident], now: float, console: Console | None = None) -> None:
    console = console_of(console)
    if not found:
        console.print("no incident")
    for each in found:
        main, state = each.main, "goes on" if each.ended is None else "over"
        console.print(safe(f"{' and '.join(each.severities)}: {main.slo} of {main.target}, {state}"))
        left = f"{each.budget_left * 100:,.0f} % of the error budget left"
        console.print(safe(f"  {_when(each, now)}; {left}"))
        for firing in each.firings:
            which = f"{firing.severity} {_when(firing, now)}: " if len(each.firings) > 1 else ""
            console.print(safe(f"  {which}{firing.summary}"))
        for seen in each.worst[:_STREAMS]:
            first = "" if seen.ttft_ms is None else f", TTFT {figure(seen.ttft_ms, 'ms')}"
            console.print(safe(f"  {seen.run} stream {seen.stream}: {seen.outcome}{first}"))


def _when(what: Incident | Firing, now: float) -> str:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(what.began))
    lasted = f"for {span(now - what.began)}" if what.ended is None else f"lasted {span(what.ended - what.began)}"
    return f"since {began} UTC, {lasted}"


def document(found: Sequence[Incident]) -> str:
    incidents = [
        {
            **_document(each.main),
            "began": each.began,
            "ended": each.ended,
            "budget_left": each.budget_left,
            "worst": [seen._asdict() for seen in each.worst],
            "firings": [_document(firing) for firing in each.firings],
        }
        for each in found
    ]
    return escaped_json(json.dumps({"incidents": incidents}, indent=2, ensure_ascii=False))


def _document(firing: Firing) -> dict[str, Any]:
    return {
        "key": firing.key,
        "slo": firing.slo,
        "target": firing.target,
        "severity": firing.severity,
        "objective": firing.objective,
        "began": firing.began,
        "ended": firing.ended,
        "budget_left": firing.budget_left,
        "summary": firing.summary,
        "evidence": firing.evidence,
    }
