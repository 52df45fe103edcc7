"""The queue of alerts in the monitor's database: what each receiver is to be sent, and what it has been sent.

`put` is part of the caller's transaction: an incident and its alert are stored together, or neither is. The deliverer
reads the queue from other threads, each with a connection of its own.
"""

import time
from collections.abc import Callable, Sequence

from streamgauge.harness.config.alerts import AnyReceiver
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.monitor.alerts.message import Alert, encoded

MOST_WAITING = 1_000  # alerts of one receiver; the oldest is given up for one more
KEPT = 90 * 86_400.0  # seconds for which an alert that is delivered or given up is remembered

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS alerts (
        id INTEGER PRIMARY KEY, key TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('firing', 'resolved')),
        document TEXT NOT NULL CHECK (document LIKE '{%}'), put_at REAL NOT NULL, UNIQUE (key, status)) STRICT""",
    # state: waiting; repeating (delivered, and sent again while the alert fires); delivered; given_up, and `fault` why.
    # begun_at: when an attempt began whose end is unknown, since the process was killed or no answer came.
    """CREATE TABLE IF NOT EXISTS deliveries (
        alert INTEGER NOT NULL REFERENCES alerts(id), receiver TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'repeating', 'delivered', 'given_up')),
        put_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, begun_at REAL, sent_at REAL, fault TEXT,
        PRIMARY KEY (receiver, alert)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS open_deliveries ON deliveries (receiver, state) "
    "WHERE state IN ('waiting', 'repeating')",
    "CREATE INDEX IF NOT EXISTS deliveries_of_alert ON deliveries (alert)",
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
    """Where the monitor puts alerts. `receivers` are the [[alert]] tables; their secrets are not needed here."""

    def __init__(
        self,
        connection: Connection,
        receivers: Sequence[AnyReceiver],
        clock: Callable[[], float] = time.time,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`tell` is called with a line about each receiver for which too many alerts begin to wait."""
        self._connection = connection
        self._receivers = receivers
        self._clock = clock
        self._tell = tell
        self._crowded: set[str] = set()  # names of the receivers of which that was told, until fewer wait

    def put(self, alert: Alert, happened: float) -> bool:
        """Queue an alert for each receiver that takes it; False if it was put before. The caller commits.

        It may have happened long ago, while nobody judged: it is tried for a day from now on all the same.
        """
        execute = self._connection.execute
        now = max(happened, self._clock())
        row = (alert.key, alert.status, encoded(alert), now)
        insert = "INSERT INTO alerts (key, status, document, put_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
        cursor = execute(insert, row)
        if not cursor.rowcount:
            return False
        for receiver in self._receivers:
            if self._tells(receiver, alert):
                execute(
                    "INSERT INTO deliveries (alert, receiver, put_at) VALUES (?, ?, ?)",
                    (cursor.lastrowid, receiver.called, now),
                )
                self._bound(receiver.called)
        if alert.status == "resolved":
            execute(
                "UPDATE deliveries SET state = 'delivered' WHERE state = 'repeating' "
                "AND alert IN (SELECT id FROM alerts WHERE key = ?)",
                (alert.key,),
            )
        self._forget(now - KEPT)
        return True

    def _tells(self, receiver: AnyReceiver, alert: Alert) -> bool:
        """People who have got a page need no ticket about the same trouble beside it."""
        if not receiver.takes(alert.severity):
            return False
        if not (receiver.is_read and receiver.takes("page") and alert.severity == "ticket" and alert.beside == "page"):
            return True
        return alert.status == "resolved" and self._was_told(receiver, alert.key)

    def _was_told(self, receiver: AnyReceiver, key: str) -> bool:
        told = "SELECT 1 FROM alerts JOIN deliveries ON alert = id WHERE key = ? AND receiver = ?"
        return self._connection.execute(told, (key, receiver.called)).fetchone() is not None

    def _bound(self, receiver: str) -> None:
        fault = f"{MOST_WAITING:,} newer alerts were waiting"
        waiting = "receiver = ? AND state = 'waiting'"
        given_up = self._connection.execute(
            f"UPDATE deliveries SET state = 'given_up', fault = ? WHERE {waiting} AND alert IN ("  # noqa: S608 - our own condition
            f"SELECT alert FROM deliveries WHERE {waiting} ORDER BY alert DESC LIMIT -1 OFFSET ?)",
            (fault, receiver, receiver, MOST_WAITING),
        )
        if not given_up.rowcount:
            self._crowded.discard(receiver)
        elif receiver not in self._crowded:
            self._crowded.add(receiver)
            self._tell(f"alerts to {receiver}: more than {MOST_WAITING:,} wait, so the oldest are given up")

    def _forget(self, before: float) -> None:
        closed = "state NOT IN ('waiting', 'repeating')"
        self._connection.execute(f"DELETE FROM deliveries WHERE put_at < ? AND {closed}", (before,))  # noqa: S608 - our own condition
        self._connection.execute(
            "DELETE FROM alerts WHERE put_at < ? AND NOT EXISTS (SELECT 1 FROM deliveries WHERE alert = id)", (before,)
        )
