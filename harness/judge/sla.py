"""The text of an SLA rule → a verdict. Pure: samples come in, nothing is read or printed.

    rule        = subject op limit
    subject     = aggregation "(" metric ")"  |  rate
    aggregation = "p" percentile  |  "mean"  |  "min"  |  "max"          p50, p95, p99, p99.9, …
    op          = "<"  |  "<="  |  ">"  |  ">="
    limit       = number unit                    a time in ms or s; a ratio in % or plain; the rest plain

    p95(ttft) < 1.5s      p99(itl) < 250ms      error_rate < 1%      output_tps > 500

A rule is MET or MISSED only when its whole 95 % interval lies on one side of the limit. All else is INCONCLUSIVE.
"""

import math
import re
from enum import StrEnum
from typing import NamedTuple

import msgspec
import numpy as np

from harness.config import Sla, Where
from harness.errors import RuleError
from harness.judge import statistics
from harness.judge.figures import figure
from harness.judge.metrics import METRICS, RATES, Gauge, Samples
from harness.judge.statistics import Interval

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
    text: str  # as it was written
    where: Where
    subject: Subject
    op: str
    limit: float  # in the subject's unit

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
    rule: str
    where: Where
    status: Status
    observed: float | None  # +inf: failed streams made it so. None: nothing was observed
    limit: float
    low: float | None  # of the 95 % interval; None where there is no such end
    high: float | None
    n: int  # samples that were judged, those at +inf included
    failed: int  # how many of them were +inf
    unit: str  # of observed, limit, low and high
    reason: str  # one sentence
    needed: int | None = None  # about how many samples would settle an inconclusive rule, if any number would


class _Evidence(NamedTuple):
    observed: float | None
    interval: Interval | None  # None: the figure is a fact about this run, there is no doubt to state
    n: int
    failed: int
    needed: int | None
    counted: str  # what n counts


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
    if about.aggregation is None and RATES[about.name].of_run and sla.where != Where():
        raise RuleError(f"{text!r}: {about.name} is known of the whole run only; take `where` out")
    return Rule(text, sla.where, about, op, _limit(text, found["limit"], about.name, about.unit))


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


def evaluate(rule: Rule, gauge: Gauge, seconds: float) -> Verdict:
    """Judge one rule by the streams that it speaks of; `seconds` is how long the run took."""
    absent = _absent(rule.where, gauge)
    if rule.subject.aggregation is None:
        evidence = _of_rate(rule, gauge, seconds)
    else:
        evidence = _of_metric(rule, gauge.samples(rule.subject.name, rule.where))
    status, reason = _judge(rule, evidence)
    if absent and evidence.n == 0:
        status, reason = Status.INCONCLUSIVE, absent
    low, high = evidence.interval or (None, None)
    return Verdict(
        rule=rule.text,
        where=rule.where,
        status=status,
        observed=evidence.observed,
        limit=rule.limit,
        low=low,
        high=high,
        n=evidence.n,
        failed=evidence.failed,
        unit=rule.subject.unit,
        reason=reason,
        needed=evidence.needed if status is Status.INCONCLUSIVE else None,
    )


def _absent(where: Where, gauge: Gauge) -> str | None:
    """Which key of `where` selects nothing, and what there is."""
    given = {name: getattr(where, name) for name in Where.__struct_fields__ if name != "label"}
    given |= {f"label.{name}": value for name, value in where.label.items()}
    for key, value in given.items():
        there = gauge.values(key) if value is not None else []
        if value is not None and value not in there:
            return f"no stream has {key} {value!r}; there are {', '.join(there) or 'none with that key'}"
    return "no stream has all of what `where` asks for" if gauge.totals(where).streams == 0 else None


def _of_rate(rule: Rule, gauge: Gauge, seconds: float) -> _Evidence:
    figures = RATES[rule.subject.name].over(gauge.totals(rule.where), seconds)
    if figures.hits is None:
        return _Evidence(figures.value, None, figures.n, 0, None, "streams")
    interval = statistics.ratio_interval(figures.hits, figures.n)
    needed = statistics.samples_for_ratio(figures.value, rule.limit) if figures.value is not None else None
    return _Evidence(figures.value, interval, figures.n, 0, needed, "streams")


def _of_metric(rule: Rule, samples: Samples) -> _Evidence:
    values, counts = samples.gated(rule.limit)
    n = int(counts.sum())
    failed = int(counts[-1]) if n and math.isinf(values[-1]) else 0
    counted = "gaps" if samples.metric.pooled else "streams"
    if n == 0:
        return _Evidence(None, Interval(None, None), 0, 0, None, counted)
    q = rule.subject.quantile
    if q is not None:
        return _of_quantile(rule, samples, q, failed)
    if rule.subject.aggregation == "mean":
        interval = statistics.mean_interval(values, counts, effective(samples, n, None))
        return _Evidence(statistics.mean(values, counts), interval, n, failed, None, counted)
    return _Evidence(float(values[0 if rule.subject.aggregation == "min" else -1]), None, n, failed, None, counted)


def _of_quantile(rule: Rule, samples: Samples, q: float, failed: int) -> _Evidence:
    values, counts = samples.gated(rule.limit)
    n = int(counts.sum())
    observed = statistics.quantile(values, counts, q)
    assert observed is not None
    worth = effective(samples, n, observed)
    interval = statistics.quantile_interval(values, counts, q, worth)
    share = statistics.share_at_most(values, counts, rule.limit)
    independent = statistics.samples_for_quantile(q, share) if share is not None else None
    needed = None if independent is None else math.ceil(independent * n / (worth or n))
    return _Evidence(observed, interval, n, failed, needed, "gaps" if samples.metric.pooled else "streams")


def effective(samples: Samples, n: int, at: float | None) -> float | None:
    """What n pooled samples are worth, for their mean or for the share at most `at`; None: each stands for itself."""
    if not samples.metric.pooled:
        return None
    values, owners = samples.clusters
    return statistics.effective_samples(n, values if at is None else (values <= at).astype(np.float64), owners)


def _judge(rule: Rule, evidence: _Evidence) -> tuple[Status, str]:
    observed, interval, n, failed, needed, counted = evidence
    limit = figure(rule.limit, rule.subject.unit)
    if observed is None:
        return Status.INCONCLUSIVE, f"nothing was observed: no {counted} to judge"
    lost = f"; {failed:,} never came and count as ∞" if failed else ""
    if interval is None or (math.isinf(observed) and rule.subject.aggregation == "mean"):
        status = Status.MET if rule.holds(observed) else Status.MISSED
        return status, f"{figure(observed, rule.subject.unit)} is a fact of this run, over {n:,} {counted}{lost}"
    low, high = interval
    good, bad = (high, low) if rule.wants_low else (low, high)
    if good is not None and rule.holds(good):
        return Status.MET, f"the whole interval keeps the limit of {limit}{lost}"
    if bad is not None and not rule.holds(bad):
        return Status.MISSED, f"the whole interval is beyond the limit of {limit}{lost}"
    more = f"; about {needed:,} {counted} would settle it" if needed and needed > n else ""
    if good is None:
        return Status.INCONCLUSIVE, f"{n:,} {counted} are too few for this interval{more}{lost}"
    return Status.INCONCLUSIVE, f"the interval crosses the limit of {limit}{more}{lost}"
