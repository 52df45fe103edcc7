"""What more load did: is the server at its limit, do requests queue, or is all of it slower?"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.measure.arrays import Floats, Mask
from streamgauge.harness.judge.verdict.findings.chance import ALPHA, rank_sum, surely
from streamgauge.harness.judge.verdict.findings.evidence import Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number

_QUEUE = "https://docs.vllm.ai/en/stable/usage/metrics/"
_LITTLE = "https://en.wikipedia.org/wiki/Little%27s_law"
_MORE_LOAD = 1.5  # times as many open streams: less is no other load
_FEWEST = 30  # streams in each third
# Without thirds: the streams that began while the load was built up, as shares of its peak, against those at the peak.
_EARLY, _AT_PEAK, _FEWEST_EARLY = 0.6, 0.8, 6
_ABOVE_EARLY = 0.9  # of rank_sum, as fewer streams must show it
_GREW, _GREW_MS = 1.5, 50.0  # TTFT under more load: times and ms
_GREW_MUCH = 2.5  # times: more than a server that is now quicker and now slower
_STEADY = 0.6  # of the variance of the streams under way, if each were under way by itself
_PACE_GREW = 1.2  # below this, the ITL counts as flat
_ABOVE = 0.7  # of rank_sum: an effect that holds for most streams, not for a few
_BINS = 60  # of the throughput
_FLAT = 0.2  # of the way from no more completions to completions in proportion to the open streams
_SLOWER = 1.3  # by Little's law, at the limit each stream takes longer: it waits longer or comes more slowly
_FEWEST_COMPLETED = 30
_PACES = {"itl", "itl_wire", "tpot"}  # figures that grow with the answers at once
_NEAR = 0.8  # of a limit


@dataclass(frozen=True)
class _Grown:
    """The third of the streams that began while the most others were open, against the third with the fewest."""

    few: float  # open streams, of the first third at most
    many: float  # of the other at least
    waits: tuple[float, float]  # ms, the median of each third
    wait: float  # times as long, for streams of the same user class and network
    wait_p: float
    wait_above: float
    paces: tuple[float, float]  # ms
    pace: float
    pace_p: float
    n: int
    fewest: int  # streams in the smaller of both
    # Whether the load was built up once, at the start, and then stayed: the server itself may have changed meanwhile.
    once: bool


def _grown(evidence: Evidence) -> _Grown | None:
    """None if the load hardly varied, or for too few streams."""
    sample = evidence.sample
    wait, pace = sample.relative(sample.wait), sample.relative(sample.pace)
    known = ~np.isnan(wait)
    if known.sum() < _FEWEST:
        return None
    open_streams = evidence.course.open_at(sample.due)
    low, high = np.quantile(open_streams[known], [1 / 3, 2 / 3])
    fewest = _FEWEST
    once = high < _MORE_LOAD * max(low, 1)
    if known.sum() < 3 * _FEWEST or once:
        peak, fewest = float(open_streams[known].max()), _FEWEST_EARLY
        low, high = _EARLY * peak, _AT_PEAK * peak
    few, many = known & (open_streams <= low), known & (open_streams >= high)
    if min(few.sum(), many.sum()) < fewest:
        return None
    levels = float(np.median(open_streams[few])), float(np.median(open_streams[many]))
    if levels[1] < _MORE_LOAD * max(levels[0], 1):
        return None
    wait_ranks, paced = rank_sum(wait[many], wait[few]), ~np.isnan(pace)
    pace_ranks = rank_sum(pace[many & paced], pace[few & paced])
    return _Grown(
        float(open_streams[few].max()),
        float(open_streams[many].min()),
        waits=_medians(sample.wait, few, many),
        wait=_times(wait, few, many),
        wait_p=wait_ranks.p,
        wait_above=wait_ranks.above,
        paces=_medians(sample.pace, few & paced, many & paced),
        pace=_times(pace, few & paced, many & paced),
        pace_p=pace_ranks.p,
        n=int(few.sum() + many.sum()),
        fewest=int(min(few.sum(), many.sum())),
        once=once,
    )


def _are_full(evidence: Evidence) -> bool:
    """Whether the answers under way are nearly the same number all the time, as where a free slot is taken at once.

    If each open stream were under way by itself, their number would have the variance of a binomial distribution. Only
    the time near the peak counts, with half of the open streams or fewer under way.
    """
    course = evidence.course
    near = course.open >= _AT_PEAK * course.open.max(initial=1)
    open_streams = course.open[near].astype(np.float64)
    under_way = np.minimum(course.receiving[near], open_streams)
    share = float(under_way.sum() / open_streams.sum()) if len(open_streams) else 0.0
    if not 0 < share <= 0.5:
        return False
    spread = float(((under_way - share * open_streams) ** 2).sum())
    return spread <= _STEADY * share * (1 - share) * float(open_streams.sum())


def _slots(evidence: Evidence) -> float | None:
    """How many answers are generated at a time, the mean near the peak; None if it changes more than slots do."""
    if not _are_full(evidence):
        return None
    course = evidence.course
    return float(course.receiving[course.open >= _AT_PEAK * course.open.max(initial=1)].mean())


def _slots_or_users(evidence: Evidence) -> str:
    if (pace := _pace_near_its_limit(evidence)) is None:
        return "allow more at once, or send fewer users"
    where = "near" if pace.plain <= pace.limit else "beyond"
    return f"add replicas or send fewer users, as the ITL is {where} its limit already"


def _pace_at_its_limit(evidence: Evidence) -> str:
    """`. More answers at once make each slower, and … ` if a rule about the pace is near its limit; "" if none is."""
    if (pace := _pace_near_its_limit(evidence)) is None:
        return ""
    reached = f"{figure(pace.plain, pace.unit)}; its rule allows {figure(pace.limit, pace.unit)}"
    return f". More answers at once make each slower, and the {pace.words} is at {reached}"


class _Pace(NamedTuple):
    words: str
    plain: float
    limit: float
    unit: str


def _pace_near_its_limit(evidence: Evidence) -> _Pace | None:
    """Of the rules about the pace that are near their limits, or beyond: the worst."""
    near = [
        _Pace(each.subject.words, each.plain, each.limit, each.unit)
        for each in evidence.verdicts
        if each.figure in _PACES and each.wants_low and each.plain and each.plain >= _NEAR * each.limit
    ]
    return max(near, key=lambda pace: pace.plain / pace.limit, default=None)


def _medians(column: Floats, few: Mask, many: Mask) -> tuple[float, float]:
    return (float(np.median(column[few])), float(np.median(column[many]))) if few.any() and many.any() else (0.0, 0.0)


def _times(column: Floats, few: Mask, many: Mask) -> float:
    before, after = _medians(column, few, many)
    return after / before if before > 0 else 1.0


def _later(grown: _Grown) -> bool:
    return (
        grown.wait >= _GREW
        and grown.waits[1] - grown.waits[0] >= _GREW_MS
        and grown.wait_above >= (_ABOVE if grown.fewest >= _FEWEST else _ABOVE_EARLY)
        and grown.wait_p < ALPHA / 2
    )


def _slower(grown: _Grown) -> bool:
    return grown.pace >= _PACE_GREW and grown.pace_p < ALPHA / 2


def _numbers(grown: _Grown) -> tuple[Number, ...]:
    few, many = f"with up to {grown.few:,.0f} streams open", f"with {grown.many:,.0f} or more"
    return (
        Number(f"median wait for the first content {few}", grown.waits[0], "ms"),
        Number(f"wait {many}", grown.waits[1], "ms"),
        Number(f"median gap between chunks {few}", grown.paces[0], "ms"),
        Number(f"gap {many}", grown.paces[1], "ms"),
        Number("streams compared", grown.n, ""),
    )


def queueing(evidence: Evidence) -> Finding | None:
    """TTFT grows with the number of open streams, and ITL does not: requests wait for a free slot.

    The third of the streams that began under the most load waits at least 1.5 times and 50 ms longer than the third
    under the least, by user class and network (rank test, A ≥ 0.7), with at least 1.5 times as many streams open; the
    mean gap between chunks grows by less than 20 %. In a run of fewer than 90 streams, or whose load hardly changed
    once it was built up, the streams up to 60 % of its peak (at least 6) are compared with those from 80 % on (A ≥
    0.9 with fewer than 30 streams on a side). Where the load was built up once, the wait must be 2.5 times as long, or
    the number of answers under way must stay nearly the same, as that of slots does: at most 0.6 of a binomial
    distribution's variance.
    """
    grown = _grown(evidence)
    if grown is None or not _later(grown) or _slower(grown):
        return None
    slots = _slots(evidence)
    if grown.once and grown.wait < _GREW_MUCH and slots is None:
        return None
    only = "" if slots is None else f", with only about {some(round(slots), 'answer')} generated at a time"
    in_numbers = () if slots is None else (Number("answers generated at a time, mean", slots, ""),)
    return Finding(
        id="queueing",
        advice=f"The server queues{only}: {_slots_or_users(evidence)}",
        sentence=f"Among users and networks of one kind, the first content came {grown.wait:.1f} times as late under "
        f"more load, and the chunks after it as fast as before",
        evidence=(*_numbers(grown), *in_numbers),
        meaning="Requests wait for a free slot; once it is their turn, they are served as fast as under less load",
        change="Allow more answers at once (vLLM: --max-num-seqs; gunicorn: --workers, --threads), add replicas, or "
        f"refuse early with 429 and retry-after{_pace_at_its_limit(evidence)}",
        source=_QUEUE,
        certainty=Certainty.LIKELY,
    )


def saturation(evidence: Evidence) -> Finding | None:
    """TTFT and ITL grow with the number of open streams: all that the server does is slower.

    As `queueing`, but the mean gap between chunks grows by 20 % or more, beyond chance. Not looked for where the load
    was built up once: the server may have become slower by itself.
    """
    grown = _grown(evidence)
    if grown is None or grown.once or not _later(grown) or not _slower(grown):
        return None
    return Finding(
        id="saturation",
        advice="The server is saturated: add replicas, or admit fewer answers at once",
        sentence=f"Among users and networks of one kind, more load made the first content {grown.wait:.1f} times as "
        f"late, and put the chunks after it {grown.pace:.1f} times as far apart",
        evidence=_numbers(grown),
        meaning="All streams share what the server can compute, and it is used up: a longer queue would not help",
        change="Add replicas or faster hardware, use a smaller or quantised model, or admit fewer answers at once "
        "(vLLM: a lower --max-num-seqs) so that each keeps its speed",
        source=_QUEUE,
        certainty=Certainty.LIKELY,
    )


@dataclass(frozen=True)
class _Level:
    open: float  # streams, the mean
    completed: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.completed / self.seconds


def _levels(evidence: Evidence) -> tuple[_Level, _Level] | None:
    """The time with about half of the peak's open streams, and the time near the peak. None: too little of either."""
    course = evidence.course
    bins = min(_BINS, len(course.open))
    ends = np.linspace(0, len(course.open), bins + 1).astype(np.int64)
    slices = np.diff(ends)
    open_streams = np.add.reduceat(course.open, ends[:-1]) / slices
    # While a load is built up, less completes than begins; while it drains, less begins. Neither is the capacity.
    served = np.minimum(np.add.reduceat(course.begun, ends[:-1]), np.add.reduceat(course.completed, ends[:-1]))
    peak = float(np.quantile(open_streams, 0.95))
    places = (open_streams >= 0.3 * peak) & (open_streams <= 0.6 * peak), open_streams >= 0.75 * peak
    if min(place.sum() for place in places) < 3:
        return None
    below, near = (
        _Level(float(open_streams[place].mean()), int(served[place].sum()), float(slices[place].sum()) * course.width)
        for place in places
    )
    return (below, near) if min(below.completed, near.completed) >= _FEWEST_COMPLETED and below.open >= 1 else None


def throughput_limit(evidence: Evidence) -> Finding | None:
    """More streams are open, and no more complete: the server completes as many as it can.

    Near the peak, hardly more streams complete in a second than at 30 to 60 % of its open streams: at most a fifth of
    what a rate in proportion to them would add. The upper end of the exact interval of the ratio of both rates (two
    Poisson counts, given their sum: Przyborowski & Wilenski, Biometrika 31, 1940) is below such a rate. By Little's
    law, each stream then takes longer: the wait or the gap between chunks must have grown by 30 %, or longer answers
    are the cause.
    """
    levels, grown = _levels(evidence), _grown(evidence)
    if levels is None or grown is None or grown.once or grown.fewest < _FEWEST or max(grown.wait, grown.pace) < _SLOWER:
        return None
    below, near = levels
    more = near.open / below.open
    share = surely(near.completed, near.completed + below.completed).high or 1.0
    most = share / (1 - share) * below.seconds / near.seconds if share < 1 else float("inf")
    if near.rate / below.rate > 1 + _FLAT * (more - 1) or most >= more:
        return None
    return Finding(
        id="throughput_limit",
        advice=f"The server completes about {near.rate:.1f} streams a second, and no more: add replicas, or send less",
        sentence=f"With {more:.1f} times as many streams open, no more of them completed: the server gives about "
        f"{near.rate:.1f} a second",
        evidence=(
            Number("streams open below the peak", below.open, "streams"),
            Number("completed then", below.rate, "streams/s"),
            Number("streams open near the peak", near.open, "streams"),
            Number("completed then", near.rate, "streams/s"),
            Number("answers counted near the peak", near.completed, ""),
        ),
        meaning="The server has reached its throughput: more users only wait longer",
        change=f"Plan for at most {near.rate:.1f} streams a second per server: add replicas, or limit what is admitted",
        source=_LITTLE,
        certainty=Certainty.LIKELY,
    )
