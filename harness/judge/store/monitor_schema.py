"""The monitor's own tables, in the same file as the runs of its probes. docs/reference/monitor.md describes them.

A migration that has been released never changes.
"""

import secrets

from sqlite_utils import Database, Migrations

from streamgauge.harness.judge.store.schema import entries, no_table_of, unknown_to

_MIGRATIONS = Migrations("streamgauge-monitor")
_TABLES = {
    "monitor_state", "monitor_series", "monitor_counts", "monitor_bad", "monitor_hours", "monitor_levels",
    "incidents", "incident_streams", "alerts", "deliveries", "receivers",
}  # fmt: skip


def fault(database: Database) -> str | None:
    """As `schema.fault`, for the monitor's own tables: those of alerts and of later versions may be missing."""
    found = entries(database)
    return no_table_of(sorted(found.keys() & _TABLES), found)


def unknown_migration(database: Database) -> str | None:
    """The name of an applied migration that this version does not know; None if it knows all of them."""
    return unknown_to(_MIGRATIONS, database)


def needs_migration(database: Database) -> bool:
    return bool(_MIGRATIONS.pending(database))


def migrate(database: Database) -> None:
    _MIGRATIONS.apply(database)


@_MIGRATIONS()
def m001_service_levels_and_incidents(database: Database) -> None:
    for statement in (
        # Numbers and names that are one each: how far the monitor has read and judged, and the monitor's id.
        "CREATE TABLE monitor_state (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID",
        """CREATE TABLE monitor_series (
            id INTEGER PRIMARY KEY, slo TEXT NOT NULL, target TEXT NOT NULL, definition TEXT NOT NULL,
            bad_in_a_row INTEGER NOT NULL DEFAULT 0, good_in_a_row INTEGER NOT NULL DEFAULT 0,
            failing INTEGER NOT NULL DEFAULT 0, UNIQUE (slo, target, definition)) STRICT""",
        # good, bad: sums since the series began, up to the end of the minute (since 1970).
        """CREATE TABLE monitor_counts (
            series INTEGER NOT NULL REFERENCES monitor_series(id), minute INTEGER NOT NULL,
            good INTEGER NOT NULL, bad INTEGER NOT NULL, PRIMARY KEY (series, minute)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE monitor_bad (
            series INTEGER NOT NULL REFERENCES monitor_series(id), stream INTEGER NOT NULL, run TEXT NOT NULL,
            at REAL NOT NULL, outcome TEXT NOT NULL, ttft_ms REAL, PRIMARY KEY (series, stream))
            STRICT, WITHOUT ROWID""",
        """CREATE TABLE incidents (
            id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, slo TEXT NOT NULL, target TEXT NOT NULL,
            grouped_as TEXT NOT NULL, severity TEXT NOT NULL CHECK (severity IN ('page', 'ticket')),
            objective REAL NOT NULL, began REAL NOT NULL, ended REAL, budget_left REAL NOT NULL,
            evidence TEXT NOT NULL CHECK (evidence LIKE '{%}'), summary TEXT NOT NULL) STRICT""",
        "CREATE INDEX open_incidents ON incidents (slo) WHERE ended IS NULL",
        """CREATE TABLE incident_streams (
            incident INTEGER NOT NULL REFERENCES incidents(id), place INTEGER NOT NULL, stream INTEGER NOT NULL,
            run TEXT NOT NULL, at REAL NOT NULL, outcome TEXT NOT NULL, ttft_ms REAL,
            PRIMARY KEY (incident, place)) STRICT, WITHOUT ROWID""",
        "CREATE INDEX streams_of_incidents ON incident_streams (stream)",
        # What is kept of an hour of probes. `labels`: those of the streams, as JSON.
        """CREATE TABLE monitor_hours (
            target TEXT NOT NULL, hour INTEGER NOT NULL, labels TEXT NOT NULL CHECK (labels LIKE '{%}'),
            outcomes TEXT NOT NULL CHECK (outcomes LIKE '{%}'), tokens INTEGER NOT NULL,
            histograms TEXT NOT NULL CHECK (histograms LIKE '{%}'), PRIMARY KEY (target, hour, labels))
            STRICT, WITHOUT ROWID""",
    ):
        database.execute(statement)
    database.execute("INSERT INTO monitor_state VALUES ('id', ?)", [secrets.token_hex(3)])


@_MIGRATIONS()
def m002_levels(database: Database) -> None:
    """The service levels that the judge watches, so that whoever reads the database needs no config."""
    database.execute(
        """CREATE TABLE monitor_levels (
            place INTEGER NOT NULL, slo TEXT NOT NULL, target TEXT NOT NULL, definition TEXT NOT NULL,
            good TEXT NOT NULL, objective REAL NOT NULL, window INTEGER NOT NULL, PRIMARY KEY (slo, target))
            STRICT, WITHOUT ROWID"""
    )


@_MIGRATIONS()
def m003_parts_of_incidents(database: Database) -> None:
    """A page and a ticket about the same trouble are one incident: their rows have the same `part_of`."""
    database.execute("ALTER TABLE incidents ADD COLUMN part_of INTEGER")
    database.execute("CREATE INDEX parts_of_incidents ON incidents (part_of)")
    rows = database.execute("SELECT id, slo, grouped_as, began, ifnull(ended, 9e999) FROM incidents ORDER BY began, id")
    latest: dict[tuple[str, str], tuple[int, float]] = {}  # by place: the incident's first row, and until when it lasts
    for number, slo, group, began, ended in rows.fetchall():
        first, until = latest.get((slo, group), (number, began))
        if began >= until:
            first, until = number, ended
        latest[slo, group] = (first, max(until, ended))
        database.execute("UPDATE incidents SET part_of = ? WHERE id = ?", [first, number])
