"""The result as a JSON document, `streamgauge/result/1`; docs/reference/result.schema.json describes it.

JSON has no infinity: a figure of +∞ is null, and `failed` beside it says how many samples were +∞.
"""

from typing import Any

import msgspec

from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.figures import finite
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.verdict.findings import Finding
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import Verdict
from streamgauge.harness.judge.verdict.summary import Summary
from streamgauge.harness.judge.verdict.warm_up import WarmUp
from streamgauge.harness.judge.wording import escaped_json

SCHEMA = "streamgauge/result/1"
COMPARISON = "streamgauge/comparison/1"


def render(judgement: Judgement) -> str:
    return _formatted(document(judgement))


def document(judgement: Judgement) -> dict[str, Any]:
    run = judgement.run
    return {
        "schema": SCHEMA,
        "run": {
            "id": run.id,
            "scenario": run.scenario,
            "host": run.host,
            "started_at": run.started_at,
            "seconds": judgement.took,
            "status": run.status,
            "labels": run.labels,
            "fingerprint": run.fingerprint,
            "instrument": run.instrument,
        },
        "reader": {
            "characters_per_second": judgement.reader.characters_per_second,
            "good": msgspec.to_builtins(judgement.reader.good, enc_hook=str),
        },
        "next_step": judgement.next_step or None,
        "findings": [_finding(finding) for finding in judgement.findings],
        "validity": {"status": judgement.validity.value, "reasons": judgement.reasons},
        "metrics": {
            **{name: _metric(summary) for name, summary in judgement.metrics.items()},
            **{
                name: {"unit": RATES[name].unit, "value": finite(rate.value), "n": rate.n}
                for name, rate in judgement.rates.items()
            },
        },
        "parts": [
            {
                "key": part.key,
                "value": part.value,
                "outcomes": part.totals.outcomes,
                **{name: _metric(summary) for name, summary in part.metrics.items()},
            }
            for part in judgement.parts
        ],
        "outcomes": judgement.totals.outcomes,
        "failures": [failure._asdict() for failure in judgement.failures],
        "warm_up": _warm_up(judgement.warm_up),
        "cost": _cost(judgement),
        "oddities": judgement.totals.oddities,
        "coalesced": judgement.coalesced,
        "verdicts": [_verdict(verdict) for verdict in judgement.verdicts],
        "verdict": judgement.verdict,
        "reason": judgement.reason,
    }


def gated(result: Gated) -> str:
    """The result of the run whose rules ended worst, with the worse verdict of rules and gate."""
    both = {"verdict": result.status, "reason": result.reason, "gate": _comparison(result.compared)}
    return _formatted(document(result.judgement) | both)


def comparison(compared: Comparison) -> str:
    """`streamgauge/comparison/1`: what the regression gate says; docs/concepts/regression.md lists its fields."""
    return _formatted(_comparison(compared))


def _comparison(compared: Comparison) -> dict[str, Any]:
    return {
        "schema": COMPARISON,
        "baseline": compared.baseline,
        "verdict": compared.status.value,
        "reason": compared.reason,
        "rows": [
            {
                "metric": row.subject,
                "unit": row.unit,
                "status": row.status.value,
                "baseline": finite(row.baseline),
                "candidate": finite(row.candidate),
                "change": finite(row.change),
                "low": finite(row.interval.low),
                "high": finite(row.interval.high),
                "reason": row.reason,
            }
            for row in compared.rows
        ],
        "baseline_runs": compared.baseline_runs,
        "first_runs": compared.first_runs,
        "fresh_runs": compared.fresh_runs,
        "wanted": compared.wanted,
        "notes": compared.notes,
    }


def _formatted(document: dict[str, Any]) -> str:
    return escaped_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"


def _metric(summary: Summary) -> dict[str, Any]:
    return {
        "unit": summary.unit,
        "n": summary.n,
        **summary.quantiles._asdict(),
        "mean": summary.mean,
        "min": summary.min,
        "max": summary.max,
        "intervals": {name: list(interval) for name, interval in summary.intervals._asdict().items()},
        "failed": summary.failed,
        "missing": summary.missing,
        "gated": {name: finite(value) for name, value in summary.gated._asdict().items()},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "advice": finding.advice,
        "sentence": finding.sentence,
        "evidence": [number._asdict() for number in finding.evidence],
        "meaning": finding.meaning,
        "change": finding.change,
        "source": finding.source,
        "certainty": finding.certainty.value,
    }


def _warm_up(warmed: WarmUp | None) -> dict[str, Any] | None:
    if warmed is None:
        return None
    return {"seconds": warmed.seconds, "outcomes": warmed.outcomes, "failed": warmed.failed}


def _cost(judgement: Judgement) -> dict[str, Any] | None:
    cost, warm_up = judgement.cost, judgement.warm_up
    if cost is None:
        return None
    return {
        "currency": cost.currency,
        "total": cost.total,
        "per_thousand_answers": cost.per_thousand,
        "streams": cost.streams,
        "without_usage": cost.silent,
        "with_partial_usage": cost.partial,
        "resumed": cost.resumed,
        "warm_up": warm_up.cost if warm_up else None,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "rule": verdict.rule,
        "preset": verdict.preset,
        "where": msgspec.to_builtins(verdict.where),  # only the keys that were given
        "severity": verdict.severity,
        "status": verdict.status.value,
        "observed": finite(verdict.observed),
        "plain": finite(verdict.plain),
        "limit": verdict.limit,
        "low": finite(verdict.low),
        "high": finite(verdict.high),
        "n": verdict.n,
        "failed": verdict.failed,
        "unit": verdict.unit,
        "needed": verdict.needed,
        "reason": verdict.reason,
    }
