"""The kinds of receivers, one file each. `RECEIVERS` lists them.

attempt        one attempt to deliver an alert, and how it can fail
http           one request, limited in time and size
bounded        a limit for calls of libraries
document       an alert as JSON, for programs
webhook        JSON, signed
slack          an incoming webhook of Slack
pagerduty      PagerDuty's Events API v2
alertmanager   Prometheus's Alertmanager, API v2
email          SMTP
command        a program that reads JSON from its standard input
apprise        the services that the package apprise knows
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from streamgauge.harness.monitor.alerts.receivers import (
    alertmanager,
    apprise,
    command,
    email,
    pagerduty,
    slack,
    webhook,
)
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt


class Kind(NamedTuple):
    # Takes the filled [[alert]] table. Returns a note for the record, or None; raises Refused or Failed.
    send: Callable[[Any, Attempt], str | None]
    first_pause: float = 5.0  # seconds after the first failed attempt; doubled after each further one


RECEIVERS: dict[str, Kind] = {
    "webhook": Kind(webhook.send),
    "slack": Kind(slack.send),
    "pagerduty": Kind(pagerduty.send, first_pause=30.0),
    "alertmanager": Kind(alertmanager.send),
    "email": Kind(email.send, first_pause=30.0),
    "command": Kind(command.send),
    "apprise": Kind(apprise.send, first_pause=30.0),
}
