"""The budget of a run: counts what its streams spend as their records arrive, and says when that is too much. Pure.

A stream is counted when it has ended, since a server tells its usage at the end. So a run overshoots its budget by the
streams that are open at that moment, at most one for each user, and by what ended in the second before.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from streamgauge.harness.config.schema import Prices
from streamgauge.harness.counting import some
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.judge.figures import money
from streamgauge.harness.judge.measure.cost import priced
from streamgauge.harness.record.observation import Outcome, StreamObservation


@dataclass(frozen=True, slots=True)
class Most:
    """The most that a run may spend; None: any."""

    tokens: int | None = None
    cost: float | None = None

    def check(self, prices: Prices | None) -> None:
        """ConfigError for a limit that is none, or that nothing can be compared with."""
        if self.tokens is not None and self.tokens < 1:
            raise ConfigError(f"--max-tokens-spent: {self.tokens} is not a number of tokens: write 1 or more")
        if self.cost is not None and not 0 < self.cost < float("inf"):
            raise ConfigError(f"--max-cost: {self.cost:g} is not an amount: write a number above 0")
        if self.cost is not None and prices is None:
            raise ConfigError("--max-cost: what a token costs is unknown: write [target.prices] into the config")
        if self.cost is not None and prices is not None and not priced(prices, 3, 1, 1, 1):
            raise ConfigError("--max-cost: no run can cost anything, since all of [target.prices] is 0")


class Budget:
    def __init__(self, most: Most, prices: Prices, end: Callable[[str], bool]) -> None:
        """`end` is called once, with a sentence, when all of the budget is spent.

        It returns whether it ended the run: the run may be ending already, and the streams still open cost something.
        """
        self._most = most
        self._prices = prices
        self._end = end
        self._tokens, self._cost = 0, 0.0
        self._guessed = 0  # streams whose output is counted by its chunks
        self._spent = False  # a budget is
        self._ended_run = False

    def add(self, streams: Iterable[StreamObservation]) -> None:
        for seen in streams:
            self._add(seen)
        if not self._spent and (reason := self._exceeded()):
            self._spent = True
            self._ended_run = self._end(reason)

    def _add(self, seen: StreamObservation) -> None:
        given, read, written = (
            count or 0 for count in (seen.input_tokens, seen.cache_read_tokens, seen.cache_write_tokens)
        )
        generated = seen.output_tokens or 0
        # A stream that ended early has told its output in part or not at all. A chunk is at least one token: what is
        # not told must not be free, or a budget would never be spent on a server that tells no usage.
        if (seen.output_tokens is None or seen.outcome is not Outcome.COMPLETED) and seen.content_chunks > generated:
            generated = seen.content_chunks
            self._guessed += 1
        self._cost += priced(self._prices, given, generated, read, written)
        cached = 0 if self._prices.cached_in_input else read + written
        self._tokens += given + cached + generated

    def _exceeded(self) -> str:
        """Which budget is spent, a sentence; "" while none is."""
        most, currency = self._most, self._prices.currency
        if most.tokens is not None and self._tokens >= most.tokens:
            return f"the budget of {some(most.tokens, 'token')} was spent"
        if most.cost is not None and self._cost >= most.cost:
            return f"the budget of {money(most.cost, currency)} was spent"
        return ""

    def facts(self) -> dict[str, Any]:
        """For the run's record; empty without a budget. `spent`: whether the budget ended the run."""
        if self._most == Most():
            return {}
        tokens = {"tokens": self._tokens, "most_tokens": self._most.tokens}
        cost = {"cost": self._cost, "most_cost": self._most.cost} if self._most.cost is not None else {}
        return {"budget": {**tokens, **cost, "counted_by_chunks": self._guessed, "spent": self._ended_run}}
