"""What a search found: the document that `--json` writes, that the run keeps, and that every output tells. Pure.

docs/reference/capacity.schema.json describes it.
"""

import math
from typing import Literal

import msgspec

from streamgauge.harness.capacity.path import Purpose
from streamgauge.harness.capacity.sequential import ERROR, Outcome
from streamgauge.harness.capacity.units import Unit
from streamgauge.harness.exit_codes import Exit

SCHEMA = "streamgauge/capacity/1"
CONFIDENCE = 1 - ERROR

GaveWay = Literal["server", "generator"]


class Knee(msgspec.Struct, frozen=True):
    at: float
    low: float  # of an approximate 95 % interval
    high: float


class PerSecond(msgspec.Struct, frozen=True):
    """The answer of a search for a rate, in streams per second as the options are."""

    proven: float | None
    knee: Knee | None
    passed: float | None
    not_passed: float | None
    at_least: float | None
    most: float


class RuleAtLevel(msgspec.Struct, frozen=True, kw_only=True):
    """One rule during one visit."""

    rule: str
    figure: str  # what it limits, such as p95(ttft)
    unit: str
    limit: float
    observed: float | None  # None: nothing, or ∞
    status: Literal["met", "missed", "inconclusive"]
    kept: bool  # whether the observed figure is within the limit, however sure that is


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One visit to one level."""

    users: int
    per_second: float | None = None  # streams that were due, of an open load
    verdict: Outcome
    streams: int  # that were judged
    bad: int  # of these: broke a rule
    effective: float  # independent streams that they are worth
    purpose: Purpose
    begins: float  # seconds since the run began: streams that were due between these two
    ends: float
    backlog: bool = False  # an open load: more and more streams were open at once, which no such load may do
    generator: str | None = None  # why the load generator's figures cannot be believed here
    rules: list[RuleAtLevel] = []
    ttft_p95: float | None = None  # ms; ∞ is None, as if nothing was observed
    itl_p95: float | None = None
    completions: float | None = None  # per second
    error_rate: float | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    schema: str = SCHEMA
    proven: int | None  # users; None: no level was shown to keep the rules
    confidence: float = CONFIDENCE
    knee: Knee | None
    gave_way: GaveWay | None  # None: nothing did, up to the highest level
    rule: str | None  # that gave way first
    levels: list[Level]
    passed: int | None  # the highest level that was passed, and the lowest that was not
    not_passed: int | None
    stopped: str | None  # why the search ended before its answer was known
    at_least: int | None  # --at-least
    most: int  # --max-users, or --max-rate
    unit: Unit = Unit.USERS  # of proven, knee, passed, not_passed, at_least, most, and the users of each level
    per_second: PerSecond | None = None  # the same, of a search for a rate
    run: str
    host: str
    scenario: str
    streams: int  # of the whole run
    seconds: float
    cost: float | None
    currency: str | None


def told_per_second(found: Found) -> Found:
    """With what a search for a rate found in streams per second, too."""
    if found.unit is not Unit.RATE:
        return found

    def per_second(load: float) -> float:
        return round(found.unit.shown(load), 3)

    def if_known(load: float | None) -> float | None:
        return None if load is None else per_second(load)

    told = PerSecond(
        proven=if_known(found.proven),
        knee=found.knee and Knee(*map(per_second, msgspec.structs.astuple(found.knee))),
        passed=if_known(found.passed),
        not_passed=if_known(found.not_passed),
        at_least=if_known(found.at_least),
        most=per_second(found.most),
    )
    levels = [msgspec.structs.replace(level, per_second=per_second(level.users)) for level in found.levels]
    return msgspec.structs.replace(found, per_second=told, levels=levels)


def first_missed(found: Found) -> Level | None:
    """The visit that shows best what gave way: at the lowest level that was missed, or else was not passed.

    Below the level that was not passed there are only visits that do not count, such as those that the load generator
    spoilt.
    """
    if found.not_passed is None:
        return None
    for outcome in (Outcome.MISSED, Outcome.UNDECIDED):
        levels = [level for level in found.levels if level.verdict is outcome]
        levels = [level for level in levels if level.users >= found.not_passed]
        if levels:
            return min(levels, key=lambda level: (level.users, level.generator is not None, -level.streams))
    return None


def first_broken(found: Found) -> RuleAtLevel | None:
    """The rule that gave way first: the one that was farthest beyond its limit at the level that shows it."""
    level = first_missed(found)
    if level is None:
        return None
    return max((rule for rule in level.rules if not rule.kept), key=_excess, default=None)


def _excess(rule: RuleAtLevel) -> float:
    if rule.observed is None or not rule.limit or not rule.observed:
        return math.inf
    return max(rule.observed / rule.limit, rule.limit / rule.observed)


def exit_code(found: Found) -> Exit:
    """0: the answer is known, or `at_least` is proven; 1: the server holds less, or nobody; 3: neither is known."""
    wanted = found.at_least or found.unit.least
    if found.proven is not None and found.proven >= wanted and (found.stopped is None or _twice(found, wanted)):
        whole = found.at_least is not None or (found.stopped is None and found.gave_way != "generator")
        return Exit.MET if whole else Exit.INCONCLUSIVE
    missed = [level.users for level in found.levels if level.verdict is Outcome.MISSED and level.generator is None]
    return Exit.MISSED if missed and min(missed) <= wanted else Exit.INCONCLUSIVE


def _twice(found: Found, wanted: int) -> bool:
    """Whether two visits show it. A search that was ended early has not come back to what it passed."""
    proofs = [level for level in found.levels if level.verdict is Outcome.PASSED and level.purpose is not Purpose.CLIMB]
    return sum(level.users >= wanted for level in proofs) >= 2
