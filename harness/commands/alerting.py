"""--alert of the commands that judge runs: tells the receivers of the config when the verdict is not good."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from streamgauge.harness.config.load import load
from streamgauge.harness.config.receivers import Filled
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.outputs import lines
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.monitor.alerts import at_once, of_result
from streamgauge.harness.monitor.alerts.message import Alert


def receivers(config: str | None) -> Filled:
    """Those of this config. ConfigError if there are none, or if a secret is missing: before anything is run."""
    return at_once.ready(load(config).alert)


def tell(filled: Filled, result: Judgement | Gated, code: int) -> None:
    """Send an alert unless `code` is 0. A receiver that fails is told on standard error; the exit code stays."""
    if alert := of_result.alert_of(result, code):
        _send(filled, alert)


@contextmanager
def mistakes_told(filled: Filled | None, subject: str, target: str) -> Iterator[None]:
    """Send an alert if a mistake ends the command in here, such as a baseline that does not exist. None: send nothing.

    A job that runs at night has nobody who reads what it printed.
    """
    try:
        yield
    except StreamgaugeError as fault:
        if filled is not None:
            tell_of_no_verdict(filled, subject, target, str(fault))
        raise


def tell_of_no_verdict(filled: Filled, subject: str, target: str, reason: str) -> None:
    """Send an alert that nothing could be judged: silence would look like success."""
    now = time.time()
    _send(
        filled,
        Alert(
            key=f"no-verdict.{now:.0f}",
            status="firing",
            slo=f"rules of {shortened(subject, 80)}",
            severity="ticket",
            target=shortened(target, 120),
            since=now,
            until=None,
            budget_left=None,
            evidence={"exit_code": int(Exit.MISTAKE)},
            summary=shortened(f"Without a verdict: {reason}", 600),
            link=None,
        ),
    )


def _send(filled: Filled, alert: Alert) -> None:
    for sent in at_once.send(filled, alert):
        if sent.fault is None:
            lines.warn(f"streamgauge: alert sent to {sent.receiver}" + (f" ({sent.note})" if sent.note else ""))
        else:
            lines.warn(f"streamgauge: the alert was not sent to {sent.receiver}: {sent.fault}")
