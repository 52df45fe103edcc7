"""How many probes were good and bad up to each minute: those of a window are the difference of two rows. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from streamgauge.harness.monitor.burn import DAY, LONGEST, Counts

MINUTE = 60  # seconds
_FINE = (LONGEST + DAY) // MINUTE  # minutes for which each minute is kept; of older ones, the last of each hour


@dataclass(slots=True)
class Series:
    """Of one service level and one target. `minutes` ascend; `good` and `bad` are sums since the beginning."""

    minutes: list[int] = field(default_factory=list)  # since 1970
    good: list[int] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)
    changed: int = 0  # from this place on, rows are not stored yet

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[int, int, int]]) -> "Series":
        series = cls()
        for minute, good, bad in rows:
            series.minutes.append(minute)
            series.good.append(good)
            series.bad.append(bad)
        series.changed = len(series.minutes)
        return series

    def add(self, minute: int, *, good: bool) -> None:
        """Count one probe. One that comes late, after a later minute has begun, counts in the latest minute."""
        if not self.minutes or minute > self.minutes[-1]:
            self.minutes.append(minute)
            self.good.append(self.good[-1] if self.good else 0)
            self.bad.append(self.bad[-1] if self.bad else 0)
        self.changed = min(self.changed, len(self.minutes) - 1)
        (self.good if good else self.bad)[-1] += 1

    def last(self, until: int, seconds: int) -> Counts:
        """The probes of the last `seconds` up to the end of the minute `until`."""
        good, bad = self._up_to(until)
        good_before, bad_before = self._up_to(until - seconds // MINUTE)
        return Counts(good - good_before, bad - bad_before)

    def _up_to(self, minute: int) -> tuple[int, int]:
        place = bisect_right(self.minutes, minute) - 1
        return (self.good[place], self.bad[place]) if place >= 0 else (0, 0)

    def unsaved(self) -> Iterator[tuple[int, int, int]]:
        """The rows that are not stored yet; afterwards they count as stored."""
        place, self.changed = self.changed, len(self.minutes)
        yield from zip(self.minutes[place:], self.good[place:], self.bad[place:], strict=True)

    def thin(self, now: int, window: int) -> list[int]:
        """Drop rows that no window of `window` seconds needs at the minute `now`. Returns their minutes.

        The last row before the window stays: its sums are what is subtracted.
        """
        first = bisect_right(self.minutes, now - window // MINUTE) - 1
        fine = bisect_right(self.minutes, now - _FINE)
        hour = [minute // 60 for minute in self.minutes]
        kept = [
            place
            for place in range(max(first, 0), len(self.minutes))
            if place >= fine or place == first or place + 1 == len(hour) or hour[place] != hour[place + 1]
        ]
        gone = sorted(set(self.minutes) - {self.minutes[place] for place in kept})
        for column in (self.minutes, self.good, self.bad):
            column[:] = [column[place] for place in kept]
        self.changed = len(self.minutes)
        return gone
