"""The judgement of a run: whether its numbers can be believed, what was measured, and whether its rules were met.

Everything is computed from the database each time, in one pass over the streams. Nothing is printed here.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import msgspec

from streamgauge.harness.config.duration import decode
from streamgauge.harness.config.schema import Reader, Where
from streamgauge.harness.errors import StoreError
from streamgauge.harness.exit_codes import Exit, ForInconclusive, of_inconclusive
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.measure import server_counters, statistics
from streamgauge.harness.judge.measure.cost import Cost, cost_of, prices_of
from streamgauge.harness.judge.measure.distribution import Distribution
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.rates import CARRIED, OF_FAILURES, OF_ONE_KIND, RATES, SERVER_STOPPED, Figure
from streamgauge.harness.judge.measure.totals import Totals
from streamgauge.harness.judge.store import (
    BATCH,
    FEWEST_BESIDE,
    Run,
    Store,
    Streams,
    decoded,
    decoded_ahead,
    measured_streams,
)
from streamgauge.harness.judge.verdict import sla
from streamgauge.harness.judge.verdict.cold_start import FirstStreams
from streamgauge.harness.judge.verdict.findings import Collector, Finding, find, next_step
from streamgauge.harness.judge.verdict.findings import Evidence as OfFindings
from streamgauge.harness.judge.verdict.rules import Rule, parse_all
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict
from streamgauge.harness.judge.verdict.summary import Summary, summary
from streamgauge.harness.judge.verdict.undecided import what_would_decide
from streamgauge.harness.judge.verdict.validity import EVIDENCE, Evidence, Validity, assess, was_spent
from streamgauge.harness.judge.verdict.warm_up import WarmUp, warm_up_of
from streamgauge.harness.record.failure import Failure, merged
from streamgauge.harness.record.observation import FAILURES
from streamgauge.harness.record.vitals import Vital

_MOST_FAILURES = 1_000  # different messages that are read
# Of a run without a rule about failures. With one stream in twenty failed, its p95 is ∞: what is left is no success.
MOST_FAILED = 0.05
_OTHER_KEY = {"network": "user", "user": "network"}
PHASE = "phase"  # the label by which a scenario divides its streams, for figures side by side


class RunVerdict(StrEnum):
    MET = "met"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


@dataclass(frozen=True)
class Part:
    """Some of a run's streams: all of one user class, say, or of one network."""

    key: str  # user, network, phase (a label), cache or answer
    value: str
    where: Where
    totals: Totals
    metrics: dict[str, Summary]  # ttft and itl
    alike: str = ""  # of a network, the user class that has the very same streams; of that class, the network

    @property
    def name(self) -> str:
        """`wifi`; `slow_4g (class Commuter)` of a network on which all of one user class are, and nobody else."""
        return f"{self.value} (class {self.alike})" if self.key == "network" and self.alike else self.value

    @property
    def is_told(self) -> bool:
        """Whether a network has the very same streams, and with its name and figures tells of this part, too."""
        return self.key == "user" and bool(self.alike)


@dataclass(frozen=True)
class Judgement:
    run: Run
    took: float  # seconds from the run's beginning to its end
    seconds: float  # of these, after the warm-up: the time that throughputs are over
    warm_up: WarmUp | None
    cost: Cost | None  # of the measured streams; None: the config had no prices
    validity: Validity
    reasons: list[str]  # why not VALID; for a valid run, remarks that its reader should still know
    distributions: dict[str, Distribution] = field(repr=False)  # by name, in the order of METRICS
    rates: dict[str, Figure]  # by name, in the order of RATES
    totals: Totals
    failures: list[Failure]  # why streams failed, the most frequent first
    coalesced: int  # pairs of chunks that came together, which `itl` does not count
    verdicts: list[Verdict]  # of the rules
    verdict: RunVerdict
    reason: str  # of the verdict, one sentence
    reader: Reader  # the person of the reader model
    measurements: Measurements  # for any other selection
    evidence: OfFindings = field(repr=False)

    # Intervals are half of a small run's judgement, and a gate, which judges dozens of runs, reads none of these.

    @cached_property
    def metrics(self) -> dict[str, Summary]:
        """By name, in the order of METRICS."""
        return {name: summary(distribution) for name, distribution in self.distributions.items()}

    @cached_property
    def parts(self) -> list[Part]:
        return _parts(self.measurements)

    @property
    def groups(self) -> list[Part]:
        """The parts, without those of which a network tells."""
        return [part for part in self.parts if not part.is_told]

    @property
    def is_told_by_rules(self) -> bool:
        """Whether one of the rules that count has the run's own verdict; if none has, only `reason` explains it."""
        return any(each.severity == "fail" and each.status.value == self.verdict.value for each in self.verdicts)

    @cached_property
    def findings(self) -> list[Finding]:
        """What an expert would point out, first what explains the missed rules."""
        return find(self.evidence, self._missed)

    @cached_property
    def next_step(self) -> str:
        """What to try before anything else; "" if the findings, or an invalid run's reasons, say all.

        Of an inconclusive run, what lets it be judged; else what to do about missed rules that no finding explains.
        """
        if self.verdict is RunVerdict.INVALID and self.run.status == "interrupted":
            return "let it run to its end: an interrupted run is not judged"
        if self.verdict is RunVerdict.INVALID or is_search(self.run) or not self.totals.streams:
            return ""
        if self.verdict is RunVerdict.INCONCLUSIVE:
            return what_would_decide(self.verdicts, self.seconds, self.took - self.seconds)
        return next_step(self.findings, self._missed)

    @cached_property
    def _missed(self) -> set[str]:
        """The figures that missed their limits. Where only streams that failed did so, it is the error rate."""
        missed = [each for each in self.verdicts if each.status is RuleStatus.MISSED]
        if not self.totals.count(*FAILURES):
            return {each.figure for each in missed}
        by_failures = {"error_rate"} if any(each.observed == math.inf for each in missed) else set()
        return by_failures | {each.figure for each in missed if not each.came_in_time}


@dataclass(frozen=True)
class _Passed:
    """What the pass over the streams left."""

    measurements: Measurements
    verdicts: list[Verdict]
    cold_start: str  # a remark; "" without one
    collector: Collector


def judge(
    store: Store,
    run_id: str | None = None,
    rules: Sequence[Rule] | None = None,
    also: Callable[[Streams], object] | None = None,
    reader: Reader | None = None,
    labels: Callable[[Streams], Sequence[str]] | None = None,
) -> Judgement:
    """Judge a run (None: the newest) by `rules` and for a `reader` (None: the rules and reader of the run's config).

    `also` receives each batch of streams, too, with the columns of the reader model, so that a caller need not read a
    large file twice. `labels` says, given the first batch, which labels its caller will select by, beside the ones of
    the rules. RuleError for a stored rule that this version cannot parse, StoreError.
    """
    run = store.run(run_id)
    rules = parse_all(run.rules, f"{store.path}: {run.id}") if rules is None else rules
    reader = msgspec.convert(run.config.get("reader", {}), Reader, dec_hook=decode) if reader is None else reader
    of_rules = [PHASE, *(name for rule in rules for name in rule.written.where.label)]
    took, begins = store.duration(run) / 1e9, (run.measured_from or 0) / 1e9
    windows = sla.windows(rules, of_rules, reader, begins)
    streams_in_all = store.count(run.id)
    first_streams, collector = FirstStreams.of(streams_in_all), Collector(took, streams_in_all)
    with measured_streams(store, run.id, streams_in_all) as batches:
        first = list(itertools.islice(batches, 1))
        of_caller = [] if labels is None else [name for streams in first for name in labels(streams)]
        measurements = Measurements([*of_rules, *of_caller], reader)
        arranged = map(measurements.arranged, itertools.chain(first, batches))
        for streams in _decoded(arranged, streams_in_all):
            measured = measurements.take(streams)
            collector.take(streams)
            if run.measured_from is None:
                first_streams.take(streams)
            for each in windows.values():
                each.take(streams)
            if also is not None:
                also(measured)
    measurements.of_run = _server_counters(store, run, measurements) | _arrivals(store, run.id)
    seconds = max(0.0, took - begins)
    verdicts = [sla.evaluate(rule, measurements, seconds, windows) for rule in rules]
    return _judgement(store, run, took, _Passed(measurements, verdicts, first_streams.remark(took), collector))


def _decoded(batches: Iterator[Streams], streams_in_all: int) -> Iterator[Streams]:
    if streams_in_all <= BATCH:  # a single one: no other would be worked on meanwhile
        return decoded(batches)
    return decoded_ahead(batches, statistics.prepare if streams_in_all >= FEWEST_BESIDE else None)


def _judgement(store: Store, run: Run, took: float, passed: _Passed) -> Judgement:
    measurements, verdicts = passed.measurements, passed.verdicts
    totals = measurements.totals()
    warm_up = warm_up_of(store, run, took)
    seconds = took - (warm_up.seconds if warm_up else 0.0)
    distributions = {name: measurements.distribution(name) for name in METRICS}
    vitals = {name: store.vital(run.id, name) for name in EVIDENCE}
    validity, reasons = assess(Evidence(run, totals, distributions, vitals, warm_up, passed.cold_start))
    verdict, reason = _verdict(run, validity, reasons, verdicts)
    if verdict is RunVerdict.MET and (unjudged := unjudged_failures(totals, verdicts)):
        verdict, reason = RunVerdict.INCONCLUSIVE, unjudged
    failures = merged(store.failures(run.id, _MOST_FAILURES)) if totals.count(*FAILURES) else []
    return Judgement(
        run=run,
        took=took,
        seconds=seconds,
        warm_up=warm_up,
        cost=cost_of(totals, prices_of(run.config)),
        validity=validity,
        reasons=reasons,
        distributions=distributions,
        rates={name: rate.over(totals, seconds) for name, rate in RATES.items()},
        totals=totals,
        failures=failures,
        coalesced=totals.gaps - sum(distributions[name].n for name in ("itl", "tool_pause")),
        verdicts=verdicts,
        verdict=verdict,
        reason=reason,
        reader=measurements.reader,
        measurements=measurements,
        evidence=OfFindings(
            run=run,
            totals=totals,
            failures=failures,
            vitals=vitals,
            validity=validity,
            sample=passed.collector.sample(store.texts(passed.collector.ids)),
            course=passed.collector.course(),
            broken=passed.collector.broken(),
            verdicts=verdicts,
        ),
    )


def is_search(run: Run) -> bool:
    """Whether a search for a capacity drove the run. Its streams are of many loads, most of which are not to be met."""
    return "capacity" in run.instrument


def of_one_load(store: Store, run_id: str | None) -> Run:
    """This run, which must be no search for a capacity. None: the newest that is none. StoreError."""
    run = store.run(run_id)
    if run_id is None:
        run = next((each for each in reversed(store.runs()) if not is_search(each)), run)
    if is_search(run):
        raise StoreError(
            f"{run.id} is a search for a capacity, whose figures are of many loads: name a run of one load; "
            f"`streamgauge runs` lists them"
        )
    return run


def unjudged_failures(totals: Totals, verdicts: Sequence[Verdict]) -> str:
    """How many streams failed as no rule is about, if that is clearly too many to say nothing of; otherwise ""."""
    about = {verdict.figure for verdict in verdicts}
    failed = totals.count(*FAILURES - {outcome for rate, outcome in OF_ONE_KIND.items() if rate in about})
    if failed <= MOST_FAILED * totals.ended or about & OF_FAILURES:
        return ""
    return (
        f"{failed:,} of {some(totals.ended, 'stream')} failed, and no rule says how many may: "
        f"add one, such as error_rate < 1%"
    )


def exit_code(judgement: Judgement, inconclusive: ForInconclusive | None = None) -> Exit:
    if judgement.verdict is RunVerdict.MET:
        return Exit.MET
    if judgement.verdict is RunVerdict.MISSED:
        return Exit.MISSED
    return of_inconclusive(inconclusive, invalid=judgement.verdict is RunVerdict.INVALID)


def _server_counters(store: Store, run: Run, measurements: Measurements) -> dict[str, float]:
    """Sums of the whole run from the server's own counters; empty if the server was not asked for them."""
    began, ended = measurements.began, measurements.ended
    generated, active = (store.vital(run.id, vital) for vital in (Vital.SERVER_GENERATED, Vital.SERVER_ACTIVE))
    served = server_counters.Served(began, ended)
    if run.measured_from is not None and (len(generated.at) or len(active.at)):
        warm_up = store.warm_up(run.id)
        served = server_counters.with_warm_up(began, ended, warm_up, generated, run.measured_from)
    sums = {
        Vital.SERVER_GENERATED: server_counters.generated(generated, served),
        SERVER_STOPPED: server_counters.stopped_after(active, generated, served),
        CARRIED: served.carried or None,
    }
    return {name: value for name, value in sums.items() if value is not None}


def _arrivals(store: Store, run_id: str) -> dict[str, float]:
    """Of an open load: how many streams were due, and how many were dropped because no user was free.

    Empty for a closed load.
    """
    sums: dict[str, float] = {}
    for name in (Vital.ARRIVALS, Vital.DROPPED_ARRIVALS):
        series = store.vital(run_id, name)
        last_samples = dict(zip(series.worker, series.value.tolist(), strict=True))  # by process
        if last_samples:
            sums[name] = sum(last_samples.values())
    return sums


def _parts(measurements: Measurements) -> list[Part]:
    """Every user class and every network; phases, cache hits and whole answers only if the run has some."""
    chosen = [
        (key, value, msgspec.convert({key: value}, Where))
        for key in ("user", "network")
        for value in measurements.values(key)
    ]
    chosen += [(PHASE, phase, Where(label={PHASE: phase})) for phase in measurements.values(f"label.{PHASE}")]
    for key, noteworthy in (("cache", "hit"), ("answer", "whole")):
        occurred = measurements.values(key)
        if noteworthy in occurred:
            chosen += [(key, value, msgspec.convert({key: value}, Where)) for value in occurred]
    return [
        Part(
            key,
            value,
            where,
            measurements.totals(where),
            {name: summary(measurements.distribution(name, where)) for name in ("ttft", "itl")},
            _alike(measurements, key, where),
        )
        for key, value, where in chosen
    ]


def _alike(measurements: Measurements, key: str, where: Where) -> str:
    """Of a network, the user class that has the very same streams, and the other way round; "" if there is none."""
    if key not in _OTHER_KEY:
        return ""
    other = _OTHER_KEY[key]
    for value in measurements.values(other):
        both = measurements.totals(msgspec.structs.replace(where, **{other: value})).streams
        if both:
            each = (measurements.totals(one).streams for one in (where, msgspec.convert({other: value}, Where)))
            return value if {*each} == {both} else ""
    return ""


def _verdict(run: Run, validity: Validity, reasons: list[str], verdicts: list[Verdict]) -> tuple[RunVerdict, str]:
    if is_search(run):
        return RunVerdict.INCONCLUSIVE, "a search for a capacity has many loads: `judge` and `report` say what it found"
    if validity is Validity.INVALID:
        return RunVerdict.INVALID, reasons[0]
    if not verdicts:
        return RunVerdict.INCONCLUSIVE, "no SLA rules were given: nothing was judged"
    gating = [verdict.status for verdict in verdicts if verdict.severity == "fail"]
    missed, unsure = gating.count(RuleStatus.MISSED), gating.count(RuleStatus.INCONCLUSIVE)
    of = f"of {len(gating)} rules" if len(gating) > 1 else "of 1 rule"
    warned = sum(verdict.severity == "warn" and verdict.status is RuleStatus.MISSED for verdict in verdicts)
    warning = f"; {warned} that only {'warns' if warned == 1 else 'warn'} missed" if warned else ""
    if missed:
        return RunVerdict.MISSED, f"{missed} {of} missed{warning}"
    if run.status == "aborted" and was_spent(run):
        of_rules = f"; {unsure} {of} inconclusive, none missed" if unsure else ""
        return RunVerdict.INCONCLUSIVE, f"the run was ended early: {run.instrument.get('aborted')}{of_rules}{warning}"
    if run.status == "aborted":  # even if the rules that it is judged by now are met
        return RunVerdict.MISSED, f"the run was ended early: {run.instrument.get('aborted')}"
    if unsure:
        return RunVerdict.INCONCLUSIVE, f"{unsure} {of} inconclusive, none missed{warning}"
    if not gating and not any(verdict.n for verdict in verdicts):
        return RunVerdict.INCONCLUSIVE, "there are only rules that warn, and they had nothing to judge"
    if not gating:
        return RunVerdict.MET, f"there are only rules that warn{warning or ', and none was missed'}"
    return RunVerdict.MET, (f"all {len(gating)} rules met" if len(gating) > 1 else "the rule was met") + warning
