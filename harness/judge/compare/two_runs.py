"""Two single runs side by side. Pure. No verdict: with one run each, nothing can be told from chance."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.rates import RATES, Figure
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.summary import Summary


class Difference(NamedTuple):
    """One figure of two runs; `change` as in comparison.Row. The interval ignores how far equal runs are apart."""

    subject: str
    unit: str
    before: float
    after: float
    change: float
    interval: Interval


def differences(before: Judgement, after: Judgement) -> list[Difference]:
    rows = [
        each
        for name, old in before.metrics.items()
        if not METRICS[name].of_instrument
        for each in _of_metric(name, old, after.metrics[name])
    ]
    for name, rate in before.rates.items():
        if RATES[name].unit == "ratio":
            rows += _of_share(name, rate, after.rates[name])
    return rows


def only_on_one_side(before: Judgement, after: Judgement) -> list[str]:
    """Sentences about metrics that one of the runs has, and the other has in no stream: no difference can show them."""
    sentences = []
    for here, one, there, other in (("before", before, "now", after), ("now", after, "before", before)):
        lost = [
            name
            for name, seen in one.metrics.items()
            if seen.n and not other.metrics[name].n and not METRICS[name].of_instrument
        ]
        if lost:
            sentences.append(f"only {here}, and in no stream {there}: {', '.join(lost)}")
    return sentences


def _of_metric(name: str, before: Summary, after: Summary) -> Iterator[Difference]:
    for place, q in enumerate(("p50", "p95")):
        one, two = before.quantiles[place], after.quantiles[place]
        if one is None or two is None:
            continue
        if before.unit == "ratio":
            by = statistics.difference_interval((one, before.intervals[place]), (two, after.intervals[place]))
            yield Difference(f"{q}({name})", before.unit, one, two, two - one, by)
        elif one and two:
            intervals = _logs(before.intervals[place]), _logs(after.intervals[place])
            by = statistics.difference_interval((math.log(one), intervals[0]), (math.log(two), intervals[1]))
            interval = Interval(*(None if end is None else math.exp(end) for end in by))
            yield Difference(f"{q}({name})", before.unit, one, two, two / one, interval)


def _of_share(name: str, before: Figure, after: Figure) -> Iterator[Difference]:
    if before.value is not None and after.value is not None:
        one, two = ((each.value or 0.0, statistics.ratio_interval(each.hits or 0, each.n)) for each in (before, after))
        by = statistics.difference_interval(one, two)
        yield Difference(name, "ratio", before.value, after.value, after.value - before.value, by)


def _logs(interval: Interval) -> Interval:
    return Interval(*(math.log(end) if end else None for end in interval))
