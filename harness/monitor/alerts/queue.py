"""One receiver's part of the queue: what is to be sent next, and what became of it.

Each step is a transaction of its own, so that a process that is killed between two of them loses nothing: an attempt
whose end is unknown is made again, and marked as one that may be a repetition.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from streamgauge.harness.judge.store import connection
from streamgauge.harness.judge.store.connection import as_store_errors
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.monitor.alerts.message import Alert, decoded
from streamgauge.harness.monitor.alerts.receivers.attempt import LONGEST_PAUSE, Failed

GIVEN_UP_AFTER = 86_400.0  # seconds for which an alert is tried
_LONGEST_PAUSE = 300.0  # seconds between two attempts, unless the receiver asks for more

_NEXT = """
SELECT id, document, begun_at IS NOT NULL FROM deliveries JOIN alerts ON alert = id
WHERE receiver = :receiver AND state = 'waiting' AND NOT EXISTS (
    SELECT 1 FROM alerts AS before JOIN deliveries AS earlier ON earlier.alert = before.id
    WHERE before.key = alerts.key AND before.id < alerts.id
        AND earlier.receiver = :receiver AND earlier.state = 'waiting')
ORDER BY attempts, id LIMIT 1
"""  # of those that have been tried equally often, the oldest; the end of an incident never before its beginning
_REPEATED = """
SELECT id, document, 0 FROM deliveries JOIN alerts ON alert = id
WHERE receiver = :receiver AND state = 'repeating' AND (sent_at <= :before OR sent_at > :now) ORDER BY sent_at LIMIT 1
"""  # later than now: the clock was set back


class Due(NamedTuple):
    number: int  # of the alert
    alert: Alert
    may_be_repeated: bool


class Unreadable(NamedTuple):
    """A row that no version of this program wrote."""

    number: int
    fault: str


class Queue:
    """Used by one thread. StoreError if the database cannot be written."""

    def __init__(self, path: Path, receiver: str, repeated_every: float | None) -> None:
        self._path = path
        self._receiver = receiver
        self._repeated_every = repeated_every
        with as_store_errors(path):
            self._database = connection.connect(path, "rw")

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        with as_store_errors(self._path), connection.transaction(self._database):
            yield self._database.conn.execute

    def is_paused(self, now: float) -> bool:
        with as_store_errors(self._path):
            row = self._database.execute("SELECT paused_until FROM receivers WHERE name = ?", [self._receiver])
            until = next((float(until) for (until,) in row), 0.0)
        return now < until <= now + LONGEST_PAUSE  # later: the clock was set back

    def next(self, now: float) -> Due | Unreadable | None:
        """What to send now, if anything."""
        asked = {"receiver": self._receiver, "before": now - (self._repeated_every or 0.0), "now": now}
        with as_store_errors(self._path):
            row = self._database.execute(_NEXT, asked).fetchone()
            if row is None and self._repeated_every is not None:
                row = self._database.execute(_REPEATED, asked).fetchone()
        if row is None:
            return None
        try:
            return Due(row[0], decoded(row[1]), bool(row[2]))
        except (msgspec.MsgspecError, ValueError, TypeError) as fault:
            return Unreadable(row[0], f"alerts, row {row[0]}: damaged: {shortened(str(fault), 200)}")

    def give_up_old(self, now: float) -> int:
        """Returns how many alerts were given up."""
        fault = f"not delivered within {GIVEN_UP_AFTER / 3600:.0f} hours"
        of_receiver = "receiver = ? AND state = 'waiting' AND put_at < ?"
        with as_store_errors(self._path):
            asked = (self._receiver, now - GIVEN_UP_AFTER)
            if self._database.execute(f"SELECT 1 FROM deliveries WHERE {of_receiver}", asked).fetchone() is None:  # noqa: S608 - our own condition
                return 0
        statement = (
            "UPDATE deliveries SET state = 'given_up', fault = ? || ifnull(': ' || fault, '') "  # noqa: S608 - our own
            f"WHERE {of_receiver}"
        )
        with self._writing() as execute:
            given_up: int = execute(statement, (fault, *asked)).rowcount
        return given_up

    def begin(self, due: Due, now: float) -> None:
        with self._writing() as execute:
            execute(
                "UPDATE deliveries SET attempts = attempts + 1, begun_at = ? WHERE receiver = ? AND alert = ?",
                (now, self._receiver, due.number),
            )

    def delivered(self, due: Due, now: float, note: str | None) -> None:
        """An alert that still fires is sent again, to a receiver that wants that."""
        repeats = self._repeated_every is not None and due.alert.status == "firing"
        state = (
            "CASE WHEN ? AND NOT EXISTS (SELECT 1 FROM alerts WHERE key = ? AND status = 'resolved') "
            "THEN 'repeating' ELSE 'delivered' END"
        )
        with self._writing() as execute:
            execute(
                f"UPDATE deliveries SET state = {state}, begun_at = NULL, sent_at = ?, fault = ? "  # noqa: S608 - our own expression
                "WHERE receiver = ? AND alert = ?",
                (repeats, due.alert.key, now, note, self._receiver, due.number),
            )
            self._answers(execute)

    def give_up(self, alert: int, fault: str) -> None:
        with self._writing() as execute:
            execute(
                "UPDATE deliveries SET state = 'given_up', begun_at = NULL, fault = ? WHERE receiver = ? AND alert = ?",
                (fault, self._receiver, alert),
            )
            self._answers(execute)

    def failed(self, due: Due, fault: Failed, now: float, first_pause: float) -> float:
        """Returns when the receiver is tried again."""
        keep = fault.may_have_arrived or due.may_be_repeated
        with self._writing() as execute:
            execute(
                "UPDATE deliveries SET fault = ?, begun_at = iif(?, begun_at, NULL) WHERE receiver = ? AND alert = ?",
                (str(fault), keep, self._receiver, due.number),
            )
            execute(
                "INSERT INTO receivers (name, failures) VALUES (?, 1) "
                "ON CONFLICT DO UPDATE SET failures = failures + 1",
                (self._receiver,),
            )
            (failures,) = execute("SELECT failures FROM receivers WHERE name = ?", (self._receiver,)).fetchone()
            until = now + max(fault.pause or 0.0, pause_after(failures, first_pause))
            execute(
                "UPDATE receivers SET paused_until = ?, fault = ? WHERE name = ?", (until, str(fault), self._receiver)
            )
        return until

    def _answers(self, execute: Any) -> None:
        execute("DELETE FROM receivers WHERE name = ?", (self._receiver,))


def pause_after(failures: int, first: float) -> float:
    """Seconds: doubled after each failure in a row."""
    return min(first * 2.0 ** min(failures - 1, 20), _LONGEST_PAUSE)
