"""The tables as migrations: they bring a database of any older version to the schema of this one.

A migration that has been released never changes. docs/reference/database.md describes the tables.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlite_utils import Database, Migrations

APPLICATION_ID = 0x53474147  # "SGAG" in the header of the file: the database is ours

# A view for people who write SQL, and what `export` writes. No judgement reads it: measure/metrics.py defines the
# metrics.
_STREAM_METRICS = """
SELECT run_id, streams.id AS stream_id, scenario, user, protocol, client, network, behaviour, worker,
    labels, outcome, http_status, detail, stop_reason,
    due_at / 1e9 AS due_s,
    (connected_at - started_at) / 1e6 AS connect_ms,
    (headers_at - sent_at) / 1e6 AS headers_ms,
    (first_content_at - due_at) / 1e6 AS ttft_ms,
    (first_text_at - due_at) / 1e6 AS ttft_text_ms,
    (first_content_wire_at - sent_at) / 1e6 AS ttft_wire_ms,
    (last_content_at - due_at) / 1e6 AS e2e_ms,
    (ended_at - due_at) / 1e6 AS duration_ms,
    CASE WHEN output_tokens > 1 AND last_content_at > first_content_at
        THEN (last_content_at - first_content_at) / 1e6 / (output_tokens - 1) END AS tpot_ms,
    content_chunks AS chunks, characters, body_bytes, input_tokens, output_tokens, cache_read_tokens,
    cache_write_tokens, request_id,
    send_lag / 1e6 AS send_lag_ms, read_lag_max / 1e6 AS read_lag_ms,
    reads, coalesced_reads, saturated_reads, unstamped_reads
FROM streams JOIN (SELECT number, id AS run_id FROM runs) ON run = number
"""
_RESUMED = "resumed_from, resume_gap / 1e6 AS resume_gap_ms, resume_lost, resume_duplicated"
_LATER = f"{_RESUMED},\n    ifnull(answer, 'streamed') AS answer, tool_pause / 1e6 AS tool_pause_ms, oddities"
_SERVERS = f"{_LATER}, address, replica"
_NOW = f"{_SERVERS}, retry_after / 1e6 AS retry_after_ms, after_refusal / 1e6 AS after_refusal_ms"
_MEASURED = (
    "JOIN (SELECT number, measured_from FROM runs) USING (number)\nWHERE due_at >= ifnull(measured_from, due_at)"
)

_MIGRATIONS = Migrations("streamgauge")


def application_id(database: Database) -> int:
    (mark,) = database.execute("PRAGMA application_id").fetchone()
    return int(mark)


def is_empty(database: Database) -> bool:
    return application_id(database) == 0 and not database.table_names()


def needs_migration(database: Database) -> bool:
    return bool(_MIGRATIONS.pending(database))


def migrate(database: Database) -> None:
    _MIGRATIONS.apply(database)


def unknown_migration(database: Database) -> str | None:
    """The name of an applied migration that this version does not know; None if it knows all of them."""
    return unknown_to(_MIGRATIONS, database)


def unknown_to(migrations: Migrations, database: Database) -> str | None:
    """The name of an applied migration of this set that is not among these; None if all are."""
    return next((each.name for each in migrations.applied(database) if each.name not in _names(migrations)), None)


@cache
def _names(migrations: Migrations) -> frozenset[str]:
    empty = Database(memory=True, execute_plugins=False)  # plugins: it would search all installed packages for them
    return frozenset(each.name for each in migrations.pending(empty))


# The columns of m001, which every file has.
_RUNS = {
    "number": int, "id": str, "scenario": str, "host": str, "started_at": str, "realtime_ns": int,
    "ended_ns": int, "status": str, "config": str, "rules": str, "fingerprint": str, "labels": str,
    "instrument": str, "notes": str,
}  # fmt: skip
_STREAMS = {
    "id": int, "run": int,
    "scenario": str, "user": str, "protocol": str, "client": str, "network": str, "behaviour": str,
    "worker": str, "sequence": int, "labels": str,
    "due_at": int, "started_at": int, "resolved_at": int, "connected_at": int, "secured_at": int,
    "sent_at": int, "headers_at": int, "first_content_at": int, "first_text_at": int, "last_content_at": int,
    "first_content_wire_at": int, "ended_at": int,
    "outcome": str, "detail": str, "http_status": int, "stop_reason": str,
    "content_chunks": int, "characters": int, "body_bytes": int, "arrivals": bytes,
    "input_tokens": int, "output_tokens": int, "cache_read_tokens": int, "cache_write_tokens": int,
    "request_id": str, "resumed_from": str,
    "send_lag": int, "reads": int, "coalesced_reads": int, "saturated_reads": int, "unstamped_reads": int,
    "read_lag_mean": int, "read_lag_max": int,
}  # fmt: skip
_SAMPLES = {"run": int, "worker": str, "at_ns": int, "name": str, "value": float}
_ITL_COUNTS = {"run": int, "user": str, "network": str, "behaviour": str, "gap_us": int, "gaps": int}
_BASELINES = {"name": str, "run": str, "at": str, "document": str}
_FIRST_TABLES: dict[str, dict[str, Any]] = {"runs": _RUNS, "streams": _STREAMS, "samples": _SAMPLES}
_LATER_TABLES: dict[str, dict[str, Any]] = {
    "baselines": _BASELINES,
    "itl_counts": _ITL_COUNTS,
    _MIGRATIONS.migrations_table: dict.fromkeys(("migration_set", "name"), str),
}


Entries = dict[str, tuple[Any, Any]]  # name → kind, and the SQL that made it


def fault(database: Database) -> str | None:
    """What shows that a file was not made by `migrate`: a view, a virtual table or a trigger could run anything."""
    found = entries(database)
    tables = _FIRST_TABLES | {name: columns for name, columns in _LATER_TABLES.items() if name in found}
    if no_table := no_table_of(tables, found):
        return no_table
    triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchone()
    if triggers is not None:
        return f"it has a trigger, {str(triggers[0])[:100]!r}"
    for name, columns in tables.items():
        if missing := columns.keys() - {column for _, column, *_ in database.execute(f"PRAGMA table_info({name})")}:
            return f"its table {name} has no column {', '.join(sorted(missing))}"
    return None


def entries(database: Database) -> Entries:
    """All tables, views, indices and triggers."""
    return {name: (kind, sql) for name, kind, sql in database.execute("SELECT name, type, sql FROM sqlite_master")}


def no_table_of(tables: Iterable[str], found: Entries) -> str | None:
    """What is in the place of the first of these tables that is none; None if all are tables."""
    for name in tables:
        kind, sql = found.get(name, (None, ""))
        if kind != "table" or not str(sql).upper().startswith("CREATE TABLE"):
            return f"its {name} is {f'a {kind}' if kind else 'missing'}, where a table belongs"
    return None


@_MIGRATIONS()
def m001_runs_streams_samples(database: Database) -> None:
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.table("runs").create(
        _RUNS,
        pk="number",
        not_null={"id", "scenario", "host", "started_at", "realtime_ns", "status"},
        strict=True,
    )  # fmt: skip
    database.table("runs").create_index(["id"], unique=True)
    database.table("streams").create(
        _STREAMS,
        pk="id",
        not_null={"run", "scenario", "user", "protocol", "client", "network", "behaviour", "due_at", "ended_at",
                  "outcome"},
        foreign_keys=[("run", "runs", "number")],
        strict=True,
    )  # fmt: skip
    database.table("streams").create_index(["run"])
    database.table("samples").create(
        _SAMPLES,
        not_null={"run", "worker", "at_ns", "name", "value"},
        foreign_keys=[("run", "runs", "number")],
        strict=True,
    )
    database.table("samples").create_index(["run", "name", "at_ns"])
    database.create_view("stream_metrics", _STREAM_METRICS)


@_MIGRATIONS()
def m002_resumptions(database: Database) -> None:
    for name in ("resume_gap", "resume_lost", "resume_duplicated"):
        database.table("streams").add_column(name, int)
    _show(database, _RESUMED)


@_MIGRATIONS()
def m003_whole_answers_and_tools(database: Database) -> None:
    database.table("streams").add_column("answer", str)  # NULL in what was stored before: streamed
    database.table("streams").add_column("tool_pause", int)
    _show(database, f"{_RESUMED},\n    ifnull(answer, 'streamed') AS answer, tool_pause / 1e6 AS tool_pause_ms")


@_MIGRATIONS()
def m004_baselines(database: Database) -> None:
    database.table("baselines").create(
        _BASELINES,
        pk=("name", "run"),
        not_null={"name", "run", "at"},
        strict=True,
    )


# `json_valid` would say more, but SQLite calls it unsafe in a schema that is not trusted.
_OBJECTS = " AND ".join(f"{name} LIKE '{{%}}'" for name in ("config", "fingerprint", "labels", "instrument"))
# A new outcome or status needs a migration that makes the table anew with another check.
_CHECKS = {
    "runs": f"status IN ('running', 'finished', 'interrupted', 'aborted') AND {_OBJECTS} "
    "AND rules LIKE '[%]' AND notes LIKE '[%]'",
    "streams": "outcome IN ('completed', 'truncated', 'server_error', 'refused', 'unreachable', 'reset', 'timed_out', "
    "'malformed', 'cancelled', 'interrupted', 'empty') AND answer IN ('streamed', 'whole') AND labels LIKE '{%}' "
    "AND typeof(arrivals) = 'blob'",
}


@_MIGRATIONS()
def m005_checks_in_new_files(database: Database) -> None:
    """Only while nothing is stored: SQLite cannot add a check to a table, and copying a large one takes too long."""
    if any(database.table(name).count for name in _CHECKS):
        return
    database.execute("DROP VIEW stream_metrics")
    for name, check in _CHECKS.items():
        columns = database.table(name).schema.rstrip().removesuffix("STRICT").rstrip().removesuffix(")")
        indexes = [index.name for index in database.table(name).indexes]
        written = [
            database.execute("SELECT sql FROM sqlite_master WHERE name = ?", [index]).fetchone() for index in indexes
        ]
        database.execute(f"DROP TABLE {name}")
        database.execute(f"{columns.rstrip()},\n   CHECK ({check})\n) STRICT")
        for (sql,) in written:
            database.execute(sql)
    _show(database, f"{_RESUMED},\n    ifnull(answer, 'streamed') AS answer, tool_pause / 1e6 AS tool_pause_ms")


@_MIGRATIONS()
def m006_oddities(database: Database) -> None:
    """What was odd about a stream, as JSON; NULL if nothing was, and in what was stored before."""
    is_empty = database.execute("SELECT 1 FROM streams LIMIT 1").fetchone() is None
    check = "CHECK (oddities LIKE '{%}')" if is_empty else ""  # SQLite would try it on each stored row
    database.execute(f"ALTER TABLE streams ADD COLUMN oddities TEXT {check}")
    _show(
        database,
        f"{_RESUMED},\n    ifnull(answer, 'streamed') AS answer, tool_pause / 1e6 AS tool_pause_ms, oddities",
    )


@_MIGRATIONS()
def m007_warm_up(database: Database) -> None:
    """The end of a run's warm-up; NULL without one, and in what was stored before. The view leaves the warm-up out."""
    database.execute("ALTER TABLE runs ADD COLUMN measured_from INTEGER CHECK (measured_from >= 0)")
    _show(database, _LATER, _MEASURED)


@_MIGRATIONS()
def m008_forced(database: Database) -> None:
    """Why a run that is unfit was accepted into a baseline all the same; NULL for the others."""
    database.execute("ALTER TABLE baselines ADD COLUMN forced TEXT")


@_MIGRATIONS()
def m009_itl_counts(database: Database) -> None:
    """How often each gap between chunks occurred. Derived: empty for what was stored before, until it is judged."""
    database.execute(
        "CREATE TABLE itl_counts (run INTEGER NOT NULL REFERENCES runs(number), user TEXT NOT NULL, "
        "network TEXT NOT NULL, behaviour TEXT NOT NULL, gap_us INTEGER NOT NULL, gaps INTEGER NOT NULL, "
        "PRIMARY KEY (run, user, network, behaviour, gap_us)) STRICT, WITHOUT ROWID"
    )
    database.create_view(
        "itl",
        "SELECT runs.id AS run_id, user, network, behaviour, gap_us / 1e3 AS gap_ms, gaps "
        "FROM itl_counts JOIN runs ON run = number",
    )


@_MIGRATIONS()
def m010_servers(database: Database) -> None:
    """Which server answered, by its IP address and by its own name; NULL if unknown, and in what was stored before."""
    for name in ("address", "replica"):
        database.table("streams").add_column(name, str)
    _show(database, _SERVERS, _MEASURED)


@_MIGRATIONS()
def m011_refusals(database: Database) -> None:
    """How long a server asked to wait, and how long a user waited; NULL if unknown, and in what was stored before."""
    for name in ("retry_after", "after_refusal"):
        database.table("streams").add_column(name, int)
    _show(database, _NOW, _MEASURED)


def _show(database: Database, columns: str, restriction: str = "") -> None:
    """Replace the view by one with these columns after those of m001, and only those rows."""
    database.create_view("stream_metrics", _view(columns, restriction), replace=True)


def _view(columns: str, restriction: str) -> str:
    return _STREAM_METRICS.replace("\nFROM", f",\n    {columns}\nFROM", 1) + restriction


def measured_streams(database: Database) -> str:
    """The SELECT of the newest `stream_metrics`, for the run whose number is its parameter, in order of the streams.

    The view itself is not trusted: a file may come from somebody else. A read-only file of an older version lacks some
    columns; they are NULL, not observed.
    """
    added = {"streams": ("resume_gap", "resume_lost", "resume_duplicated", "answer", "tool_pause", "oddities",
                         "address", "replica", "retry_after", "after_refusal"),
             "runs": ("measured_from",)}  # fmt: skip
    tables = []
    for table, later in added.items():
        missing = (f", NULL AS {name}" for name in later if name not in database.table(table).columns_dict)
        tables.append(f"{table} AS (SELECT *{''.join(missing)} FROM main.{table})")  # noqa: S608 - our own names
    return f"WITH {', '.join(tables)}\n{_view(_NOW, _MEASURED)} AND run = ? ORDER BY streams.id"
