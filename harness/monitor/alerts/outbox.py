"""The queue of alerts in the monitor's database: what each receiver is to be sent, and what it has been sent.

`put` is part of the caller's transaction: an incident and its alert are stored together, or neither is. The deliverer
reads the queue from other threads, each with a connection of its own.
"""

from collections.abc import Sequence

from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.monitor.alerts.message import Alert, encoded

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS alerts (
        id INTEGER PRIMARY KEY, key TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('firing', 'resolved')),
        document TEXT NOT NULL CHECK (document LIKE '{%}'), UNIQUE (key, status)) STRICT""",
    # state: waiting; repeating (delivered, and sent again while the alert fires); delivered; given_up, and `fault` why.
    # begun_at: when an attempt began whose end is unknown, since the process was killed or no answer came.
    """CREATE TABLE IF NOT EXISTS deliveries (
        alert INTEGER NOT NULL REFERENCES alerts(id), receiver TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'repeating', 'delivered', 'given_up')),
        put_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, begun_at REAL, sent_at REAL, fault TEXT,
        PRIMARY KEY (receiver, alert)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS open_deliveries ON deliveries (receiver, state) "
    "WHERE state IN ('waiting', 'repeating')",
    # A receiver that failed is left alone until `paused_until`.
    """CREATE TABLE IF NOT EXISTS receivers (
        name TEXT PRIMARY KEY, failures INTEGER NOT NULL DEFAULT 0, paused_until REAL NOT NULL DEFAULT 0,
        fault TEXT) STRICT, WITHOUT ROWID""",
)


def prepare(connection: Connection) -> None:
    """Create the tables that are missing."""
    for statement in SCHEMA:
        connection.execute(statement)


class Outbox:
    """Where the monitor puts alerts. `receivers` are the names of the [[alert]] tables."""

    def __init__(self, connection: Connection, receivers: Sequence[str]) -> None:
        self._connection = connection
        self._receivers = receivers

    def put(self, alert: Alert, now: float) -> bool:
        """Queue an alert for each receiver; False if it was put before. The caller's transaction commits it."""
        row = (alert.key, alert.status, encoded(alert))
        cursor = self._connection.execute(
            "INSERT INTO alerts (key, status, document) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row
        )
        if not cursor.rowcount:
            return False
        self._connection.executemany(
            "INSERT INTO deliveries (alert, receiver, put_at) VALUES (?, ?, ?)",
            [(cursor.lastrowid, receiver, now) for receiver in self._receivers],
        )
        return True
