"""Alerts for the tests."""

from typing import Any

from streamgauge.harness.monitor.alerts.message import Alert

_ALERT: dict[str, Any] = {
    "slo": "first token",
    "severity": "page",
    "target": "staging-eu",
    "since": 1_700_000_000.0,
    "until": None,
    "budget_left": 0.42,
    "evidence": {"bad": 7, "of": 60, "burn": 14.4, "worst": [{"stream": 12, "outcome": "timed_out", "ttft_ms": None}]},
    "summary": "7 of 60 streams in the last hour broke 'ttft < 1.5s' (objective 99%)",
    "link": "http://127.0.0.1:9464/incidents/3",
}


def firing(key: str, **other: Any) -> Alert:
    return Alert(key=key, status="firing", **_ALERT | other)


def resolved(key: str, **other: Any) -> Alert:
    return Alert(key=key, status="resolved", **_ALERT | {"until": 1_700_000_600.0} | other)
