"""An alert as JSON for programs: what a webhook and a command get. docs/reference/alerts.md describes it."""

from typing import Any

import msgspec

from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt
from streamgauge.harness.monitor.alerts.telling import rfc3339


def body(attempt: Attempt) -> bytes:
    alert = attempt.alert
    content: dict[str, Any] = {
        "id": attempt.id,
        "key": alert.key,
        "incident": alert.thread,
        "beside": alert.beside,
        "status": alert.status,
        "slo": alert.slo,
        "severity": alert.severity,
        "target": alert.target,
        "since": rfc3339(alert.since),
        "until": None if alert.until is None else rfc3339(alert.until),
        "budget_left": alert.budget_left,
        "summary": alert.summary,
        "evidence": alert.evidence,
        "link": alert.link,
        "may_be_repeated": attempt.may_be_repeated,
    }
    return msgspec.json.encode(content)
