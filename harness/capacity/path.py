"""Which level is visited next, until the answer is known. Pure: the caller visits, and tells what came of it.

1. Climb: double the users until a level is not passed; if the first is not, halve them until one is.
2. Bisect on the logarithm of the load until the lowest level that was not passed is at most 10 % above the highest that
   was, or one user.
3. Confirm: at least eight fresh visits around the knee, twice at the passed level, so that a lucky visit is found out.
   Any that is missed at or below the passed level sends the search back to 2.

A visit that the load generator spoilt tells nothing of the server: the same level is visited again. Where three in a
row are spoilt, the generator gives way at that level.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from streamgauge.harness.capacity.knee import Knee, Point, knee
from streamgauge.harness.capacity.sequential import LOOKS, PROOF, Count, Outcome, Rigour, plain
from streamgauge.harness.capacity.streams import Limit

FIRST = 4  # users
CLOSE = 1.10  # ratio of two levels between which nothing is visited
_AROUND = (1.05, 0.95)  # of the knee, for fresh visits
_FRESH, _AT_PASSED = 8, 2  # fresh visits in all, and of these at the passed level; at least
_FEWEST_LOOKS = LOOKS[:2]
_SPOILT = 3  # visits in a row, to one level: other work of the machine is often over after one or two
# On the way up nothing is proved, and few streams a second end: 45 good ones in a row let it go on.
_FIRST_LOOK, _EASILY = 45, 0.10


class Purpose(StrEnum):
    CLIMB = "climb"  # only to know where to go on: nothing is proved, since few streams a second end at low loads
    BISECT = "bisect"
    CONFIRM = "confirm"
    SWEEP = "sweep"  # a level that was asked for


@dataclass(frozen=True, slots=True)
class Order:
    """A visit that the search asks for."""

    users: int
    purpose: Purpose
    cool_down: bool = False  # after a level that the server did not hold
    rigour: Rigour = PROOF

    def among(self, limits: Sequence[Limit]) -> Sequence[Limit]:
        """The limits that must be kept for the visit to be passed."""
        if self.purpose is not Purpose.CLIMB:
            return limits
        widest = max(limit.share for limit in limits)
        return [limit for limit in limits if limit.share == widest]


@dataclass(frozen=True, slots=True)
class Visited:
    """A visit that is over."""

    order: Order
    outcome: Outcome
    counts: Sequence[Count]  # by limit
    generator: str = ""  # why the load generator's numbers cannot be believed at this level; "" if they can
    backlog: bool = False  # an open load that the server did not keep up with

    @property
    def users(self) -> int:
        return self.order.users

    @property
    def is_spoilt(self) -> bool:
        """By the load generator."""
        return bool(self.generator) and self.outcome is not Outcome.PASSED


@dataclass
class Search:
    """`at_least`: a level that is to be visited if it lies between two that the search knows.

    `ladder`: the only levels, if there are any.

    A visit that may take fewer streams has fewer looks: it is as sure, and more often undecided.
    """

    limits: Sequence[Limit]
    most: int  # users
    first: int = FIRST
    at_least: int | None = None
    ladder: Sequence[int] = ()
    least: int = 1  # users
    visits: list[Visited] = field(default_factory=list)  # the caller adds what came of each order
    affords: Callable[[int], float] = lambda _: math.inf  # effective streams that a visit to so many users may take

    # What is known

    @property
    def passed(self) -> int | None:
        """The highest level that was passed, and below which none was missed."""
        lowest = self.not_passed
        levels = [users for users, passed in self._levels().items() if passed and (lowest is None or users < lowest)]
        return max(levels, default=None)

    @property
    def not_passed(self) -> int | None:
        """The lowest level that was not passed."""
        return min((users for users, passed in self._levels().items() if not passed), default=None)

    @property
    def proven(self) -> int | None:
        """The most users that keep every limit, as far as all visits together say.

        Each visit has its own luck beyond that of its streams: the machine's other work, the time of day. The interval
        of the fit knows how far visits differ, so nothing above its low end counts as proven.
        """
        passed = self.passed
        levels = [users for users in self._proofs() if passed is not None and users <= passed]
        found = self.knee()
        if not levels or found is None:
            return max(levels, default=None)
        return max(1, min(max(levels), math.floor(found.low)))

    def knee(self) -> Knee | None:
        """Of the limit that is broken at the lowest load. None: unknown, or above all levels that were visited.

        Where the visits do not tell more, it is somewhere between the level that was passed and the one that was not.
        """
        if self.passed is None or self.not_passed is None:
            return None
        between = (self.passed, self.not_passed)
        found = [knee(self._points(place), limit.share, between) for place, limit in enumerate(self.limits)]
        bracket = Knee(math.sqrt(self.passed * self.not_passed), self.passed, self.not_passed)
        return min((each for each in found if each is not None), default=bracket)

    @property
    def is_to_be_repeated(self) -> bool:
        """Whether the last visit was spoilt, and its level is visited again."""
        telling = self._telling()
        return not telling or telling[-1] is not self.visits[-1]

    def _telling(self) -> list[Visited]:
        """The visits that count: one that was spoilt only if those before it to its level were, too."""
        in_a_row: Counter[int] = Counter()
        telling = []
        for visit in self.visits:
            in_a_row[visit.users] = in_a_row[visit.users] + 1 if visit.is_spoilt else 0
            if not visit.is_spoilt or in_a_row[visit.users] >= _SPOILT:
                telling.append(visit)
        return telling

    def _levels(self) -> dict[int, bool]:
        """Whether each level was passed. Whatever else was seen there, a level that was missed once was not."""
        levels: dict[int, bool] = {}
        telling = self._telling()
        for visit in telling:
            if visit.outcome is not Outcome.UNDECIDED or visit.order.purpose is not Purpose.CONFIRM:
                levels[visit.users] = visit.outcome is Outcome.PASSED
        return levels | {visit.users: False for visit in telling if visit.outcome is Outcome.MISSED}

    def _proofs(self) -> set[int]:
        """The levels at which every limit was shown to be kept, by independent streams."""
        return {
            visit.users
            for visit in self.visits
            if visit.outcome is Outcome.PASSED and visit.order.purpose is not Purpose.CLIMB
        }

    def _points(self, place: int) -> list[Point]:
        told = [visit for visit in self.visits if not visit.generator and not visit.backlog]
        counts = [(visit.users, visit.counts[place]) for visit in told]
        return [Point(users, count.effective, count.effective * (count.share or 0.0)) for users, count in counts]

    # What is visited next

    def next(self) -> Order | None:
        """None: the answer is known."""
        if self.ladder:
            left = [users for users in self.ladder if users not in self._levels()]
            return self._order(left[0], Purpose.SWEEP) if left else None
        passed, not_passed = self.passed, self.not_passed
        if passed is None or not_passed is None:
            users = self._climbed(passed, not_passed)
            if users is not None:
                return self._order(users, Purpose.CLIMB)
        if passed is None:
            return None
        if not_passed is not None and not_passed - passed > 1 and not_passed > CLOSE * passed:
            return self._order(self._between(passed, not_passed), Purpose.BISECT)
        if passed not in self._proofs():
            return self._order(passed, Purpose.BISECT)
        fresh = self._fresh(passed, not_passed)
        return None if fresh is None else self._order(fresh, Purpose.CONFIRM)

    def _order(self, users: int, purpose: Purpose) -> Order:
        after_trouble = bool(self.visits) and self.visits[-1].outcome is not Outcome.PASSED
        affordable = tuple(look for look in LOOKS if look <= self.affords(users))
        looks = _FEWEST_LOOKS if purpose is Purpose.CONFIRM else max(affordable, _FEWEST_LOOKS)
        easily = Rigour((_FIRST_LOOK, *looks), plain, _EASILY)
        return Order(users, purpose, after_trouble, easily if purpose is Purpose.CLIMB else Rigour(looks))

    def _climbed(self, passed: int | None, not_passed: int | None) -> int | None:
        """The next level while all that is known lies on one side of the knee; None at the end of the levels."""
        if passed is not None:
            return min(2 * passed, self.most) if passed < self.most else None
        if not_passed is not None:
            return max(not_passed // 2, self.least) if not_passed > self.least else None
        return min(self.first, self.most)

    def _between(self, low: int, high: int) -> int:
        if self.at_least is not None and low < self.at_least < high:
            return self.at_least
        return min(max(round(math.sqrt(low * high)), low + 1), high - 1)

    def _fresh(self, passed: int, not_passed: int | None) -> int | None:
        """Where the next fresh visit is, at the passed level and around the knee in turns; None after enough."""
        fresh = [visit.users for visit in self._telling() if visit.order.purpose is Purpose.CONFIRM]
        again = fresh.count(passed) < _AT_PASSED
        if again and (not_passed is None or passed not in fresh[-1:]):
            return passed
        if not_passed is not None and len(fresh) < _FRESH:
            return self._around(passed, not_passed)[len(fresh) % 2]
        return passed if again else None

    def _around(self, passed: int, not_passed: int) -> list[int]:
        found = self.knee()
        at = math.sqrt(passed * not_passed) if found is None else found.at
        return [min(max(self.least, round(at * share)), self.most) for share in _AROUND]
