"""The sentence below the verdict: each rule that was not met, with its figure and its limit."""

import math

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.measure.rates import OF_FAILURES, OF_ONE_KIND
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import words
from streamgauge.reports.panel import figure_or_never, interval_of, sentence

MOST_RULES = 4


def headline(judgement: Judgement, load: str) -> str:
    """The missed or inconclusive rules, the worst first; if all are met, the one that is nearest to its limit.

    `load`: what a met rule holds for.
    """
    if not judgement.totals.streams:
        return sentence(f"Nothing was measured: the run has no stream. {judgement.reason}")
    if judgement.verdict == "invalid":
        return sentence(f"This run cannot be judged: {judgement.reason}")
    untested = [verdict for verdict in judgement.verdicts if not verdict.n]
    alike = [
        verdict
        for verdict in judgement.verdicts
        if verdict.status_text == judgement.verdict and verdict not in untested
    ]
    return _judged(judgement, load, alike) + _not_tested(untested) + _measured(judgement)


def _measured(judgement: Judgement) -> str:
    degraded = judgement.validity is Validity.DEGRADED
    return " The measurement is DEGRADED: our tool may have a part in the figures." if degraded else ""


def _judged(judgement: Judgement, load: str, alike: list[Verdict]) -> str:
    if judgement.verdict == "missed" and alike:
        return _missed(judgement, alike)
    if judgement.verdict == "inconclusive" and judgement.verdicts:
        rules = f": {_listed([_unsettled(verdict) for verdict in alike])}" if alike else ""
        return sentence(f"{judgement.reason}{rules}")
    if judgement.verdict == "met":
        nearest = f". The nearest to its limit: {_told(judgement, max(alike, key=_used))}" if len(alike) > 1 else ""
        return sentence(f"with {load}, {judgement.reason}{nearest}")
    return sentence(judgement.reason)


def _missed(judgement: Judgement, alike: list[Verdict]) -> str:
    # Streams that failed make many figures infinite. What failed is the reason, and those figures are not.
    is_infinite = any(verdict.observed == math.inf for verdict in alike)
    reasons = OF_FAILURES | OF_ONE_KIND.keys() if is_infinite else frozenset[str]()
    ranked = sorted(alike, key=lambda each: (each.figure in reasons, _used(each)), reverse=True)
    others = [verdict for verdict in judgement.verdicts if verdict not in alike]
    rest = f"{_subject(others[0])} is" if len(others) == 1 else f"the other {len(others)} rules are"
    kept = f"; {rest} MET" if others and all(each.status is RuleStatus.MET for each in others) else ""
    only_lost = [verdict for verdict in ranked if verdict.came_in_time]
    if len(only_lost) == len(ranked):
        only_lost = []
    told = _listed([_told(judgement, verdict) for verdict in ranked if verdict not in only_lost], "; ")
    lost = (
        f"; also missed, only by the streams that never came: {_listed(list(map(_subject, only_lost)))}"
        if only_lost
        else ""
    )
    return sentence(f"SLA missed: {told}{lost}{kept}")


def _not_tested(verdicts: list[Verdict]) -> str:
    if not verdicts:
        return ""
    return f" Not tested, since no stream belongs to it: {_listed(list(map(_subject, verdicts)))}."


def _listed(rules: list[str], between: str = ", ") -> str:
    more = [f"and {some(len(rules) - MOST_RULES, 'other rule')}"] if len(rules) > MOST_RULES else []
    return between.join([*rules[:MOST_RULES], *more])


def _used(verdict: Verdict) -> float:
    """How much of its limit a rule has used up: 1 at the limit."""
    if verdict.observed is None:
        return 0.0
    if verdict.wants_low:
        part, whole = verdict.observed, verdict.limit
    elif verdict.unit == "ratio":  # 99 % of a rule that wants 98 % has used up half of the 2 % that may be missing
        part, whole = 1 - verdict.observed, 1 - verdict.limit
    else:
        part, whole = verdict.limit, verdict.observed
    return part / whole if whole > 0 else math.inf if part > 0 else 0.0


def _told(judgement: Judgement, verdict: Verdict) -> str:
    """`P95 TTFT of network slow_3g was 4.9 s (limit 4 s)`."""
    subject, limit = _subject(verdict), f"({_limit(verdict)})"
    if verdict.observed != math.inf:
        return f"{subject} was {figure_or_never(verdict.observed, verdict.unit)} {limit}"
    totals = judgement.measurements.totals(verdict.where)
    lost = f"of {some(totals.streams if verdict.waiting else totals.ended, 'stream')}, {verdict.lost}"
    if verdict.plain is None:
        return f"{subject}: {lost} {limit}"
    # Without the streams that make it infinite, by which a reader sees whether those that came were slow as well.
    plain = figure_or_never(verdict.plain, verdict.unit)
    return f"{subject} was {plain} for those that came {limit}, and {lost}"


def _unsettled(verdict: Verdict) -> str:
    """`P99 longest stall was 2.45 s (1.83–2.79 s; limit 2 s)`."""
    if verdict.observed is None:
        return _subject(verdict)
    interval = interval_of(Interval(verdict.low, verdict.high), verdict.unit)
    return f"{_subject(verdict)} was {figure_or_never(verdict.observed, verdict.unit)} ({interval}; {_limit(verdict)})"


def _subject(verdict: Verdict) -> str:
    """`P95 TTFT of network slow_3g`. The panel of rules has each rule as it is written."""
    return verdict.subject.words + ("" if verdict.where == Where() else f" of {words(verdict.where)}")


def _limit(verdict: Verdict) -> str:
    return f"limit {figure_or_never(verdict.limit, verdict.unit)}"
