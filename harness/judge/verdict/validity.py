"""Can a run's numbers be believed? The limits beyond which the generator measures itself and not the server. Pure.

docs/concepts/validity.md gives the reason for each limit at more length.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.distribution import Distribution
from streamgauge.harness.judge.measure.totals import Totals
from streamgauge.harness.judge.store import Run, VitalSeries
from streamgauge.harness.judge.verdict import less_load, short_of_cores, time_lost
from streamgauge.harness.judge.verdict.processes import cores, fewer_users_or_more_processes, longest, named
from streamgauge.harness.judge.verdict.warm_up import WarmUp
from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.record.vitals import Vital


class Validity(StrEnum):
    VALID = "valid"
    DEGRADED = "degraded"  # the numbers are usable, with the error that the reasons name
    INVALID = "invalid"  # the generator measured itself: no verdict


# A late read that holds several chunks has only the time of the last one, so the gap before it is too long and the
# other gaps are lost: 1 % of such reads spoils p99(itl), 10 % spoils every quantile from p90 on.
SATURATED_DEGRADED, SATURATED_INVALID = 0.01, 0.10
UNSTAMPED_DEGRADED = 0.01  # share of reads without a kernel stamp: p99 may come from such reads
# A step of the clock shifts all later kernel stamps, and with them every TTFT. Above 50 ms the figures are false.
CLOCK_STEP_DEGRADED, CLOCK_STEP_INVALID = 1_000_000, 50_000_000  # ns
SEND_LAG_MS = 10.0  # p99; TTFT starts at the due time, so it includes the send lag
# The median over streams of each stream's largest read lag. Not p99, because a single pause of 0.3 s affects every
# stream open at the time. Most models send tokens 10 to 50 ms apart: above this, only kernel stamps tell them apart.
READ_LAG_MS = 50.0  # p50
PACKED_REMARKED = 0.05  # share of reads that were in time and held several chunks: the server or a proxy packs them
# A stop of the event loop delays every new stream, departure and timeout of that time. Like late reads: in 2 % of the
# time it spoils p98, in 10 % every quantile from p90 on. Less is a spike, which the streams that it touched show.
STOPPED_DEGRADED, STOPPED_INVALID = 0.02, 0.10  # share of a process's time, in stops of 50 ms or more
# Like reads: what 1 % of the streams have in their TTFT spoils its p99, and 10 % spoil every quantile from p90 on.
LATE_CONNECTIONS_DEGRADED, LATE_CONNECTIONS_INVALID = 0.01, 0.10  # share of streams
# The send lag is a part of TTFT, so its share of all TTFTs is the share of them that is not the server's.
SENT_LATE_INVALID = 0.10  # of the time that people waited for the first content
READ_LATE_DEGRADED = 0.10  # of the time that streams were open, in the latest read of each
UNSEEN_SECONDS = 5.0  # a process samples itself every second; a late sample is covered by its measured stop
BUSY_PERCENT = 90.0  # CPU of a process, of one core: Python cannot use more
# A process that is busy for less is starting, or has a neighbour.
BUSY_SECONDS, BUSY_SHARE, BUSY_MOSTLY = 5.0, 0.10, 0.50


MOST_ODDITIES = 20  # remarks

EVIDENCE = time_lost.EVIDENCE + less_load.EVIDENCE + short_of_cores.EVIDENCE


@dataclass(frozen=True)
class Evidence:
    run: Run
    totals: Totals
    samples: Mapping[str, Distribution]  # by metric
    vitals: Mapping[Vital, VitalSeries]  # those of EVIDENCE
    warm_up: WarmUp | None
    cold_start: str  # a remark on the run's first streams; "" without one

    def share_of_reads(self, name: str, less: str | None = None) -> float:
        """The share of reads that the sum `name` counts, minus those that the sum `less` counts."""
        reads, counted = self.totals.sum("reads"), self.totals.sum(name)
        return (counted - (self.totals.sum(less) if less else 0.0)) / reads if reads else 0.0

    @property
    def share_without_gap(self) -> float:
        """The share of content chunks that came together with the chunk before them."""
        gaps = self.totals.gaps
        return 1 - sum(self.samples[name].n for name in ("itl", "tool_pause")) / gaps if gaps else 0.0

    def remedy(self, first: str = "", late: Mapping[str, float] | None = None) -> str:
        """What helps processes that were late: a machine that is less busy; or `first`, fewer users, more processes.

        `late` is as for `short_of_cores.explained`.
        """
        busy = short_of_cores.explained(self.run, self.vitals, late)
        return busy or f"{first}{fewer_users_or_more_processes(self.run)}"


class Fault(NamedTuple):
    invalid: bool  # else it only degrades the run
    sentence: str
    remedy: str = ""  # told once for all faults that have the same


def assess(evidence: Evidence) -> tuple[Validity, list[str]]:
    """The validity and its reasons, the worst first, followed by remarks; a valid run may have remarks, too."""
    faults = [Fault(invalid=False, sentence=note) for note in evidence.run.notes]
    faults += [fault for check in _CHECKS for fault in check(evidence)]
    faults.sort(key=lambda fault: not fault.invalid)
    validity = Validity.VALID
    if faults:
        validity = Validity.INVALID if faults[0].invalid else Validity.DEGRADED
    return validity, [*_told(faults), *_remarks(evidence)]


def doubts_of_good_figures(evidence: Evidence) -> list[str]:
    """Why even figures that keep the rules cannot be believed: load, streams or time was missing. Empty if not.

    A generator that was late has only made waits longer, so what was good all the same is good.
    """
    checks = (_incomplete, _load_missing, _starved, _unrecorded, _clock_step, _dropped)
    return list(_told(fault for check in checks for fault in check(evidence)))


def _told(faults: Iterable[Fault]) -> Iterator[str]:
    said: set[str] = {""}
    for fault in faults:
        yield fault.sentence if fault.remedy in said else f"{fault.sentence}; {fault.remedy}"
        said.add(fault.remedy)


def packed_by_us(totals: Totals) -> tuple[int, int]:
    """The reads that held several chunks since the generator came late, and all reads."""
    reads, late = totals.sum("reads"), totals.sum("saturated_reads")
    # Where reads that were in time hold several chunks too, as a proxy sends them, so would the late ones.
    in_time, packed = reads - late, max(0.0, totals.sum("coalesced_reads") - late)
    return int(late * (1 - packed / in_time) if in_time else late), int(reads)


def _saturation(evidence: Evidence) -> Iterator[Fault]:
    own, reads = packed_by_us(evidence.totals)
    # Use the lower end of the interval, for short runs: one pause in three short streams is a tenth of their reads.
    surely = statistics.ratio_interval(own, reads).low or 0.0
    if surely > SATURATED_DEGRADED:
        yield Fault(
            surely > SATURATED_INVALID,
            f"the generator was saturated: {figure(own / reads, 'ratio')} of reads came late and held several chunks",
            evidence.remedy(),
        )


def _clock_step(evidence: Evidence) -> Iterator[Fault]:
    step = abs(int(evidence.run.instrument.get(Vital.CLOCK_DRIFT) or 0))
    if step > CLOCK_STEP_DEGRADED:
        sentence = f"the machine's clock stepped by {figure(step / 1e6, 'ms')} during the run"
        yield Fault(step > CLOCK_STEP_INVALID, sentence)


def _unstamped(evidence: Evidence) -> Iterator[Fault]:
    share = evidence.share_of_reads("unstamped_reads")
    if share > UNSTAMPED_DEGRADED:
        yield Fault(
            invalid=False,
            sentence=f"{figure(share, 'ratio')} of reads had no kernel stamp: "
            f"their times are Python's, late by the read lag",
        )


def _sent_late(evidence: Evidence) -> Iterator[Fault]:
    sent = evidence.samples["send_lag"]
    lag, waited = _quantile(sent, 0.99), _mean(evidence.samples["ttft"])
    if lag is not None and lag > SEND_LAG_MS:
        share = _mean(sent) / waited if waited else 0.0
        yield Fault(
            share > SENT_LATE_INVALID,
            f"the generator sent late: p99 {figure(lag, 'ms')}, which is part of every TTFT here, "
            f"and {figure(share, 'ratio')} of their mean",
            short_of_cores.explained(evidence.run, evidence.vitals),
        )


def _connected_late(evidence: Evidence) -> Iterator[Fault]:
    since, streams = float(evidence.run.measured_from or 0), evidence.totals.streams
    late = time_lost.counted(evidence.vitals[Vital.LATE_CONNECTIONS], since)
    share = min(1.0, sum(late.values()) / streams) if streams else 0.0
    if share > LATE_CONNECTIONS_DEGRADED:
        lags = evidence.vitals[Vital.CONNECT_LAG]
        most = max(lags.value[lags.at >= since], default=0.0)
        yield Fault(
            share > LATE_CONNECTIONS_INVALID,
            f"the generator connected late: {named(evidence.run, list(late))} noticed "
            f"{some(sum(late.values()), 'connection')} 10 ms or more after the kernel had them "
            f"(at most {figure(most, 'ms')}), which is part of the TTFT of {figure(share, 'ratio')} of the streams",
            evidence.remedy(
                "let users in more slowly (--spawn-rate), begin with a warm-up, or ", dict.fromkeys(late, 0.0)
            ),
        )


def _read_late(evidence: Evidence) -> Iterator[Fault]:
    late = evidence.samples["read_lag"]
    lag, worst = (_quantile(late, q) for q in (0.50, 0.99))
    share = _mean(late) * late.n * 1e6 / (evidence.totals.sum("open_ns") or 1.0)
    if lag is not None and (lag > READ_LAG_MS or share > READ_LATE_DEGRADED):
        yield Fault(
            invalid=False,
            sentence=f"the generator read late: by {figure(lag, 'ms')} or more in half of the streams, "
            f"p99 {figure(worst, 'ms')}",
            remedy=evidence.remedy(),
        )


def _dropped(evidence: Evidence) -> Iterator[Fault]:
    dropped, due = evidence.totals.sum(Vital.DROPPED_ARRIVALS), evidence.totals.sum(Vital.ARRIVALS)
    due = max(due, dropped)  # a damaged database could have more dropped arrivals than arrivals
    if dropped > 0:
        yield Fault(
            dropped / due > less_load.CLEARLY,
            f"{dropped:,.0f} of {some(int(due), 'arrival')} ({figure(dropped / due, 'ratio')}) were dropped, "
            f"since all users were busy: less load than asked for; "
            f"raise --users, or lower the rate if the server cannot keep up",
        )


def _load_missing(evidence: Evidence) -> Iterator[Fault]:
    for sentence in less_load.missing(evidence.run, evidence.vitals):
        yield Fault(invalid=True, sentence=sentence)


def _stopped(evidence: Evidence) -> Iterator[Fault]:
    lost = [each for each in time_lost.stopped(evidence.vitals) if each.share > STOPPED_DEGRADED]
    if lost:
        yield Fault(
            max(each.share for each in lost) > STOPPED_INVALID,
            f"{named(evidence.run, _names(lost))} stood still for {longest(lost)}, for 50 ms or more at a time: "
            f"{_came_late(evidence, _names(lost))}",
            evidence.remedy(
                "look for blocking code in the scenario, or ", {each.worker: each.seconds / 2 for each in lost}
            ),
        )


def _came_late(evidence: Evidence, workers: Sequence[str]) -> str:
    """What these processes delayed, and by how much at most. A pause has no due time, so no `send_lag` shows it."""
    lags = evidence.vitals[Vital.LOOP_LAG]
    most = max((lag for worker, lag in zip(lags.worker, lags.value, strict=True) if worker in workers), default=None)
    by = "" if most is None else f"up to {figure(float(most), 'ms')} "
    if evidence.totals.sum(Vital.ARRIVALS):
        return f"streams, departures and timeouts that were due meanwhile came {by}late"
    return f"users paused {by}longer between their streams, and departures and timeouts came as late"


def _starved(evidence: Evidence) -> Iterator[Fault]:
    starved = time_lost.counted(evidence.vitals[Vital.STARVED_STREAMS])
    if starved:
        yield Fault(
            invalid=True,
            sentence=f"{named(evidence.run, list(starved))} had no socket, port, memory or thread for "
            f"{some(sum(starved.values()), 'stream')}, which count in no figure: their details say what was lacking; "
            f"raise that limit of the machine, or use fewer users",
        )


def _unrecorded(evidence: Evidence) -> Iterator[Fault]:
    for worker, faults in time_lost.counted(evidence.vitals[Vital.OWN_FAULTS]).items():
        yield Fault(invalid=True, sentence=f"the recording of {worker} failed {some(faults, 'time')}; its log says why")
    unseen = list(time_lost.unseen(evidence.vitals[Vital.LOOP_STOPPED], UNSEEN_SECONDS))
    if unseen:
        who = named(evidence.run, _names(unseen))
        yield Fault(invalid=True, sentence=f"{who} recorded nothing of itself for {longest(unseen)}")
    for mistake in evidence.run.instrument.get("mistakes") or []:
        yield Fault(invalid=True, sentence=str(mistake))
    for fault in evidence.run.instrument.get("faults") or []:
        yield Fault(invalid=True, sentence=f"a part of the run's own machinery failed: {fault}")


def _busy(evidence: Evidence) -> Iterator[Fault]:
    """Threads are judged apart, since each can have a core of its own, unless the process was limited to one."""
    vitals, run = evidence.vitals, evidence.run
    by_thread = set(vitals[Vital.PYTHON_PERCENT].worker)
    whole = [
        busy
        for busy in time_lost.beyond(vitals[Vital.CPU_PERCENT], BUSY_PERCENT)
        if busy.worker not in by_thread or cores(run, busy.worker) == 1
    ]
    for of_whom, found in (
        ("", whole),
        ("Python's thread of ", time_lost.beyond(vitals[Vital.PYTHON_PERCENT], BUSY_PERCENT)),
        ("the reading thread of ", time_lost.beyond(vitals[Vital.READER_PERCENT], BUSY_PERCENT)),
    ):
        busy = [each for each in found if _was_full(each)]
        if busy:
            yield Fault(
                invalid=False,
                sentence=f"{of_whom}{named(run, _names(busy))} used 90 % of a core or more for {longest(busy)}: "
                f"there is hardly room for more",
                remedy=evidence.remedy(late=dict.fromkeys(_names(busy), 0.0)),
            )


def _was_full(busy: time_lost.Lost) -> bool:
    return (busy.seconds >= BUSY_SECONDS and busy.share > BUSY_SHARE) or busy.share > BUSY_MOSTLY


def _names(lost: Iterable[time_lost.Lost]) -> list[str]:
    return [each.worker for each in lost]


def _incomplete(evidence: Evidence) -> Iterator[Fault]:
    """Streams that are missing, or may be: those that were lost last are those of the worst moments."""
    run, kept = evidence.run, evidence.totals.streams + (evidence.warm_up.streams if evidence.warm_up else 0)
    had = int(run.instrument.get("streams") or 0)  # absent from runs of older versions
    if run.probes is not None and run.status in {"running", "interrupted"}:
        return  # a monitor's run ends whenever the monitor does, and each probe stands for itself
    if run.status == "running":
        yield Fault(
            invalid=True,
            sentence="the run has no recorded end: it still runs, or its process was killed or could not write; "
            "how many streams are missing is unknown",
        )
    elif run.status == "interrupted":
        yield Fault(invalid=True, sentence="the run was interrupted: what follows is of the streams until then")
    elif unsaved := run.instrument.get("unsaved"):
        yield Fault(invalid=True, sentence=str(unsaved))
    elif kept < had:
        yield Fault(invalid=True, sentence=f"{had - kept:,} of {some(had, 'stream')} are missing from the database")


_CHECKS: tuple[Callable[[Evidence], Iterable[Fault]], ...] = (
    _incomplete, _load_missing, _starved, _unrecorded, _saturation, _stopped, _clock_step, _unstamped, _sent_late,
    _connected_late, _read_late, _dropped, _busy,
)  # fmt: skip


def _remarks(evidence: Evidence) -> Iterator[str]:
    """What the reader of a result should know even if the run is valid."""
    run = evidence.run
    if run.probes is not None:
        yield (
            f"these are a monitor's probes of {run.probes}, up to a day of them: "
            "`streamgauge status` says how its service levels are, and `streamgauge incidents` when they were not kept"
        )
    if evidence.warm_up is not None:
        yield evidence.warm_up.sentence()
    if evidence.cold_start:
        yield evidence.cold_start
    if run.status == "aborted":
        yield f"the run was ended early, and is judged by the streams until then: {run.instrument.get('aborted')}"
    if run.host.lower().startswith("https:") and run.config.get("verify") is False:
        yield "the TLS certificate was not verified (verify = false): another host may have answered"
    packed = evidence.share_of_reads("coalesced_reads", less="saturated_reads")
    if packed > PACKED_REMARKED:
        yield (
            f"{figure(packed, 'ratio')} of reads held several chunks that arrived together: "
            f"the server or a proxy sends them that way; "
            f"{figure(evidence.share_without_gap, 'ratio')} of the gaps between chunks are left out of ITL for it"
        )
    yield from _of_budget(run)
    yield from _of_content(evidence.totals, run.config.get("protocol"))


def was_spent(run: Run) -> bool:
    """Whether the run was ended because its budget was spent, and not by a rule."""
    budget = run.instrument.get("budget")
    return isinstance(budget, dict) and budget.get("spent") is True


def _of_budget(run: Run) -> Iterator[str]:
    budget = run.instrument.get("budget")
    if isinstance(budget, dict) and isinstance(guessed := budget.get("counted_by_chunks"), int) and guessed > 0:
        yield (
            f"the budget counted the output of {some(guessed, 'stream')} by its chunks, at least one token each: "
            f"the server had reported no usage of it, or only a part"
        )


def _of_content(totals: Totals, protocol: object) -> Iterator[str]:
    """What was wrong or odd about the answers themselves."""
    empty, cut = totals.count(Outcome.EMPTY), totals.count(Outcome.TRUNCATED)
    if (empty or cut) and not totals.sum("with_content"):
        where = "target.events.text" if protocol == "custom" else "where the target's protocol looks for text"
        how = f"{empty:,} of {some(totals.streams, 'answer')} ended as they should and brought nothing; "
        yield f"no stream had content: {how if empty else ''}check the model, max_tokens, and {where}"
    unstreamed = int(totals.sum("unstreamed"))
    if unstreamed:
        yield (
            f"{unstreamed:,} of {some(totals.streams, 'stream')} brought the whole answer at once: "
            f"it was not streamed, and is left out of ITL, TPOT and stalls"
        )
    most_frequent = sorted(totals.oddities.items(), key=lambda each: (-each[1], each[0]))
    for what, streams in most_frequent[:MOST_ODDITIES]:
        yield f"{streams:,} of {some(totals.streams, 'stream')}: {what}"


def _quantile(samples: Distribution, q: float) -> float | None:
    return statistics.quantile(samples.values, samples.counts, q)


def _mean(samples: Distribution) -> float:
    """0 without samples."""
    return float(np.dot(samples.values, samples.counts)) / samples.n if samples.n else 0.0
