"""The text of an SLA rule → a verdict. Pure: samples come in, nothing is read or printed.

    rule        = subject op limit
    subject     = aggregation "(" metric ")"  |  rate
    aggregation = "p" percentile  |  "mean"  |  "min"  |  "max"          p50, p95, p99, p99.9, …
    op          = "<"  |  "<="  |  ">"  |  ">="
    limit       = number unit                    a time in ms or s; a ratio in % or plain; the rest plain

    p95(ttft) < 1.5s      p99(itl) < 250ms      error_rate < 1%      output_tps > 500

A rule is MET or MISSED only when its whole 95 % interval lies on one side of the limit. All else is INCONCLUSIVE.
One with `for` is MISSED only where it stays so: in a window of that length, and in every slice of the window.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from streamgauge.harness.config import Reader, Sla, Where
from streamgauge.harness.errors import RuleError
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.metrics import METRICS, RATES, Floats, Gauge, Integers, Samples
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.measure.windows import SLICES, Windows

OPERATORS = ("<", "<=", ">", ">=")
_AGGREGATIONS = "p50, p95, p99 or any pNN, mean, min, max"
_TO_MS = {"ms": 1.0, "s": 1000.0}
_RULE = re.compile(r"(?P<subject>[^<>=!]*)(?P<op>[<>=!]+)(?P<limit>[^<>=!]*)")
_CALL = re.compile(r"(?P<aggregation>[^()\s]+)\s*\(\s*(?P<metric>[^()\s]*)\s*\)")
_LIMIT = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>[^\s\d.]*)")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")


class Status(StrEnum):
    MET = "met"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"


class Subject(msgspec.Struct, frozen=True):
    """What a rule or a gate is about: `p95(ttft)`, or a rate."""

    text: str
    aggregation: str | None  # None: a rate
    name: str  # of the metric or rate
    unit: str

    @property
    def quantile(self) -> float | None:
        found = _PERCENTILE.fullmatch(self.aggregation or "")
        return float(found[1]) / 100 if found else None


class Rule(msgspec.Struct, frozen=True):
    written: Sla
    subject: Subject
    op: str
    limit: float  # in the subject's unit

    @property
    def told(self) -> str:
        """As it was written, with its `for`: what it holds, and what tells it from one without."""
        lasting = self.written.lasting
        return self.written.rule if lasting is None else f"{self.written.rule} for {lasting}"

    @property
    def wants_low(self) -> bool:
        return self.op.startswith("<")

    def holds(self, value: float) -> bool:
        return {
            "<": value < self.limit,
            "<=": value <= self.limit,
            ">": value > self.limit,
            ">=": value >= self.limit,
        }[self.op]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    rule: str  # as in Rule.told
    where: Where
    severity: Literal["fail", "warn"] = "fail"
    status: Status
    observed: float | None  # +inf: failed streams made it so. None: nothing was observed
    plain: float | None = None  # of a metric: the same figure of what did come
    limit: float
    low: float | None  # of the 95 % interval; None where there is no such end
    high: float | None
    n: int  # samples that were judged, those at +inf included
    failed: int  # how many of them were +inf
    unit: str  # of observed, limit, low and high
    reason: str  # one sentence
    needed: int | None = None  # about how many samples would settle an inconclusive rule, if any number would

    @property
    def told(self) -> str:
        """Its status as a word, and whether the run's verdict depends on it."""
        return self.status.value if self.severity == "fail" else f"{self.status.value} (only warns)"


class _Evidence(NamedTuple):
    observed: float | None
    interval: Interval | None  # None: the figure is a fact about this run, there is no doubt to state
    n: int
    failed: int
    needed: int | None
    counted: str  # what n counts
    plain: float | None = None


class _Found(NamedTuple):
    status: Status
    reason: str
    evidence: _Evidence


def parse(sla: Sla) -> Rule:
    """RuleError, in one line that lists what exists, for anything that is not a rule."""
    text = sla.rule
    found = _RULE.fullmatch(text)
    if found is None:
        raise RuleError(f"{text!r} is no rule; write one as in 'p95(ttft) < 1.5s' or 'error_rate < 1%'")
    op = found["op"]
    if op not in OPERATORS:
        raise RuleError(f"{text!r}: no operator {op!r}; there are {', '.join(OPERATORS)}")
    about = subject(found["subject"].strip(), text)
    fault = _fault(sla, about)
    if fault is not None:
        raise RuleError(f"{text!r}: {fault}")
    return Rule(sla, about, op, _limit(text, found["limit"], about.name, about.unit))


def _fault(sla: Sla, about: Subject) -> str | None:
    """Why a rule cannot have the options that it was given."""
    if about.aggregation is None and RATES[about.name].of_run:
        given = {"where": sla.where != Where(), "for": sla.lasting is not None, "abort": sla.abort}
        for option in (name for name, there in given.items() if there):
            return f"{about.name} is known of the whole run only; take `{option}` out"
    if sla.min_samples < 0:
        return f"min_samples: {sla.min_samples} is negative"
    if sla.lasting == 0:
        return "for: must be longer than nothing"
    if sla.abort and sla.severity == "warn":
        return "a warning ends no run; take `abort` or `severity` out"
    return None if sla.abort or sla.grace is None else "grace goes with abort = true"


def subject(text: str, rule: str | None = None) -> Subject:
    """RuleError for what is not measured; it quotes the whole `rule` where there is one."""
    quoted = repr(rule or text)
    call = _CALL.fullmatch(text)
    if call is None:
        return Subject(text, None, text, _rate_unit(quoted, text))
    aggregation, name = call["aggregation"], call["metric"]
    if name not in METRICS:
        hint = f"; {name} is a rate: write it without {aggregation}( )" if name in RATES else ""
        raise RuleError(f"{quoted}: no metric called {name!r}; there are {', '.join(METRICS)}{hint}")
    percentile = _PERCENTILE.fullmatch(aggregation)
    if aggregation not in {"mean", "min", "max"} and not (percentile and float(percentile[1]) > 0):
        raise RuleError(f"{quoted}: no aggregation called {aggregation!r}; there are {_AGGREGATIONS}")
    return Subject(text, aggregation, name, METRICS[name].unit)


def _rate_unit(quoted: str, name: str) -> str:
    if name in METRICS:
        raise RuleError(f"{quoted}: {name} needs an aggregation, as in p95({name}); there are {_AGGREGATIONS}")
    if name not in RATES:
        raise RuleError(
            f"{quoted}: no rate called {name!r}; there are {', '.join(RATES)}, "
            f"or an aggregation of a metric, as in p95(ttft)"
        )
    return RATES[name].unit


def _limit(text: str, written: str, name: str, unit: str) -> float:
    found = _LIMIT.fullmatch(written.strip())
    if found is None:
        raise RuleError(f"{text!r}: {written.strip()!r} is no limit; write a number and a unit, as in 1.5s or 1%")
    number, given = float(found["number"]), found["unit"]
    if unit == "ms":
        if given not in _TO_MS:
            problem = f"no unit {given!r} for {name}" if given else "the limit has no unit"
            raise RuleError(f"{text!r}: {problem}; there are {', '.join(_TO_MS)}")
        return number * _TO_MS[given]
    if unit == "ratio":
        if given not in {"%", ""}:
            raise RuleError(f"{text!r}: no unit {given!r} for {name}; write 1% or 0.01")
        number = number / 100 if given else number
        if number > 1:
            raise RuleError(f"{text!r}: {name} is never above 100 %; did you mean {written.strip()}%?")
        return number
    if given:
        raise RuleError(f"{text!r}: no unit {given!r} for {name}; it is in {unit}, write the plain number")
    return number


def windows(rules: Iterable[Rule], labels: Sequence[str], person: Reader) -> dict[int, Windows]:
    """What has to take the streams, besides a gauge, for rules with `for`: by its length in ns."""
    names: dict[int, set[str]] = {}
    for rule in rules:
        if rule.written.lasting is not None:
            names.setdefault(rule.written.lasting, set()).add(rule.subject.name)
    return {length: Windows(length, labels, person, metrics) for length, metrics in names.items()}


def evaluate(
    rule: Rule,
    gauge: Gauge,
    seconds: float,
    windows: Mapping[int, Windows] | None = None,
    confidence: float = statistics.CONFIDENCE,
) -> Verdict:
    """Judge one rule by the streams that it speaks of; `seconds` is how long the run took.

    `windows` are those of all rules, and must have taken the same streams; only a rule with `for` needs them.
    """
    found = _judge(rule, _evidence(rule, gauge, seconds, confidence))
    absent = _absent(rule.written.where, gauge)
    if absent and found.evidence.n == 0:
        found = found._replace(status=Status.INCONCLUSIVE, reason=absent)
    elif rule.written.lasting is not None and found.evidence.n:
        assert windows is not None
        found = _lasting(rule, found, windows[rule.written.lasting], seconds, confidence)
    status, reason, evidence = found
    low, high = evidence.interval or (None, None)
    return Verdict(
        rule=rule.told,
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
        unit=rule.subject.unit,
        reason=reason,
        needed=evidence.needed if status is Status.INCONCLUSIVE else None,
    )


def _lasting(rule: Rule, run: _Found, windows: Windows, seconds: float, confidence: float) -> _Found:
    """The verdict of a rule with `for`; `run` is what the whole run would come to."""
    lasting = rule.written.lasting
    if seconds < windows.seconds:
        reason = f"the run took {seconds:,.0f} s: too short to say whether it stays so for {lasting}"
        return _Found(Status.INCONCLUSIVE, reason, run.evidence._replace(needed=None))
    unsure: _Found | None = None
    for window in windows.until(seconds):
        figures = [_evidence(rule, part, windows.seconds / SLICES, confidence).observed for part in window.slices]
        if all(figure is None for figure in figures) or any(f is not None and rule.holds(f) for f in figures):
            continue  # nobody asked, or it did not stay so
        found = _judge(rule, _evidence(rule, window.whole, windows.seconds, confidence))
        when = f"from {window.start:,.0f} s to {window.start + windows.seconds:,.0f} s"
        if found.status is Status.MISSED and None not in figures:
            return found._replace(reason=f"it stayed so {when}: {found.reason}")
        if found.status is Status.MISSED:
            reason = "it was missed, but for a part of that time no stream was due"
            found = _Found(Status.INCONCLUSIVE, reason, found.evidence._replace(needed=None))
        unsure = unsure or found._replace(status=Status.INCONCLUSIVE, reason=f"{when}: {found.reason}")
    if unsure is not None:
        return unsure
    if run.status is Status.INCONCLUSIVE and not _enough(rule, run.evidence):
        return run
    limit = figure(rule.limit, rule.subject.unit)
    return run._replace(status=Status.MET, reason=f"it never stayed beyond the limit of {limit} for {lasting}")


def _absent(where: Where, gauge: Gauge) -> str | None:
    """Which key of `where` selects nothing, and what there is."""
    given = {name: getattr(where, name) for name in Where.__struct_fields__ if name != "label"}
    given |= {f"label.{name}": value for name, value in where.label.items()}
    for key, value in given.items():
        there = gauge.values(key) if value is not None else []
        if value is not None and value not in there:
            return f"no stream has {key} {value!r}; there are {', '.join(there) or 'none with that key'}"
    return "no stream has all of what `where` asks for" if gauge.totals(where).streams == 0 else None


def _evidence(rule: Rule, gauge: Gauge, seconds: float, confidence: float) -> _Evidence:
    if rule.subject.aggregation is None:
        return _of_rate(rule, gauge, seconds, confidence)
    return _of_metric(rule, gauge.samples(rule.subject.name, rule.written.where), confidence)


def _of_rate(rule: Rule, gauge: Gauge, seconds: float, confidence: float) -> _Evidence:
    figures = RATES[rule.subject.name].over(gauge.totals(rule.written.where), seconds)
    if figures.hits is None:
        return _Evidence(figures.value, None, figures.n, 0, None, "streams")
    interval = statistics.ratio_interval(figures.hits, figures.n, confidence)
    needed = statistics.samples_for_ratio(figures.value, rule.limit) if figures.value is not None else None
    return _Evidence(figures.value, interval, figures.n, 0, needed, "streams")


def _of_metric(rule: Rule, samples: Samples, confidence: float) -> _Evidence:
    values, counts = samples.gated(rule.limit)
    n = int(counts.sum())
    failed = int(counts[-1]) if n and math.isinf(values[-1]) else 0
    counted = "gaps" if samples.metric.pooled else "streams"
    observed = _aggregated(rule.subject, values, counts)
    plain = _aggregated(rule.subject, samples.values, samples.counts)
    interval, needed = _doubt(rule, samples, observed, confidence)
    return _Evidence(observed, interval, n, failed, needed, counted, plain)


def _aggregated(subject: Subject, values: Floats, counts: Integers) -> float | None:
    if not len(values):
        return None
    if subject.quantile is not None:
        return statistics.quantile(values, counts, subject.quantile)
    if subject.aggregation == "mean":
        return statistics.mean(values, counts)
    return float(values[0 if subject.aggregation == "min" else -1])


def _doubt(
    rule: Rule, samples: Samples, observed: float | None, confidence: float
) -> tuple[Interval | None, int | None]:
    """The interval, and about how many samples would settle the rule."""
    values, counts = samples.gated(rule.limit)
    n = int(counts.sum())
    if observed is None:
        return Interval(None, None), None
    q = rule.subject.quantile
    if q is None:
        mean = rule.subject.aggregation == "mean"
        return (
            statistics.mean_interval(values, counts, effective(samples, n, None), confidence) if mean else None
        ), None
    worth = effective(samples, n, observed)
    interval = statistics.quantile_interval(values, counts, q, worth, confidence)
    share = statistics.share_at_most(values, counts, rule.limit)
    independent = statistics.samples_for_quantile(q, share) if share is not None else None
    return interval, None if independent is None else math.ceil(independent * n / (worth or n))


def effective(samples: Samples, n: int, at: float | None) -> float | None:
    """What n pooled samples are worth, for their mean or for the share at most `at`; None: each stands for itself."""
    if not samples.metric.pooled:
        return None
    values, owners = samples.clusters
    return statistics.effective_samples(n, values if at is None else (values <= at).astype(np.float64), owners)


def _judge(rule: Rule, evidence: _Evidence) -> _Found:
    observed, interval, n, failed, needed, counted, plain = evidence
    unit, fewest = rule.subject.unit, rule.written.min_samples
    limit = figure(rule.limit, unit)
    if observed is None:
        return _Found(Status.INCONCLUSIVE, f"nothing was observed: no {counted} to judge", evidence)
    lost = f"; {failed:,} never came and count as ∞: without them {figure(plain, unit)}" if failed else ""
    if n < fewest:
        reason = f"{n:,} {counted}, and the rule asks for {fewest:,} (min_samples){lost}"
        return _Found(Status.INCONCLUSIVE, reason, evidence._replace(needed=max(fewest, needed or 0)))
    if interval is None or (math.isinf(observed) and rule.subject.aggregation == "mean"):
        status = Status.MET if rule.holds(observed) else Status.MISSED
        return _Found(status, f"{figure(observed, unit)} is a fact of this run, over {n:,} {counted}{lost}", evidence)
    low, high = interval
    good, bad = (high, low) if rule.wants_low else (low, high)
    if good is not None and rule.holds(good):
        return _Found(Status.MET, f"the whole interval keeps the limit of {limit}{lost}", evidence)
    if bad is not None and not rule.holds(bad):
        return _Found(Status.MISSED, f"the whole interval is beyond the limit of {limit}{lost}", evidence)
    more = f"; about {needed:,} {counted} would settle it" if needed and needed > n else ""
    if good is None:
        reason = f"{n:,} {counted} are too few for this interval{more}{lost}"
        return _Found(Status.INCONCLUSIVE, reason, evidence)
    return _Found(Status.INCONCLUSIVE, f"the interval crosses the limit of {limit}{more}{lost}", evidence)


def _enough(rule: Rule, evidence: _Evidence) -> bool:
    """Whether there are samples enough for the rule to be met at all."""
    if evidence.n < rule.written.min_samples:
        return False
    if evidence.interval is None:
        return True
    low, high = evidence.interval
    return (high if rule.wants_low else low) is not None
