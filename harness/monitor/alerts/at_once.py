"""Alerts that are sent without a queue: a test message, and what `judge` and a gate tell."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from streamgauge.harness.config.alerts import AnyReceiver, Apprise, Command
from streamgauge.harness.config.receivers import Filled, filled
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.monitor.alerts.deliverer import attempt
from streamgauge.harness.monitor.alerts.message import Alert, Severity
from streamgauge.harness.monitor.alerts.receivers import apprise, command
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt, Failed, Refused

_ATTEMPTS = 3
_PAUSE = 2.0  # seconds between two attempts


class Sent(NamedTuple):
    receiver: str
    fault: str | None  # None: it took the alert
    note: str | None = None


def ready(tables: Sequence[AnyReceiver]) -> Filled:
    """The receivers with their secrets. ConfigError if a secret, package or program is missing: call it first."""
    if not tables:
        raise ConfigError("the config has no [[alert]], so there is nobody to tell; see docs/reference/alerts.md")
    ready_ones = filled(tables)
    for table in ready_ones.receivers:
        if isinstance(table, Apprise):
            apprise.check(table)
        if isinstance(table, Command):
            command.check(table)
    return ready_ones


def send(filled_tables: Filled, alert: Alert) -> Iterator[Sent]:
    """To each receiver that takes it, one after the other; a few attempts each."""
    for table in filled_tables.receivers:
        if table.takes(alert.severity):
            yield _sent(table, filled_tables, alert)


def _sent(table: AnyReceiver, filled_tables: Filled, alert: Alert) -> Sent:
    fault, may_be_repeated = "", False
    for number in range(_ATTEMPTS):
        try:
            note = attempt(table, filled_tables.redaction, Attempt(alert, time.time(), may_be_repeated))
        except Refused as refusal:
            return Sent(table.called, str(refusal))
        except Failed as failure:
            fault, may_be_repeated = str(failure), may_be_repeated or failure.may_have_arrived
            if (failure.pause or 0.0) > _PAUSE or number == _ATTEMPTS - 1:
                break
            time.sleep(_PAUSE)
        else:
            return Sent(table.called, None, note)
    return Sent(table.called, fault)


def send_test(filled_tables: Filled) -> Iterator[Sent]:
    """To every receiver, whatever severity it takes: an alert that says that it is a test, and its end."""
    now = time.time()
    for table in filled_tables.receivers:
        severity = table.severity or "ticket"
        sent = _sent(table, filled_tables, test_alert(severity, now, None))
        yield sent if sent.fault else _sent(table, filled_tables, test_alert(severity, now, now))


def test_alert(severity: Severity, now: float, until: float | None) -> Alert:
    return Alert(
        key=f"test-{now:.0f}",
        status="firing" if until is None else "resolved",
        slo="test",
        severity=severity,
        target="test",
        since=now,
        until=until,
        budget_left=None,
        evidence={"test": True},
        summary="This is a test of streamgauge's alerts. Nothing is broken.",
        link=None,
    )
