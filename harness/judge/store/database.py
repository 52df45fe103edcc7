"""The database: one SQLite file with every stream of every run.

Rows hold what was observed. Percentiles and rates are computed again at each reading. Readers get columns in bounded
batches. One writer and any number of readers may have the file open at once. Streams of a run's warm-up are read by
`warm_up` and `warm_up_outcomes` only, so no other reader can count them by mistake.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
import numpy as np
from sqlite_utils import Database

from streamgauge.harness.config.schema import Where
from streamgauge.harness.errors import DamagedRow, StoreError
from streamgauge.harness.judge.second_process import SecondProcess
from streamgauge.harness.judge.store import connection, measured, schema
from streamgauge.harness.judge.store.batches import BatchReader
from streamgauge.harness.judge.store.checked import LONGEST_SHOWN, Row, shown
from streamgauge.harness.judge.store.connection import as_store_errors
from streamgauge.harness.judge.store.derived import GapCounts, replace_itl_counts
from streamgauge.harness.judge.store.rows import (
    INSERT_STREAM,
    Accepted,
    Run,
    RunStatus,
    VitalRow,
    VitalSeries,
    accepted_of_row,
    failures_of,
    row_of_accepted,
    row_of_run,
    row_of_stream,
    run_of_row,
    texts_of,
    vital_of_rows,
)
from streamgauge.harness.judge.store.streams import Answer, Streams, selected
from streamgauge.harness.near_miss import did_you_mean
from streamgauge.harness.record.failure import Failure
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.harness.record.vitals import Vital

BATCH = 5_000  # rows that a reader holds at once
R = TypeVar("R")


class Store:
    """One database. Use `create` to write and `open` to read; not from two threads at once."""

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self._database = database
        self._numbers: dict[str, int] = {}  # a run's id → its key in the tables
        self._unwritten: dict[str, Run] = {}  # by id: runs as they ended, whose end could not be written
        self._file = connection.identity(path)
        self.second_process: SecondProcess | None = None  # one that was started for this database, for `beside`

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Open the database for writing; create it if it is missing, but no folder: that may be a typing error."""
        path = Path(path)
        with as_store_errors(path):
            if path.exists():
                connection.check_file(path)
            store = cls(path, connection.connect(path, "rwc"))
            try:
                if not schema.is_empty(store._database):
                    store._check_ours()
                if not store._database.tables:
                    # Larger pages waste less on rows of about a kilobyte. Their size is fixed once there is a table.
                    store._database.execute("PRAGMA page_size = 16384")
                store._database.enable_wal()
                store._migrate()
            except BaseException:
                store._database.close()
                raise
        return store

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open an existing database. StoreError if there is none or it is not one of ours."""
        path = Path(path)
        with as_store_errors(path):
            connection.check_file(path)
            writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
            store = cls(path, connection.connect(path, "rw" if writable else connection.reading_mode(path)))
            try:
                store._check_ours()
                if writable:
                    store._migrate()
            except BaseException:
                store._database.close()
                raise
        return store

    def _check_ours(self) -> None:
        if schema.is_empty(self._database):  # its maker was killed, or has only just begun
            raise StoreError(f"{self.path}: holds no run yet")
        if schema.application_id(self._database) != schema.APPLICATION_ID:
            raise StoreError(f"{self.path}: an SQLite file, but not a streamgauge database; give another path")
        if fault := schema.fault(self._database):
            raise StoreError(f"{self.path}: {fault}, so it is none of ours, or it was changed; give another path")
        if unknown := schema.unknown_migration(self._database):
            newer = f"written by a newer streamgauge (its schema has {unknown!r}); upgrade streamgauge to read it"
            raise StoreError(f"{self.path}: {newer}")

    def _migrate(self) -> None:
        if schema.needs_migration(self._database):
            with self._writing():  # a second process waits here, and then has nothing left to migrate
                schema.migrate(self._database)

    # writing

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction. StoreError if another file, or none, has taken the database's place."""
        if connection.identity(self.path) != self._file:  # SQLite would go on writing into the deleted file
            raise StoreError(f"{self.path}: was deleted or replaced during the run, and what it held is lost")
        with as_store_errors(self.path), connection.transaction(self._database):
            yield

    def start_run(self, run: Run) -> None:
        """Enter a run. StoreError if its id is taken."""
        with self._writing():
            if self._number(run.id) is not None:
                raise StoreError(f"{self.path}: there is a run called {run.id!r} already")
            self._database.table("runs").insert(row_of_run(run))

    def append(self, run_id: str, observations: Sequence[StreamObservation], vitals: Iterable[VitalRow] = ()) -> None:
        """Add streams and samples of vitals, all or none. Call it with hundreds at a time: commits are expensive."""
        number = self._known(run_id)
        streams, samples = [row_of_stream(number, seen) for seen in observations], [(number, *each) for each in vitals]
        with self._writing():
            self._database.conn.executemany(INSERT_STREAM, streams)
            self._database.conn.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", samples)

    def finish_run(
        self,
        run_id: str,
        *,
        ended_ns: int,
        status: RunStatus,
        instrument: dict[str, Any] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Enter a run's end. `instrument` and `notes` are added to those that the run started with.

        If that fails with a StoreError, this object still returns the run as it ended, so that it can be judged.
        """
        run = self.run(run_id)
        ended = msgspec.structs.replace(
            run,
            ended_ns=ended_ns,
            status=status,
            instrument={**run.instrument, **(instrument or {})},
            notes=[*run.notes, *notes],
        )
        try:
            with self._writing():
                self._database.table("runs").update(self._known(run.id), row_of_run(ended))
        except StoreError as fault:
            unsaved = {"unsaved": f"the end of the run could not be stored: {fault}"}
            self._unwritten[run.id] = msgspec.structs.replace(ended, instrument=unsaved | ended.instrument)
            raise

    def accept(self, name: str, accepted: Iterable[Accepted]) -> int:
        """Add runs to a baseline and return how many are new. A run that is in the baseline already does not change."""
        rows = [row_of_accepted(name, each) for each in accepted]
        with self._writing():
            before = self._database.conn.total_changes
            self._database.conn.executemany("INSERT OR IGNORE INTO baselines VALUES (?, ?, ?, ?, ?)", rows)
            return self._database.conn.total_changes - before

    def forget(self, name: str, runs: Iterable[str]) -> int:
        """Take runs out of a baseline and return how many were in it. The runs themselves stay."""
        with self._writing():
            before = self._database.conn.total_changes
            rows = [(name, run) for run in runs]
            self._database.conn.executemany("DELETE FROM baselines WHERE name = ? AND run = ?", rows)
            return self._database.conn.total_changes - before

    # reading

    def accepted(self, name: str | None = None) -> dict[str, list[Accepted]]:
        """Every baseline by its name, with its runs in the order of their acceptance.

        Damaged rows are left out, see `damaged`; but with a name, DamagedRow if that baseline could be incomplete.
        """
        baselines: dict[str, list[Accepted]] = {}
        for key, accepted in self._accepted():
            if isinstance(accepted, Accepted):
                baselines.setdefault(key, []).append(accepted)
            elif name is not None and key in {name, ""}:
                raise accepted
        return baselines

    def runs(self) -> list[Run]:
        """Every run, oldest first. Damaged rows are left out, see `damaged`."""
        return [run for run in self._rows("runs", self._run_of) if isinstance(run, Run)]

    def damaged(self) -> list[str]:
        """A sentence for each row that `runs` and `accepted` leave out, since no version of this program wrote it."""
        entries = [*self._rows("runs", self._run_of), *(accepted for _, accepted in self._accepted())]
        return [str(fault) for fault in entries if isinstance(fault, DamagedRow)]

    def run(self, run_id: str | None = None) -> Run:
        """A run by its id or by an unambiguous beginning of it; None: the newest. The StoreError lists the runs."""
        names = {number: row.name("id") for number, row in self._read("runs", "id")}
        if not names:
            raise StoreError(f"{self.path}: holds no run yet")
        begun = [number for number, name in names.items() if name.startswith(run_id or "")]
        matches = begun[-1:] if run_id is None else [each for each in begun if names[each] == run_id] or begun
        listed = ", ".join(names[number][:LONGEST_SHOWN] for number in (matches or list(names))[-10:])
        if run_id is not None and not matches:
            meant = did_you_mean(run_id, names.values())
            raise StoreError(f"{self.path}: no run called {run_id!r}; there are {listed}{meant}")
        if len(matches) > 1:
            raise StoreError(f"{self.path}: {run_id!r} could be any of {listed}; write more of it")
        with as_store_errors(self.path):
            return self._run_of(self.row("runs", "*", matches[0]))

    def _run_of(self, row: Row) -> Run:
        run = run_of_row(row)
        return self._unwritten.get(run.id, run)

    def _accepted(self) -> list[tuple[str, Accepted | DamagedRow]]:
        """The baseline's name and the content of each row; "" if the name cannot be read."""
        with as_store_errors(self.path):
            if not self._database.table("baselines").exists():
                return []  # an older file that is read-only, so it was not migrated
        names = [row.name("name") for _, row in self._read("baselines", "name")]
        return list(zip(names, self._rows("baselines", accepted_of_row), strict=True))

    def _rows(self, table: str, of_row: Callable[[Row], R]) -> list[R | DamagedRow]:
        """Each row of a table as a value, or what is wrong with it."""
        found: list[R | DamagedRow] = []
        for _, row in self._read(table, "*"):
            try:
                with as_store_errors(self.path):
                    found.append(of_row(row))
            except DamagedRow as fault:
                found.append(fault)
        return found

    def _read(self, table: str, columns: str) -> Iterator[tuple[int, Row]]:
        """These columns of each row, by its number. Rows are read one by one: no damaged row hides another."""
        with as_store_errors(self.path):
            numbers = [number for (number,) in self._database.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]  # noqa: S608 - our own names
            for number in numbers:
                yield number, self.row(table, columns, number)

    def row(self, table: str, columns: str, number: int) -> Row:
        """One row by its number, with its values unchecked."""
        with connection.undecodable_text_as_bytes(self._database):
            try:
                values = next(self._database.query(f"SELECT {columns} FROM {table} WHERE rowid = ?", [number]), {})  # noqa: S608 - our own names
            except connection.TooLarge as fault:
                return Row(table, number, {}, unread=str(fault))
        return Row(table, number, values)

    def streams(
        self, run_id: str, where: Where | None = None, *, batch: int = BATCH, after: int = -1
    ) -> Iterator[Streams]:
        """The measured streams of a run in the order they were stored, at most `batch` at a time; never an empty batch.

        `after` is the id of a stream: only streams that were stored later.
        """
        for streams in self._streams(run_id, self._measured(run_id), batch, after):
            chosen = streams if where is None else selected(streams, where)
            if len(chosen):
                yield chosen

    def warm_up(self, run_id: str) -> Iterator[Streams]:
        """The streams that were due in a run's warm-up, in batches like those of `streams`."""
        return self._streams(run_id, f"NOT ({self._measured(run_id)})", BATCH, -1)

    def _measured(self, run_id: str) -> str:
        number = self._known(run_id)
        with as_store_errors(self.path):
            if "measured_from" not in self._database.table("runs").columns_dict:
                return measured.ALL  # an older file that is read-only, so it was not migrated
            row = self._database.execute("SELECT measured_from FROM runs WHERE number = ?", [number]).fetchone()
            return measured.condition(number, *row)

    def _streams(self, run_id: str, chosen: str, batch: int, after: int) -> Iterator[Streams]:
        return (part for streams in self._undivided(run_id, chosen, batch, after) for part in streams.parts())

    def _undivided(self, run_id: str, chosen: str, batch: int, after: int) -> Iterator[Streams]:
        """As `_streams`, but the events of a batch may be too many to be decoded at once: for `decoded_ahead`."""
        number = self._known(run_id)
        with as_store_errors(self.path):
            (first,) = self._database.execute("SELECT min(id) FROM streams WHERE run = ?", [number]).fetchone()
            last = max(after, first - 1 if isinstance(first, int) else -1)
            reader = BatchReader(self._database, chosen, batch, str(self.path))
        while True:
            with as_store_errors(self.path):
                streams = reader.next(number, last)
            if streams is None:
                return
            last = int(streams.id[-1])
            yield streams

    def count(self, run_id: str) -> int:
        """How many measured streams a run has."""
        return int(self._figure(f"SELECT count(*) FROM streams WHERE run = ? AND {self._measured(run_id)}", run_id))  # noqa: S608 - our own condition

    def warm_up_outcomes(self, run_id: str) -> dict[str, int]:
        """How many streams of the warm-up ended in each way."""
        statement = f"SELECT outcome, count(*) FROM streams WHERE run = ? AND NOT ({self._measured(run_id)}) GROUP BY 1"  # noqa: S608 - our own condition
        with as_store_errors(self.path):
            found = dict(self._database.execute(statement, [self._known(run_id)]).fetchall())
        return {outcome.value: found[outcome] for outcome in Outcome if outcome in found}

    def duration(self, run: Run) -> int:
        """How long a run took, ns; up to the end of its last stream if its own end is not known."""
        if run.ended_ns is not None:
            return run.ended_ns
        ended = self._figure("SELECT max(ended_at) FROM streams WHERE run = ?", run.id) or 0
        if not isinstance(ended, int):
            raise DamagedRow(f"{self.path}: streams, column ended_at of {run.id!r}: {shown(ended)} is no whole number")
        return ended

    def _figure(self, statement: str, run_id: str) -> Any:
        with as_store_errors(self.path), connection.undecodable_text_as_bytes(self._database):
            (figure,) = self._database.execute(statement, (self._known(run_id),)).fetchone()
        return figure

    def answers(self, run_id: str) -> Iterator[Answer]:
        """Each measured stream that completed and has a request id, for comparing a run with the server's log."""
        for streams in self.streams(run_id):
            due_at, send_lag = (np.nan_to_num(streams.number[name]) for name in ("due_at", "send_lag"))
            request_ids = self.texts(streams.id.tolist())["request_id"]
            for place in np.flatnonzero(streams.ended_as({Outcome.COMPLETED})).tolist():
                if request_id := request_ids[place]:
                    yield Answer(request_id, int(due_at[place]), int(send_lag[place]), streams.columns(place))

    def vital(self, run_id: str, vital: Vital) -> VitalSeries:
        """All samples of one vital; empty arrays if there are none."""
        with as_store_errors(self.path), connection.undecodable_text_as_bytes(self._database):
            select = "SELECT rowid, worker, at_ns, value FROM samples WHERE run = ? AND name = ? ORDER BY at_ns"
            return vital_of_rows(self._database.execute(select, (self._known(run_id), vital)).fetchall())

    def failures(self, run_id: str, most: int) -> list[Failure]:
        """How measured streams failed, the most frequent failure first; at most `most` failures."""
        with as_store_errors(self.path), connection.undecodable_text_as_bytes(self._database):
            return failures_of(self._database.query, self._known(run_id), self._measured(run_id), most)

    def texts(self, ids: Sequence[int]) -> dict[str, list[str]]:
        """The worker, stop reason, request id, address and replica of these streams, by column; "" for none."""
        with as_store_errors(self.path):
            columns = self._database.table("streams").columns_dict.keys()
            return connection.decoded(self._database, lambda: texts_of(self._database.execute, columns, ids))

    def replace_itl_counts(self, run_id: str, counts: Iterable[GapCounts]) -> None:
        with self._writing():
            replace_itl_counts(self._database, self._known(run_id), counts)

    def close(self) -> None:
        connection.close(self._database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _number(self, run_id: str) -> int | None:
        if run_id not in self._numbers:
            row = self._database.execute("SELECT number FROM runs WHERE id = ?", (run_id,)).fetchone()
            if row is None:
                return None
            self._numbers[run_id] = row[0]
        return self._numbers[run_id]

    def _known(self, run_id: str) -> int:
        with as_store_errors(self.path):
            number = self._number(run_id)
        if number is None:
            raise StoreError(f"{self.path}: no run called {run_id!r}")
        return number
