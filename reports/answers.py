"""The questions of people who read only the first screen, each answered in a sentence or two."""

import re

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.short_of_cores import is_here
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import shortened, uncapitalised
from streamgauge.harness.record.observation import FAILURES, Outcome
from streamgauge.reports import group_bars
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Answer
from streamgauge.reports.worst import divided, failures, gave_up, share_of_them, stall, worst_off

_SERVERS_SIDE = "The server, or a proxy or the network before it"
# Whose freezes in mid-answer are, by the id of a finding.
_FROZEN_BY = {
    "link_stalls": "The link, which the test emulates",
    "server_paused": "The server",
    "lone_stalls": _SERVERS_SIDE,
}
_LONGEST_REASON, _LONGEST_DETAIL = 240, 80  # characters
_ON_THE_WAY = {Outcome.UNREACHABLE, Outcome.RESET, Outcome.TIMED_OUT}  # what a network can do as well as a server


def answers(run: Material) -> tuple[Answer, ...]:
    """Empty for a run in which nothing came and nothing failed."""
    if run.judgement.metrics["ttft"].quantiles.p95 is None and not run.judgement.failures:
        return ()
    worst = worst_off(run)
    if run.judgement.validity is Validity.INVALID:
        worst = f"Seen, but not sure, since the run is invalid: {uncapitalised(worst)}"
    return (
        Answer("Who has it worst, and why?", worst, "latency", group_bars.draw(run)),
        Answer("Is it the server, the link, or our tool?", _cause(run), "server"),
    )


def _cause(run: Material) -> str:
    judgement = run.judgement
    why = _first_clauses(judgement.reasons[0]) if judgement.reasons else ""
    if judgement.validity is Validity.INVALID:
        return f"Our tool, or how it ran: {why}. What the figures say of the server or the link is not sure."
    ours = _ours(judgement)
    if judgement.validity is Validity.DEGRADED:
        ours = f"Our tool may have a part in it: {why}"
    all_met = judgement.verdict == "met" and all(each.status is RuleStatus.MET for each in judgement.verdicts)
    well = "Nothing went wrong that needs a cause: every rule is met. " if all_met else ""
    return f"{well}{_theirs(run)} {ours}."


def _first_clauses(reason: str) -> str:
    """A reason without its last clauses if it is long: Validity below has all of them."""
    if len(reason) <= _LONGEST_REASON:
        return reason
    end = max(reason.rfind(mark, 0, _LONGEST_REASON) for mark in ("; ", ": "))
    return reason[:end] if end > 0 else shortened(reason, _LONGEST_REASON)


def _ours(judgement: Judgement) -> str:
    """What the run's own record says of our tool. Only where it was calibrated is it known how exact it is."""
    if any(finding.id == "generator_near_limit" for finding in judgement.findings):
        return "Our tool was busy but kept up: the figures are right, and a higher load would need more processes"
    late = judgement.metrics["send_lag"].quantiles.p99
    sent = "" if late is None else f": it sent 99 % of the requests at most {figure(late, 'ms')} late"
    if "certificate" in judgement.run.instrument:
        return f"Our tool is not the cause{sent}"
    shared = ". Server and tool shared this machine" if is_here(judgement.run.host) else ""
    doubt = "How exact its times are was not measured (streamgauge calibrate), and the verdict does not need that"
    return f"Our tool noticed no fault of its own{sent}. {doubt}{shared}"


def _theirs(run: Material) -> str:
    """What failed, what stood still in mid-answer, and the first token: each with whose it is."""
    judgement = run.judgement
    p95 = judgement.metrics["ttft"].quantiles.p95
    if p95 is None:
        return f"{_whose_failure(run)}: no stream had a first token, {_how(run)}."
    parts = divided(run, "ttft", p95, Where())
    failed = failures(run)
    told = [f"{_whose_failure(run)}: {failed}, {_how(run)}."] if failed else []
    frozen = [finding for finding in judgement.findings if finding.id in _FROZEN_BY]
    told += [f"{_FROZEN_BY[each.id]}: {uncapitalised(each.sentence)}." for each in frozen[:1]]
    if not frozen and (stalls := stall(run)):
        told.append(stalls)
    whose = " of the others" if failed else " of those who got a first token" if gave_up(run) else ""
    told.append(f"P95 TTFT{whose} is {figure(p95, 'ms')}; {parts}.")
    return " ".join(told)


def _whose_failure(run: Material) -> str:
    return _SERVERS_SIDE if run.judgement.failures[0].outcome in _ON_THE_WAY else "The server"


def _how(run: Material) -> str:
    """The most frequent failure: `all of them refused: HTTP 429`."""
    found = run.judgement.failures
    first = found[0]
    said = re.split("[{<]", first.detail)[0].rstrip(" :")  # without a body of JSON or HTML, which Errors shows
    alike = [each for each in found if (each.outcome, each.http_status) == (first.outcome, first.http_status)]
    them = share_of_them(sum(each.n for each in alike), run.judgement.totals.count(*FAILURES))
    return f"{them} {first.outcome.replace('_', ' ')}{f': {shortened(said, _LONGEST_DETAIL)}' if said else ''}"
