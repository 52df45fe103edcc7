"""--alert of the commands that judge runs: tells the receivers of the config when the verdict is not good."""

import time

from streamgauge.harness.config.load import load
from streamgauge.harness.config.receivers import Filled
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.outputs import lines
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.monitor.alerts import at_once, of_result
from streamgauge.harness.monitor.alerts.message import Alert


def receivers(config: str | None) -> Filled:
    """Those of this config. ConfigError if there are none, or if a secret is missing: before anything is run."""
    return at_once.ready(load(config).alert)


def tell(filled: Filled, result: Judgement | Gated, code: int) -> None:
    """Send an alert unless `code` is 0. A receiver that fails is told on standard error; the exit code stays."""
    if alert := of_result.alert_of(result, code):
        _send(filled, alert)


def tell_of_no_verdict(filled: Filled, scenario: str, host: str) -> None:
    """A series whose runs failed, so that there is nothing to judge: nobody must take silence for success."""
    now = time.time()
    _send(
        filled,
        Alert(
            key=f"no-verdict.{now:.0f}",
            status="firing",
            slo=f"rules of {scenario}"[:200],
            severity="ticket",
            target=host[:200],
            since=now,
            until=None,
            budget_left=None,
            evidence={"exit_code": int(Exit.MISTAKE)},
            summary="The runs ended without a verdict; the command's output says why",
            link=None,
        ),
    )


def _send(filled: Filled, alert: Alert) -> None:
    for sent in at_once.send(filled, alert):
        if sent.fault is None:
            lines.warn(f"streamgauge: alert sent to {sent.receiver}" + (f" ({sent.note})" if sent.note else ""))
        else:
            lines.warn(f"streamgauge: the alert was not sent to {sent.receiver}: {sent.fault}")
