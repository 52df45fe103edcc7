"""The server's counts since its start, for `/metrics`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamgauge.reference_server.truth import Outcome


class Histogram:
    """Counts of durations by bucket, as Prometheus wants them: observed in ns, bounds and sum in seconds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds  # upper ends, included
        self.count = 0
        self.sum = 0.0
        self._bounds_ns = np.array(bounds) * 1e9
        self._cumulative: NDArray[np.int64] = np.zeros(len(bounds), np.int64)

    def observe(self, nanoseconds: NDArray[np.int64]) -> None:
        self.count += len(nanoseconds)
        self.sum += int(nanoseconds.sum()) / 1e9
        nanoseconds.sort()
        self._cumulative += nanoseconds.searchsorted(self._bounds_ns, "right")

    def cumulative(self) -> list[int]:
        """For each bound, how many were not above it."""
        counts: list[int] = self._cumulative.tolist()
        return counts


def _doubling(first: float, count: int) -> list[float]:
    return [first * 2**k for k in range(count)]


@dataclass
class Counts:
    started: int = 0
    refused: int = 0
    ended: dict[Outcome, int] = field(
        default_factory=lambda: dict.fromkeys(("completed", "disconnected", "cancelled", "failed", "stopped"), 0)
    )
    generated: int = 0  # tokens of the streams that have ended; so are the next two
    delivered: int = 0
    wasted: int = 0
    pauses: int = 0
    paused: int = 0  # ns
    resumed: int = 0  # clients that came back with Last-Event-ID
    cache_read: int = 0  # tokens
    cache_write: int = 0
    faults: Counter[str] = field(default_factory=Counter)  # injected, by name
    ttft: Histogram = field(default_factory=lambda: Histogram(_doubling(0.01, 14)))
    itl: Histogram = field(default_factory=lambda: Histogram(_doubling(0.001, 14)))
