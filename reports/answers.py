"""The questions of people who read only the first screen, each answered in a sentence or two."""

from collections.abc import Sequence
from typing import NamedTuple

from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.distribution import Distribution
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.measure.statistics import ratio_interval
from streamgauge.harness.judge.verdict.judgement import Part
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.record.observation import FAILURES, Outcome
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Answer

_KEYS = {"user": "user class", "network": "network", "phase": "phase"}
_LATER = 1.2  # times as long
_MORE_FAILED = 0.02  # share of the streams
_MOST = 2 / 3  # of a time, to call something its cause
_LONGEST_REASON, _LONGEST_NAME = 240, 60  # characters
_ON_THE_WAY = {Outcome.UNREACHABLE, Outcome.RESET, Outcome.TIMED_OUT}  # what a network can do as well as a server


def answers(run: Material) -> tuple[Answer, ...]:
    """Empty for a run in which nothing came and nothing failed."""
    if run.judgement.metrics["ttft"].quantiles.p95 is None and not run.judgement.failures:
        return ()
    whose = Answer("Is it the server, the link, or our tool?", _cause(run), "server")
    if run.judgement.validity is Validity.INVALID:
        return (whose,)
    return (Answer("Who has it worst, and why?", _worst(run), "latency"), whose)


def _worst(run: Material) -> str:
    by_key = [[part for part in run.judgement.parts if part.key == key] for key in _KEYS]
    several = [parts for parts in by_key if len(parts) > 1]
    if not several:
        return "All streams are of one user class and one network, so nobody can be told apart."
    failing, late = (
        max(filter(None, map(apart, several)), key=lambda each: each.by, default=None) for apart in (_failing, _late)
    )
    told = []
    if failing is not None:
        told.append(_of_failing(failing))
    if late is not None:
        told.append(_of_late(run, late))
    keys = " or ".join(_KEYS[parts[0].key] for parts in several)
    return " ".join(told) or f"Nobody: no {keys} is surely later than another, or fails more often."


class _Apart(NamedTuple):
    """Two parts of a run, of which one is surely worse off."""

    by: float  # how much
    worst: tuple[float, Part]  # the figure, and whose it is
    best: tuple[float, Part]


def _failing(parts: Sequence[Part]) -> _Apart | None:
    """By error rates, if the intervals of the worst and the best do not meet."""
    rates = [(RATES["error_rate"].over(part.totals, 0), part) for part in parts]
    known = [(rate.value, part, rate) for rate, part in rates if rate.value is not None]
    if len(known) < 2:
        return None
    worst, best = (choose(known, key=lambda each: each[0]) for choose in (max, min))
    low, high = ratio_interval(worst[2].hits or 0, worst[2].n).low, ratio_interval(best[2].hits or 0, best[2].n).high
    if low is None or high is None or low <= high or worst[0] < best[0] + _MORE_FAILED:
        return None
    return _Apart(worst[0] - best[0], worst[:2], best[:2])


def _late(parts: Sequence[Part]) -> _Apart | None:
    """The same by P95 TTFT."""
    known = [(p95, part) for part in parts if (p95 := part.metrics["ttft"].quantiles.p95) is not None]
    if len(known) < 2:
        return None
    worst, best = (choose(known, key=lambda each: each[0]) for choose in (max, min))
    low, high = worst[1].metrics["ttft"].intervals.p95.low, best[1].metrics["ttft"].intervals.p95.high
    if low is None or high is None or low <= high or worst[0] < _LATER * best[0]:
        return None
    return _Apart(worst[0] / best[0], worst, best)


def _of_failing(apart: _Apart) -> str:
    (share, part), (least, other) = apart.worst, apart.best
    ways = {outcome: count for outcome, count in part.totals.outcomes.items() if outcome in FAILURES}
    most = max(ways, key=lambda outcome: ways[outcome]).replace("_", " ")
    return (
        f"{_capital(part)}: {figure(share, 'ratio')} of its streams failed, most of them {most} "
        f"({_name(other)}: {figure(least, 'ratio')})."
    )


def _of_late(run: Material, apart: _Apart) -> str:
    (p95, part), (least, other) = apart.worst, apart.best
    why = _divided(p95, run.judgement.measurements.distribution("ttft_wire", part.where))
    return f"{_capital(part)}: P95 TTFT is {figure(p95, 'ms')} ({_name(other)}: {figure(least, 'ms')}); {why}."


def _name(part: Part) -> str:
    return f"{_KEYS[part.key]} {shortened(part.value, _LONGEST_NAME)}"


def _capital(part: Part) -> str:
    name = _name(part)
    return f"{name[:1].upper()}{name[1:]}"


def _divided(person: float, wire: Distribution) -> str:
    """What part of a P95 is the server's."""
    server = statistics.quantile(wire.values, wire.counts, 0.95)
    if server is None:
        return "the server’s part of it is not known"
    if server >= _MOST * person:
        return f"most of it is the server’s part, {figure(server, 'ms')}"
    if server <= (1 - _MOST) * person:
        return f"the server’s part is only {figure(server, 'ms')}, and the rest is the link and connecting"
    return f"the server’s part is {figure(server, 'ms')}, and the rest is the link and connecting"


def _cause(run: Material) -> str:
    judgement = run.judgement
    why = shortened(judgement.reasons[0], _LONGEST_REASON) if judgement.reasons else ""
    if judgement.validity is Validity.INVALID:
        return f"Our tool, or how it ran: {why}. What the figures say of the server or the link is not sure."
    late = judgement.metrics["send_lag"].quantiles.p99
    ours = "It is not our tool" + ("" if late is None else f", which sent no more than {figure(late, 'ms')} late (P99)")
    if judgement.validity is Validity.DEGRADED:
        ours = f"Our tool did not measure all as it should: {why}"
    return f"{_theirs(run)} {ours}."


def _theirs(run: Material) -> str:
    judgement = run.judgement
    p95 = judgement.metrics["ttft"].quantiles.p95
    if p95 is not None:
        return f"P95 TTFT is {figure(p95, 'ms')}; {_divided(p95, judgement.measurements.distribution('ttft_wire'))}."
    first = judgement.failures[0]
    detail = f": {shortened(first.detail, _LONGEST_REASON)}" if first.detail else ""
    whose = "The server or the way to it" if first.outcome in _ON_THE_WAY else "The server"
    return f"{whose}: no stream had a first token, and most were {first.outcome.replace('_', ' ')}{detail}."
