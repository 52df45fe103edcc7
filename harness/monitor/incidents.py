"""Incidents as rows: when each began and ended, of which service level and target, and its worst streams."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streamgauge.harness.errors import DamagedRow
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.monitor.alerts.message import Severity
from streamgauge.harness.monitor.ledger import WORST, Seen

_COLUMNS = "id, key, slo, target, grouped_as, severity, objective, began, ended, budget_left, evidence, summary"
_NO_SLUG = re.compile(r"[^A-Za-z0-9._]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    number: int  # its row's id
    key: str  # of its alerts; see alerts.message
    slo: str
    target: str  # the name of a target, or of several, as of its beginning
    group: str  # the target's name, or "regions": what it is open for
    severity: Severity
    objective: float
    began: float  # seconds since 1970
    ended: float | None
    budget_left: float  # at its beginning; once it has ended, at its end
    evidence: Mapping[str, Any]
    summary: str
    worst: tuple[Seen, ...] = field(default=())


def key(monitor: str, number: int, slo: str, group: str, severity: str) -> str:
    """`first-token/staging-eu/page/4f0a1c-12`: no other incident of any monitor has it."""
    return f"{_slug(slo)}/{_slug(group)}/{severity}/{monitor}-{number}"


def begin(connection: Connection, incident: Incident) -> None:
    connection.execute(f"INSERT INTO incidents ({_COLUMNS}) VALUES (?{', ?' * 11})", _row(incident))  # noqa: S608 - our own names
    _keep_worst(connection, incident)


def end(connection: Connection, incident: Incident) -> None:
    connection.execute(
        "UPDATE incidents SET ended = ?, budget_left = ?, evidence = ?, summary = ? WHERE id = ?",
        (incident.ended, incident.budget_left, _json(incident.evidence), incident.summary, incident.number),
    )
    _keep_worst(connection, incident)


def next_number(connection: Connection) -> int:
    """Never one that an incident had, even if it was deleted: its key would be the same."""
    (number,) = connection.execute(
        "INSERT INTO monitor_state VALUES ('incidents', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 "
        "RETURNING value"
    ).fetchone()
    return int(number)


def open_ones(connection: Connection) -> list[Incident]:
    return _read(connection, "WHERE ended IS NULL ORDER BY id", ())


def newest(connection: Connection, most: int) -> list[Incident]:
    """The newest first."""
    return _read(connection, "ORDER BY began DESC, id DESC LIMIT ?", (most,))


def _read(connection: Connection, which: str, parameters: tuple[Any, ...]) -> list[Incident]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM incidents {which}", parameters).fetchall()  # noqa: S608 - our own names
    try:
        return [msgspec.convert(_values(connection, row), Incident) for row in rows]
    except msgspec.MsgspecError as fault:
        raise DamagedRow(f"incidents: a row that no version of this program wrote: {str(fault)[:200]}") from None


def _values(connection: Connection, row: tuple[Any, ...]) -> dict[str, Any]:
    """Unchecked: the file may come from somebody else."""
    number, name, slo, target, group, severity, objective, began, ended, budget_left, evidence, summary = row
    worst = connection.execute(
        "SELECT stream, run, at, outcome, ttft_ms FROM incident_streams WHERE incident = ? ORDER BY place LIMIT ?",
        [number, WORST],
    )
    return {
        "number": number,
        "key": name,
        "slo": slo,
        "target": target,
        "group": group,
        "severity": severity,
        "objective": objective,
        "began": began,
        "ended": ended,
        "budget_left": budget_left,
        "evidence": msgspec.json.decode(evidence if isinstance(evidence, str) else ""),
        "summary": summary,
        "worst": worst.fetchall(),
    }


def _row(incident: Incident) -> tuple[Any, ...]:
    return (
        incident.number,
        incident.key,
        incident.slo,
        incident.target,
        incident.group,
        incident.severity,
        incident.objective,
        incident.began,
        incident.ended,
        incident.budget_left,
        _json(incident.evidence),
        incident.summary,
    )


def _keep_worst(connection: Connection, incident: Incident) -> None:
    connection.execute("DELETE FROM incident_streams WHERE incident = ?", [incident.number])
    rows: Iterable[tuple[Any, ...]] = ((incident.number, place, *seen) for place, seen in enumerate(incident.worst))
    connection.executemany("INSERT INTO incident_streams VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _slug(name: str) -> str:
    return _NO_SLUG.sub("-", name).strip("-")[:60] or "-"
