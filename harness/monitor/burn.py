"""How fast an error budget burns, and which rates of burning are alerts. Pure.

The burn rate is the share of bad probes over the share that the objective allows: at 1, the budget lasts exactly as
long as the objective's window. The paces are those of Google's SRE workbook, chapter 5 ("multiwindow, multi-burn-rate
alerts"): the long window makes sure that it matters, the short one that it still goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from streamgauge.harness.monitor.alerts.message import Severity

FEWEST_BAD = 3  # in the long window: a probe a minute is low traffic, and one bad probe is no incident
NEARLY_ALL = 0.9  # so many bad probes are an alert at every pace, however low the objective is


class Counts(NamedTuple):
    good: int
    bad: int

    @property
    def total(self) -> int:
        return self.good + self.bad

    def __sub__(self, before: "Counts") -> "Counts":
        return Counts(self.good - before.good, self.bad - before.bad)

    def burn(self, objective: float) -> float | None:
        """The burn rate; None without probes."""
        return self.bad / self.total / (1 - objective) if self.total else None

    def budget_left(self, objective: float) -> float:
        """The share of the error budget that is left: 1 is all, below 0 it is overspent."""
        return 1 - (self.burn(objective) or 0.0)


@dataclass(frozen=True, slots=True)
class Pace:
    severity: Severity
    rate: float  # the burn rate from which on it is an alert
    long: int  # seconds
    short: int

    def threshold(self, objective: float) -> float:
        """An objective of 90 % burns at 10 at most: a pace of 14.4 would be out of reach."""
        return min(self.rate, NEARLY_ALL / (1 - objective))

    def burns(self, objective: float, long: Counts, short: Counts) -> bool | None:
        """Whether probes burn the budget at this pace. None: the probes say neither: there are too few."""
        fast, still = long.burn(objective), short.burn(objective)
        if fast is None or still is None:
            return None
        # Of floats: 14.4 times 1 % of 1,000 probes is 144 bad ones, and 144 / 1000 / 0.01 is below 14.4.
        least = self.threshold(objective) * (1 - 1e-9)
        if fast < least or still < least:
            return False
        return True if long.bad >= FEWEST_BAD else None


HOUR, DAY = 3_600, 86_400
PACES = (
    Pace("page", 14.4, 1 * HOUR, 300),
    Pace("page", 6.0, 6 * HOUR, 1_800),
    Pace("ticket", 1.0, 3 * DAY, 6 * HOUR),
)
LONGEST = max(pace.long for pace in PACES)


class Fast(NamedTuple):
    """What makes a service level fire."""

    rate: float  # the burn rate in the pace's long window
    pace: Pace
    long: Counts  # in that window


class Burn(NamedTuple):
    """One severity of one service level at one moment."""

    firing: bool | None  # None: unknown: an incident neither begins nor ends
    fast: Fast | None = None  # if it fires


Read = Callable[[int], Counts]  # the probes of the last so many seconds


def burning(severity: Severity, objective: float, window: int, read: Read) -> Burn:
    """Whether one of the severity's paces burns. Paces that look back further than the objective's window are left out.

    If none is left, as for a ticket with a window below three days, nothing fires.
    """
    unknown = False
    for pace in PACES:
        if pace.severity != severity or pace.long > window:
            continue
        long = read(pace.long)
        burns = pace.burns(objective, long, read(pace.short))
        if burns:
            return Burn(True, Fast(long.burn(objective) or 0.0, pace, long))
        unknown = unknown or burns is None
    return Burn(None if unknown else False)
