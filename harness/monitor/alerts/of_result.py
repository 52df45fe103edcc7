"""The alert about a run or a gate: a rule is missed, a metric regressed, or nothing could be judged. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare.comparison import GateStatus
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.monitor.alerts.message import Alert

_MOST = 5  # missed rules, regressed metrics
_UNFIT = re.compile(r"[^\x21-\x7e]")  # for a key
_LONGEST = 300  # characters of what a config or a server said


def alert_of(result: Judgement | Gated, code: int) -> Alert | None:
    """None if the command exits with 0. Exit code 1 is worth a page; 3, no verdict, a ticket.

    It is never followed by a resolved one: the next run is another run.
    """
    if code == Exit.MET:
        return None
    judgement = result.judgement if isinstance(result, Gated) else result
    status = result.status if isinstance(result, Gated) else result.verdict.value
    run = judgement.run
    reason = result.reason if isinstance(result, Gated) else judgement.reason
    return Alert(
        key=_UNFIT.sub("_", f"run.{run.id[-150:]}.{status}"),
        status="firing",
        slo=f"rules of {shortened(run.scenario, 80)}",
        severity="page" if code == Exit.MISSED else "ticket",
        target=shortened(run.host, 120),
        since=run.realtime_ns / 1e9,
        until=None,
        budget_left=None,
        evidence=dict(_evidence(result, judgement)),
        summary=shortened(f"Run {run.id} is {status.upper()}: {reason}", 2 * _LONGEST),
        link=None,
    )


def _evidence(result: Judgement | Gated, judgement: Judgement) -> Iterator[tuple[str, Any]]:
    yield "run", judgement.run.id
    yield "streams", sum(judgement.totals.outcomes.values())
    missed = [each for each in judgement.verdicts if each.status is RuleStatus.MISSED]
    for number, verdict in enumerate(missed[:_MOST], 1):
        yield f"missed_{number}", shortened(f"{verdict.rule}: {figure(verdict.observed, verdict.unit)}", _LONGEST)
    if isinstance(result, Gated):
        yield "baseline", result.compared.baseline
        regressed = [row for row in result.compared.rows if row.status is GateStatus.REGRESSED]
        for number, row in enumerate(regressed[:_MOST], 1):
            yield f"regressed_{number}", shortened(f"{row.subject}: {row.reason}", _LONGEST)
    if judgement.failures:
        yield "failures", shortened(str(judgement.failures[0]), _LONGEST)
