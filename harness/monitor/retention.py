"""Drops what a monitor no longer keeps, in small transactions, so that probes are stored meanwhile.

Single streams are kept for `keep_raw`, except those behind an incident. Nothing is dropped that has not been judged.

A clock that is set forward must not make everything old at once. Nobody can tell that from a monitor that was down for
so long, so both count alike: what was stored before the gap is kept as if the gap had not been.
"""

from collections.abc import Iterator

from streamgauge.harness.config.monitor_checks import PROBES_ARRIVE, TARGET
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor.alerts.telling import rfc3339
from streamgauge.harness.monitor.standing import number
from streamgauge.harness.monitor.watch import span

KEPT_DAYS = 400  # hourly summaries, incidents and their streams
_DAY = 86_400
_VITALS = 3_600  # seconds for which the processes' own samples are kept
_AT_ONCE = 2_000  # rows
_GAP = 3_600.0  # seconds: the judge writes every ten seconds that it lives
# In monitor_state: when the last gap ended, seconds since 1970; and how many seconds it lasted.
_GAP_ENDED, _GAP_LASTED = "gap_ended", "gap_lasted"

_PROBES = (  # as rows.Run.probes
    f"json_extract(runs.labels, '$.{TARGET}') IS NOT NULL "
    f"AND json_extract(runs.fingerprint, '$.load.arrivals') LIKE '{PROBES_ARRIVE}%'"
)


def note_gap(connection: Connection, keep_raw: float, now: float) -> str | None:
    """Call it before `judged_at` is written. A sentence if a gap has just ended."""
    last, ended = number(connection, "judged_at", None), number(connection, _GAP_ENDED, None)
    if ended is not None and now < ended:  # the clock was set back
        connection.execute("DELETE FROM monitor_state WHERE name IN (?, ?)", (_GAP_ENDED, _GAP_LASTED))
    if last is None or now - last <= _GAP:
        return None
    before = number(connection, _GAP_LASTED, 0.0) if ended is not None and now < ended + KEPT_DAYS * _DAY else 0.0
    state = ((_GAP_ENDED, now), (_GAP_LASTED, before + now - last))
    connection.executemany("INSERT OR REPLACE INTO monitor_state VALUES (?, ?)", state)
    return (
        f"nothing was judged for {span(now - last)}: the monitor was down, or the clock was set forward (it is now "
        f"{rfc3339(now)}; if that is wrong, set it right); what was stored before is kept for another {span(keep_raw)}"
    )


def is_in_gap(connection: Connection, keep_raw: float, now: float) -> bool:
    """Whether the last gap ended so lately that what was before it is not old."""
    ended = number(connection, _GAP_ENDED, None)
    return ended is not None and ended <= now < ended + keep_raw


def drop(store: MonitorStore, keep_raw: float, now: float) -> int:
    """Drop what is too old at `now`, seconds since 1970. Returns how many streams were dropped."""

    def before(keep: float) -> float:
        with store.reading() as connection:
            gap = number(connection, _GAP_LASTED, 0.0) if is_in_gap(connection, keep, now) else 0.0
        return now - gap - keep

    dropped = 0
    for part in _parts(store, before(keep_raw), now):
        dropped += part
    history, vitals, runs = before(KEPT_DAYS * _DAY), before(_VITALS), before(keep_raw)
    with store.transaction() as connection:
        _drop_runs(connection, runs)
        _drop_vitals(connection, vitals)
        _drop_history(connection, history)
    return dropped


def _parts(store: MonitorStore, before: float, now: float) -> Iterator[int]:
    """Drops streams that ended before this time, oldest first. Yields how many, after each transaction.

    Those that a clock ahead of ours dated after `now` stay, and must not hide the others.
    """
    cursor = store.number("cursor", 0)
    while True:
        with store.transaction() as connection:
            rows = connection.execute(
                "SELECT streams.id, (realtime_ns + ended_at) / 1e9 FROM streams JOIN runs ON run = number "  # noqa: S608 - our own condition
                f"WHERE streams.id < ? AND {_PROBES} AND streams.id NOT IN (SELECT stream FROM incident_streams) "
                "AND (realtime_ns + ended_at) / 1e9 <= ? ORDER BY streams.id LIMIT ?",
                (cursor, now, _AT_ONCE),  # not the last one that was judged: SQLite would give its id to another stream
            ).fetchall()
            old = [(stream,) for stream, ended in rows if ended < before]
            connection.executemany("DELETE FROM streams WHERE id = ?", old)
        yield len(old)
        if len(old) < _AT_ONCE:
            return


def _drop_runs(connection: Connection, before: float) -> None:
    """Runs of probes without any stream left. The newest run of all stays: it may have just begun."""
    gone = connection.execute(
        f"SELECT number FROM runs WHERE {_PROBES} AND realtime_ns / 1e9 < ? "  # noqa: S608 - our own condition
        "AND NOT EXISTS (SELECT 1 FROM streams WHERE run = number) "
        "AND NOT EXISTS (SELECT 1 FROM baselines WHERE baselines.run = runs.id) "
        "AND realtime_ns + ifnull(ended_ns, 86400000000000) < ? * 1e9",
        (before, before),
    ).fetchall()
    for table, column in (("itl_counts", "run"), ("samples", "run"), ("runs", "number")):
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", gone)  # noqa: S608 - our own names


def _drop_vitals(connection: Connection, before: float) -> None:
    for run, zero in connection.execute(f"SELECT number, realtime_ns FROM runs WHERE {_PROBES}").fetchall():  # noqa: S608 - our own condition
        connection.execute("DELETE FROM samples WHERE run = ? AND at_ns < ?", (run, int(before * 1e9) - zero))


def _drop_history(connection: Connection, before: float) -> None:
    connection.execute("DELETE FROM monitor_hours WHERE hour < ?", [before // 3_600])
    old = "SELECT id FROM incidents WHERE ended < ?"
    connection.execute(f"DELETE FROM incident_streams WHERE incident IN ({old})", [before])  # noqa: S608 - our own
    connection.execute("DELETE FROM incidents WHERE ended < ?", [before])
