"""A metric over time, as the panels draw it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """One entry per bin; None if the bin has no sample."""

    n: list[int]
    p50: list[float | None]  # ms
    p95: list[float | None]

    def until(self, told: int) -> "Series":
        """The same bins, with nothing in those after so many."""
        after = len(self.n) - told
        return Series(self.n[:told] + [0] * after, self.p50[:told] + [None] * after, self.p95[:told] + [None] * after)
