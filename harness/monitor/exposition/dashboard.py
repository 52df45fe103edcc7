"""Grafana's dashboard for what the monitor exposes, as the JSON that Grafana imports. Pure."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from streamgauge.harness.monitor.exposition.promql import BUDGET_LEFT, BURN_RATE, quantile

_SCHEMA = 39  # of dashboards, Grafana 10; newer ones migrate it
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT = 12, 8  # of a panel; a dashboard is 24 wide


def dashboard() -> dict[str, Any]:
    """One for all service levels and targets: both are variables."""
    picked = 'target=~"$target"'
    slo = f'{{slo=~"$slo", {picked}}}'
    panels = [
        _panel("Error budget left", "percentunit", [(f"{BUDGET_LEFT}{slo}", "{{slo}} {{target}}")]),
        _panel("Burn rate of the last hour (1 lasts the window)", "none",
               [(f'{BURN_RATE}{{slo=~"$slo", {picked}, window="1h"}}', "{{slo}} {{target}}")]),
        _panel("Open incidents", "none", [(f"streamgauge_incidents_open{slo}", "{{slo}} {{target}} {{severity}}")]),
        _panel("Probes by outcome", "cpm",
               [(f"60 * sum by (target, outcome) (rate(streamgauge_probes_total{{{picked}}}[$__rate_interval]))",
                 "{{target}} {{outcome}}")]),
        _panel("TTFT", "s", _quantiles("streamgauge_ttft_seconds")),
        _panel("Gap between chunks (ITL)", "s", _quantiles("streamgauge_itl_seconds")),
        _panel("End to end", "s", _quantiles("streamgauge_e2e_seconds")),
        _panel("Tokens a day", "none",
               [(f"86400 * sum by (target) (rate(streamgauge_tokens_total{{{picked}}}[1h]))", "{{target}}")]),
    ]  # fmt: skip
    for number, panel in enumerate(panels):
        x, y = (number % 2) * _WIDTH, (number // 2) * _HEIGHT
        panel |= {"id": number + 1, "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": x, "y": y}}
    return {
        "title": "streamgauge monitor",
        "uid": "streamgauge-monitor",
        "tags": ["streamgauge"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_source(), _variable("slo"), _variable("target")]},
        "panels": panels,
    }


def _quantiles(metric: str) -> list[tuple[str, str]]:
    return [
        (
            quantile(share, f'{metric}_bucket{{target=~"$target"}}', "$__rate_interval"),
            f"P{share * 100:.0f} {{{{target}}}}",
        )
        for share in (0.5, 0.95)
    ]


def _panel(title: str, unit: str, asked: Sequence[tuple[str, str]]) -> dict[str, Any]:
    letters = count(ord("A"))
    return {
        "type": "timeseries",
        "title": title,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "custom": {"showPoints": "never"}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {"refId": chr(next(letters)), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for expression, legend in asked
        ],
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _variable(label: str) -> dict[str, Any]:
    return {
        "name": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": f"label_values(streamgauge_slo_probes_total, {label})",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
    }
