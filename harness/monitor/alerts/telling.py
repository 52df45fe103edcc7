"""An alert in words, for the receivers that people read. Pure; each format escapes its own syntax."""

import time
from collections.abc import Mapping

from streamgauge.harness.judge.wording import leaves, shortened, visible
from streamgauge.harness.monitor.alerts.message import Alert

_LONGEST_TITLE = 140  # characters: Slack's header takes 150
_LONGEST_LINE = 700
REPEATED = "This may have been sent before: the monitor does not know whether its last attempt arrived."


def title(alert: Alert) -> str:
    """`FIRING page: first token at staging-eu`, on one line."""
    words = f"{alert.status.upper()} {alert.severity}: {alert.slo} at {alert.target}"
    return shortened(visible(words), _LONGEST_TITLE)


def lines(alert: Alert) -> list[str]:
    """What broke, since when, what is left of the budget, the evidence, and where to look."""
    said = [alert.summary, _when(alert)]
    if alert.budget_left is not None:
        said.append(f"Error budget left: {alert.budget_left:.1%}")
    worst = alert.evidence.get("worst")
    if figures := _figures({name: value for name, value in alert.evidence.items() if name != "worst"}):
        said.append(f"Evidence: {figures}")
    if figures := _figures(worst[0] if isinstance(worst, list) and worst else worst):
        said.append(f"Worst stream: {figures}")
    if alert.link:
        said.append(f"Streams: {alert.link}")
    return [shortened(visible(line), _LONGEST_LINE) for line in said]


def rfc3339(at: float) -> str:
    """To the second, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _when(alert: Alert) -> str:
    if alert.until is None:
        return f"Since {rfc3339(alert.since)}"
    return f"From {rfc3339(alert.since)} to {rfc3339(alert.until)}, {(alert.until - alert.since) / 60:.0f} minutes"


def _figures(found: object) -> str:
    """`bad 7, of 60`."""
    if not isinstance(found, Mapping):
        return ""
    told = ((name, value) for name, value in leaves(found) if value is not None)
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in told)


def _value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
