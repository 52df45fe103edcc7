"""An alert in words, for the receivers that people read. Pure; each format escapes its own syntax."""

import time
from collections.abc import Mapping
from typing import Any

from streamgauge.harness.counting import some, took
from streamgauge.harness.judge.wording import leaves, shortened, visible
from streamgauge.harness.monitor.alerts.message import Alert

_LONGEST_TITLE = 140  # characters: Slack's header takes 150
_LONGEST_LINE = 700
_IN_SUMMARY = {"bad", "of", "window_seconds", "burn_rate", "bad_in_a_row"}  # of the evidence
_WHAT = {"page": "it is urgent", "ticket": "the error budget still burns, but slower"}
REPEATED = "This may have been sent before: the monitor does not know whether its last attempt arrived."


def title(alert: Alert) -> str:
    """`FIRING page: first token at staging-eu`, on one line."""
    words = f"{alert.status.upper()} {alert.severity}: {alert.slo} at {alert.target}"
    return shortened(visible(words), _LONGEST_TITLE)


def lines(alert: Alert) -> list[str]:
    """What broke, since when, what is left of the budget, the evidence, and where to look."""
    evidence = dict(alert.evidence)
    first, good, objective = (evidence.pop(name, None) for name in ("first_bad_at", "good", "objective"))
    worst = evidence.pop("worst", None)
    said = [alert.summary, _when(alert)]
    if first is not None:
        said.append(f"First bad probe: {rfc3339(first)}")
    if good is not None and objective is not None:
        said.append(f"Good is: {good}; {100 * objective:.7g} % of the probes must be")
    if alert.budget_left is not None:
        said.append(f"Error budget left: {100 * alert.budget_left:,.1f} %")
    if figures := _figures({name: value for name, value in evidence.items() if name not in _IN_SUMMARY}):
        said.append(f"Evidence: {figures}")
    if isinstance(worst, list) and worst:
        said.append(f"Worst stream: {_stream(worst[0])}")
    if alert.beside is not None:
        said.append(f"The same incident fires as a {alert.beside}, too: {_WHAT[alert.beside]}")
    if alert.link:
        said.append(f"Streams: {alert.link}")
    return [shortened(visible(line), _LONGEST_LINE) for line in said]


def rfc3339(at: float) -> str:
    """To the second, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _when(alert: Alert) -> str:
    """A line of an e-mail must not begin with `From `: it would get a `>` before it."""
    if alert.until is None:
        return f"Since {rfc3339(alert.since)}"
    lasted = some(round((alert.until - alert.since) / 60), "minute")
    return f"Since {rfc3339(alert.since)}, until {rfc3339(alert.until)}: {lasted}"


def _stream(seen: Mapping[str, Any]) -> str:
    """`stream 12 of run chat-1: timed_out, ended 2023-11-14T22:13:20Z`."""
    ttft = "" if seen.get("ttft_ms") is None else f", TTFT {took(seen['ttft_ms'])}"
    ended = "" if seen.get("at") is None else f", ended {rfc3339(seen['at'])}"
    run = f" of run {seen['run']}" if "run" in seen else ""
    return f"stream {seen.get('stream')}{run}: {seen.get('outcome')}{ttft}{ended}"


def _figures(found: Mapping[str, Any]) -> str:
    """`streams 60, missed 1 p95(ttft) < 1s: 2 s`."""
    told = ((name, value) for name, value in leaves(found) if value is not None)
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in told)


def _value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
