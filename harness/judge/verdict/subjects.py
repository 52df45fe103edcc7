"""What a rule or a regression gate is about: `p95(ttft)`, or a rate such as `error_rate`. Pure.

subject     = aggregation "(" metric ")"  |  rate
aggregation = "p" percentile  |  "mean"  |  "min"  |  "max"          p50, p95, p99, p99.9, …
"""

import re

import msgspec

from streamgauge.harness.errors import RuleError
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.measure.metrics import METRICS, Better
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.near_miss import listed

_AGGREGATIONS = "p50, p95, p99 or any pNN, mean, min, max"
_CALL = re.compile(r"(?P<aggregation>[^()\s]+)\s*\(\s*(?P<metric>[^()\s]*)\s*\)")
_SPELLED = {"ttft", "itl", "tpot", "e2e", "tps"}  # letters of other words
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")


class Subject(msgspec.Struct, frozen=True):
    text: str  # as it was written
    aggregation: str | None  # None: the subject is a rate
    name: str  # of the metric or the rate
    unit: str

    @property
    def words(self) -> str:
        """As people say it: `P95 TTFT`, `mean ITL`, `P99 longest stall`, `error rate`."""
        called = " ".join(word.upper() if word in _SPELLED else word for word in self.name.split("_"))
        taken = self.aggregation.upper() if self.aggregation and self.quantile else self.aggregation
        return f"{taken} {called}" if taken else called

    @property
    def quantile(self) -> float | None:
        """0.95 for a subject such as p95(ttft); None for a mean, a minimum, a maximum and a rate."""
        percentile = _PERCENTILE.fullmatch(self.aggregation or "")
        return float(percentile[1]) / 100 if percentile else None

    @property
    def statistic(self) -> str | float | None:
        """What is taken of the metric, however it is written: p95 and p95.0 are one. None: the subject is a rate."""
        return self.aggregation if self.quantile is None else self.quantile

    @property
    def better(self) -> Better:
        """The direction in which the figure is good."""
        return RATES[self.name].better if self.aggregation is None else METRICS[self.name].better

    def aggregate(self, values: Floats, counts: Integers) -> float | None:
        """The figure of sorted distinct values and how often each occurred; None if there are none."""
        if not len(values):
            return None
        if self.quantile is not None:
            return statistics.quantile(values, counts, self.quantile)
        if self.aggregation == "mean":
            return statistics.mean(values, counts)
        return float(values[0 if self.aggregation == "min" else -1])


def parse(text: str, rule: str | None = None) -> Subject:
    """RuleError for a metric, rate or aggregation that does not exist; it quotes the whole `rule` if there is one."""
    quoted = repr(rule or text)
    call = _CALL.fullmatch(text)
    if call is None:
        return Subject(text, None, text, _unit_of_rate(quoted, text))
    aggregation, name = call["aggregation"], call["metric"]
    if name not in METRICS:
        hint = f"; {name} is a rate: write it without {aggregation}( )" if name in RATES else ""
        raise RuleError(f"{quoted}: no metric called {name!r}; there are {listed(name, METRICS, hint)}")
    found = Subject(text, aggregation, name, METRICS[name].unit)
    # Beside 0 and 100: numbers that are so near to them that the computer rounds them.
    if aggregation not in {"mean", "min", "max"} and not 0 < (found.quantile or 0) < 1:
        raise RuleError(f"{quoted}: no aggregation called {aggregation!r}; there are {_AGGREGATIONS}")
    return found


def _unit_of_rate(quoted: str, name: str) -> str:
    if name in METRICS:
        raise RuleError(f"{quoted}: {name} needs an aggregation, as in p95({name}); there are {_AGGREGATIONS}")
    if name not in RATES:
        raise RuleError(
            f"{quoted}: no rate called {name!r}; there are "
            + listed(name, RATES, ", or an aggregation of a metric, as in p95(ttft)")
        )
    return RATES[name].unit
