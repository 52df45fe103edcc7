"""A metric over time, as the panels draw it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """One entry per bin; None if the bin has no sample."""

    n: list[int]
    p50: list[float | None]  # ms
    p95: list[float | None]
