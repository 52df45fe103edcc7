"""What a run came to: whether its numbers can be believed, what was measured, and whether its rules were kept.

Everything is computed from the database, each time anew, in one pass over the streams. Nothing is printed here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from harness.config import Sla, Where
from harness.judge import metrics, sla, statistics
from harness.judge.figures import figure
from harness.judge.metrics import METRICS, RATES, Figure, Gauge, Samples, Totals
from harness.judge.sla import Status, Verdict
from harness.judge.statistics import Interval
from harness.judge.store import Run, Store

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


class Validity(StrEnum):
    VALID = "valid"
    DEGRADED = "degraded"  # numbers stand, with the error that the reasons name
    INVALID = "invalid"  # the generator measured itself: no verdict


@dataclass(frozen=True)
class Summary:
    """One metric in figures, in its unit. None where nothing was observed."""

    unit: str
    n: int  # samples of the plain reading
    failed: int  # +inf in the gated reading
    missing: int  # streams without a sample: left out of the plain reading
    quantiles: dict[str, float | None]  # by name: p50, p95, p99, of what was observed
    intervals: dict[str, Interval]  # of the quantiles
    gated: dict[str, float | None]  # the quantiles with failed streams as +inf
    mean: float | None
    min: float | None
    max: float | None


@dataclass(frozen=True)
class Part:
    """Some of a run's streams: all of one user class, say, or of one network."""

    key: str  # "user" or "network"
    value: str
    totals: Totals
    metrics: dict[str, Summary]  # ttft and itl


@dataclass(frozen=True)
class Judgement:
    run: Run
    seconds: float  # how long the run took
    validity: Validity
    reasons: list[str]  # why not VALID; for a valid run, what is still worth knowing
    metrics: dict[str, Summary]  # by name, in the order of METRICS
    rates: dict[str, Figure]  # by name, in the order of RATES
    totals: Totals
    coalesced: int  # pairs of chunks less than 1 ms apart: in no itl
    parts: list[Part]
    verdicts: list[Verdict]
    verdict: Literal["met", "missed", "inconclusive", "invalid"]
    reason: str  # of the verdict, one sentence
    gauge: Gauge  # for any other selection, and every metric's whole distribution


def judge(store: Store, run_id: str | None = None, rules: Sequence[Sla] | None = None) -> Judgement:
    """Judge a run (None: the newest) by `rules` (None: those it was run with). RuleError, StoreError."""
    run = store.run(run_id)
    parsed = [sla.parse(rule) for rule in (run.rules if rules is None else rules)]
    gauge = metrics.gauge(store.streams(run.id), {name for rule in parsed for name in rule.where.label})
    totals = gauge.totals()
    seconds = (run.ended_ns if run.ended_ns is not None else gauge.last_ns) / 1e9
    samples = {name: gauge.samples(name) for name in METRICS}
    validity, reasons = _validity(run, totals, samples)
    verdicts = [sla.evaluate(rule, gauge, seconds) for rule in parsed]
    verdict, reason = _verdict(validity, reasons, verdicts)
    return Judgement(
        run=run,
        seconds=seconds,
        validity=validity,
        reasons=reasons,
        metrics={name: summary(seen) for name, seen in samples.items()},
        rates={name: rate.over(totals, seconds) for name, rate in RATES.items()},
        totals=totals,
        coalesced=int(totals.sum("content_chunks") - totals.sum("with_content")) - samples["itl"].n,
        parts=_parts(gauge),
        verdicts=verdicts,
        verdict=verdict,
        reason=reason,
        gauge=gauge,
    )


def exit_code(judgement: Judgement, inconclusive: Literal["pass", "fail"] | None = None) -> int:
    """0 met, 1 missed, 3 inconclusive or invalid.

    `inconclusive` turns a 3 into 0 or 1. But "pass" forgives only that there was too little to judge: an invalid
    run, whose numbers cannot be believed, stays 3.
    """
    if judgement.verdict in {"met", "missed"}:
        return 0 if judgement.verdict == "met" else 1
    if inconclusive == "fail":
        return 1
    return 0 if inconclusive == "pass" and judgement.verdict == "inconclusive" else 3


def summary(samples: Samples) -> Summary:
    """The figures of one metric. Intervals of pooled samples allow for a stream's own samples being alike."""
    values, counts = samples.values, samples.counts
    gated = samples.gated()
    quantiles = {name: statistics.quantile(values, counts, q) for name, q in QUANTILES.items()}
    return Summary(
        unit=samples.metric.unit,
        n=samples.n,
        failed=samples.failed,
        missing=samples.missing,
        quantiles=quantiles,
        intervals={
            name: statistics.quantile_interval(values, counts, q, sla.effective(samples, samples.n, quantiles[name]))
            for name, q in QUANTILES.items()
        },
        gated={name: statistics.quantile(*gated, q) for name, q in QUANTILES.items()},
        mean=statistics.mean(values, counts),
        min=float(values[0]) if len(values) else None,
        max=float(values[-1]) if len(values) else None,
    )


def _parts(gauge: Gauge) -> list[Part]:
    chosen = [("user", user, Where(user=user)) for user in gauge.values("user")]
    chosen += [("network", network, Where(network=network)) for network in gauge.values("network")]
    return [
        Part(
            key,
            value,
            gauge.totals(where),
            {name: summary(gauge.samples(name, where)) for name in ("ttft", "itl")},
        )
        for key, value, where in chosen
    ]


# What the instrument may do wrong before its numbers carry a warning (DEGRADED) or no verdict (INVALID).
SATURATED_DEGRADED, SATURATED_INVALID = 0.05, 0.20  # share of reads that came late and held several chunks
UNSTAMPED_DEGRADED = 0.01  # share of reads without a kernel stamp
SEND_LAG_MS = 10.0  # p99: part of TTFT, since that counts from the due time
CLOCK_DRIFT_NS = 1_000_000


def _validity(run: Run, totals: Totals, samples: dict[str, Samples]) -> tuple[Validity, list[str]]:
    degraded = list(run.notes)
    invalid: list[str] = []
    reads = totals.sum("reads")
    saturated = totals.sum("saturated_reads") / reads if reads else 0.0
    if saturated > SATURATED_DEGRADED:
        (invalid if saturated > SATURATED_INVALID else degraded).append(
            f"the generator was saturated: {figure(saturated, 'ratio')} of reads came late and held several chunks; "
            f"use --processes 2 or fewer users"
        )
    unstamped = totals.sum("unstamped_reads") / reads if reads else 0.0
    if unstamped > UNSTAMPED_DEGRADED:
        degraded.append(
            f"{figure(unstamped, 'ratio')} of reads had no kernel stamp: their times are Python's, late by the read lag"
        )
    lag = statistics.quantile(samples["send_lag"].values, samples["send_lag"].counts, 0.99)
    if lag is not None and lag > SEND_LAG_MS:
        degraded.append(f"the generator sent late: p99 {figure(lag, 'ms')}, which is part of every TTFT here")
    drift = abs(int(run.instrument.get("clock_drift_ns") or 0))
    if drift > CLOCK_DRIFT_NS:
        degraded.append(f"the machine's clock stepped by {figure(drift / 1e6, 'ms')} during the run")
    if run.status == "running":
        degraded.append("the run has not ended, or ended without saying so")
    if invalid or degraded:
        return Validity.INVALID if invalid else Validity.DEGRADED, invalid + degraded
    return Validity.VALID, _remarks(run, totals)


def _remarks(run: Run, totals: Totals) -> list[str]:
    """What a reader of a valid run should still know."""
    remarks = ["the run was interrupted: it is judged by what it had"] if run.status == "interrupted" else []
    reads = totals.sum("reads")
    packed = (totals.sum("coalesced_reads") - totals.sum("saturated_reads")) / reads if reads else 0.0
    if packed > SATURATED_DEGRADED:
        remarks.append(
            f"{figure(packed, 'ratio')} of reads held several chunks that came together: "
            f"the server or a proxy sends them so"
        )
    return remarks


def _verdict(
    validity: Validity, reasons: list[str], verdicts: list[Verdict]
) -> tuple[Literal["met", "missed", "inconclusive", "invalid"], str]:
    if validity is Validity.INVALID:
        return "invalid", reasons[0]
    if not verdicts:
        return "inconclusive", "no SLA rules were given: nothing was judged"
    n = {status: sum(verdict.status is status for verdict in verdicts) for status in Status}
    of = f"of {len(verdicts)} rules" if len(verdicts) > 1 else "of 1 rule"
    if n[Status.MISSED]:
        return "missed", f"{n[Status.MISSED]} {of} missed"
    if n[Status.INCONCLUSIVE]:
        return "inconclusive", f"{n[Status.INCONCLUSIVE]} {of} inconclusive, none missed"
    return "met", f"all {len(verdicts)} rules met" if len(verdicts) > 1 else "the rule was met"
