"""The questions of people who read only the first screen, each answered in a sentence or two."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.distribution import Distribution
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.measure.statistics import ratio_interval
from streamgauge.harness.judge.verdict.judgement import Part
from streamgauge.harness.judge.verdict.summary import Summary
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.record.observation import FAILURES, Outcome
from streamgauge.reports.facets import Facet
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Answer

_KEYS = {"network": "network", "user": "user class", "phase": "phase"}  # of the same streams, the first tells more
_LATER = 1.2  # times as long
_MORE_FAILED = 0.02  # share of the streams
_NOTICED_MS = 250.0
# Findings that say which streams wait longer than others, by what no key of a rule selects.
_OF_SOME = ("two_kinds", "server_differs", "worker_differs", "cold_connections", "cache_misses")
_IN_MID_ANSWER = ("link_stalls", "server_paused", "lone_stalls")  # findings
_MOST = 2 / 3  # of a time, to call something its cause
_LONGEST_REASON, _LONGEST_DETAIL, _LONGEST_NAME = 240, 80, 60  # characters
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
    failing = _worst_by(_failing, several)
    noticed = (partial(_later, "ttft"), partial(_stalled, _facets(run)))
    found = [worst for worst in (failing, *(_worst_by(look, several) for look in noticed)) if worst is not None]
    if failing is None and (failed := _failures(run)):
        alike = f"Everybody: {failed}, and nobody’s surely more often than another’s."
        return " ".join([alike, *(apart.told(run) for apart in found)])
    if not found and (slower := _worst_by(partial(_later, "itl"), several)) is not None:
        found = [slower]
    if found:
        return " ".join(apart.told(run) for apart in found)
    if not several:
        nobody = "All streams are of one user class and one network, so nobody can be told apart"
    else:
        keys = " or ".join(_KEYS[parts[0].key] for parts in several)
        nobody = f"Nobody stands out: no {keys} surely waits longer than another, or fails more often"
    others = [finding.sentence for finding in run.judgement.findings if finding.id in _OF_SOME]
    return f"{nobody}. But: {others[0]}." if others else f"{nobody}."


@dataclass(frozen=True)
class _Apart:
    """Two parts of a run, of which one is surely worse off."""

    by: float  # how much
    told: Callable[[Material], str]


def _worst_by(look: Callable[[Sequence[Part]], _Apart | None], several: Sequence[Sequence[Part]]) -> _Apart | None:
    return max(filter(None, map(look, several)), key=lambda each: each.by, default=None)


def _failing(parts: Sequence[Part]) -> _Apart | None:
    """By error rates, if the intervals of the worst and the best do not meet."""
    rates = [(RATES["error_rate"].over(part.totals, 0), part) for part in parts]
    known = [(rate.value, part, rate) for rate, part in rates if rate.value is not None]
    if len(known) < 2:
        return None
    (worst, part, of_worst), (best, other, of_best) = (choose(known, key=lambda each: each[0]) for choose in (max, min))
    low, high = ratio_interval(of_worst.hits or 0, of_worst.n).low, ratio_interval(of_best.hits or 0, of_best.n).high
    if low is None or high is None or low <= high or worst < best + _MORE_FAILED:
        return None
    ways = {outcome: count for outcome, count in part.totals.outcomes.items() if outcome in FAILURES}
    most = max(ways, key=lambda outcome: ways[outcome]).replace("_", " ")
    told = (
        f"{_capital(part)}: {figure(worst, 'ratio')} of its streams failed, most of them {most} "
        f"({_name(other)}: {figure(best, 'ratio')})."
    )
    return _Apart(worst - best, lambda _: told)


def _later(metric: str, parts: Sequence[Part]) -> _Apart | None:
    """The same by P95 TTFT or ITL."""
    found = _further([(part, part.metrics[metric]) for part in parts])
    if found is None:
        return None
    worst, part, best, other = found

    def told(run: Material) -> str:
        why = _divided(worst, run.judgement.measurements.distribution(f"{metric}_wire", part.where))
        figures = f"P95 {metric.upper()} is {figure(worst, 'ms')} ({_name(other)}: {figure(best, 'ms')})"
        return f"{_capital(part)}: {figures}; {why}."

    return _Apart(worst / best if best else math.inf, told)


def _stalled(facets: Mapping[tuple[str, str], Facet], parts: Sequence[Part]) -> _Apart | None:
    """The same by the longest wait in mid-answer, from what people notice on."""
    known = [
        (part, facets[part.key, part.value].metrics["longest_stall"])
        for part in parts
        if (part.key, part.value) in facets
    ]
    found = _further(known)
    if found is None or found[0] < _NOTICED_MS:
        return None
    worst, part, best, other = found
    told = (
        f"{_capital(part)}: one reader in 20 waits {figure(worst, 'ms')} or longer in mid-answer "
        f"({_name(other)}: {figure(best, 'ms')})."
    )
    return _Apart(worst - best, lambda _: told)


def _further(parts: Sequence[tuple[Part, Summary]]) -> tuple[float, Part, float, Part] | None:
    """The part with the highest P95 and the one with the lowest, if their intervals do not meet."""
    known = [(p95, part, seen) for part, seen in parts if (p95 := seen.quantiles.p95) is not None]
    if len(known) < 2:
        return None
    (worst, part, of_worst), (best, other, of_best) = (choose(known, key=lambda each: each[0]) for choose in (max, min))
    low, high = of_worst.intervals.p95.low, of_best.intervals.p95.high
    if low is None or high is None or low <= high or worst < _LATER * best:
        return None
    return worst, part, best, other


def _facets(run: Material) -> Mapping[tuple[str, str], Facet]:
    """By key and value of a part."""
    keys = {name.capitalize(): key for key, name in _KEYS.items()}
    return {(keys[facet.kind], facet.value): facet for facet in run.facets if facet.kind in keys}


def _name(part: Part) -> str:
    return f"{_KEYS[part.key]} {shortened(part.value, _LONGEST_NAME)}"


def _capital(part: Part) -> str:
    name = _name(part)
    return f"{name[:1].upper()}{name[1:]}"


def _divided(person: float, wire: Distribution) -> str:
    """What part of a P95 is the server's."""
    server = statistics.quantile(wire.values, wire.counts, 0.95)
    rest = "the link" if wire.metric.name == "itl_wire" else "the link and connecting"
    if server is None:
        return "the server’s part of it is not known"
    if server >= _MOST * person:
        return f"most of it is the server’s part, {figure(server, 'ms')}"
    if server <= (1 - _MOST) * person:
        return f"the server’s part is only {figure(server, 'ms')}, and the rest is {rest}"
    return f"the server’s part is {figure(server, 'ms')}, and the rest is {rest}"


def _cause(run: Material) -> str:
    judgement = run.judgement
    why = shortened(judgement.reasons[0], _LONGEST_REASON) if judgement.reasons else ""
    if judgement.validity is Validity.INVALID:
        return f"Our tool, or how it ran: {why}. What the figures say of the server or the link is not sure."
    late = judgement.metrics["send_lag"].quantiles.p99
    ours = "It is not our tool: the measurement is valid"
    if any(finding.id == "generator_near_limit" for finding in judgement.findings):
        ours = "Our tool is near its limit, and the measurement still valid"
    if late is not None:
        ours += f", and requests left up to {figure(late, 'ms')} late (P99)"
    if judgement.validity is Validity.DEGRADED:
        ours = f"Our tool did not measure all as it should: {why}"
    stalls = [finding.sentence for finding in judgement.findings if finding.id in _IN_MID_ANSWER]
    in_mid_answer = f" In mid-answer: {stalls[0][:1].lower()}{stalls[0][1:]}." if stalls else ""
    return f"{_theirs(run)}{in_mid_answer} {ours}."


def _theirs(run: Material) -> str:
    judgement = run.judgement
    p95 = judgement.metrics["ttft"].quantiles.p95
    if p95 is None:
        return _failed(run, "no stream had a first token, and most were")
    divided = _divided(p95, judgement.measurements.distribution("ttft_wire"))
    failed = _failures(run)
    if not failed:
        return f"P95 TTFT is {figure(p95, 'ms')}; {divided}."
    return f"{_failed(run, f'{failed}, most of them')} P95 TTFT of the others is {figure(p95, 'ms')}; {divided}."


def _failures(run: Material) -> str:
    """`60 of 228 streams failed`; "" if so few did that it may be noise."""
    errors = run.judgement.rates["error_rate"]
    if not errors.hits or errors.hits < _MORE_FAILED * errors.n:
        return ""
    return f"{errors.hits:,} of {some(errors.n, 'stream')} failed"


def _failed(run: Material, what: str) -> str:
    """Whose the most frequent failure is: `what` ends before its outcome."""
    first = run.judgement.failures[0]
    said = re.split("[{<]", first.detail)[0].rstrip(" :")  # without a body of JSON or HTML, which Errors shows
    detail = f": {shortened(said, _LONGEST_DETAIL)}" if said else ""
    whose = "The server or the way to it" if first.outcome in _ON_THE_WAY else "The server"
    return f"{whose}: {what} {first.outcome.replace('_', ' ')}{detail}."
