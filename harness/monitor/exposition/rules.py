"""The service levels of a config as documents for tools around Prometheus: its own rules, Sloth's, OpenSLO's. Pure.

They evaluate what the monitor exposes, as a second opinion beside its own alerts, or in their place.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from streamgauge.harness.monitor.burn import FEWEST_BAD, PACES, Pace
from streamgauge.harness.monitor.exposition.promql import SLO_BAD, SLO_PROBES, bad, quoted, share_of_bad, span
from streamgauge.harness.monitor.levels import Level

SERVICE = "streamgauge"
_NO_NAME = re.compile(r"[^a-z0-9]+")


def names(levels: Sequence[Level]) -> dict[str, str]:
    """By level, a name that Sloth, OpenSLO and Kubernetes take: lower case letters, digits and dashes; each once."""
    found: dict[str, str] = {}
    for number, level in enumerate(levels, 1):
        name = _NO_NAME.sub("-", level.name.lower()).strip("-")[:50] or f"slo-{number}"
        found[level.name] = f"{name}-{number}" if name in found.values() else name
    return found


def prometheus(levels: Sequence[Level], job: str = SERVICE) -> dict[str, Any]:
    """Alerts by several windows and burn rates, as the monitor's own, and one for a monitor that is gone."""
    named = names(levels)
    groups = [
        {"name": f"streamgauge-{named[level.name]}", "rules": list(_alerts(level))}
        for level in levels
        if any(pace.long <= level.window for pace in PACES)
    ]
    gone = {
        "alert": "StreamgaugeMonitorDown",
        "expr": f"absent(up{{job={quoted(job)}}} == 1) or time() - streamgauge_judged_timestamp_seconds > 600",
        "for": "5m",
        "labels": {"severity": "page"},
        "annotations": {"summary": "streamgauge's monitor does not judge probes any more"},
    }
    return {"groups": [*groups, {"name": "streamgauge-monitor", "rules": [gone]}]}


def _alerts(level: Level) -> Iterator[dict[str, Any]]:
    for pace in PACES:
        if pace.long <= level.window:
            yield {
                "alert": "StreamgaugeErrorBudgetBurn",
                "expr": _burns(level, pace),
                "labels": {"severity": pace.severity, "slo": literal(level.name), "window": span(pace.long)},
                "annotations": {
                    "summary": f"{literal(level.name)} of {{{{ $labels.target }}}}: the error budget burns too fast",
                    "description": f"{_objective(level)} Now {{{{ $value | humanizePercentage }}}} are bad.",
                },
            }


def _objective(level: Level) -> str:
    share = f"{level.objective * 100:g} % of the probes of {span(level.window)} must be good"
    return f"{share}; good is: {literal(level.good.text)}."


def literal(text: str) -> str:
    """A text that Prometheus's templates leave as it is."""
    return text.replace("{{", '{{ "{{" }}')


def _burns(level: Level, pace: Pace) -> str:
    share = f"{pace.threshold(level.objective) * (1 - level.objective):.6g}"
    long, short = span(pace.long), span(pace.short)
    return (
        f"{share_of_bad(level.name, long)} >= {share} "
        f"and {share_of_bad(level.name, short)} >= {share} "
        f"and {bad(level.name, long)} >= {FEWEST_BAD - 0.5:g}"  # increase() extrapolates: 3 may be 2.9
    )


def sloth(levels: Sequence[Level]) -> dict[str, Any]:
    """For https://sloth.dev: version prometheus/v1."""
    named = names(levels)
    return {
        "version": "prometheus/v1",
        "service": SERVICE,
        "slos": [
            {
                "name": named[level.name],
                "objective": round(level.objective * 100, 6),
                "description": f"{level.name}: {level.good.text}",
                "sli": {
                    "events": {
                        "error_query": _rate(SLO_BAD, level, "{{.window}}"),
                        "total_query": _rate(SLO_PROBES, level, "{{.window}}"),
                    }
                },
                "alerting": {
                    "name": "StreamgaugeErrorBudgetBurn",
                    "labels": {"slo": level.name},
                    "page_alert": {"labels": {"severity": "page"}},
                    "ticket_alert": {"labels": {"severity": "ticket"}},
                },
            }
            for level in levels
        ],
    }


def openslo(level: Level, name: str) -> dict[str, Any]:
    """For OpenSLO v1; each level is a document of its own."""
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": name, "displayName": level.name},
        "spec": {
            "description": f"Good is: {level.good.text}",
            "service": SERVICE,
            "indicator": {
                "metadata": {"name": f"{name}-good-probes"},
                "spec": {
                    "ratioMetric": {
                        "counter": True,
                        "bad": _source(SLO_BAD, level),
                        "total": _source(SLO_PROBES, level),
                    }
                },
            },
            "timeWindow": [{"duration": span(level.window), "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": level.name, "target": round(level.objective, 8)}],
        },
    }


def _source(metric: str, level: Level) -> dict[str, Any]:
    query = f"sum({metric}{{slo={quoted(level.name)}}})"
    return {"metricSource": {"type": "Prometheus", "spec": {"query": query}}}


def _rate(metric: str, level: Level, window: str) -> str:
    return f"sum(rate({metric}{{slo={quoted(level.name)}}}[{window}]))"
