"""One time axis for a run: our own times and the kernel's stamps, in nanoseconds since the run began.

The kernel stamps arrivals with CLOCK_REALTIME; all other times are CLOCK_MONOTONIC, which no NTP step moves. `RunClock`
holds the offset between the two, measured when the run starts; `drift` says how far the offset has moved since then.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass


def realtime_offset() -> int:
    """CLOCK_REALTIME minus CLOCK_MONOTONIC, ns. Measured 16 times; the measurement that took least time counts."""
    best_width, best = 1 << 62, 0
    for _ in range(16):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if after - before < best_width:
            best_width, best = after - before, wall - (before + after) // 2
    return best


@dataclass(frozen=True, slots=True)
class RunClock:
    origin: int  # CLOCK_MONOTONIC at the run's zero, ns
    offset: int  # CLOCK_REALTIME minus CLOCK_MONOTONIC when the clock was made, ns

    @classmethod
    def starting_at(cls, realtime: int) -> "RunClock":
        """The clock of a run whose zero is `realtime` (ns since 1970), however long ago that was.

        Each worker makes its own clock from the master's zero, so that all of them have the same time axis.
        """
        offset = realtime_offset()
        return cls(origin=realtime - offset, offset=offset)

    @property
    def realtime(self) -> float:
        """The run's zero, seconds since 1970."""
        return (self.origin + self.offset) / 1e9

    def now(self) -> int:
        return time.monotonic_ns() - self.origin

    def from_monotonic(self, moment: int) -> int:
        """A CLOCK_MONOTONIC time, ns, on the run's clock."""
        return moment - self.origin

    def drift(self) -> int:
        """How far CLOCK_REALTIME has moved against CLOCK_MONOTONIC since the clock was made, ns."""
        return realtime_offset() - self.offset


def clock_offset(rounds: Iterable[tuple[int, int, int]]) -> tuple[int, int]:
    """How far our clock is ahead of another's, and the largest possible error of that, in the rounds' unit.

    A round is (our time when we asked, their time when they answered, our time when the answer arrived). As in NTP (RFC
    5905), the offset is taken from the quickest round: its error is at most half the round's duration. An offset that
    is not larger than its error counts as 0, as between two processes of one machine. ValueError without rounds.
    """
    asked, theirs, answered = min(rounds, key=lambda one: one[2] - one[0])
    doubt = (answered - asked + 1) // 2
    ahead = (asked + answered) // 2 - theirs
    return (ahead if abs(ahead) > doubt else 0), doubt
