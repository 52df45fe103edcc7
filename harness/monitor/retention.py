"""Drops what a monitor no longer keeps, in small transactions, so that probes are stored meanwhile.

Single streams are kept for `keep_raw`, except those behind an incident. Nothing is dropped that has not been judged.
"""

from collections.abc import Iterator

from streamgauge.harness.config.monitor_checks import PROBES_ARRIVE, TARGET
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.judge.store.monitored import MonitorStore

KEPT_DAYS = 400  # hourly summaries, incidents and their streams
_DAY = 86_400
_VITALS = 3_600  # seconds for which the processes' own samples are kept
_AT_ONCE = 2_000  # rows

_PROBES = (  # as rows.Run.probes
    f"json_extract(runs.labels, '$.{TARGET}') IS NOT NULL "
    f"AND json_extract(runs.fingerprint, '$.load.arrivals') LIKE '{PROBES_ARRIVE}%'"
)


def drop(store: MonitorStore, keep_raw: float, now: float) -> int:
    """Drop what is too old at `now`, seconds since 1970. Returns how many streams were dropped."""
    dropped = 0
    for part in _parts(store, now - keep_raw):
        dropped += part
    with store.transaction() as connection:
        _drop_runs(connection, now - keep_raw)
        _drop_vitals(connection, now - _VITALS)
        _drop_history(connection, now - KEPT_DAYS * _DAY)
    return dropped


def _parts(store: MonitorStore, before: float) -> Iterator[int]:
    """Drops streams that ended before this time, oldest first. Yields how many, after each transaction."""
    cursor = store.number("cursor", 0)
    while True:
        with store.transaction() as connection:
            rows = connection.execute(
                "SELECT streams.id, (realtime_ns + ended_at) / 1e9 FROM streams JOIN runs ON run = number "  # noqa: S608 - our own condition
                f"WHERE streams.id < ? AND {_PROBES} AND streams.id NOT IN (SELECT stream FROM incident_streams) "
                "ORDER BY streams.id LIMIT ?",
                (cursor, _AT_ONCE),  # not the last one that was judged: SQLite would give its id to another stream
            ).fetchall()
            old = [(number,) for number, ended in rows if ended < before]
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
    for number, zero in connection.execute(f"SELECT number, realtime_ns FROM runs WHERE {_PROBES}").fetchall():  # noqa: S608 - our own condition
        connection.execute("DELETE FROM samples WHERE run = ? AND at_ns < ?", (number, int(before * 1e9) - zero))


def _drop_history(connection: Connection, before: float) -> None:
    connection.execute("DELETE FROM monitor_hours WHERE hour < ?", [before // 3_600])
    old = "SELECT id FROM incidents WHERE ended < ?"
    connection.execute(f"DELETE FROM incident_streams WHERE incident IN ({old})", [before])  # noqa: S608 - our own
    connection.execute("DELETE FROM incidents WHERE ended < ?", [before])
