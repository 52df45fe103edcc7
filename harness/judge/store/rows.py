"""The rows of the database as values: runs, accepted runs, failures and vitals. Streams are in `streams`. Pure."""

import json
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.config.duration import decode
from streamgauge.harness.config.schema import Sla
from streamgauge.harness.record.observation import StreamObservation

RunStatus = Literal["running", "finished", "interrupted", "aborted"]  # aborted: by a rule with `abort` that was missed

VitalRow = tuple[str, int, str, float]  # worker, ns on the run's clock, name of the vital, value


class Run(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    scenario: str
    host: str
    started_at: str  # ISO 8601, UTC
    realtime_ns: int  # CLOCK_REALTIME at the run's zero
    ended_ns: int | None = None  # on the run's clock; None while it runs, and if it was killed
    status: RunStatus = "running"
    config: dict[str, Any] = {}  # without secrets
    rules: list[Sla] = []  # as they were written
    fingerprint: dict[str, Any] = {}  # what must be equal for two runs to be comparable
    labels: dict[str, str] = {}
    instrument: dict[str, Any] = {}  # stamps, versions, platform, processes, clock_drift_ns, …
    notes: list[str] = []  # problems of the run itself, a sentence each; any note makes the run DEGRADED


class VitalSeries(NamedTuple):
    """All samples of one vital of a run, in order of time."""

    worker: list[str]
    at: NDArray[np.float64]  # ns on the run's clock
    value: NDArray[np.float64]


class Failure(NamedTuple):
    """One way in which streams failed, and how many did."""

    outcome: str
    http_status: int | None
    detail: str  # the message of the server or of the system: untrusted text
    n: int


class Accepted(NamedTuple):
    """A run of a baseline."""

    run: str
    at: str  # ISO 8601, UTC: when it was accepted
    document: dict[str, Any] | None  # an imported run as in the baseline file; None: the run is in this database


_JSON = ("config", "rules", "fingerprint", "labels", "instrument", "notes")  # columns of `runs` that hold JSON


def row_of_run(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.structs.asdict(run)
    return row | {name: msgspec.json.encode(row[name], enc_hook=str).decode() for name in _JSON}


def run_of_row(row: dict[str, Any]) -> Run:
    fields = {name: value for name, value in row.items() if name in Run.__struct_fields__}
    return msgspec.convert(fields | {name: json.loads(row[name]) for name in _JSON}, Run, dec_hook=decode)


_FIELDS = StreamObservation.__struct_fields__
_LABELS, _OUTCOME = 1 + _FIELDS.index("labels"), 1 + _FIELDS.index("outcome")  # places in a row, after the run
INSERT_STREAM = f"INSERT INTO streams (run, {', '.join(_FIELDS)}) VALUES (?{', ?' * len(_FIELDS)})"  # noqa: S608 - our own names


def row_of_stream(run: int, seen: StreamObservation) -> tuple[object, ...]:
    """For INSERT_STREAM."""
    row: list[object] = [run, *(getattr(seen, name) for name in _FIELDS)]
    row[_LABELS] = json.dumps(seen.labels, sort_keys=True) if seen.labels else "{}"
    row[_OUTCOME] = seen.outcome.value
    return tuple(row)


def accepted_of_row(run: str, at: str, document: str | None) -> Accepted:
    return Accepted(run, at, None if document is None else json.loads(document))


def row_of_accepted(baseline: str, accepted: Accepted) -> tuple[object, ...]:
    document = None if accepted.document is None else json.dumps(accepted.document)
    return (baseline, accepted.run, accepted.at, document)
