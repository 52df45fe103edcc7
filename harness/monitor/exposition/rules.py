"""The service levels of a config as documents for tools around Prometheus: its own rules, Sloth's, OpenSLO's. Pure.

They evaluate what the monitor exposes, as a second opinion beside its own alerts, or in their place.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from streamgauge.harness.monitor.burn import FEWEST_BAD, PACES, Pace
from streamgauge.harness.monitor.exposition.promql import SLO_BAD, SLO_PROBES, bad, quoted, share_of_bad, span
from streamgauge.harness.monitor.levels import Level

SERVICE = "streamgauge"
_NO_NAME = re.compile(r"[^a-z0-9]+")


class OfTarget(NamedTuple):
    """One service level at one target. All targets together would hide one of many that is down."""

    name: str
    level: Level
    target: str


def names(texts: Iterable[str]) -> dict[str, str]:
    """By text, a name that Sloth, OpenSLO and Kubernetes take: lower case letters, digits and dashes; each once."""
    found: dict[str, str] = {}
    for number, text in enumerate(texts, 1):
        name = _NO_NAME.sub("-", text.lower()).strip("-")[:50].strip("-") or f"slo-{number}"
        found[text] = f"{name}-{number}" if name in found.values() else name
    return found


def of_targets(levels: Sequence[Level]) -> list[OfTarget]:
    both = {f"{level.name}\n{target}": (level, target) for level in levels for target in level.targets}
    return [OfTarget(name, *both[text]) for text, name in names(both).items()]


def prometheus(levels: Sequence[Level]) -> dict[str, Any]:
    """Alerts by several windows and burn rates, as the monitor's own, and one for a monitor that is gone."""
    named = names(level.name for level in levels)
    groups = [
        {"name": f"streamgauge-{named[level.name]}", "rules": list(_alerts(level))}
        for level in levels
        if any(pace.long <= level.window for pace in PACES)
    ]
    gone = {
        "alert": "StreamgaugeMonitorDown",
        "expr": f"absent(up{{job={quoted(SERVICE)}}} == 1) or time() - streamgauge_judged_timestamp_seconds > 600",
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
    return {
        "version": "prometheus/v1",
        "service": SERVICE,
        "slos": [
            {
                "name": name,
                "objective": round(level.objective * 100, 6),
                "description": f"{level.name} of {target}: {level.good.text}",
                "sli": {
                    "events": {
                        "error_query": _rate(SLO_BAD, level, target, "{{.window}}"),
                        "total_query": _rate(SLO_PROBES, level, target, "{{.window}}"),
                    }
                },
                "alerting": {
                    "name": "StreamgaugeErrorBudgetBurn",
                    "labels": {"slo": level.name, "target": target},
                    "page_alert": {"labels": {"severity": "page"}},
                    "ticket_alert": {"labels": {"severity": "ticket"}},
                },
            }
            for name, level, target in of_targets(levels)
        ],
    }


def openslo(name: str, level: Level, target: str) -> dict[str, Any]:
    """For OpenSLO v1; each level of each target is a document of its own."""
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": name, "displayName": f"{level.name} of {target}"},
        "spec": {
            "description": f"Good is: {level.good.text}",
            "service": SERVICE,
            "indicator": {
                "metadata": {"name": f"{name}-good-probes"},
                "spec": {
                    "ratioMetric": {
                        "counter": True,
                        "bad": _source(SLO_BAD, level, target),
                        "total": _source(SLO_PROBES, level, target),
                    }
                },
            },
            "timeWindow": [{"duration": span(level.window), "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": level.name, "target": round(level.objective, 8)}],
        },
    }


def _source(metric: str, level: Level, target: str) -> dict[str, Any]:
    query = f"sum({_series(metric, level, target)})"
    return {"metricSource": {"type": "Prometheus", "spec": {"query": query}}}


def _rate(metric: str, level: Level, target: str, window: str) -> str:
    return f"sum(rate({_series(metric, level, target)}[{window}]))"


def _series(metric: str, level: Level, target: str) -> str:
    return f"{metric}{{slo={quoted(level.name)}, target={quoted(target)}}}"
