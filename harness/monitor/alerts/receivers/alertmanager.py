"""Prometheus's Alertmanager, API v2. Labels identify an alert, so none holds a number that changes.

A firing alert ends by itself after four repetitions, so a late one does not make it resolve and fire again; and one
of a monitor that has died ends, too.
"""

import msgspec

from streamgauge.harness.config.alerts import Alertmanager
from streamgauge.harness.monitor.alerts import telling
from streamgauge.harness.monitor.alerts.message import Alert
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt
from streamgauge.harness.monitor.alerts.receivers.http import post_confirmed

_REPETITIONS = 4
_NAME, _WATCHDOG = "StreamgaugeSLO", "StreamgaugeWatchdog"


def send(table: Alertmanager, attempt: Attempt) -> None:
    _post(table, alert_of(table, attempt.alert, attempt.at))


def send_watchdog(table: Alertmanager, now: float, every: float) -> None:
    """An alert that fires for as long as the monitor sends it, which is `every` so many seconds."""
    _post(
        table,
        {
            "labels": {**table.labels, "alertname": _WATCHDOG, "severity": "none"},
            "annotations": {"summary": "streamgauge's monitor is alive; without this alert, it is not"},
            "endsAt": telling.rfc3339(now + _REPETITIONS * every),
        },
    )


def _post(table: Alertmanager, alert: dict[str, object]) -> None:
    content = msgspec.json.encode([alert])
    url = f"{table.url.rstrip('/')}/api/v2/alerts"
    post_confirmed(url, content, table.headers, seconds=table.timeout / 1e9, verify=table.verify)


def alert_of(table: Alertmanager, alert: Alert, now: float) -> dict[str, object]:
    ends = now + _REPETITIONS * table.every / 1e9 if alert.until is None else alert.until
    return {
        "labels": {
            **table.labels,
            "alertname": _NAME,
            "slo": alert.slo,
            "severity": alert.severity,
            "target": alert.target,
        },
        "annotations": {
            "summary": alert.summary,
            "description": "\n".join(telling.lines(alert)),
            **({} if alert.budget_left is None else {"budget_left": f"{alert.budget_left:.4f}"}),
            "incident": alert.thread,
        },
        "startsAt": telling.rfc3339(alert.since),
        "endsAt": telling.rfc3339(ends),
        **({"generatorURL": alert.link} if alert.link else {}),
    }
