"""Pauses in the middle of answers: of the whole server, of single streams, or of a link."""

from dataclasses import dataclass

import numpy as np

from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.measure.arrays import Floats, Mask
from streamgauge.harness.judge.verdict.findings.chance import ALPHA, at_least, more_often, surely
from streamgauge.harness.judge.verdict.findings.evidence import Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number, quoted
from streamgauge.harness.record.vitals import Vital

_MOST_SHARED = 0.8  # of the streams that were receiving, silent at the same moment
_FEWEST_OPEN = 5  # streams that were receiving
_USUAL_LEAST = 0.02  # share of the streams that is silent anyway, at least
_UNSTAMPED = 0.01  # share of the reads: without the kernel's stamps, a stop of our own process looks the same
_OWN_STOP_MS, _SAMPLED_S = 100.0, 1.5  # a stop is recorded at the end of its second, a little late
_STALL_MS = 1_000.0
_TIMES = 10.0  # the usual gap: a slow model has long gaps
_FEWEST = 10  # stalled streams
_LONE = 0.05  # share of the streams, at the lower end of the interval
_SAME = 0.05  # of the median: what a timer and the gap before it make of one length
_MOSTLY = 0.8  # of the stalls, of one length
_AROUND = 5.0  # times the width: lengths by chance would be spread over it
_LINK = 0.2  # share of a network's streams that stalled, more than elsewhere
_SERVER = "https://docs.vllm.ai/en/stable/configuration/optimization/"
_TIMERS = "https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/"
_NETWORKS = "https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes"


@dataclass(frozen=True)
class _Pauses:
    shared: Mask  # by slice
    count: int
    worst: float  # share of the streams that were silent
    streams: int  # receiving, at the worst


def _pauses(evidence: Evidence) -> _Pauses:
    """The moments at which so many streams were silent that each cannot have been so by itself."""
    course = evidence.course
    receiving, silent = course.receiving, np.minimum(course.silent, course.receiving)
    share = silent / np.maximum(receiving, 1)
    calm = (receiving > 0) & (share < 0.5)
    usual = max(_USUAL_LEAST, float(silent[calm].sum() / max(1, receiving[calm].sum())) if calm.any() else 1.0)
    if receiving.any():  # long stalls of single streams: at any moment, many of those that receive are in one
        usual = max(usual, float(np.median(share[receiving > 0])))
    shared = (receiving >= _FEWEST_OPEN) & (share >= _MOST_SHARED) & ~_stopped_ourselves(evidence)
    slices = max(1, int((receiving > 0).sum()))
    for place in np.flatnonzero(shared).tolist():
        shared[place] = at_least(int(silent[place]), int(receiving[place]), usual) < ALPHA / slices
    count = int((shared & ~np.concatenate([[False], shared[:-1]])).sum())
    worst = int(np.where(shared, receiving, 0).argmax()) if count else 0
    return _Pauses(shared, count, float(share[worst]), int(receiving[worst]))


def _stopped_ourselves(evidence: Evidence) -> Mask:
    """The slices in whose second our own event loop stood still: the whole machine may have, and the server with it."""
    middles = evidence.course.middles
    stops = evidence.vitals[Vital.LOOP_STOPPED]
    stopped = np.zeros(len(middles), bool)
    for at in stops.at[stops.value >= _OWN_STOP_MS] / 1e9:
        stopped |= (middles > at - _SAMPLED_S) & (middles < at + _SAMPLED_S)
    return stopped


def _is_stamped(evidence: Evidence) -> bool:
    reads = evidence.totals.sum("reads")
    return not reads or evidence.totals.sum("unstamped_reads") <= _UNSTAMPED * reads


def server_paused(evidence: Evidence) -> Finding | None:
    """All streams stopped at the same moment: the server, or a part of the way that they share, stood still.

    At some moment, at least 5 streams were between their first and last content and 80 % of them were in a gap of 250
    ms or more. If each paused by itself, as often as at other times, the binomial chance of so many would be below
    ALPHA divided by the number of moments looked at. Not judged without the kernel's stamps, nor in seconds in which
    our own event loop stood still for 100 ms or more.
    """
    pauses = _pauses(evidence)
    if not pauses.count or not _is_stamped(evidence):
        return None
    seconds = float(pauses.shared.sum()) * evidence.course.width
    first = float(np.flatnonzero(pauses.shared)[0]) * evidence.course.width
    who = "All" if pauses.worst == 1.0 else "Nearly all"
    often = "once" if pauses.count == 1 else f"{pauses.count:,} times"
    return Finding(
        id="server_paused",
        advice=f"The whole server paused: read its log at {first:.0f} s of the run for what blocked it",
        sentence=f"{who} streams stood still at the same time, {often}: the server paused",
        evidence=(
            Number("streams that got nothing at the same moment", pauses.worst, "ratio"),
            Number("streams that were receiving then", pauses.streams, ""),
            Number("length of all pauses", seconds, "s"),
            Number("first pause at", first, "s"),
        ),
        meaning="What stops all streams at once is shared by them: a blocked event loop, garbage collection, a long "
        "prefill, or a proxy that reloads",
        change="Move blocking calls off the event loop (run_in_executor, an async client), prefill long prompts in "
        "chunks (vLLM: --enable-chunked-prefill), and look at the server’s log at these seconds",
        source=_SERVER,
        certainty=Certainty.LIKELY,
    )


def _stalled(evidence: Evidence, column: Floats) -> tuple[Mask, Mask]:
    """Which streams had a course, and which of them stalled."""
    sample = evidence.sample
    known = (sample.chunks > 1) & ~np.isnan(sample.pace)
    usual = float(np.median(sample.pace[known])) if known.any() else 0.0
    return known, known & (column >= max(_STALL_MS, _TIMES * usual))


def lone_stalls(evidence: Evidence) -> Finding | None:
    """Single streams stalled for a second or more while the others went on.

    Surely more than 5 % of the streams (exact interval), at least 10, had a gap on the wire of 1 s and 10 times the
    usual gap, and not at a moment at which all streams paused. Whether they are of one length says what the cause is.
    """
    pauses, sample = _pauses(evidence), evidence.sample
    known, stalled = _stalled(evidence, sample.stall)
    width, shared = evidence.course.width, np.concatenate([[0], np.cumsum(pauses.shared)])
    ends = (
        np.clip(moment / width, 0, len(pauses.shared)).astype(np.int64)
        for moment in (sample.stalled_at, sample.stalled_at + sample.stall / 1e3)
    )
    begin, end = ends
    alone = stalled & ((shared[end] - shared[begin]) * width < sample.stall / 1e3 / 2)
    hits, n = int(alone.sum()), int(known.sum())
    if hits < _FEWEST or (surely(hits, n).low or 0.0) <= _LONE:
        return None
    return _of_single_streams(hits, n, sample.stall[alone])


def _of_single_streams(hits: int, n: int, lengths: Floats) -> Finding:
    usual = float(np.median(lengths))
    constant = _constant(lengths, usual)
    numbers = (
        Number("streams that stalled for 1 s or more", hits, ""),
        Number("streams with several chunks", n, ""),
        Number("their median stall on the wire", usual, "ms"),
    )
    sentence = f"{hits:,} of {n:,} streams stalled in the middle, each at a time of its own, while others went on"
    if constant is None:
        return Finding(
            id="lone_stalls",
            advice="The server, or the way to it, sets single answers aside: look for preemptions in its metrics",
            sentence=sentence,
            evidence=numbers,
            meaning="The server sets single answers aside (preemption, too little memory for the cache), or their "
            "own connections stall; the whole server did not stop",
            change="Look for preemptions in the server’s metrics (vLLM: num_preemptions), give the KV cache more "
            "memory or admit fewer answers (--max-num-seqs); check packet loss on the way",
            source=_SERVER,
            certainty=Certainty.POSSIBLE,
        )
    length = figure(usual, "ms")
    all_of = "all" if constant == hits else f"{constant:,}"
    advice = f"A timer seems to hold up single answers for {length} on the wire"
    return Finding(
        id="lone_stalls",
        advice=f"{advice}: look for a timeout or back-off of that length",
        sentence=f"{sentence}: {all_of} of them for {length} on the wire, always the same",
        evidence=(*numbers, Number("of about the same length", constant, "")),
        meaning="Preemption, garbage collection and packet loss stop answers for times that differ. The same time "
        "again and again is a timer: a timeout and a retry, a health check, a fixed back-off; the whole server went "
        "on. Readers wait less, as they still read what came before",
        change=f"Search the configuration of server, gateway and retrying clients for {length}: a timeout to a "
        "backend or tool, a health check’s interval, a back-off without jitter. Its log of that time says more",
        source=_TIMERS,
        certainty=Certainty.LIKELY,
    )


def _constant(lengths: Floats, usual: float) -> int | None:
    """How many stalls are as long as most are; None if they are not clearly of one length.

    At least 80 % are within 5 % of the median. Lengths that are spread evenly over five times that width would fall
    into it with a chance of 1 in 5 each; the binomial chance of so many is below ALPHA.
    """
    away = np.abs(lengths - usual) / usual
    same, near = int((away <= _SAME).sum()), int((away <= _AROUND * _SAME).sum())
    return same if same >= _MOSTLY * len(lengths) and at_least(same, near, 1 / _AROUND) < ALPHA else None


def link_stalls(evidence: Evidence) -> Finding | None:
    """People on one network wait in the middle of answers, and the wire did not: the link stalls, not the server.

    At least 10 streams and 20 % of a network's have a gap of 1 s and 10 times the usual gap for the person and none on
    the wire, beyond those that stalled on the wire (Fisher's exact test; ALPHA divided by the number of networks).
    """
    sample = evidence.sample
    networks = sample.text["network"]
    known, seen = _stalled(evidence, sample.seen_stall)
    _, wired = _stalled(evidence, sample.stall)
    by_link = seen & ~wired
    found: list[tuple[float, Finding]] = []
    for code, network in enumerate(networks.values):
        mine = known & (networks.codes == code)
        n, hits, before = int(mine.sum()), int((by_link & mine).sum()), int((wired & mine).sum())
        if hits < _FEWEST or (hits - before) / n < _LINK:
            continue
        if more_often(hits, n, before, n) < ALPHA / len(networks.values):
            stall = float(np.median(sample.seen_stall[mine & by_link]))
            found.append((hits / n, _of_link(network, (hits, before, n), stall)))
    return max(found, key=lambda each: each[0])[1] if found else None


def _of_link(network: str, counts: tuple[int, int, int], stall: float) -> Finding:
    hits, before, n = counts
    return Finding(
        id="link_stalls",
        advice=f"The link of {quoted(network)} stalls, not the server: let the client say that it waits, and resume",
        sentence=(
            f"On the network {quoted(network)}, {100 * hits / n:.0f} % of the streams stalled on the link, not before"
        ),
        evidence=(
            Number("streams that stalled after the link", hits, ""),
            Number("streams that stalled before it", before, ""),
            Number("streams with several chunks", n, ""),
            Number("median stall after the link", stall, "ms"),
        ),
        meaning="The server sent in time; this is what people on that network see",
        change="Nothing in the server: let the client show that it is reconnecting, resume with Last-Event-ID, and "
        "judge the networks by rules of their own (`where`)",
        source=_NETWORKS,
        certainty=Certainty.SURE,
    )
