"""The database: one SQLite file with every stream of every run. The only door to sqlite-utils.

Rows hold what was observed; nothing derived is stored as truth. Readers get columns in bounded batches, never a
Python object a chunk. A writer and any number of readers may have the file open at once. Nothing here knows a metric.

Moments are nanoseconds on the run's clock, NULL where not observed. docs/reference/database.md describes the tables.
"""

import itertools
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database, Migrations

from streamgauge.harness.config.duration import decode
from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.errors import StoreError
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.observation import FAILURES, Outcome, StreamObservation

APPLICATION_ID = 0x53474147  # "SGAG" in the file's header: this database is ours
BATCH = 5_000  # rows a reader holds at once

Status = Literal["running", "finished", "interrupted", "aborted"]  # aborted: by a rule that was missed


class Run(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    scenario: str
    host: str
    started_at: str  # ISO 8601, UTC
    realtime_ns: int  # CLOCK_REALTIME at the run's zero
    ended_ns: int | None = None  # on the run's clock; None while it runs, or when it died
    status: Status = "running"
    config: dict[str, Any] = {}  # what may be shown of it: see config.secrets.public
    rules: list[Sla] = []  # as they were written
    fingerprint: dict[str, Any] = {}  # what must be equal for two runs to be comparable
    labels: dict[str, str] = {}
    instrument: dict[str, Any] = {}  # stamps, versions, platform, processes, clock_drift_ns, …
    notes: list[str] = []  # what went wrong with the run itself, a sentence each; any makes it DEGRADED


class Sample(NamedTuple):
    """One reading of something that has no stream: users, CPU, …"""

    worker: str
    at_ns: int  # on the run's clock
    name: str
    value: float


class Readings(NamedTuple):
    """All samples of one name, in order of time."""

    worker: list[str]
    at: NDArray[np.float64]  # ns on the run's clock
    value: NDArray[np.float64]


class Failure(NamedTuple):
    """One way in which streams failed, and how many did."""

    outcome: str
    http_status: int | None
    detail: str  # what the server or the system said: untrusted text
    n: int


class Accepted(NamedTuple):
    """A run of a baseline."""

    run: str
    at: str  # ISO 8601, UTC: when it was accepted
    document: dict[str, Any] | None  # what is known of a run that was imported; None: it is in this database


_TEXTS = ("scenario", "user", "protocol", "client", "network", "behaviour", "answer", "outcome", "labels")
_NUMBERS = (
    "due_at", "started_at", "resolved_at", "connected_at", "secured_at", "sent_at", "headers_at",
    "first_content_at", "first_text_at", "last_content_at", "first_content_wire_at", "ended_at",
    "content_chunks", "characters", "tool_pause", "body_bytes", "input_tokens", "output_tokens", "cache_read_tokens",
    "send_lag", "reads", "coalesced_reads", "saturated_reads", "unstamped_reads", "read_lag_mean", "read_lag_max",
    "resume_gap", "resume_lost", "resume_duplicated",
)  # fmt: skip
_FIELDS = StreamObservation.__struct_fields__


@dataclass(frozen=True)
class Streams:
    """Some streams of one run as columns of equal length; `NaN` where a number was not observed.

    A float64 holds whole nanoseconds exactly for 104 days, which no run outlasts.
    """

    id: NDArray[np.int64]
    text: dict[str, list[str]]  # by name: those of Where, labels being JSON, and outcome; cache can be ""
    number: dict[str, NDArray[np.float64]]  # by name: moments in ns, counts, tokens, lags in ns
    blobs: list[bytes]

    def __len__(self) -> int:
        return len(self.blobs)

    @cached_property
    def events(self) -> arrivals.ContentEvents:
        """Every event of every stream, decoded on first use. StoreError for a damaged blob."""
        try:
            return arrivals.content_events(self.blobs)
        except ValueError as fault:
            raise StoreError(f"arrivals of streams {self.id[0]}–{self.id[-1]} cannot be read: {fault}") from None

    @cached_property
    def outcome(self) -> NDArray[np.str_]:
        return np.array(self.text["outcome"])

    @cached_property
    def resumed(self) -> NDArray[np.bool_]:
        """Which of them went on with an answer: its beginning is in another stream, its usage is of the whole."""
        return ~(np.isnan(self.number["resume_gap"]) & np.isnan(self.number["resume_lost"]))

    def ended_as(self, outcomes: Collection[Outcome]) -> NDArray[np.bool_]:
        return np.isin(self.outcome, [outcome.value for outcome in outcomes])

    def select(self, places: NDArray[np.int64]) -> "Streams":
        """Those at these places, in their order."""
        there = places.tolist()
        return Streams(
            self.id[places],
            {name: [column[place] for place in there] for name, column in self.text.items()},
            {name: column[places] for name, column in self.number.items()},
            [self.blobs[place] for place in there],
        )

    def with_numbers(self, more: dict[str, NDArray[np.float64]]) -> "Streams":
        """The same with more columns; what was decoded stays so."""
        fuller = Streams(self.id, self.text, {**self.number, **more}, self.blobs)
        fuller.__dict__["events"] = self.events
        return fuller


def matches(where: Where, texts: dict[str, str]) -> bool:
    """Whether a stream with these values (labels as JSON) is one that `where` speaks of."""
    if where.label:
        labels = json.loads(texts["labels"])
        if any(labels.get(name) != value for name, value in where.label.items()):
            return False
    given = ((name, getattr(where, name)) for name in Where.__struct_fields__ if name != "label")
    return all(texts[name] == value for name, value in given if value is not None)


class Store:
    """One database. Use `create` to write and `open` to read; not from two threads at once."""

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self._database = database
        self._numbers: dict[str, int] = {}  # a run's id → its key in the tables

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Open the database for writing, making it and its folder where they are missing."""
        path = Path(path)
        with _telling(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            store = cls(path, _connect(path, "rwc"))
            try:
                store._check_ours(may_be_empty=True)
                if not store._database.tables:
                    # Bigger pages waste less on rows of about a kilobyte. Only an empty file can be told.
                    store._database.execute("PRAGMA page_size = 16384")
                store._database.enable_wal()
                store._migrate()
            except BaseException:
                store._database.close()
                raise
        return store

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open an existing database. StoreError when there is none, or it is not one of ours."""
        path = Path(path)
        if not path.exists():
            raise StoreError(f"{path}: no such database")
        with _telling(path):
            # A file on a read-only disk cannot have the -shm file that WAL needs: then nobody writes it either.
            writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
            store = cls(path, _connect(path, "rw" if writable else "ro&immutable=1"))
            try:
                store._check_ours(may_be_empty=False)
                if writable:
                    store._migrate()
            except BaseException:
                store._database.close()
                raise
        return store

    def _check_ours(self, *, may_be_empty: bool) -> None:
        (mark,) = self._database.execute("PRAGMA application_id").fetchone()
        if mark != APPLICATION_ID:
            if may_be_empty and mark == 0 and not self._database.table_names():
                return
            raise StoreError(f"{self.path}: an SQLite file, but not a streamgauge database; give another path")
        known = {migration.name for migration in _migrations.pending(Database(memory=True))}
        for migration in _migrations.applied(self._database):
            if migration.name not in known:
                raise StoreError(
                    f"{self.path}: written by a newer streamgauge (its schema has {migration.name!r}); "
                    f"upgrade streamgauge to read it"
                )

    def _migrate(self) -> None:
        if _migrations.pending(self._database):
            with self._writing():  # whoever opens it second waits here, and finds nothing left to do
                _migrations.apply(self._database)

    # writing

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, whole or not at all.

        It takes the write lock at once: one that began by reading would fail, not wait, if another process wrote
        in between (SQLITE_BUSY_SNAPSHOT).
        """
        with _telling(self.path), self._database.conn:
            self._database.conn.execute("BEGIN IMMEDIATE")
            yield

    def start_run(self, run: Run) -> None:
        """Enter a run. StoreError when the id is taken."""
        with self._writing():
            if self._number(run.id) is not None:
                raise StoreError(f"{self.path}: there is a run called {run.id!r} already")
            self._database.table("runs").insert(_run_row(run))

    def append(
        self,
        run_id: str,
        observations: Sequence[StreamObservation],
        samples: Iterable[Sample | tuple[str, int, str, float]] = (),
    ) -> None:
        """Add streams and samples, all or none. Call it with hundreds at a time: a commit costs more than a row."""
        number = self._known(run_id)
        rows = [_stream_row(number, seen) for seen in observations]
        readings = [(number, *sample) for sample in samples]
        with self._writing():
            self._database.conn.executemany(_INSERT_STREAM, rows)
            self._database.conn.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", readings)

    def finish_run(
        self,
        run_id: str,
        *,
        ended_ns: int,
        status: Status,
        instrument: dict[str, Any] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Enter a run's end. `instrument` and `notes` are added to those that the run began with."""
        run = self.run(run_id)
        ended = msgspec.structs.replace(
            run,
            ended_ns=ended_ns,
            status=status,
            instrument={**run.instrument, **(instrument or {})},
            notes=[*run.notes, *notes],
        )
        with self._writing():
            self._database.table("runs").update(self._known(run.id), _run_row(ended))

    def accept(self, name: str, accepted: Iterable[Accepted]) -> int:
        """Add runs to a baseline; one that is there stays as it is. Says how many are new."""
        rows = [(name, run, at, None if document is None else json.dumps(document)) for run, at, document in accepted]
        with self._writing():
            before = self._database.conn.total_changes
            self._database.conn.executemany("INSERT OR IGNORE INTO baselines VALUES (?, ?, ?, ?)", rows)
            return self._database.conn.total_changes - before

    def forget(self, name: str, runs: Iterable[str]) -> int:
        """Take runs out of a baseline, and say how many were in it. The runs themselves stay."""
        with self._writing():
            before = self._database.conn.total_changes
            rows = [(name, run) for run in runs]
            self._database.conn.executemany("DELETE FROM baselines WHERE name = ? AND run = ?", rows)
            return self._database.conn.total_changes - before

    # reading

    def accepted(self) -> dict[str, list[Accepted]]:
        """Every baseline by its name, with its runs in the order of their acceptance."""
        with _telling(self.path):
            if not self._database.table("baselines").exists():
                return {}  # an older file that may not be written
            rows = self._database.execute("SELECT name, run, at, document FROM baselines ORDER BY rowid").fetchall()
        found: dict[str, list[Accepted]] = {}
        for name, run, at, document in rows:
            found.setdefault(name, []).append(Accepted(run, at, None if document is None else json.loads(document)))
        return found

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        with _telling(self.path):
            rows = list(self._database.query("SELECT * FROM runs ORDER BY number"))
        return [_run(row) for row in rows]

    def run(self, run_id: str | None = None) -> Run:
        """One run by its id or an unambiguous beginning of it; None is the newest. StoreError names those there are."""
        runs = self.runs()
        if not runs:
            raise StoreError(f"{self.path}: holds no run yet")
        if run_id is None:
            return runs[-1]
        found = [run for run in runs if run.id == run_id] or [run for run in runs if run.id.startswith(run_id)]
        if len(found) == 1:
            return found[0]
        there = ", ".join(run.id for run in (found or runs)[-10:])
        if found:
            raise StoreError(f"{self.path}: {run_id!r} could be any of {there}; write more of it")
        raise StoreError(f"{self.path}: no run called {run_id!r}; there are {there}")

    def streams(
        self, run_id: str, where: Where | None = None, *, batch: int = BATCH, after: int = -1
    ) -> Iterator[Streams]:
        """The streams of a run in the order they were stored, at most `batch` at a time; empty batches are left out.

        `after` is the id of a stream: only those that were stored later.
        """
        number, last = self._known(run_id), after
        with _telling(self.path):
            # An older file that may not be written stays as it is: nobody observed what it has no column for.
            there = self._database.table("streams").columns_dict
        select = _SELECT_STREAMS.format(", ".join(name if name in there else "NULL" for name in (*_TEXTS, *_NUMBERS)))
        while True:
            with _telling(self.path):
                rows = self._database.execute(select, (number, last, batch)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            found = _streams(rows)
            if where is not None:
                rows_of_text = zip(*found.text.values(), strict=True)
                chosen = [matches(where, dict(zip(found.text, values, strict=True))) for values in rows_of_text]
                found = found.select(np.flatnonzero(chosen))
            if len(found):
                yield found

    def count(self, run_id: str) -> int:
        """How many streams a run has."""
        with _telling(self.path):
            (n,) = self._database.execute(
                "SELECT count(*) FROM streams WHERE run = ?", (self._known(run_id),)
            ).fetchone()
        return int(n)

    def duration(self, run: Run) -> int:
        """How long a run took, ns; up to the end of its last stream where its own end is not known."""
        if run.ended_ns is not None:
            return run.ended_ns
        with _telling(self.path):
            (last,) = self._database.execute(
                "SELECT max(ended_at) FROM streams WHERE run = ?", (self._known(run.id),)
            ).fetchone()
        return last or 0

    def answers(self, run_id: str) -> Iterator[tuple[str, int, arrivals.Columns]]:
        """Each completed stream by the server's own name for it: request id, due_at (ns), and its events.

        For holding a run against the server's log; streams without a request id are left out.
        """
        with _telling(self.path):
            rows = self._database.execute(
                "SELECT request_id, due_at, arrivals FROM streams WHERE run = ? AND outcome = 'completed'",
                (self._known(run_id),),
            )
            for request_id, due_at, blob in rows:
                if request_id is not None:
                    yield request_id, due_at, arrivals.columns(blob or b"")

    def samples(self, run_id: str, name: str) -> Readings:
        """All readings of one name; empty arrays when there are none."""
        with _telling(self.path):
            rows = self._database.execute(
                "SELECT worker, at_ns, value FROM samples WHERE run = ? AND name = ? ORDER BY at_ns",
                (self._known(run_id), name),
            ).fetchall()
        return Readings(
            [row[0] for row in rows],
            np.array([row[1] for row in rows], np.float64),
            np.array([row[2] for row in rows], np.float64),
        )

    def failures(self, run_id: str, most: int) -> list[Failure]:
        """How streams failed, the most frequent way first; at most so many ways."""
        with _telling(self.path):
            rows = self._database.execute(
                "SELECT outcome, http_status, detail, count(*) AS n FROM streams WHERE run = ? "
                "GROUP BY outcome, http_status, detail ORDER BY n DESC, outcome, detail",
                (self._known(run_id),),
            )
            failed = (row for row in rows if row[0] in FAILURES)
            return [
                Failure(outcome, status, detail or "", n)
                for outcome, status, detail, n in itertools.islice(failed, most)
            ]

    def close(self) -> None:
        """Fold the write-ahead log into the file, so that one file is all there is to hand on."""
        try:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error:
            pass  # a reader holds on to it; the last one to close folds it
        finally:
            self._database.close()

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
        with _telling(self.path):
            number = self._number(run_id)
        if number is None:
            raise StoreError(f"{self.path}: no run called {run_id!r}")
        return number


_migrations = Migrations("streamgauge")


@_migrations()
def m001_runs_streams_samples(database: Database) -> None:
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.table("runs").create(
        {
            "number": int, "id": str, "scenario": str, "host": str, "started_at": str, "realtime_ns": int,
            "ended_ns": int, "status": str, "config": str, "rules": str, "fingerprint": str, "labels": str,
            "instrument": str, "notes": str,
        },
        pk="number",
        not_null={"id", "scenario", "host", "started_at", "realtime_ns", "status"},
        strict=True,
    )  # fmt: skip
    database.table("runs").create_index(["id"], unique=True)
    database.table("streams").create(
        {
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
        },
        pk="id",
        not_null={"run", "scenario", "user", "protocol", "client", "network", "behaviour", "due_at", "ended_at",
                  "outcome"},
        foreign_keys=[("run", "runs", "number")],
        strict=True,
    )  # fmt: skip
    database.table("streams").create_index(["run"])
    database.table("samples").create(
        {"run": int, "worker": str, "at_ns": int, "name": str, "value": float},
        not_null={"run", "worker", "at_ns", "name", "value"},
        foreign_keys=[("run", "runs", "number")],
        strict=True,
    )
    database.table("samples").create_index(["run", "name", "at_ns"])
    database.create_view("stream_metrics", _STREAM_METRICS)


@_migrations()
def m002_resumptions(database: Database) -> None:
    for name in ("resume_gap", "resume_lost", "resume_duplicated"):
        database.table("streams").add_column(name, int)
    _show(database, _RESUMED)


@_migrations()
def m003_whole_answers_and_tools(database: Database) -> None:
    database.table("streams").add_column("answer", str)  # NULL in what was stored before: streamed
    database.table("streams").add_column("tool_pause", int)
    _show(database, f"{_RESUMED},\n    ifnull(answer, 'streamed') AS answer, tool_pause / 1e6 AS tool_pause_ms")


@_migrations()
def m004_baselines(database: Database) -> None:
    database.table("baselines").create(
        {"name": str, "run": str, "at": str, "document": str},
        pk=("name", "run"),
        not_null={"name", "run", "at"},
        strict=True,
    )


def _show(database: Database, columns: str) -> None:
    """Make the view anew, with more columns than it began with."""
    database.create_view(
        "stream_metrics", _STREAM_METRICS.replace("\nFROM", f",\n    {columns}\nFROM", 1), replace=True
    )


_RESUMED = "resumed_from, resume_gap / 1e6 AS resume_gap_ms, resume_lost, resume_duplicated"


# For people and plain SQL. Nothing in this program reads it: metrics.py is where a metric is defined.
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
    CASE WHEN output_tokens > 1 THEN (last_content_at - first_content_at) / 1e6 / (output_tokens - 1) END AS tpot_ms,
    content_chunks AS chunks, characters, body_bytes, input_tokens, output_tokens, cache_read_tokens,
    cache_write_tokens, request_id,
    send_lag / 1e6 AS send_lag_ms, read_lag_max / 1e6 AS read_lag_ms,
    reads, coalesced_reads, saturated_reads, unstamped_reads
FROM streams JOIN (SELECT number, id AS run_id FROM runs) ON run = number
"""
_INSERT_STREAM = f"INSERT INTO streams (run, {', '.join(_FIELDS)}) VALUES (?{', ?' * len(_FIELDS)})"  # noqa: S608 - our own names
_SELECT_STREAMS = "SELECT id, arrivals, {} FROM streams WHERE run = ? AND id > ? ORDER BY id LIMIT ?"
_JSON = ("config", "rules", "fingerprint", "labels", "instrument", "notes")


def _connect(path: Path, mode: str) -> Database:
    # The writer may run in a thread beside the event loop, one call at a time.
    uri = f"file:{_quoted(path)}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=30, check_same_thread=False)
    connection.execute("PRAGMA synchronous = NORMAL")
    return Database(connection, execute_plugins=False)


def _quoted(path: Path) -> str:
    return path.absolute().as_posix().replace("%", "%25").replace("?", "%3f").replace("#", "%23")


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """SQLite's errors → one StoreError that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as fault:
        said = str(fault)
        advice = next((advice for part, advice in _ADVICE.items() if part in said), f"SQLite says: {said}")
        raise StoreError(f"{path}: {advice}") from fault
    except OSError as fault:
        raise StoreError(f"{path}: cannot be opened: {fault.strerror}") from fault


_ADVICE = {
    "not a database": "not an SQLite file; give another path",
    "locked": "another process is writing to it; wait for that run to end, or give another path",
    "readonly": "cannot be written: the file or its folder is read-only",
    "disk is full": "the disk is full; what was stored before stands",
    "unable to open": "cannot be opened; is it a file, in a folder that may be written?",
    "malformed": "the file is damaged; what can be saved, sqlite3's .recover saves",
}


def _run_row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.structs.asdict(run)
    return row | {name: msgspec.json.encode(row[name], enc_hook=str).decode() for name in _JSON}


def _run(row: dict[str, Any]) -> Run:
    fields = {name: value for name, value in row.items() if name in Run.__struct_fields__}
    return msgspec.convert(fields | {name: json.loads(row[name]) for name in _JSON}, Run, dec_hook=decode)


def _stream_row(number: int, seen: StreamObservation) -> tuple[object, ...]:
    row: list[object] = [number, *(getattr(seen, name) for name in _FIELDS)]
    row[_LABELS_PLACE] = json.dumps(seen.labels, sort_keys=True) if seen.labels else "{}"
    row[_OUTCOME_PLACE] = seen.outcome.value
    return tuple(row)


_LABELS_PLACE = 1 + _FIELDS.index("labels")
_OUTCOME_PLACE = 1 + _FIELDS.index("outcome")


def _streams(rows: list[tuple[Any, ...]]) -> Streams:
    ids, blobs, *columns = zip(*rows, strict=True)
    texts, numbers = columns[: len(_TEXTS)], columns[len(_TEXTS) :]
    text = {name: list(column) for name, column in zip(_TEXTS, texts, strict=True)}
    number = {name: np.array(column, np.float64) for name, column in zip(_NUMBERS, numbers, strict=True)}
    text["answer"] = [said or "streamed" for said in text["answer"]]
    cached = number["cache_read_tokens"]
    text["cache"] = np.select([cached > 0, cached == 0], ["hit", "miss"], "").tolist()
    return Streams(np.array(ids, np.int64), text, number, list(blobs))
