"""What the status page shows, read from a monitor's database: now, the last day, the last 30 days."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from streamgauge.harness.errors import DamagedRow
from streamgauge.harness.judge.compare.history import FINE_MS, Day, day_of
from streamgauge.harness.judge.store import StreamInFull, stream_in_full
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor import hours, incidents, standing
from streamgauge.harness.monitor.burn import DAY, HOUR
from streamgauge.harness.monitor.incidents import Incident
from streamgauge.harness.monitor.series import MINUTE
from streamgauge.harness.monitor.standing import Standing

DAYS = 30
_BUDGETS_EVERY = 12 * HOUR
MOST_INCIDENTS = 50
_MOST_SHOWN = 20  # streams of incidents that are drawn
WINDOWS = (HOUR, DAY)


Budget = list[tuple[float, float | None]]  # (seconds since 1970, what was left; None: there was no probe)


class OneDay(NamedTuple):
    """All probes of one day, UTC."""

    day: Day  # its TTFT
    outcomes: Mapping[str, int]
    tokens: int


class Delivery(NamedTuple):
    """How alerts get to one receiver."""

    receiver: str
    states: Mapping[str, int]
    fault: str | None  # why the last attempt failed; None: it did not


class Status(NamedTuple):
    at: float  # when it was read, seconds since 1970
    judged_at: float | None  # when the monitor last judged
    watched_at: float | None  # when each target had last been probed, or of an older file the last probe; None: never
    last_probes: Mapping[str, float]  # by target: about when the last one that counts in a level ended
    began_at: float | None  # of its first probe
    standings: list[Standing]
    budgets: list[tuple[Standing, Budget]]
    days: list[OneDay]  # oldest first; those without a probe are left out
    incidents: list[Incident]  # the newest first
    streams: Mapping[int, StreamInFull]  # behind incidents, by id; those that could not be read are left out
    deliveries: list[Delivery]
    damaged: Sequence[str] = ()  # a sentence for each row that was left out


class Reader:
    """Reads one database again and again: days that are over are read once."""

    def __init__(self, store: MonitorStore) -> None:
        self._store = store
        self._over: dict[int, OneDay] = {}  # by day since 1970

    def read(self, now: float | None = None) -> Status:
        """StoreError if the database cannot be read."""
        at = time.time() if now is None else now
        with self._store.reading() as connection:
            newest, damaged = incidents.newest(connection, MOST_INCIDENTS)
            judged_at = standing.number(connection, "judged_at", None)
            newest_minute = standing.newest_minute(connection)
            watched_at = standing.number(connection, "probed_at", standing.last_counted(connection) * MINUTE or None)
            last_probes = standing.last_by_target(connection)
            (first,) = connection.execute("SELECT min(hour) FROM monitor_hours").fetchone()
            found = list(standing.standings(connection, WINDOWS))
            budgets = [(each, _budget(connection, each)) for each in found]
            days = list(self._days(connection, newest_minute * MINUTE // DAY, damaged.append))
            deliveries = list(_deliveries(connection))
        began_at = None if first is None else float(first) * HOUR
        streams = self._streams(newest)
        return Status(
            at, judged_at, watched_at, last_probes, began_at, found, budgets, days, newest, streams, deliveries, damaged
        )

    def _days(self, connection: Connection, today: int, damaged: Callable[[str], object]) -> Iterable[OneDay]:
        """The last hours of yesterday may still be judged, so only earlier days are kept."""
        for number in range(today - DAYS + 1, today + 1):
            one = self._over.get(number) or _read_day(connection, number, damaged)
            if number < today - 1:
                self._over[number] = one
            if one.outcomes:
                yield one
        for gone in [number for number in self._over if number < today - DAYS]:
            del self._over[gone]

    def _streams(self, of: Iterable[Incident]) -> dict[int, StreamInFull]:
        found: dict[int, StreamInFull] = {}
        for seen in [seen for incident in of for seen in incident.worst][:_MOST_SHOWN]:
            try:
                found[seen.stream] = stream_in_full(self._store, seen.stream)
            except DamagedRow:
                continue
        return found


def _budget(connection: Connection, of: Standing) -> Budget:
    newest = standing.newest_minute(connection)
    found: Budget = []
    for minute in range(newest - DAYS * DAY // MINUTE, newest + 1, _BUDGETS_EVERY // MINUTE):
        before = standing.up_to(connection, of.series, minute - of.window // MINUTE)
        counts = standing.up_to(connection, of.series, minute) - before
        found.append((minute * MINUTE, counts.budget_left(of.objective) if counts.total else None))
    return found


def _read_day(connection: Connection, number: int, damaged: Callable[[str], object]) -> OneDay:
    outcomes: Counter[str] = Counter()
    tokens, failed = 0, 0
    bins: Counter[int] = Counter()
    which = "WHERE hour >= ? AND hour < ?"
    for _, summary in hours.read(connection, which, (number * 24, number * 24 + 24), damaged):
        outcomes.update(summary.outcomes)
        tokens += summary.tokens
        bins.update(summary.samples["ttft"].bins)
        failed += summary.samples["ttft"].failed
    values, counts = hours.Samples(bins).values("ttft")
    fine = np.zeros(len(FINE_MS) + 2, np.int64)
    np.add.at(fine, np.searchsorted(FINE_MS, values), counts)
    fine[-1] = failed
    return OneDay(day_of(number, fine), outcomes, tokens)


def _deliveries(connection: Connection) -> Iterable[Delivery]:
    """The tables are missing in a database that no judge has written to yet."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"deliveries", "receivers"} <= tables:
        return
    faults = dict(connection.execute("SELECT name, fault FROM receivers").fetchall())
    states: dict[str, dict[str, int]] = {}
    for receiver, state, number in connection.execute("SELECT receiver, state, count(*) FROM deliveries GROUP BY 1, 2"):
        states.setdefault(receiver, {})[state] = number
    for receiver in sorted({*faults, *states}):
        yield Delivery(receiver, states.get(receiver, {}), faults.get(receiver))


def when(at: float) -> str:
    """`2026-11-27 23:32`, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
