"""Who has it worst: the group whose streams are lost, stand still, begin late or come slowly more than all others'.

Lost streams come first, those that failed and those whose person gave up before the first token; then freezes in
mid-answer, then the first token, then the pace. A difference is told only if it is beyond chance and people would
notice it. The first tokens of a group that many people left are of the patient ones only, and are not compared.
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np

from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.statistics import Interval, ratio_interval
from streamgauge.harness.judge.measure.totals import Totals
from streamgauge.harness.judge.verdict.judgement import Part
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict, evaluate
from streamgauge.harness.judge.verdict.summary import Summary
from streamgauge.harness.judge.wording import capitalised, shortened, uncapitalised
from streamgauge.harness.record.observation import FAILURES
from streamgauge.reports.facets import Facet
from streamgauge.reports.material import Material
from streamgauge.reports.panel import figure_or_never, interval_of

MORE_LOST = 0.02  # share of the streams
_MANY_LEFT = 0.05  # share of the streams: with as many left out, the P95 of the others is no P95
_KEYS = {"network": "network", "user": "user class", "phase": "phase"}  # of the same streams, the first tells more
_LATER = 1.2  # times as long
_NOTICED_MS = {"ttft": 200.0, "itl": 50.0, "longest_stall": 250.0}  # a smaller difference is not seen by people
_SLOW_ITL_MS = 100.0  # P95; a faster answer is faster than people read
_NEAR = 0.5  # of the limit of a rule: below it, nobody is badly off
_NEXT = 0.8  # of the limit of a rule: below it, nobody need be named as the nearest to it
FREEZE_MS = 1_000.0
_MOST = 2 / 3  # of a time, to call something its cause
_MOST_NETWORKS = 3
_LONGEST_NAME = 60  # characters
# Findings that say which streams wait longer than others, by what no key of a rule selects.
_OF_SOME = ("two_kinds", "server_differs", "worker_differs", "cold_connections", "cache_misses")
# What a group's own streams say of a rule about all streams.
_BY_ITSELF = {
    RuleStatus.MET: "by itself it keeps the limit",
    RuleStatus.INCONCLUSIVE: "by itself it may miss the limit, which its interval does not exclude",
    RuleStatus.MISSED: "by itself it misses the limit",
}
_OF_EVERYBODY = ("server_paused", "lone_stalls")  # findings about freezes that no group has to itself


@dataclass(frozen=True)
class _Apart:
    """A part of a run that is clearly worse off than another."""

    by: float  # how much
    part: Part
    told: Callable[[Material], str]  # what is worse, without the part's name


def worst_off(run: Material) -> str:
    by_key = [[part for part in run.judgement.parts if part.key == key] for key in _KEYS]
    several = [parts for parts in by_key if len(parts) > 1]
    losing = _worst_by(partial(_losing, run), several)
    noticed = (partial(_stalled, _facets(run)), partial(_later, run, "ttft"), partial(_later, run, "itl"))
    found = [worst for worst in (losing, *(_worst_by(look, several) for look in noticed)) if worst is not None]
    told = [f"{_named(run, apart.part)}: {apart.told(run)}." for apart in found]
    if losing is None and (lost := " and ".join(filter(None, (failures(run), gave_up(run))))):
        alike = (
            f"No group stands out: {lost}." if not (most := _most_often(several)) else f"{capitalised(lost)}; {most}."
        )
        return " ".join([alike, *(f"Of those that were answered: {each}" for each in told[:1])])
    if told:
        return " Also ".join([told[0], *map(uncapitalised, told[1:])])
    if any(finding.id in _OF_EVERYBODY for finding in run.judgement.findings):
        return "No group stands out: answers stood still, in no group clearly longer than in the others."
    if over := _freezes(run):
        return f"No group stands out: {over}."
    return _nobody(run, several)


def _freezes(run: Material) -> str:
    """A figure of the longest stall of all streams that is beyond its limit, or may be; "" if none is."""
    for verdict in run.judgement.verdicts:
        is_over = verdict.status is not RuleStatus.MET and verdict.plain is not None and verdict.plain > verdict.limit
        if verdict.figure == "longest_stall" and verdict.subject.quantile and verdict.where == Where() and is_over:
            longest = f"one in {1 / (1 - verdict.subject.quantile):,.0f} waits {figure(verdict.plain, 'ms')} or longer"
            return f"answers freeze: {longest} in mid-answer (limit {figure(verdict.limit, 'ms')})"
    return ""


def stall(run: Material) -> str:
    """Whose the freezes are that a rule is about: by how many of the long gaps were on the wire already."""
    if not _freezes(run):
        return ""
    seen, wire = (run.judgement.measurements.distribution(name) for name in ("itl", "itl_wire"))
    count = [int(each.counts[each.values >= FREEZE_MS].sum()) for each in (seen, wire)]
    if not count[0]:
        return ""
    whose = _whose(count[1], count[0]).removeprefix("both ")
    return f"Freezes: {whose}; {count[1]:,} of {count[0]:,} gaps of a second and more were there before the link."


def _nobody(run: Material, several: Sequence[Sequence[Part]]) -> str:
    if not several:
        nobody = "All streams are of one user class and one network, so no group can be told apart"
    else:
        keys = " or ".join(_KEYS[parts[0].key] for parts in several)
        nobody = f"No group is noticeably worse off: no {keys} clearly fails more often or waits noticeably longer"
    others = [finding.sentence for finding in run.judgement.findings if finding.id in _OF_SOME]
    told = f"{nobody}. But: {others[0]}." if others else f"{nobody}."
    return " ".join(filter(None, [told, _nearest(run, several)]))


def _nearest(run: Material, several: Sequence[Sequence[Part]]) -> str:
    """Which group is nearest to the limit that a rule sets for all streams, judged by its own streams alone.

    "" if each keeps every limit by far.
    """
    judgement = run.judgement
    near: list[tuple[bool, float, Part, Verdict]] = []
    for rule in judgement.verdicts:
        if rule.where != Where() or not rule.wants_low or not rule.subject.quantile or rule.limit <= 0:
            continue
        for part in itertools.chain.from_iterable(several):
            of_part = Rule(Sla(rule=rule.rule, where=part.where), rule.subject, "<", rule.limit)
            own = evaluate(of_part, judgement.measurements, judgement.seconds)
            if own.observed is not None and own.observed >= _NEXT * rule.limit:
                crosses = own.high is not None and own.high > rule.limit
                near.append((crosses, own.observed / rule.limit, part, own))
    if not near:
        return ""
    *_, part, own = max(near, key=lambda each: each[:2])
    measured = f"{own.subject.words} {figure_or_never(own.observed, own.unit)}"
    limit = f"limit {figure(own.limit, own.unit)}"
    if own.status is RuleStatus.INCONCLUSIVE and None in {own.low, own.high}:
        judged = f"({limit}); by itself it has too few streams to tell whether it keeps that"
    else:
        judged = f"({interval_of(Interval(own.low, own.high), own.unit)}; {limit}); {_BY_ITSELF[own.status]}"
    return f"Nearest to its limit is {_name(part)}: {measured} {judged}."


def failures(run: Material) -> str:
    """`60 of 228 streams failed`; "" if so few did that it may be noise."""
    errors = run.judgement.rates["error_rate"]
    if not errors.hits or errors.hits < MORE_LOST * errors.n:
        return ""
    return f"{errors.hits:,} of {some(errors.n, 'stream')} failed"


def gave_up(run: Material) -> str:
    """`60 of 183 people gave up before the first token`; "" if so few did that it may be chance."""
    totals = run.judgement.totals
    left = int(totals.sum("gave_up"))
    if not left or left < MORE_LOST * totals.ended:
        return ""
    return f"{left:,} of {some(totals.ended, 'person', 'people')} gave up before the first token"


def _difference(run: Material, metric: str, p95s: tuple[float, float], parts: tuple[Part, Part]) -> str:
    """What makes the first P95 higher than the second: `what makes the difference is the server: P95 of its …`."""
    part, other = (_server(run, metric, each.where) for each in parts)
    networks = _networks(run, parts[0])
    if part is None or other is None:
        return divided(run, metric, p95s[0], parts[0].where)
    whose = _whose(part - other, p95s[0] - p95s[1], networks)
    return f"what makes the difference is {whose}: {_in_parts(run, metric, part, parts[0].where)}"


def _server(run: Material, metric: str, where: Where) -> float | None:
    """P95 of the server's part, ms."""
    wire = run.judgement.measurements.distribution(f"{metric}_wire", where)
    return statistics.quantile(wire.values, wire.counts, 0.95)


def _whose(server: float, whole: float, networks: Collection[str] = ()) -> str:
    """`the server`, `the link` or `both the server and the link`, by what part of the whole is the server's."""
    emulated = ", which the test emulates" if {*networks} - {"none"} else ""
    if server >= _MOST * whole:
        return "the server"
    return f"the link{emulated}" if server <= (1 - _MOST) * whole else f"both the server and the link{emulated}"


def _in_parts(run: Material, metric: str, server: float, where: Where) -> str:
    """Each part with its own P95, of the same streams. They do not add up: the two may be of different streams."""
    told = f"P95 of the server’s part {figure(server, 'ms')}"
    left = run.judgement.evidence.sample.after_the_server(where)
    if metric != "ttft" or not len(left):
        return told
    rest = statistics.quantile(left, np.ones(len(left), np.int64), 0.95)
    return f"{told}, of link and connecting {figure(rest, 'ms')}"


def divided(run: Material, metric: str, person: float, where: Where) -> str:
    """Whose a P95 is: `mostly the server: P95 of the server’s part 993 ms, of link and connecting 1 ms`."""
    server = _server(run, metric, where)
    if server is None:
        return "the server’s part of it is not known"
    whose = _whose(server, person, run.judgement.measurements.values("network"))
    return f"{'' if whose.startswith('both ') else 'mostly '}{whose}: {_in_parts(run, metric, server, where)}"


def _worst_by(look: Callable[[Sequence[Part]], _Apart | None], several: Sequence[Sequence[Part]]) -> _Apart | None:
    return max(filter(None, map(look, several)), key=lambda each: each.by, default=None)


def _losing(run: Material, parts: Sequence[Part]) -> _Apart | None:
    """By the share of the streams that are lost, if the intervals of the worst and the best do not meet."""
    known = [(lost(part.totals) / part.totals.ended, part) for part in parts if part.totals.ended]
    if len(known) < 2:
        return None
    (worst, part), (best, other) = (choose(known, key=lambda each: each[0]) for choose in (max, min))
    low, high = interval_of_lost(part.totals).low, interval_of_lost(other.totals).high
    if low is None or high is None or low <= high or worst < best + MORE_LOST:
        return None
    return _Apart(worst - best, part, lambda _: _told_lost(run, part, worst, _others(part, known, "ratio")))


def _most_often(several: Sequence[Sequence[Part]]) -> str:
    """Which group lost a noticeably larger share of its streams than others, but not beyond chance; "" if none did."""
    widest: list[tuple[float, Part]] = []
    for parts in several:
        known = [(lost(part.totals) / part.totals.ended, part) for part in parts if part.totals.ended]
        known.sort(key=lambda each: each[0])
        if known and (not widest or _apart(known) > _apart(widest)):
            widest = known
    if not widest or _apart(widest) < MORE_LOST:
        return ""
    share, part = widest[-1]
    others = _others(part, widest, "ratio")
    return f"most often those of {_name(part)}, {figure(share, 'ratio')} ({others}), which may be chance"


def _apart(by_share: Sequence[tuple[float, Part]]) -> float:
    """How far apart the shares of the first and the last are."""
    return by_share[-1][0] - by_share[0][0]


def lost(totals: Totals) -> int:
    """How many streams failed, or were left before the first token."""
    return totals.count(*FAILURES) + int(totals.sum("gave_up"))


def interval_of_lost(totals: Totals) -> Interval:
    return ratio_interval(lost(totals), totals.ended)


def _told_lost(run: Material, part: Part, share: float, others: str) -> str:
    """What became of the lost streams: they failed, were left, or both."""
    failed, left = part.totals.count(*FAILURES), int(part.totals.sum("gave_up"))
    if not left:
        return f"{figure(share, 'ratio')} of its streams failed, {_kinds(part.totals)} ({others})"
    stayed, n = run.judgement.metrics["ttft"].quantiles.p50, part.totals.ended
    took = figure(stayed, "ms")
    why = "" if stayed is None else f"; of all people who got a first token, half waited {took} or longer"
    if failed:
        each = f"{failed:,} failed, and {left:,} were left before the first token"
        return f"{figure(share, 'ratio')} of its {n:,} streams brought nothing: {each} ({others}){why}"
    return f"{figure(share, 'ratio')} of its people gave up before the first token, {left:,} of {n:,} ({others}){why}"


def _kinds(totals: Totals) -> str:
    """`all of them reset`, or `most of them reset`; streams must have failed."""
    ways = {outcome: count for outcome, count in totals.outcomes.items() if outcome in FAILURES}
    most = max(ways, key=lambda outcome: ways[outcome])
    return f"{share_of_them(ways[most], sum(ways.values()))} {most.replace('_', ' ')}"


def share_of_them(n: int, whole: int) -> str:
    """`all of them`, `most of them` or, where it is less than half, `41 of them`."""
    return "all of them" if n == whole else "most of them" if 2 * n > whole else f"{n:,} of them"


def _later(run: Material, metric: str, parts: Sequence[Part]) -> _Apart | None:
    """The same by P95 TTFT or ITL, unless it is far below the limit that a rule sets for these streams."""
    known = [(part, part.metrics[metric]) for part in parts if metric != "ttft" or not _was_left(part)]
    found = _further(known)
    if found is None:
        return None
    worst, part, best, other = found
    limit = _limit(run, metric, part)
    unnoticed = worst - best < _NOTICED_MS[metric] or (metric == "itl" and worst < _SLOW_ITL_MS)
    if unnoticed or (limit is not None and worst < _NEAR * limit):
        return None
    others = _others(part, _p95s(known), "ms")
    high = part.metrics[metric].intervals.p95.high
    surely = "within" if limit is not None and high is not None and high <= limit else "not surely within"
    within = "" if limit is None or worst > limit else f", {surely} the limit of {figure(limit, 'ms')}"

    def told(run: Material) -> str:
        why = _difference(run, metric, (worst, best), (part, other))
        return f"P95 {metric.upper()} is {figure(worst, 'ms')} ({others}){within}; {why}"

    return _Apart(worst - best, part, told)


def _was_left(part: Part) -> bool:
    return part.totals.sum("gave_up") > _MANY_LEFT * part.totals.ended


def _stalled(facets: Mapping[tuple[str, str], Facet], parts: Sequence[Part]) -> _Apart | None:
    """The same by the longest wait in mid-answer."""
    known = [
        (part, facets[part.key, part.value].metrics["longest_stall"])
        for part in parts
        if (part.key, part.value) in facets
    ]
    found = _further(known)
    if found is None or found[0] - found[2] < _NOTICED_MS["longest_stall"]:
        return None
    worst, part, best, _ = found
    told = (
        f"answers freeze: one reader in 20 waits {figure(worst, 'ms')} or longer in mid-answer "
        f"({_others(part, _p95s(known), 'ms')})"
    )
    return _Apart(worst - best, part, lambda _: told)


def _further(parts: Sequence[tuple[Part, Summary]]) -> tuple[float, Part, float, Part] | None:
    """The part with the highest P95, and the one with the lowest, if their intervals do not meet."""
    known = [(p95, part, seen) for part, seen in parts if (p95 := seen.quantiles.p95) is not None]
    if len(known) < 2:
        return None
    (worst, part, of_worst), (best, other, of_best) = (choose(known, key=lambda each: each[0]) for choose in (max, min))
    low, high = of_worst.intervals.p95.low, of_best.intervals.p95.high
    if low is None or high is None or low <= high or worst < _LATER * best:
        return None
    return worst, part, best, other


def _p95s(parts: Sequence[tuple[Part, Summary]]) -> list[tuple[float, Part]]:
    return [(p95, part) for part, seen in parts if (p95 := seen.quantiles.p95) is not None]


def _others(part: Part, known: Sequence[tuple[float, Part]], unit: str) -> str:
    """`network none: 389 ms`; of several others, the lowest and the highest: `all other networks: 300 ms to 389 ms`."""
    others = sorted(((value, other) for value, other in known if other is not part), key=lambda each: each[0])
    (low, best), (high, _) = others[0], others[-1]
    if len(others) == 1:
        return f"{_KEYS[best.key]} {shortened(best.value, _LONGEST_NAME)}: {figure(low, unit)}"
    kind = "user classes" if part.key == "user" else f"{_KEYS[part.key]}s"
    ends = [figure(low, unit), figure(high, unit)]
    return f"all other {kind}: {ends[0] if ends[0] == ends[1] else ' to '.join(ends)}"


def _limit(run: Material, metric: str, part: Part) -> float | None:
    """The lowest limit that a rule sets for a high quantile of a metric, of these streams or of all. None: no rule."""
    limits = [
        verdict.limit
        for verdict in run.judgement.verdicts
        if verdict.figure == metric and verdict.wants_low and (verdict.subject.quantile or 0) >= 0.9
        if verdict.where in (Where(), part.where)
    ]
    return min(limits, default=None)


def _facets(run: Material) -> Mapping[tuple[str, str], Facet]:
    """By key and value of a part."""
    keys = {name.capitalize(): key for key, name in _KEYS.items()}
    return {(keys[facet.kind], facet.value): facet for facet in run.facets if facet.kind in keys}


def _name(part: Part) -> str:
    return f"{_KEYS[part.key]} {shortened(part.name, _LONGEST_NAME)}"


def _named(run: Material, part: Part) -> str:
    """With the networks of a user class, if no other class has the same: `User class Reader, on network slow_3g`."""
    name = capitalised(_name(part))
    found = _networks(run, part)
    others = (_networks(run, other) for other in run.judgement.parts if other.key == part.key and other is not part)
    # Where others are on the same networks and are better off, the network is not what makes the difference.
    if part.key == "network" or len(found) > _MOST_NETWORKS or found in others:
        return name
    networks = [shortened(network, _LONGEST_NAME) for network in found]
    return f"{name}, on network{'s' if len(networks) > 1 else ''} {' and '.join(networks)}"


def _networks(run: Material, part: Part) -> list[str]:
    measurements = run.judgement.measurements
    return [
        network
        for network in measurements.values("network")
        if part.key != "network" or network == part.value
        if measurements.totals(msgspec.structs.replace(part.where, network=network)).streams
    ]
