"""One visit to one level: is the share of bad streams within what the rules allow? Pure.

The question is asked at several looks, each with twice as many streams, until the answer is clear. A fixed number of
streams would need 2,000 everywhere; a level far from the knee is clear after 130. Because several looks have several
chances to be wrong, each has only its part of the permitted error: Clopper-Pearson at 1 % each for five looks.

Streams that follow each other are alike: a slow second is slow for many. So the looks count effective streams: the
number of independent streams that would tell as much. It is estimated by a design effect over blocks of streams that
were due one after another (`statistics.effective_samples`), and not on the bad streams, of which a good level has none:
on the slowest fifth, by how near each stream came to its limit.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from streamgauge.harness.capacity.streams import Batch, Limit, joined
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.arrays import Floats, Mask

ERROR = 0.05  # permitted for a whole visit, on each side
LOOKS = (130, 260, 520, 1040, 2080)  # effective streams at each look, for a limit of 5 %
_SHARE_OF_LOOKS = 0.05
ROUNDS = 3  # streams of every user before the first look: fewer are one moment of the server
_BLOCKS = 16
_FAR = 0.5  # of the limit: where no stream came nearer, slow and fast ones are far from it, however alike they are
_SLOWEST = 0.2  # share of the streams, for the design effect
_PLAIN = 30  # streams that are all bad: more are not needed
_PLENTY = 4  # times the first look's: of a visit that has taken long, too
_MOST_STREAMS = 12  # times the last look's: with streams more alike than that, a visit ends undecided


Worth = Callable[[Floats, float], float]  # of the scores of streams, and the share of a limit


@dataclass(frozen=True, slots=True)
class Rigour:
    """How much it takes until a level is passed. That it is missed always takes as much as in a proof."""

    looks: Sequence[int] = LOOKS
    worth: "Worth | None" = None  # what the looks count; None: effective streams
    error: float | None = None  # permitted at each look; None: ERROR, divided among the looks


PROOF = Rigour()


class Outcome(StrEnum):
    PASSED = "passed"
    MISSED = "missed"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Count:
    """What a visit found of one limit."""

    limit: Limit
    streams: int
    bad: int
    effective: float
    outcome: Outcome

    @property
    def share(self) -> float | None:
        return self.bad / self.streams if self.streams else None


class Visit:
    """One visit, as far as its streams are known.

    `fewest`: the streams before the first look.
    """

    def __init__(self, fewest: int, limits: Sequence[Limit], rigour: Rigour = PROOF) -> None:
        self._fewest = fewest
        self._all_bad = True  # so far: then there is nothing to wait for
        self._limits = limits
        self._tests = [_Test(place, limit, rigour) for place, limit in enumerate(limits)]
        self._batches: list[Batch] = []
        self.streams = 0  # so far
        self._wanted = 0  # streams before it is worth while to look again

    def after(self, batch: Batch, among: Sequence[Limit]) -> Outcome | None:
        """The outcome once these streams are counted, which were due after the ones before; None: not clear yet.

        A visit is passed if the limits `among` all are kept, and missed if any is clearly broken.
        """
        self._batches.append(batch)
        self.streams += len(batch)
        self._all_bad = self._all_bad and bool(batch.bad.all())
        if not self.streams or (self.streams < max(self._wanted, self._fewest) and not self._all_bad):
            return None
        self._look()
        outcomes = [test.outcome for test in self._tests if test.limit in among]
        if any(test.outcome is Outcome.MISSED for test in self._tests):
            return Outcome.MISSED
        if None in outcomes:
            return None
        return Outcome.UNDECIDED if Outcome.UNDECIDED in outcomes else Outcome.PASSED

    @property
    def has_plenty(self) -> bool:
        """Whether so many streams have ended that only how alike they are keeps the outcome from being clear."""
        return self.streams >= _PLENTY * max(test.first_look for test in self._tests)

    @property
    def is_blind(self) -> bool:
        """Whether none of many streams tells anything of a limit."""
        return self.has_plenty and not all(count.streams for count in self.counts())

    def counts(self) -> list[Count]:
        """What was found of each limit, in their order."""
        return [test.count(self._seen()) for test in self._tests]

    def _seen(self) -> Batch:
        nothing = np.zeros((len(self._limits), 0), bool)
        self._batches = [joined([Batch(nothing, nothing, np.zeros(0)), *self._batches])]
        return self._batches[0]

    def _look(self) -> None:
        seen = self._seen()
        for test in self._tests:
            test.look(seen)
        self._wanted = min((test.wanted for test in self._tests if test.outcome is None), default=0)


class _Test:
    """The test of one limit over the looks of a visit."""

    def __init__(self, place: int, limit: Limit, rigour: Rigour) -> None:
        self._worth = rigour.worth or effective
        self._place = place  # among the limits
        self.limit = limit
        self.outcome: Outcome | None = None
        self.wanted = 0  # streams before it is worth while to look again
        self._looks = len(rigour.looks)
        self._error_of_miss = ERROR / self._looks
        self._error_of_pass = rigour.error or self._error_of_miss
        scale = max(1.0, _SHARE_OF_LOOKS / limit.share)
        self._left = [math.ceil(look * scale) for look in rigour.looks]
        self.first_look = math.ceil(LOOKS[0] * scale)
        self._most = _MOST_STREAMS * self._left[-1]

    def look(self, seen: Batch) -> None:
        if self.outcome is not None:
            return
        counted, bad = seen.of(self._place)
        streams, score = len(bad), seen.score[counted]
        if streams >= _PLAIN and bad.all():  # so many in a row are no chance, however alike they are
            self.outcome = Outcome.MISSED
            return
        worth = self._worth(score, self.limit.share)
        if streams and worth >= self._left[0]:
            while self._left and worth >= self._left[0]:
                self._left.pop(0)
            self.outcome = self._clear(float(bad.mean()), worth, effective(score, self.limit.share))
        if self.outcome is None and (self._is_futile(bad) or streams >= self._most):
            self.outcome = Outcome.UNDECIDED
        if self.outcome is None:
            # Doubling at most: the estimate of few streams is too rough to plan by.
            more = min(2.0, max(1.05, self._left[0] / worth)) if worth else 2.0
            self.wanted = math.ceil(len(seen) * more)

    def _is_futile(self, bad: Mask) -> bool:
        """Whether it is hardly worth while to go on: a level that seems beyond the limit after half of the looks."""
        return not self._left or (len(self._left) <= self._looks // 2 and float(bad.mean()) > self.limit.share)

    def count(self, seen: Batch) -> Count:
        counted, bad = seen.of(self._place)
        worth = effective(seen.score[counted], self.limit.share)
        return Count(self.limit, len(bad), int(bad.sum()), worth, self.outcome or Outcome.UNDECIDED)

    def _clear(self, share: float, worth: float, surely_worth: float) -> Outcome | None:
        high = statistics.ratio_interval(share * worth, worth, 1 - 2 * self._error_of_pass).high
        if high is not None and high < self.limit.share:
            return Outcome.PASSED
        low = statistics.ratio_interval(share * surely_worth, surely_worth, 1 - 2 * self._error_of_miss).low
        return Outcome.MISSED if low is not None and low > self.limit.share else None


def plain(score: Floats, _share: float) -> float:
    """Each stream for one."""
    return float(len(score))


def effective(score: Floats, share: float) -> float:
    """How many independent streams these are worth, which are in the order in which they were due."""
    streams = len(score)
    if streams < 2 * _BLOCKS:
        return float(min(streams, 1))
    if score.max() < _FAR:
        return float(streams)
    slowest = max(_SLOWEST, share)
    bound = np.partition(score, math.ceil(streams * (1 - slowest)) - 1)[math.ceil(streams * (1 - slowest)) - 1]
    among = (score > bound).astype(np.float64)
    blocks = np.arange(streams) * _BLOCKS // streams
    if among.all() or not among.any():  # all alike, such as all failed: nothing to tell streams apart by
        return float(streams)
    return statistics.effective_samples(streams, among, blocks)
