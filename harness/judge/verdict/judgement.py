"""What a run came to: whether its numbers can be believed, what was measured, and whether its rules were kept.

Everything is computed from the database, each time anew, in one pass over the streams. Nothing is printed here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import msgspec
import numpy as np

from streamgauge.harness.config import Reader, Sla, Where, decode
from streamgauge.harness.exit_codes import Exit, ForInconclusive
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.metrics import METRICS, RATES, Figure, Gauge, Samples, Totals
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.store import Readings, Run, Store, Streams
from streamgauge.harness.judge.verdict import aftermath, sla
from streamgauge.harness.judge.verdict.sla import Status, Verdict
from streamgauge.harness.record.vitals import Vital

PHASE = "phase"  # the label by which a scenario parts its streams, for figures side by side
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

    key: str  # user, network, phase (a label), cache or answer
    value: str
    where: Where
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
    reader: Reader  # whose waits the smoothness is about
    gauge: Gauge  # for any other selection, and every metric's whole distribution


def judge(
    store: Store,
    run_id: str | None = None,
    rules: Sequence[Sla] | None = None,
    also: Callable[[Streams], object] | None = None,
    reader: Reader | None = None,
) -> Judgement:
    """Judge a run (None: the newest) by `rules`, for a `reader` (None: as it was run). RuleError, StoreError.

    `also` is given each batch of streams, too: reading a large file takes longer than most of what is done with it.
    """
    run = store.run(run_id)
    parsed = [sla.parse(rule) for rule in (run.rules if rules is None else rules)]
    person = msgspec.convert(run.config.get("reader", {}), Reader, dec_hook=decode) if reader is None else reader
    labels = [PHASE, *(name for rule in parsed for name in rule.written.where.label)]
    gauge = Gauge(labels, person)
    windows = sla.windows(parsed, labels, person)
    for streams in map(gauge.arranged, store.streams(run.id)):
        gauge.take(streams)
        for each in windows.values():
            each.take(streams)
        if also is not None:
            also(streams)
    gauge.whole = _aftermath(store, run.id, gauge) | _arrivals(store, run.id)
    totals = gauge.totals()
    seconds = store.duration(run) / 1e9
    samples = {name: gauge.samples(name) for name in METRICS}
    readings = {name: store.samples(run.id, name) for name in HABITS}
    validity, reasons = _validity(run, totals, samples, readings)
    verdicts = [sla.evaluate(rule, gauge, seconds, windows) for rule in parsed]
    verdict, reason = _verdict(run, validity, reasons, verdicts)
    return Judgement(
        run=run,
        seconds=seconds,
        validity=validity,
        reasons=reasons,
        metrics={name: summary(seen) for name, seen in samples.items()},
        rates={name: rate.over(totals, seconds) for name, rate in RATES.items()},
        totals=totals,
        coalesced=int(totals.sum("content_chunks") - totals.sum("with_content"))
        - sum(samples[name].n for name in ("itl", "tool_pause")),
        parts=_parts(gauge),
        verdicts=verdicts,
        verdict=verdict,
        reason=reason,
        reader=person,
        gauge=gauge,
    )


def exit_code(judgement: Judgement, inconclusive: ForInconclusive | None = None) -> Exit:
    """The verdict as an exit code.

    `inconclusive` replaces INCONCLUSIVE by MET ("pass") or MISSED ("fail"). "pass" is for runs with too few samples
    only: an invalid run, whose numbers cannot be believed, stays INCONCLUSIVE.
    """
    if judgement.verdict in {"met", "missed"}:
        return Exit.MET if judgement.verdict == "met" else Exit.MISSED
    if inconclusive == "fail":
        return Exit.MISSED
    return Exit.MET if inconclusive == "pass" and judgement.verdict == "inconclusive" else Exit.INCONCLUSIVE


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


def _aftermath(store: Store, run_id: str, gauge: Gauge) -> dict[str, float]:
    """Sums of the whole run from the server's own counters; without such, none."""
    began, ended = gauge.began, gauge.ended
    generated, active = (store.samples(run_id, vital) for vital in (Vital.SERVER_GENERATED, Vital.SERVER_ACTIVE))
    found = {
        Vital.SERVER_GENERATED: aftermath.generated(generated, began, ended),
        "server_stopped_ms": aftermath.stopped_after(active, generated, began, ended),
    }
    return {name: value for name, value in found.items() if value is not None}


def _arrivals(store: Store, run_id: str) -> dict[str, float]:
    """Of an open load: what was due, and what of it nobody was free to serve. Nothing of a closed one."""
    found: dict[str, float] = {}
    for name in (Vital.ARRIVALS, Vital.DROPPED_ARRIVALS):
        readings = store.samples(run_id, name)
        counted = dict(zip(readings.worker, readings.value.tolist(), strict=True))  # of each process, its last word
        if counted:
            found[name] = sum(counted.values())
    return found


def _parts(gauge: Gauge) -> list[Part]:
    """Those that differ in what anybody asked to know: every user class and network, the rest where there is some."""
    chosen = [
        (key, value, msgspec.convert({key: value}, Where)) for key in ("user", "network") for value in gauge.values(key)
    ]
    chosen += [(PHASE, phase, Where(label={PHASE: phase})) for phase in gauge.values(f"label.{PHASE}")]
    for key, telling in (("cache", "hit"), ("answer", "whole")):
        there = gauge.values(key)
        chosen += [(key, value, msgspec.convert({key: value}, Where)) for value in there if telling in there]
    return [
        Part(
            key,
            value,
            where,
            gauge.totals(where),
            {name: summary(gauge.samples(name, where)) for name in ("ttft", "itl")},
        )
        for key, value, where in chosen
    ]


# What the instrument may do wrong before its numbers carry a warning (DEGRADED) or no verdict (INVALID); why each
# limit is where it is, docs/concepts/validity.md tells at more length.

# A late read that holds several chunks knows only the last one's time, so the gap before it is too long and the
# others are lost: in 1 % of reads that is p99(itl), in 10 % everything from its p90 on.
SATURATED_DEGRADED, SATURATED_INVALID = 0.01, 0.10
UNSTAMPED_DEGRADED = 0.01  # share of reads without a kernel stamp: p99 may be of such
# After a step all kernel stamps are off by it, and with them every TTFT; 50 ms is no longer an error but a falsehood.
CLOCK_STEP_DEGRADED, CLOCK_STEP_INVALID = 1_000_000, 50_000_000  # ns
SEND_LAG_MS = 10.0  # p99: part of TTFT, since that counts from the due time
# Any dropped arrival is load that was asked for and not sent, and one that a slow server would have kept waiting. With
# one in twenty gone, the p95 of those that were begun is at best the p90 of those that were due.
DROPPED_INVALID = 0.05  # share of an open load's arrivals
# Of each stream's latest read. Not p99: one stop of 0.3 s is in every stream that was open then. Tokens of most models
# come 10 to 50 ms apart, so a reader that is this late in half of the streams lives by the kernel's stamps alone.
READ_LAG_MS = 50.0  # p50

PACKED_REMARKED = 0.05  # share of reads that held several chunks though they came in time: no fault of ours

# Of a process's readings, one a second (of the collector: one a collection). A spike is none of our business, a habit
# is: at least so many readings of one process beyond the limit, and at least such a share of them.
HABIT_READINGS, HABIT_SHARE = 5, 0.10
HABITS = {  # sample → limit, what it means, of what the share is
    Vital.CPU_PERCENT: (
        90.0,  # of one core, which is all that Python can use
        "used 90 % of a core or more in {share} of its seconds: it can hardly drive more; "
        "use --processes 2 or fewer users",
    ),
    Vital.LOOP_LAG: (
        50.0,
        "was late for its own timers by 50 ms or more in {share} of its seconds; use --processes 2 or fewer users",
    ),
    Vital.GC_PAUSE: (50.0, "stood still for 50 ms or more in {share} of its garbage collections"),
}
# Beyond it, late is the rule: new connections and requests are late, too, and TTFT has that in it.
LATE_INVALID = 0.5  # share of the readings of `loop_lag_ms`


def _validity(
    run: Run, totals: Totals, samples: dict[str, Samples], readings: dict[Vital, Readings]
) -> tuple[Validity, list[str]]:
    degraded = list(run.notes)
    invalid: list[str] = []
    reads = totals.sum("reads")
    saturated = totals.sum("saturated_reads") / reads if reads else 0.0
    # One stop while three short streams were open is a tenth of all their reads: few reads do not prove a habit.
    surely = statistics.ratio_interval(int(totals.sum("saturated_reads")), int(reads)).low or 0.0
    if surely > SATURATED_DEGRADED:
        (invalid if surely > SATURATED_INVALID else degraded).append(
            f"the generator was saturated: {figure(saturated, 'ratio')} of reads came late and held several chunks; "
            f"use --processes 2 or fewer users"
        )
    step = abs(int(run.instrument.get(Vital.CLOCK_DRIFT) or 0))
    if step > CLOCK_STEP_DEGRADED:
        (invalid if step > CLOCK_STEP_INVALID else degraded).append(
            f"the machine's clock stepped by {figure(step / 1e6, 'ms')} during the run"
        )
    unstamped = totals.sum("unstamped_reads") / reads if reads else 0.0
    if unstamped > UNSTAMPED_DEGRADED:
        degraded.append(
            f"{figure(unstamped, 'ratio')} of reads had no kernel stamp: their times are Python's, late by the read lag"
        )
    sent, read = samples["send_lag"], samples["read_lag"]
    lag = statistics.quantile(sent.values, sent.counts, 0.99)
    if lag is not None and lag > SEND_LAG_MS:
        degraded.append(f"the generator sent late: p99 {figure(lag, 'ms')}, which is part of every TTFT here")
    lag = statistics.quantile(read.values, read.counts, 0.50)
    if lag is not None and lag > READ_LAG_MS:
        worst = statistics.quantile(read.values, read.counts, 0.99)
        degraded.append(
            f"the generator read late: by {figure(lag, 'ms')} or more in half of the streams, "
            f"p99 {figure(worst, 'ms')}; use --processes 2 or fewer users"
        )
    dropped, due = totals.sum(Vital.DROPPED_ARRIVALS), totals.sum(Vital.ARRIVALS)
    if dropped:
        (invalid if dropped / due > DROPPED_INVALID else degraded).append(
            f"{dropped:,.0f} of {due:,.0f} arrivals ({figure(dropped / due, 'ratio')}) were dropped, since everybody "
            f"was busy: less load than asked for; raise --users, or lower the rate if the server cannot keep up"
        )
    for name, (limit, meaning) in HABITS.items():
        for share, told in _habits(readings[name], limit, meaning):
            (invalid if name is Vital.LOOP_LAG and share > LATE_INVALID else degraded).append(told)
    if run.status == "running":
        degraded.append("the run has not ended, or ended without saying so")
    remarks = _remarks(run, totals)
    if invalid or degraded:
        return Validity.INVALID if invalid else Validity.DEGRADED, invalid + degraded + remarks
    return Validity.VALID, remarks


def _habits(readings: Readings, limit: float, meaning: str) -> list[tuple[float, str]]:
    """Of each process whose readings were beyond the limit too often to be a spike: their share, and a sentence."""
    workers = np.array(readings.worker)
    found = []
    for worker in sorted(set(readings.worker)):
        beyond = readings.value[workers == worker] >= limit
        if beyond.sum() >= HABIT_READINGS and beyond.mean() > HABIT_SHARE:
            share = float(beyond.mean())
            found.append((share, f"{worker} {meaning.format(share=figure(share, 'ratio'))}"))
    return found


def _remarks(run: Run, totals: Totals) -> list[str]:
    """What a reader should know however good the numbers are."""
    remarks = ["the run was interrupted: it is judged by what it had"] if run.status == "interrupted" else []
    if run.status == "aborted":
        remarks.append(f"the run was ended early, and is judged by what it had: {run.instrument.get('aborted')}")
    if run.host.lower().startswith("https:") and run.config.get("verify") is False:
        remarks.append("the TLS certificate was not verified (verify = false): another host may have answered")
    reads = totals.sum("reads")
    packed = (totals.sum("coalesced_reads") - totals.sum("saturated_reads")) / reads if reads else 0.0
    if packed > PACKED_REMARKED:
        remarks.append(
            f"{figure(packed, 'ratio')} of reads held several chunks that came together: "
            f"the server or a proxy sends them so"
        )
    return remarks


def _verdict(
    run: Run, validity: Validity, reasons: list[str], verdicts: list[Verdict]
) -> tuple[Literal["met", "missed", "inconclusive", "invalid"], str]:
    if validity is Validity.INVALID:
        return "invalid", reasons[0]
    if not verdicts:
        return "inconclusive", "no SLA rules were given: nothing was judged"
    gating = [verdict.status for verdict in verdicts if verdict.severity == "fail"]
    missed, unsure = gating.count(Status.MISSED), gating.count(Status.INCONCLUSIVE)
    of = f"of {len(gating)} rules" if len(gating) > 1 else "of 1 rule"
    warned = sum(verdict.severity == "warn" and verdict.status is Status.MISSED for verdict in verdicts)
    warning = f"; {warned} that only {'warns' if warned == 1 else 'warn'} missed" if warned else ""
    if missed:
        return "missed", f"{missed} {of} missed{warning}"
    if run.status == "aborted":  # whatever the rules say that it is judged by now
        return "missed", f"the run was ended early: {run.instrument.get('aborted')}"
    if unsure:
        return "inconclusive", f"{unsure} {of} inconclusive, none missed{warning}"
    if not gating and not any(verdict.n for verdict in verdicts):
        return "inconclusive", "there are only rules that warn, and they had nothing to judge"
    if not gating:
        return "met", f"there are only rules that warn{warning or ', and none was missed'}"
    return "met", (f"all {len(gating)} rules met" if len(gating) > 1 else "the rule was met") + warning
