"""How each service level stands at each target, from the sums in the database: a few rows each, however many probes.

The judge writes down what it watches, so that whoever reads the database needs no config.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from streamgauge.harness.errors import DamagedRow
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.monitor.burn import Counts
from streamgauge.harness.monitor.levels import Level
from streamgauge.harness.monitor.series import MINUTE

_WATCHED = """
SELECT slo, target, good, objective, window, ifnull(monitor_series.id, -1)
FROM monitor_levels LEFT JOIN monitor_series USING (slo, target, definition) ORDER BY place
"""
_UP_TO = "SELECT good, bad FROM monitor_counts WHERE series = ? AND minute <= ? ORDER BY minute DESC LIMIT 1"
N = TypeVar("N", bound=float | None)

# By series: their table has a row for each minute of days.
_NEWEST = """
SELECT ifnull(max((SELECT max(minute) FROM monitor_counts WHERE series = monitor_series.id)), 0) FROM monitor_series
"""
_LAST = """
SELECT target, max((SELECT max(minute) FROM monitor_counts WHERE series = monitor_series.id))
FROM monitor_series JOIN monitor_levels USING (slo, target, definition) GROUP BY target
"""


class Standing(NamedTuple):
    """One service level at one target."""

    slo: str
    target: str
    good: str  # which probes are
    objective: float
    window: int  # seconds
    series: int  # its row in monitor_series; -1: there is none yet
    ever: Counts
    in_window: Counts  # of the objective
    lately: Mapping[int, Counts]  # by the seconds that were asked for

    @property
    def budget_left(self) -> float | None:
        """None without a probe in the window."""
        return self.in_window.budget_left(self.objective) if self.in_window.total else None

    def burn(self, seconds: int) -> float | None:
        return self.lately[seconds].burn(self.objective)


def remember(connection: Connection, levels: Iterable[Level]) -> None:
    """Write down what is watched from now on."""
    rows = [
        (place, level.name, target, level.definition, level.good.text, level.objective, level.window)
        for place, (level, target) in enumerate((level, target) for level in levels for target in level.targets)
    ]
    connection.execute("DELETE FROM monitor_levels")
    connection.executemany("INSERT INTO monitor_levels VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def standings(connection: Connection, windows: Sequence[int]) -> Iterator[Standing]:
    """Up to the newest probe. A level that has counted nothing yet has zeros."""
    minute = newest_minute(connection)
    for slo, target, good, objective, window, series in connection.execute(_WATCHED).fetchall():
        ever = up_to(connection, series, minute)
        lately = {each: ever - up_to(connection, series, minute - each // MINUTE) for each in windows}
        in_window = ever - up_to(connection, series, minute - window // MINUTE)
        yield Standing(slo, target, good, objective, window, series, ever, in_window, lately)


def newest_minute(connection: Connection) -> int:
    """The last one that has a probe or that has been evaluated."""
    return max(int(number(connection, "evaluated", 0)), last_counted(connection))


def last_counted(connection: Connection) -> int:
    """The last minute in which a probe counted; 0 if none has. Minutes are evaluated also if nobody probes."""
    (minute,) = connection.execute(_NEWEST).fetchone()
    return int(minute)


def last_by_target(connection: Connection) -> dict[str, float]:
    """When a probe of each target that is watched last counted in a level: the minute's end, seconds since 1970."""
    return {target: (minute + 1.0) * MINUTE for target, minute in connection.execute(_LAST) if minute is not None}


def number(connection: Connection, name: str, default: N) -> float | N:
    """Of monitor_state. DamagedRow if it is none."""
    row = connection.execute("SELECT value FROM monitor_state WHERE name = ?", [name]).fetchone()
    if row is None:
        return default
    if not isinstance(row[0], int | float):
        raise DamagedRow(f"monitor_state: {name} is no number: the database is damaged")
    return row[0]


def up_to(connection: Connection, series: int, minute: int) -> Counts:
    """What a series has counted since it began, up to the end of this minute."""
    row = connection.execute(_UP_TO, (series, minute)).fetchone()
    return Counts(0, 0) if row is None else Counts(*row)
