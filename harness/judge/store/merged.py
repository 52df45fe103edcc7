"""Joins the databases of several monitors, such as one for each region, into a new one for reading."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.judge.store.monitored import MonitorStore

# Tables whose rows are numbered: the other database's numbers are moved behind those that are there.
_NUMBERED = {"runs": "number", "streams": "id", "monitor_series": "id", "incidents": "id"}
_COPIED = {  # table → its columns that are numbers of others
    "runs": {"number": "runs"},
    "streams": {"id": "streams", "run": "runs"},
    "samples": {"run": "runs"},
    "itl_counts": {"run": "runs"},
    "monitor_series": {"id": "monitor_series"},
    "monitor_counts": {"series": "monitor_series"},
    "monitor_bad": {"series": "monitor_series", "stream": "streams"},
    "incidents": {"id": "incidents", "part_of": "incidents"},
    "incident_streams": {"incident": "incidents", "stream": "streams"},
    "monitor_hours": {},
    "monitor_levels": {},
}


# How a target's name gets its file's name behind it. `?1`: the names that do, as JSON; `?2`: what is put behind them.
_NAMED = "{0} IN (SELECT value FROM json_each(?1))"
_LABEL = "json_extract(labels, '$.target')"
_RENAMED = {
    ("runs", "labels"): f"CASE WHEN {_NAMED.format(_LABEL)} THEN json_set(labels, '$.target', {_LABEL} || ?2) "
    "ELSE labels END",
    **{
        (table, column): f"CASE WHEN {_NAMED.format(column)} THEN {column} || ?2 ELSE {column} END"
        for table in ("monitor_levels", "monitor_series", "monitor_hours", "incidents")
        for column in ("target", *(["grouped_as"] if table == "incidents" else []))
    },
}


def merge(sources: Sequence[str], into: str) -> None:
    """A target that several of the databases hold gets the name of its file behind its own: `api (eu)`.

    StoreError if `into` exists, or two of the databases hold the same run.
    """
    if os.path.lexists(into):
        raise StoreError(f"{into}: exists already; give the name of a new file")
    found: list[set[str]] = []
    for source in sources:
        with MonitorStore.open(source) as store, store.reading() as connection:  # checked, and brought to this schema
            names = connection.execute("SELECT target FROM monitor_series UNION SELECT target FROM monitor_hours")
            found.append({name for (name,) in names})
    several = {name for name, times in Counter(name for names in found for name in names).items() if times > 1}
    if several and len({Path(source).stem for source in sources}) < len(sources):
        raise StoreError(
            f"{sources[-1]}: holds the target {min(several)[:60]!r}, as another file does, and is called like one: "
            "give the files different names"
        )
    try:
        with MonitorStore.create(into) as store:
            for source in sources:
                _add(store, source, several)
            with store.transaction() as connection:
                last = connection.execute("SELECT ifnull(max(id), 0) FROM streams").fetchone()
                connection.execute("INSERT OR REPLACE INTO monitor_state VALUES ('cursor', ?)", last)
    except BaseException:
        for name in (into, f"{into}-wal", f"{into}-shm"):
            Path(name).unlink(missing_ok=True)
        raise


def _add(store: MonitorStore, source: str, renamed: set[str]) -> None:
    names = (json.dumps(sorted(renamed)), f" ({Path(source).stem})")
    with store.reading() as connection:
        connection.execute("ATTACH DATABASE ? AS other", [source])
    try:
        with store.transaction() as connection:
            _copy_all(connection, source, names)
    finally:
        connection.execute("DETACH DATABASE other")


def _copy_all(connection: Connection, source: str, names: tuple[str, str]) -> None:
    run = connection.execute("SELECT id FROM main.runs JOIN other.runs USING (id) LIMIT 1").fetchone()
    if run is not None:
        raise StoreError(f"{source}: holds the run {run[0][:100]!r}, as one of the files before it does")
    offsets = {table: _last(connection, table, number) for table, number in _NUMBERED.items()}
    for table, numbers in _COPIED.items():
        _copy(connection, table, {column: offsets[of] for column, of in numbers.items()}, names)


def _last(connection: Connection, table: str, number: str) -> int:
    (last,) = connection.execute(f"SELECT ifnull(max({number}), 0) FROM main.{table}").fetchone()  # noqa: S608 - our own names
    return int(last)


def _copy(connection: Connection, table: str, moved: dict[str, int], names: tuple[str, str]) -> None:
    here, there = (
        [row[1] for row in connection.execute(f"PRAGMA {schema}.table_info({table})")] for schema in ("main", "other")
    )
    columns = [column for column in here if column in there]
    values = [
        f"{column} + {moved[column]:d}" if column in moved else _RENAMED.get((table, column), column)
        for column in columns
    ]
    select = f"SELECT {', '.join(values)} FROM other.{table} WHERE ?1 = ?1 AND ?2 = ?2"  # noqa: S608 - our own names
    connection.execute(f"INSERT INTO main.{table} ({', '.join(columns)}) {select}", names)
