"""OpenMetrics text, for GitLab's metrics report: a merge request then shows which figures changed, and by how much.

GitLab matches names and labels, so these are the same from run to run: none of them names the run.
"""

import math
from collections.abc import Iterator, Mapping

from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.wording import visible, words

_SUFFIX = {"ratio": "ratio", "tokens/s": "tokens_per_second", "streams/s": "streams_per_second"}


def render(judgement: Judgement) -> str:
    return "".join(f"{line}\n" for line in (*_lines(judgement), "# EOF"))


def comparison(compared: Comparison) -> str:
    return "".join(f"{line}\n" for line in (*_compared(compared), "# EOF"))


def gated(result: Gated) -> str:
    return "".join(f"{line}\n" for line in (*_lines(result.judgement), *_compared(result.compared), "# EOF"))


def _compared(compared: Comparison) -> list[str]:
    lines = [*_head("streamgauge_compared", "the gated metrics: typical of a run of the baseline, and of a run now")]
    for row in compared.rows:
        for side, value in ((compared.baseline, row.baseline), ("now", row.candidate)):
            lines += _sample("streamgauge_compared", {"metric": row.subject, "runs": side}, value)
    return lines


def _lines(judgement: Judgement) -> Iterator[str]:
    of_run = {"scenario": judgement.run.scenario}
    for name, summary in judgement.metrics.items():
        if summary.n or summary.failed:
            family = _family(name, summary.unit)
            yield from _head(family, METRICS[name].definition)
            for quantile, value in summary.gated._asdict().items():  # failed streams as +Inf, as rules see them
                yield from _sample(family, {**of_run, "quantile": quantile}, value)
    for name, rate in judgement.rates.items():
        if rate.value is not None:
            family = _family(name, RATES[name].unit)
            yield from _head(family, RATES[name].definition)
            yield from _sample(family, of_run, rate.value)
    yield from _head("streamgauge_streams", "streams of the run by outcome")
    for outcome, count in judgement.totals.outcomes.items():
        yield from _sample("streamgauge_streams", {**of_run, "outcome": outcome}, count)
    yield from _head("streamgauge_rule_observed", "what each SLA rule observed, in ms or in the unit of its metric")
    for place, verdict in enumerate(judgement.verdicts):
        rule = {**of_run, "rule": verdict.rule, "streams": words(verdict.where)}
        if (verdict.rule, verdict.where) not in [(one.rule, one.where) for one in judgement.verdicts[:place]]:
            yield from _sample("streamgauge_rule_observed", rule, verdict.observed)


def _family(name: str, unit: str) -> str:
    suffix = _SUFFIX.get(unit, unit)
    return f"streamgauge_{name}" if name.endswith(suffix) else f"streamgauge_{name}_{suffix}"


def _head(family: str, definition: str) -> Iterator[str]:
    yield f"# TYPE {family} gauge"
    yield f"# HELP {family} {_escaped(definition)}"


def _sample(family: str, labels: Mapping[str, str], value: float | None) -> Iterator[str]:
    """No line if nothing was observed."""
    if value is not None:
        pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{family}{{{pairs}}} {'+Inf' if value == math.inf else f'{value:.6g}'}"


def _escaped(text: str) -> str:
    return visible(text).replace("\\", r"\\").replace('"', r"\"")
