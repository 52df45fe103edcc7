"""Incidents as rows: when each began and ended, of which service level and target, and its worst streams.

A row is what fires at one severity. A page and a ticket of one service level and target that fire at the same time are
one incident; so is what begins to fire again while the other one goes on.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from streamgauge.harness.judge.store.connection import Connection, undecodable_as_bytes
from streamgauge.harness.monitor.alerts.message import Severity
from streamgauge.harness.monitor.ledger import WORST, Seen

_COLUMNS = (
    "id, key, slo, target, grouped_as, severity, objective, began, ended, budget_left, evidence, summary, part_of"
)
_YEAR_9999 = 253_370_764_800  # seconds since 1970
_NO_SLUG = re.compile(r"[^A-Za-z0-9._]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """What fires, or has fired, at one severity."""

    number: int  # its row's id
    part_of: int  # the incident: the number of its first firing
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


@dataclass(frozen=True, slots=True)
class Incident:
    """The firings about the same trouble."""

    firings: tuple[Firing, ...]  # at least one, in the order in which they began

    @property
    def main(self) -> Firing:
        """What to tell first: of those that go on, or else of all, a page, and the newest one."""
        return max(self.firings, key=lambda each: (each.ended is None, each.severity == "page", each.number))

    @property
    def number(self) -> int:
        return self.firings[0].part_of

    @property
    def severities(self) -> list[Severity]:
        """Each once, in the order in which they began."""
        return list(dict.fromkeys(each.severity for each in self.firings))

    @property
    def began(self) -> float:
        return self.firings[0].began

    @property
    def ended(self) -> float | None:
        ends = [each.ended for each in self.firings if each.ended is not None]
        return max(ends) if len(ends) == len(self.firings) else None

    @property
    def budget_left(self) -> float:
        """As of its latest news."""
        return max(self.firings, key=lambda each: each.began if each.ended is None else each.ended).budget_left

    @property
    def worst(self) -> list[Seen]:
        found = {seen.stream: seen for each in self.firings for seen in each.worst}
        return sorted(found.values(), key=lambda seen: seen.badness, reverse=True)[:WORST]


class Found(NamedTuple):
    incidents: list[Incident]
    damaged: list[str]  # a sentence for each row that no version of this program wrote; they are left out


def key(monitor: str, number: int, slo: str, group: str, severity: str) -> str:
    """`first-token/staging-eu/page/4f0a1c-12`: no other incident of any monitor has it."""
    return f"{_slug(slo)}/{_slug(group)}/{severity}/{monitor}-{number}"


def begin(connection: Connection, firing: Firing) -> None:
    connection.execute(f"INSERT INTO incidents ({_COLUMNS}) VALUES (?{', ?' * 12})", _row(firing))  # noqa: S608 - our own names
    _keep_worst(connection, firing)


def end(connection: Connection, firing: Firing) -> None:
    connection.execute(
        "UPDATE incidents SET ended = ?, budget_left = ?, evidence = ?, summary = ? WHERE id = ?",
        (firing.ended, firing.budget_left, _json(firing.evidence), firing.summary, firing.number),
    )
    _keep_worst(connection, firing)


def next_number(connection: Connection) -> int:
    """For a firing. Never one that another had, even if that was deleted: its key would be the same."""
    (number,) = connection.execute(
        "INSERT INTO monitor_state VALUES ('incidents', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 "
        "RETURNING value"
    ).fetchone()
    return int(number)


def open_ones(connection: Connection) -> tuple[list[Firing], list[str]]:
    """What fires, and a sentence for each row that is damaged."""
    return _read(connection, "WHERE ended IS NULL ORDER BY id", ())


def newest(connection: Connection, most: int) -> Found:
    """The newest first."""
    part_of = _part_of(connection)
    numbers = connection.execute(
        f"SELECT {part_of} FROM incidents GROUP BY 1 ORDER BY min(began) DESC, 1 DESC LIMIT ?",  # noqa: S608 - our own name
        [most],
    ).fetchall()
    found = Found([], [])
    for (number,) in numbers:
        firings, damaged = _read(connection, f"WHERE {part_of} IS ? ORDER BY began, id", (number,))
        if firings:
            found.incidents.append(Incident(tuple(firings)))
        found.damaged.extend(damaged)
    return found


def _part_of(connection: Connection) -> str:
    """The column, or for an older file that cannot be written, what stands in its place: each row is an incident."""
    names = [row[1] for row in connection.execute("PRAGMA table_info(incidents)")]
    return "part_of" if "part_of" in names else "id"


def _read(connection: Connection, which: str, parameters: tuple[Any, ...]) -> tuple[list[Firing], list[str]]:
    columns = _COLUMNS.replace("part_of", _part_of(connection))
    firings: list[Firing] = []
    damaged: list[str] = []
    with undecodable_as_bytes(connection):
        rows = connection.execute(f"SELECT {columns} FROM incidents {which}", parameters).fetchall()  # noqa: S608 - our own names
        for row in rows:
            try:
                firings.append(_checked(msgspec.convert(_values(connection, row), Firing)))
            except (msgspec.MsgspecError, ValueError) as fault:
                why = f"no version of this program wrote it: {str(fault)[:200]}"
                damaged.append(f"incidents, row {row[0]}, is damaged and left out: {why}")
    return firings, damaged


def _checked(firing: Firing) -> Firing:
    """ValueError for a moment that no calendar holds."""
    for moment in (firing.began, firing.ended or 0.0, *(seen.at for seen in firing.worst)):
        if not 0 <= moment < _YEAR_9999:
            raise ValueError(f"{moment:g} is no time in seconds since 1970")
    return firing


def _values(connection: Connection, row: tuple[Any, ...]) -> dict[str, Any]:
    """Unchecked: the file may come from somebody else."""
    number, name, slo, target, group, severity, objective, began, ended, budget_left, evidence, summary, part_of = row
    worst = connection.execute(
        "SELECT stream, run, at, outcome, ttft_ms FROM incident_streams WHERE incident = ? ORDER BY place LIMIT ?",
        [number, WORST],
    )
    return {
        "number": number,
        "part_of": part_of,
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


def _row(firing: Firing) -> tuple[Any, ...]:
    return (
        firing.number,
        firing.key,
        firing.slo,
        firing.target,
        firing.group,
        firing.severity,
        firing.objective,
        firing.began,
        firing.ended,
        firing.budget_left,
        _json(firing.evidence),
        firing.summary,
        firing.part_of,
    )


def _keep_worst(connection: Connection, firing: Firing) -> None:
    connection.execute("DELETE FROM incident_streams WHERE incident = ?", [firing.number])
    rows: Iterable[tuple[Any, ...]] = ((firing.number, place, *seen) for place, seen in enumerate(firing.worst))
    connection.executemany("INSERT INTO incident_streams VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _slug(name: str) -> str:
    return _NO_SLUG.sub("-", name).strip("-")[:60] or "-"
