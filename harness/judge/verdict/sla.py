"""The verdict of a rule on a run's measurements. Pure: nothing is read or printed.

A rule is MET or MISSED only if its whole 95 % interval lies on one side of the limit; otherwise it is INCONCLUSIVE.
A rule with `for` is MISSED only if it is missed in a whole window of that length and in every slice of that window.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec

from streamgauge.harness.config.schema import Reader, Where
from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.distribution import Distribution
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.measure.windows import SLICES, Window, Windows
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.harness.judge.verdict.subjects import Subject
from streamgauge.harness.judge.verdict.summary import independent_samples
from streamgauge.harness.near_miss import listed
from streamgauge.harness.record.observation import FAILURES, Outcome


class RuleStatus(StrEnum):
    MET = "met"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"


WORST_FIRST = (RuleStatus.MISSED, RuleStatus.INCONCLUSIVE, RuleStatus.MET)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one rule."""

    rule: str  # as in Rule.text
    subject: Subject
    wants_low: bool  # the limit is the highest value that is good
    preset: str | None = None  # the preset that the rule is from
    where: Where
    severity: Literal["fail", "warn"] = "fail"
    status: RuleStatus
    observed: float | None  # with failed streams as +inf. None: nothing was observed
    plain: float | None = None  # of a metric: the same figure without failed streams
    limit: float
    low: float | None  # of the 95 % interval; None if the samples are too few for that end
    high: float | None
    n: int  # samples that were judged, those at +inf included
    failed: int  # how many of them were +inf
    waiting: int = 0  # how many of these the run's end cut off when they had already waited longer than the limit
    left: int = 0  # how many of these are people who left before the first token
    reason: str  # one sentence
    needed: int | None = None  # about how many samples would settle an inconclusive rule; None: no number would

    @property
    def figure(self) -> str:
        """The metric or the rate that it is about."""
        return self.subject.name

    @property
    def unit(self) -> str:
        """Of observed, limit, low and high."""
        return self.subject.unit

    @property
    def origin(self) -> str:
        """To be put behind the rule: ` (preset chat)`; "" for a rule that was written as one."""
        return "" if self.preset is None else f" (preset {self.preset})"

    @property
    def came_in_time(self) -> bool:
        """Whether only samples that never came are beyond the limit: what came keeps it."""
        if self.observed != math.inf or self.plain is None:
            return False
        return self.plain < self.limit

    @property
    def lost(self) -> str:
        """Why samples are +∞, as from `never`."""
        return never(self.failed, self.waiting, self.left)

    @property
    def status_text(self) -> str:
        """The status, with a remark if the run's verdict ignores it."""
        return self.status.value if self.severity == "fail" else f"{self.status.value} (only warns)"


class _Evidence(NamedTuple):
    """What a rule is judged by, of the whole run or of one window."""

    observed: float | None
    interval: Interval | None  # None: the figure is a fact about this run, so it has no uncertainty
    n: int
    failed: int
    needed: int | None
    counted: str  # what n counts, in the singular
    plain: float | None = None
    waiting: int = 0
    left: int = 0


class _Conclusion(NamedTuple):
    status: RuleStatus
    reason: str
    evidence: _Evidence

    def as_inconclusive(self, reason: str) -> "_Conclusion":
        return _Conclusion(RuleStatus.INCONCLUSIVE, reason, self.evidence)


def windows(rules: Iterable[Rule], labels: Sequence[str], reader: Reader, begins: float = 0.0) -> dict[int, Windows]:
    """The windows that rules with `for` need, by their length in ns. The caller must give them the run's streams.

    `begins`: s from the run's beginning to the end of its warm-up.
    """
    names: dict[int, set[str]] = {}
    for rule in rules:
        if rule.written.lasting is not None:
            names.setdefault(rule.written.lasting, set()).add(rule.subject.name)
    return {length: Windows(length, labels, reader, metrics, begins) for length, metrics in names.items()}


def evaluate(
    rule: Rule,
    measurements: Measurements,
    seconds: float,
    windows: Mapping[int, Windows] | None = None,
    confidence: float = statistics.CONFIDENCE,
) -> Verdict:
    """Judge one rule by the streams that it selects; `seconds` is how long the run took after its warm-up.

    `windows` are those of all rules, and must have taken the same streams; only a rule with `for` needs them.
    """
    conclusion = _conclude(rule, _evidence(rule, measurements, seconds, confidence))
    absent = _absent(rule.written.where, measurements)
    at_once = _at_once(rule, conclusion, measurements)
    if absent and conclusion.evidence.n == 0:
        conclusion = conclusion.as_inconclusive(absent)
    elif at_once is not None:
        conclusion = _unsettled(conclusion, at_once)
    elif rule.written.lasting is not None and conclusion.evidence.n:
        assert windows is not None
        conclusion = _lasting(rule, conclusion, windows[rule.written.lasting], seconds, confidence)
    status, reason, evidence = conclusion
    low, high = evidence.interval or (None, None)
    return Verdict(
        rule=rule.text,
        subject=rule.subject,
        wants_low=rule.wants_low,
        preset=rule.written.preset,
        where=rule.written.where,
        severity=rule.written.severity,
        status=status,
        observed=evidence.observed,
        plain=evidence.plain,
        limit=rule.limit,
        low=low,
        high=high,
        n=evidence.n,
        failed=evidence.failed,
        waiting=evidence.waiting,
        left=evidence.left,
        reason=reason,
        needed=evidence.needed if status is RuleStatus.INCONCLUSIVE else None,
    )


# Rules with `for`


def _lasting(rule: Rule, whole_run: _Conclusion, windows: Windows, seconds: float, confidence: float) -> _Conclusion:
    lasting = rule.written.lasting
    if seconds < windows.seconds:
        return _unsettled(whole_run, f"the run took {seconds:,.0f} s: too short for a rule that must last {lasting}")
    unsure: _Conclusion | None = None
    for window in windows.until(seconds):
        missed = _of_window(rule, window, windows.seconds, confidence)
        if missed is not None and missed.status is RuleStatus.MISSED:
            return missed
        unsure = unsure or missed
    if unsure is not None:
        return unsure
    if whole_run.status is RuleStatus.INCONCLUSIVE and not _can_be_met(rule, whole_run.evidence):
        return whole_run
    limit = figure(rule.limit, rule.subject.unit)
    return whole_run._replace(
        status=RuleStatus.MET, reason=f"it never stayed beyond the limit of {limit} for {lasting}"
    )


def _of_window(rule: Rule, window: Window, length: float, confidence: float) -> _Conclusion | None:
    """MISSED or INCONCLUSIVE; None if the rule held in one of the window's slices, or if no stream was due in it."""
    figures = [_evidence(rule, part, length / SLICES, confidence).observed for part in window.slices]
    if all(one is None for one in figures) or any(one is not None and rule.holds(one) for one in figures):
        return None
    # A window never has more streams than its time holds, so no number of them is asked for.
    conclusion = _conclude(rule, _evidence(rule, window.whole, length, confidence)._replace(needed=None))
    when = f"from {window.start:,.0f} s to {window.start + length:,.0f} s"
    if conclusion.status is not RuleStatus.MISSED:
        return _unsettled(conclusion, f"{when}: {conclusion.reason}")
    if None in figures:
        return _unsettled(conclusion, f"{when}: it was missed, but for a part of that time no stream was due")
    return conclusion._replace(reason=f"missed all the time {when}: {conclusion.reason}")


def _unsettled(conclusion: _Conclusion, reason: str) -> _Conclusion:
    """Inconclusive for a reason that a longer run of the same load would not change."""
    return conclusion._replace(evidence=conclusion.evidence._replace(needed=None)).as_inconclusive(reason)


def _can_be_met(rule: Rule, evidence: _Evidence) -> bool:
    """Whether there are enough samples for the rule to be met at all."""
    if evidence.n < rule.written.min_samples:
        return False
    if evidence.interval is None:
        return True
    low, high = evidence.interval
    return (high if rule.wants_low else low) is not None


# Evidence


def _absent(where: Where, measurements: Measurements) -> str | None:
    """Which key of `where` selects no stream, and which values would; None if `where` selects some."""
    for key, value in where.selected().items():
        occurred = measurements.values(key)
        if value not in occurred:
            return f"no stream has {key} {value!r}; there are {listed(value, occurred) or 'none with that key'}"
    if measurements.totals(where).streams:
        return None
    return "the run has no stream" if where == Where() else "no stream matches all keys of `where` at once"


def _at_once(rule: Rule, conclusion: _Conclusion, measurements: Measurements) -> str | None:
    """Why a rule on how answers came has no verdict: they came at once. None: it has, or it is not such a rule."""
    subject = rule.subject
    if not (RATES[subject.name].of_course if subject.aggregation is None else METRICS[subject.name].of_course):
        return None
    totals = measurements.totals(rule.written.where)
    streams, completed = int(totals.sum("unstreamed")), totals.count(Outcome.COMPLETED)
    if streams and conclusion.evidence.n == 0:
        return f"all chunks of {some(streams, 'stream')} arrived in one read each: the answer was not streamed"
    if 2 * streams > completed and conclusion.status is RuleStatus.MET:
        return f"{streams:,} of {some(completed, 'answer')} were not streamed: the rule is met by the few that were"
    return None


def _evidence(rule: Rule, measurements: Measurements, seconds: float, confidence: float) -> _Evidence:
    if rule.subject.aggregation is None:
        return _of_rate(rule, measurements, seconds, confidence)
    return _of_metric(rule, measurements, confidence)


def _of_rate(rule: Rule, measurements: Measurements, seconds: float, confidence: float) -> _Evidence:
    rate = RATES[rule.subject.name].over(measurements.totals(rule.written.where), seconds)
    if rate.hits is None:
        return _Evidence(rate.value, None, rate.n, 0, None, "stream")
    interval = statistics.ratio_interval(rate.hits, rate.n, confidence)
    needed = statistics.samples_for_ratio(rate.value, rule.limit) if rate.value is not None else None
    return _Evidence(rate.value, interval, rate.n, 0, needed, "stream")


def _of_metric(rule: Rule, measurements: Measurements, confidence: float) -> _Evidence:
    samples = measurements.distribution(rule.subject.name, rule.written.where)
    failed = measurements.totals(rule.written.where).count(*FAILURES)
    values, counts = samples.gated(rule.limit)
    n = int(counts.sum())
    observed = rule.subject.aggregate(values, counts)
    interval, needed = _uncertainty(rule, samples, observed, confidence)
    return _Evidence(
        observed=observed,
        interval=interval,
        n=n,
        failed=int(counts[-1]) if n and math.isinf(values[-1]) else 0,
        needed=needed,
        counted="gap" if samples.metric.pooled else "stream",
        plain=rule.subject.aggregate(samples.values, samples.counts),
        waiting=int((samples.elapsed >= rule.limit).sum()),
        left=max(0, samples.failed - failed),
    )


def _uncertainty(
    rule: Rule, samples: Distribution, observed: float | None, confidence: float
) -> tuple[Interval | None, int | None]:
    """The interval of the observed figure, and about how many samples would settle the rule."""
    values, counts = samples.gated(rule.limit)
    n = int(counts.sum())
    if observed is None:
        return Interval(None, None), None
    q = rule.subject.quantile
    if q is None:
        if rule.subject.aggregation != "mean":
            return None, None
        return statistics.mean_interval(values, counts, independent_samples(samples, n, None), confidence), None
    worth = independent_samples(samples, n, observed)
    interval = statistics.quantile_interval(values, counts, q, worth, confidence)
    share = statistics.share_at_most(values, counts, rule.limit)
    independent = statistics.samples_for_quantile(q, share) if share is not None else None
    return interval, None if independent is None else math.ceil(independent * n / (worth or n))


# From evidence to a conclusion


def never(failed: int, waiting: int, left: int) -> str:
    """Why samples are +∞: `37 never came`, `2 gave up waiting before the first token and 1 was still waiting …`.

    `failed`: how many are; `waiting` and `left`: how many of them the run's end cut off, and how many people left.
    """
    lost = failed - waiting - left
    causes = [f"{lost:,} never came"] if lost > 0 else []
    if left:
        causes.append(f"{left:,} gave up waiting before the first token")
    if waiting:
        causes.append(f"{waiting:,} {'was' if waiting == 1 else 'were'} waiting beyond the limit when the run ended")
    return " and ".join(causes)


def _without(plain: float | None, unit: str) -> str:
    return "there is no other" if plain is None else f"without them {figure(plain, unit)}"


def _conclude(rule: Rule, evidence: _Evidence) -> _Conclusion:
    observed, interval, n, failed, needed, counted, plain, waiting, left = evidence
    unit, fewest = rule.subject.unit, rule.written.min_samples
    if observed is None:
        return _Conclusion(RuleStatus.INCONCLUSIVE, f"nothing was observed: no {counted}s to judge", evidence)
    count = "counts" if failed == 1 else "count"
    lost = f"; {never(failed, waiting, left)} and {count} as ∞: {_without(plain, unit)}" if failed else ""
    if n < fewest:
        reason = f"{some(n, counted)}, and the rule asks for {fewest:,} (min_samples){lost}"
        return _Conclusion(RuleStatus.INCONCLUSIVE, reason, evidence._replace(needed=max(fewest, needed or 0)))
    if interval is None or (math.isinf(observed) and rule.subject.aggregation == "mean"):
        status = RuleStatus.MET if rule.holds(observed) else RuleStatus.MISSED
        return _Conclusion(
            status, f"{figure(observed, unit)} is a fact of this run, over {some(n, counted)}{lost}", evidence
        )
    status, reason = _by_interval(rule, interval, evidence)
    return _Conclusion(status, reason + lost, evidence)


def _by_interval(rule: Rule, interval: Interval, evidence: _Evidence) -> tuple[RuleStatus, str]:
    n, needed, counted = evidence.n, evidence.needed, evidence.counted
    limit = figure(rule.limit, rule.subject.unit)
    low, high = interval
    good, bad = (high, low) if rule.wants_low else (low, high)
    if good is not None and rule.holds(good):
        return RuleStatus.MET, f"the whole interval keeps the limit of {limit}"
    if bad is not None and not rule.holds(bad):
        return RuleStatus.MISSED, f"the whole interval is beyond the limit of {limit}"
    more = f"; about {some(needed, counted)} like these would settle it" if needed and needed > n else ""
    if good is None:
        return RuleStatus.INCONCLUSIVE, f"{some(n, f'{counted} is', f'{counted}s are')} too few for this interval{more}"
    return RuleStatus.INCONCLUSIVE, f"the interval crosses the limit of {limit}{more}"
