"""The rows of the database as values: runs, accepted runs, failures and vitals. Streams are in `streams`. Pure."""

import itertools
import json
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple, cast, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.config import checks
from streamgauge.harness.config.monitor_checks import PROBES_ARRIVE, TARGET
from streamgauge.harness.config.schema import Prices, Reader, Sla
from streamgauge.harness.judge.store.checked import LONGEST_TEXT, Row, are_only, shown
from streamgauge.harness.record.failure import Failure
from streamgauge.harness.record.observation import FAILURES, StreamObservation

# aborted: a rule with `abort` was missed, the first streams all failed alike, or the budget was spent
RunStatus = Literal["running", "finished", "interrupted", "aborted"]

VitalRow = tuple[str, int, str, float]  # worker, ns on the run's clock, name of the vital, value


class Run(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    scenario: str
    host: str
    started_at: str  # ISO 8601, UTC
    realtime_ns: int  # CLOCK_REALTIME at the run's zero
    ended_ns: int | None = None  # on the run's clock; None while it runs, and if it was killed
    # The end of the warm-up, ns on the run's clock: streams that were due before are in no figure. None: no warm-up.
    measured_from: int | None = None
    status: RunStatus = "running"
    config: dict[str, Any] = {}  # without secrets
    rules: list[Sla] = []  # as they were written, or as their preset has them
    fingerprint: dict[str, Any] = {}  # what must be equal for two runs to be comparable
    labels: dict[str, str] = {}
    instrument: dict[str, Any] = {}  # stamps, versions, platform, processes, clock_drift_ns, …
    notes: list[str] = []  # problems of the run itself, a sentence each; any note makes the run DEGRADED

    @property
    def probes(self) -> str | None:
        """The name of the target whose probes its streams are; None: no monitor made it."""
        load = self.fingerprint.get("load")
        arrivals = load.get("arrivals") if isinstance(load, dict) else None
        return self.labels.get(TARGET) if str(arrivals).startswith(PROBES_ARRIVE) else None


class VitalSeries(NamedTuple):
    """All samples of one vital of a run, in order of time."""

    worker: list[str]
    at: NDArray[np.float64]  # ns on the run's clock
    value: NDArray[np.float64]


class Accepted(NamedTuple):
    """A run of a baseline."""

    run: str
    at: str  # ISO 8601, UTC: when it was accepted
    document: dict[str, Any] | None  # an imported run as in the baseline file; None: the run is in this database
    forced: str | None = None  # why it was accepted although it is unfit; None: it was not


_JSON = ("config", "rules", "fingerprint", "labels", "instrument", "notes")  # columns of `runs` that hold JSON


def row_of_run(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.structs.asdict(run)
    return row | {name: msgspec.json.encode(row[name], enc_hook=str).decode() for name in _JSON}


class _Facts(msgspec.Struct):
    """What `Run.instrument` says of one process, as far as figures are computed with it."""

    host: str | None = None
    pid: int | None = None
    streams: int = 0
    cpu_max: float | None = None
    loop_lag_max_ms: float | None = None
    gc_pause_max_ms: float | None = None
    clock_drift_ns: float | None = None
    clock_offset_ns: float | None = None
    clock_doubt_ns: float | None = None
    connect_lag_max_ms: float | None = None
    resolution: str | None = None


class _Instrument(msgspec.Struct):
    """The parts of `Run.instrument` that are read later."""

    clock_drift_ns: float | None = None
    workers: dict[str, _Facts] = {}
    streams: int | None = None
    load_missing: float | None = None
    resolution: str | None = None
    mistakes: list[str] | None = None
    faults: list[str] | None = None
    unsaved: str | None = None
    aborted: str | None = None


class _Config(msgspec.Struct):
    """The parts of `Run.config` that are read later."""

    reader: Reader = Reader()
    prices: Prices | None = None


def run_of_row(row: Row) -> Run:
    """RowFault for a row that this program did not write."""
    config, instrument = row.json("config", dict[str, Any]), row.json("instrument", dict[str, Any])
    row.fits("instrument", instrument, _Instrument)
    read_later = row.fits("config", config, _Config)
    for fault in (*checks.of_reader(read_later.reader), *checks.of_prices(read_later.prices)):
        row.fail("config", fault)
    if (row.whole_or_none("measured_from") or 0) < 0:
        row.fail("measured_from", "a warm-up cannot end before the run begins")
    return Run(
        id=row.text("id"),
        scenario=row.text("scenario"),
        host=row.text("host"),
        started_at=row.moment("started_at"),
        realtime_ns=row.whole("realtime_ns"),
        ended_ns=row.whole_or_none("ended_ns"),
        measured_from=row.whole_or_none("measured_from"),
        status=cast("RunStatus", row.one_of("status", get_args(RunStatus))),
        config=config,
        rules=row.json("rules", list[Sla]),
        fingerprint=row.json("fingerprint", dict[str, Any]),
        labels=row.json("labels", dict[str, str]),
        instrument=instrument,
        notes=row.json("notes", list[str]),
    )


_FIELDS = StreamObservation.__struct_fields__
# Places in a row, after the run.
_LABELS, _OUTCOME, _ODDITIES = (1 + _FIELDS.index(name) for name in ("labels", "outcome", "oddities"))
INSERT_STREAM = f"INSERT INTO streams (run, {', '.join(_FIELDS)}) VALUES (?{', ?' * len(_FIELDS)})"  # noqa: S608 - our own names


def row_of_stream(run: int, seen: StreamObservation) -> tuple[object, ...]:
    """For INSERT_STREAM."""
    row: list[object] = [run, *(getattr(seen, name) for name in _FIELDS)]
    row[_LABELS] = json.dumps(seen.labels, sort_keys=True) if seen.labels else "{}"
    row[_OUTCOME] = seen.outcome.value
    row[_ODDITIES] = json.dumps(seen.oddities, sort_keys=True) if seen.oddities else None
    return tuple(row)


def columns_of_stream(seen: StreamObservation) -> dict[str, object]:
    """The same row, by column."""
    return dict(zip(("run", *_FIELDS), row_of_stream(0, seen), strict=True))


def accepted_of_row(row: Row) -> Accepted:
    """RowFault for a row that this program did not write."""
    document = None if row.value("document") is None else row.json("document", dict[str, Any])
    forced = None if row.value("forced") is None else row.text("forced")
    return Accepted(row.text("run"), row.moment("at"), document, forced)


def failures_of(
    query: Callable[[str, tuple[int]], Iterable[dict[str, Any]]], run: int, measured: str, most: int
) -> list[Failure]:
    """How streams of this run failed, the most frequent first; `measured`: our own condition. RowFault."""
    outcomes = ", ".join(f"'{outcome.value}'" for outcome in FAILURES)
    # +: in the order of the table. By the index of runs, SQLite would look up every row on its own.
    rows = query(
        "SELECT min(id) AS id, outcome, http_status, detail, count(*) AS n FROM streams "  # noqa: S608 - our own condition
        "WHERE +run = ?1 AND id BETWEEN (SELECT min(id) FROM streams WHERE run = ?1) "
        f"AND (SELECT max(id) FROM streams WHERE run = ?1) AND outcome IN ({outcomes}) AND {measured} "
        "GROUP BY outcome, http_status, detail ORDER BY n DESC, outcome, detail",
        (run,),
    )
    return [failure_of_row(Row("streams", row["id"], row)) for row in itertools.islice(rows, most)]


def failure_of_row(row: Row) -> Failure:
    """RowFault for a row that this program did not write."""
    detail = "" if row.value("detail") is None else row.text("detail")
    return Failure(row.text("outcome"), row.whole_or_none("http_status"), detail, row.whole("n"))


_TEXTS = ("worker", "stop_reason", "request_id", "address", "replica")  # texts that no batch of `streams` has


def texts_of(
    execute: Callable[[str, list[str]], Iterable[tuple[Any, ...]]], columns: Collection[str], ids: Sequence[int]
) -> dict[str, list[str]]:
    """These texts of these streams, "" for what is missing. RowFault as for the other rows.

    `columns` are those of the table: a read-only file of an older version lacks some.
    """
    names = ", ".join(name if name in columns else "NULL" for name in _TEXTS)
    select = f"SELECT id, {names} FROM streams WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - our own names
    rows = [*execute(select, [json.dumps([*ids])])]
    numbers, *texts = zip(*rows, strict=True) if rows else ((), *(() for _ in _TEXTS))
    for name, column in zip(_TEXTS, texts, strict=True):
        if not are_only(column, str, type(None)) or max(map(len, filter(None, column)), default=0) > LONGEST_TEXT:
            _name_fault(name, numbers, column)
    if numbers != (*ids,):  # some are missing, or they are not sorted
        found, nothing = {number: row for number, *row in rows}, ("",) * len(_TEXTS)
        texts = [*zip(*(found.get(each, nothing) for each in ids), strict=True)]
    return {name: [text or "" for text in column] for name, column in zip(_TEXTS, texts, strict=True)}


def _name_fault(name: str, numbers: Iterable[int], column: Iterable[Any]) -> None:
    """RowFault for the first value that is no text."""
    for number, value in zip(numbers, column, strict=True):
        if value is not None:
            Row("streams", number, {name: value}).text(name)


def vital_of_rows(rows: Sequence[tuple[Any, ...]]) -> VitalSeries:
    """Rows of (rowid, worker, at, value). RowFault for a row that this program did not write."""
    for number, worker, at, value in rows:
        row = Row("samples", number, {"worker": worker, "at_ns": at, "value": value})
        row.text("worker")
        row.whole("at_ns")
        if type(value) not in {int, float} or not math.isfinite(value):
            row.fail("value", f"{shown(value)} is no finite number")
    return VitalSeries(
        [row[1] for row in rows],
        np.array([row[2] for row in rows], np.float64),
        np.array([row[3] for row in rows], np.float64),
    )


def row_of_accepted(baseline: str, accepted: Accepted) -> tuple[object, ...]:
    document = None if accepted.document is None else json.dumps(accepted.document)
    return (baseline, accepted.run, accepted.at, document, accepted.forced)
