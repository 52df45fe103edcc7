"""What the monitor counts: good and bad probes of each service level and target, in memory and in its database.

`save` writes what has changed into the caller's transaction. If that transaction fails, the ledger is no longer what
the database holds: drop it and load another.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.monitor.burn import LONGEST
from streamgauge.harness.monitor.levels import Level
from streamgauge.harness.monitor.series import MINUTE, Series
from streamgauge.harness.record.observation import FAILURES

_MOST_BAD = (
    200  # bad probes of each series that are remembered, the newest: the worst of them are an incident's evidence
)
WORST = 5  # of them, in an incident


class Seen(NamedTuple):
    """A stream as an incident refers to it."""

    stream: int  # its id in the database
    run: str
    at: float  # seconds since 1970: when it ended
    outcome: str
    ttft_ms: float | None

    @property
    def badness(self) -> tuple[bool, float, float]:
        return self.outcome in FAILURES, self.ttft_ms or 0.0, self.at


@dataclass(slots=True)
class Track:
    """One service level at one target."""

    number: int
    series: Series = field(default_factory=Series)
    bad_in_a_row: int = 0
    good_in_a_row: int = 0
    failing: bool = False  # by the plain rule: so many bad in a row, and not yet so many good ones
    bad: deque[Seen] = field(default_factory=lambda: deque(maxlen=_MOST_BAD))
    new_bad: list[Seen] = field(default_factory=list)

    def add(self, level: Level, minute: int, seen: Seen, *, good: bool) -> None:
        self.series.add(minute, good=good)
        if good:
            self.bad_in_a_row, self.good_in_a_row = 0, self.good_in_a_row + 1
        else:
            self.bad_in_a_row, self.good_in_a_row = self.bad_in_a_row + 1, 0
            self.bad.append(seen)
            self.new_bad.append(seen)
        if level.failures is not None and self.bad_in_a_row >= level.failures:
            self.failing = True
        elif self.good_in_a_row >= level.successes:
            self.failing = False

    def worst(self, since: float) -> list[Seen]:
        chosen = (seen for seen in self.bad if seen.at >= since)
        return sorted(chosen, key=lambda seen: seen.badness, reverse=True)[:WORST]


class Ledger:
    def __init__(self, connection: Connection, levels: Iterable[Level]) -> None:
        """Load what the database holds; the caller's transaction gets a row for each series that is new."""
        self._connection = connection
        self._tracks = {(level.name, target): self._load(level, target) for level in levels for target in level.targets}
        self._windows = {level.name: level.window for level in levels}

    def track(self, level: str, target: str) -> Track:
        return self._tracks[level, target]

    def save(self) -> None:
        for track in self._tracks.values():
            rows = [(track.number, *row) for row in track.series.unsaved()]
            if not rows:
                continue
            self._connection.executemany("INSERT OR REPLACE INTO monitor_counts VALUES (?, ?, ?, ?)", rows)
            streak = (track.bad_in_a_row, track.good_in_a_row, track.failing, track.number)
            self._connection.execute(
                "UPDATE monitor_series SET bad_in_a_row = ?, good_in_a_row = ?, failing = ? WHERE id = ?", streak
            )
            bad, track.new_bad = [(track.number, *seen) for seen in track.new_bad], []
            self._connection.executemany("INSERT OR IGNORE INTO monitor_bad VALUES (?, ?, ?, ?, ?, ?)", bad)

    def thin(self, minute: int) -> None:
        """Drop what no window needs any more."""
        for (level, _), track in self._tracks.items():
            gone = track.series.thin(minute, max(self._windows[level], LONGEST))
            self._connection.executemany(
                "DELETE FROM monitor_counts WHERE series = ? AND minute = ?", [(track.number, each) for each in gone]
            )
            oldest = min((seen.stream for seen in track.bad), default=0)
            self._connection.execute("DELETE FROM monitor_bad WHERE series = ? AND stream < ?", (track.number, oldest))
        kept = [track.number for track in self._tracks.values()]
        self._drop_others(kept, minute)

    def _drop_others(self, kept: list[int], minute: int) -> None:
        """Series that the config has no more, a while after their last probe: a level may come back."""
        dead = self._connection.execute(
            "SELECT series FROM monitor_counts GROUP BY series HAVING max(minute) < ?", [minute - LONGEST // MINUTE]
        ).fetchall()
        for (number,) in dead:
            if number not in kept:
                for table, column in (
                    ("monitor_counts", "series"),
                    ("monitor_bad", "series"),
                    ("monitor_series", "id"),
                ):
                    self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", [number])  # noqa: S608 - our own names

    def _load(self, level: Level, target: str) -> Track:
        name = (level.name, target, level.definition)
        self._connection.execute(
            "INSERT OR IGNORE INTO monitor_series (slo, target, definition) VALUES (?, ?, ?)", name
        )
        found = self._connection.execute(
            "SELECT id, bad_in_a_row, good_in_a_row, failing FROM monitor_series "
            "WHERE slo = ? AND target = ? AND definition = ?",
            name,
        ).fetchone()
        number, bad_in_a_row, good_in_a_row, failing = found
        rows = self._connection.execute(
            "SELECT minute, good, bad FROM monitor_counts WHERE series = ? ORDER BY minute", [number]
        )
        track = Track(number, Series.of_rows(rows), bad_in_a_row, good_in_a_row, bool(failing))
        bad = self._connection.execute(
            "SELECT stream, run, at, outcome, ttft_ms FROM monitor_bad WHERE series = ? ORDER BY stream DESC LIMIT ?",
            [number, _MOST_BAD],
        )
        track.bad.extend(Seen(*row) for row in reversed(bad.fetchall()))
        return track
