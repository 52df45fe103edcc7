"""PagerDuty's Events API v2: a firing alert triggers an incident, and a resolved one with the same key resolves it.

https://developer.pagerduty.com/docs/events-api-v2/: 400 is not to be retried, 429 after some minutes.
"""

import msgspec

from streamgauge.harness.config.alerts import PagerDuty
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.monitor.alerts import telling
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt, Failed
from streamgauge.harness.monitor.alerts.receivers.http import post_confirmed

_LONGEST_SUMMARY = 1_024
_SEVERITIES = {"page": "critical", "ticket": "warning"}
_ACTIONS = {"firing": "trigger", "resolved": "resolve"}
_TOO_MANY = 120.0  # seconds to wait after a 429 without Retry-After


def send(table: PagerDuty, attempt: Attempt) -> None:
    content = msgspec.json.encode(event(table.routing_key, attempt))
    try:
        post_confirmed(table.url, content, {}, seconds=table.timeout / 1e9)
    except Failed as fault:
        if str(fault).startswith("HTTP 429"):
            raise Failed(str(fault), pause=max(fault.pause or 0.0, _TOO_MANY)) from None
        raise


def event(routing_key: str, attempt: Attempt) -> dict[str, object]:
    alert = attempt.alert
    return {
        "routing_key": routing_key,
        "event_action": _ACTIONS[alert.status],
        "dedup_key": alert.key,
        "client": "streamgauge",
        **({"client_url": alert.link, "links": [{"href": alert.link, "text": "streams"}]} if alert.link else {}),
        "payload": {
            "summary": shortened(f"{telling.title(alert)}: {alert.summary}", _LONGEST_SUMMARY),
            "source": alert.target,
            "severity": _SEVERITIES[alert.severity],
            "timestamp": telling.rfc3339(alert.since),
            "component": alert.slo,
            "custom_details": {
                "incident": alert.thread,
                "budget_left": alert.budget_left,
                "text": telling.lines(alert),
                **alert.evidence,
            },
        },
    }
