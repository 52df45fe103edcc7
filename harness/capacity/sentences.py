"""What a search found, in sentences. Pure. Every output says the same ones."""

from collections.abc import Iterator

from streamgauge.harness.capacity.found import Found, Level, RuleAtLevel, first_broken, first_missed
from streamgauge.harness.capacity.path import Purpose
from streamgauge.harness.capacity.sequential import Outcome
from streamgauge.harness.capacity.units import Unit
from streamgauge.harness.judge.figures import figure, money, some

_STILL_FINE = 3  # rules that are named
_WIDE = 0.10  # of the knee, on each side


def answer(found: Found) -> list[str]:
    """The answer, most important first."""
    return [*_early(found), _proven(found), *_knee(found), *what_gave_way(found), *_wide(found)]


def _early(found: Found) -> Iterator[str]:
    if found.stopped is not None:
        yield f"The search was ended early: {found.stopped}. This is what is known so far."


def _proven(found: Found) -> str:
    sure = f"{found.confidence * 100:.0f} % confidence"
    if found.proven is not None:
        keep = "keeps" if found.unit is Unit.USERS and found.proven == 1 else "keep"
        return f"At least {found.unit.amount(found.proven)} {keep} the SLA ({sure})."
    least = found.unit.least
    if any(level.users <= least and level.verdict is Outcome.MISSED and not level.generator for level in found.levels):
        return f"Not even {found.unit.amount(least)} {'keeps' if found.unit is Unit.USERS else 'keep'} the SLA."
    if found.passed is not None:
        return f"{found.unit.amount(found.passed)} did well on the way up, but nothing was shown with {sure}."
    return f"No {'number of users' if found.unit is Unit.USERS else 'rate'} was shown to keep the SLA."


def _knee(found: Found) -> Iterator[str]:
    if found.knee is not None:
        at, low, high = (found.unit.plain(each) for each in (found.knee.at, found.knee.low, found.knee.high))
        yield f"The knee is about {at} ({low}–{high}; the interval is approximate)."
    elif found.not_passed is None and found.proven == found.most:
        bound = (
            "the sweep has"
            if _is_sweep(found)
            else f"{'--max-users' if found.unit is Unit.USERS else '--max-rate'} allows"
        )
        yield f"The knee is above {found.unit.plain(found.most)}, the most that {bound}."
    elif found.passed is not None and found.not_passed is not None and found.gave_way == "server":
        yield f"The knee is between {found.unit.plain(found.passed)} and {found.unit.plain(found.not_passed)}."


def what_gave_way(found: Found) -> Iterator[str]:
    """One sentence; none if nothing did."""
    level = first_missed(found)
    if level is None:
        return
    at = f"At {found.unit.amount(level.users)}"
    if level.generator:
        yield (
            f"{at} the load generator gave way, not the server: {level.generator}. The server's knee is above. "
            f"Give the load more cores or another machine, and search again."
        )
        return
    broken = first_broken(found)
    if level.backlog:
        yield f"{at} the backlog grows: more and more streams are open at once."
        return
    if level.verdict is Outcome.UNDECIDED:
        yield f"{at} it stayed undecided after {some(level.streams, 'stream')}, which counts as not kept."
    elif broken is not None:
        limit = figure(broken.limit, broken.unit)
        yield f"{at} {broken.figure} gives way first: {observed(broken)}, limit {limit}{_fine(level)}."
    else:
        share = level.bad / max(1, level.streams)
        yield f"{at} {figure(share, 'ratio')} of the streams broke one rule or another, though each rule alone is kept."


def observed(rule: RuleAtLevel) -> str:
    """`2,900 ms`; `∞` if too many streams failed."""
    return "∞" if rule.observed is None and not rule.kept else figure(rule.observed, rule.unit)


def _fine(level: Level) -> str:
    """The rules that are kept at a level where another is not."""
    fine = [rule.figure for rule in level.rules if rule.kept]
    more = f" and {len(fine) - _STILL_FINE} more" if len(fine) > _STILL_FINE else ""
    return f"; {', '.join(fine[:_STILL_FINE])}{more} still fine" if fine else ""


def _is_sweep(found: Found) -> bool:
    return any(level.purpose is Purpose.SWEEP for level in found.levels)


def _wide(found: Found) -> Iterator[str]:
    """What would make a wide interval narrower."""
    knee = found.knee
    if knee is None or found.stopped is not None:
        return
    half = max(knee.high - knee.at, knee.at - knee.low)
    if half <= max(_WIDE * knee.at, 1.0):
        return
    if _is_sweep(found):
        low, high = (found.unit.plain(each) for each in (knee.low, knee.high))
        yield f"The interval is wide: give --sweep levels between {low} and {high}, or leave it out."
    else:
        near = sum(level.streams for level in found.levels if abs(level.users / knee.at - 1) < 0.25)
        more = round(near * ((half / (_WIDE * knee.at)) ** 2 - 1), -2)
        yield f"The interval is wide; about {more:,.0f} more streams near the knee would make it ±10 %."


def cost(found: Found) -> str:
    """`3,790 streams in 179 s, 1.23 USD`."""
    spent = "" if found.cost is None or found.currency is None else f", {money(found.cost, found.currency)}"
    return f"{some(found.streams, 'stream')} in {found.seconds:,.0f} s{spent}"
