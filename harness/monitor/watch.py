"""Begins and ends incidents as probes come in and minutes pass. The time is handed in; nothing here reads a clock.

Burn rates are evaluated at the end of each minute, and each minute once: what happens does not depend on when, or how
often, the monitor was restarted. The plain rule, so many bad probes in a row, is evaluated at each probe. What no probe
has shown changes nothing: an incident does not end because the probes stopped.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any

from streamgauge.harness.counting import some
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.monitor import incidents
from streamgauge.harness.monitor.alerts.message import Alert, Severity
from streamgauge.harness.monitor.burn import DAY, FEWEST_BAD, HOUR, LONGEST, burning
from streamgauge.harness.monitor.incidents import Firing
from streamgauge.harness.monitor.ledger import WORST, Ledger, Seen, Track
from streamgauge.harness.monitor.levels import Group, Level
from streamgauge.harness.monitor.series import MINUTE, Series

_SEVERITIES: tuple[Severity, ...] = ("page", "ticket")
_LONGEST_SUMMARY = 400  # characters


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a watch is given besides its level and probes."""

    monitor: str  # the database's own id, a part of the keys of its incidents
    put: Callable[[Alert], object]  # queues an alert, in the transaction of its incident
    in_maintenance: Callable[[str, float], bool]  # of a target, at a moment
    link: Callable[[Firing], str | None] = lambda _: None  # to the page with its streams


@dataclass(frozen=True, slots=True)
class _State:
    """How one group of a level is at one moment."""

    firing: bool | None  # None: unknown
    bad: tuple[str, ...] = ()  # the targets that make it fire
    since: float = 0.0  # from when on bad probes are its evidence
    figures: dict[str, Any] | None = None
    sentence: str = ""


class Watch:
    def __init__(
        self, connection: Connection, levels: Sequence[Level], around: Surroundings, evaluated: int, now: float
    ) -> None:
        """`evaluated`: the last minute that was evaluated. Ends incidents of what the config has no more."""
        self.evaluated = evaluated
        self._connection = connection
        self._levels = levels
        self._around = around
        self._alerts: list[Alert] = []
        self._ledger = Ledger(connection, levels)
        firings, self.damaged = incidents.open_ones(connection)
        self._open = {(each.slo, each.group, each.severity): each for each in firings}
        known = {(level.name, group.name, severity) for level in levels for group in level.groups
                 for severity in _severities(level)}  # fmt: skip
        gone_ones = [each for place, each in self._open.items() if place not in known]
        for gone in sorted(gone_ones, key=lambda each: each.severity == "page"):
            self._end(gone, now, gone.budget_left, (), "is not watched any more")

    @property
    def open(self) -> list[Firing]:
        return list(self._open.values())

    def take(self, level: Level, target: str, seen: Seen, *, good: bool) -> None:
        """Count one probe of one level. Of each target, they come in the order in which they ended."""
        minute = max(int(seen.at // MINUTE), self.evaluated + 1)
        self._ledger.track(level.name, target).add(level, minute, seen, good=good)
        if level.failures is not None:
            for group in level.groups:
                if any(target in targets for targets in group.regions.values()):
                    self._settle(level, group, "page", self._plain(level, group, seen.at), seen.at)

    def advance(self, until: int) -> None:
        """Evaluate each minute up to this one: all of their probes have been taken."""
        by_burn = [
            (level, group, [track.series for track in self._tracks(level, group).values()])
            for level in self._levels
            if level.failures is None
            for group in level.groups
        ]
        for minute in range(self.evaluated + 1, until + 1):
            self.evaluated = minute
            for level, group, series in by_burn:
                if self._is_quiet(level, group) and all(_is_quiet(each, minute) for each in series):
                    continue
                states = [(severity, self._burning(level, group, severity, minute)) for severity in _SEVERITIES]
                # If both change in one minute, the page begins first and ends last: people who get pages are then not
                # told of the ticket, see `Outbox._tells`.
                for severity, state in states if states[0][1].firing else reversed(states):
                    self._settle(level, group, severity, state, (minute + 1) * MINUTE)

    def take_alerts(self) -> list[Alert]:
        """The alerts that have been queued since the last call."""
        alerts, self._alerts = self._alerts, []
        return alerts

    def save(self) -> None:
        self._ledger.save()

    def thin(self) -> None:
        self._ledger.thin(self.evaluated)

    def _is_quiet(self, level: Level, group: Group) -> bool:
        return not self._open or not any((level.name, group.name, each) in self._open for each in _SEVERITIES)

    def _tracks(self, level: Level, group: Group) -> dict[str, Track]:
        """By target."""
        return {target: self._ledger.track(level.name, target) for each in group.regions.values() for target in each}

    def _burning(self, level: Level, group: Group, severity: Severity, minute: int) -> _State:
        burns = {
            target: burning(severity, level.objective, level.window, partial(track.series.last, minute))
            for target, track in self._tracks(level, group).items()
        }
        firing = _of_regions(group, {target: burn.firing for target, burn in burns.items()})
        bad = tuple(target for target, burn in burns.items() if burn.firing)
        if not firing:
            return _State(firing)
        rate, pace, long = max((burn.fast for burn in burns.values() if burn.fast is not None), key=itemgetter(0))
        first = self._first_bad(level, bad, (minute + 1) * MINUTE - pace.short)
        figures = {"bad": long.bad, "of": long.total, "window_seconds": pace.long, "burn_rate": round(rate, 2), **first}
        sentence = (
            f"{long.bad:,} of {some(long.total, 'probe')} of the last {span(pace.long)} were bad, "
            f"{rate:.1f} times as many as the objective allows"
        )
        return _State(True, bad, (minute + 1) * MINUTE - pace.long, figures, sentence)

    def _plain(self, level: Level, group: Group, at: float) -> _State:
        tracks = self._tracks(level, group)
        firing = _of_regions(group, {target: _fails(track, level) for target, track in tracks.items()})
        if not firing:
            return _State(firing)
        bad = tuple(target for target, track in tracks.items() if track.failing)
        row = max(tracks[target].bad_in_a_row for target in bad)
        if row < (level.failures or 1):
            return _State(None)  # not over yet after a good probe, and nothing to begin a page with
        figures = {"bad_in_a_row": row, **self._first_bad(level, bad, 0.0, row)}
        return _State(True, bad, at - HOUR, figures, f"{some(row, 'bad probe')} in a row")

    def _settle(self, level: Level, group: Group, severity: Severity, state: _State, at: float) -> None:
        place = (level.name, group.name, severity)
        there = self._open.get(place)
        if state.firing and there is None:
            if not all(self._around.in_maintenance(target, at) for target in state.bad):
                self._open[place] = self._begin(level, group, severity, state, at)
        elif state.firing is False and there is not None:
            targets = [target for each in group.regions.values() for target in each]
            worst = self._worst(level, targets, there.began - (there.evidence.get("window_seconds") or HOUR))
            self._end(there, at, self._budget_left(level, targets, at), worst, "is well again")

    def _begin(self, level: Level, group: Group, severity: Severity, state: _State, at: float) -> Firing:
        number = incidents.next_number(self._connection)
        named = ", ".join(state.bad)
        if len(group.regions) > 1:
            bad = sum(any(target in state.bad for target in targets) for targets in group.regions.values())
            named = f"{bad} of {len(group.regions)} regions: {named}"
        budget = self._budget_left(level, state.bad, at)
        beside = self._beside(level.name, group.name, severity)
        firing = Firing(
            number=number,
            part_of=number if beside is None else beside.part_of,
            key=incidents.key(self._around.monitor, number, level.name, group.name, severity),
            slo=level.name,
            target=_short(named),
            group=group.name,
            severity=severity,
            objective=level.objective,
            began=at,
            ended=None,
            budget_left=budget,
            evidence={"good": level.good.text, "objective": level.objective, **(state.figures or {})},
            summary=_short(f"{level.name} of {named}: {state.sentence}"),
            worst=tuple(self._worst(level, state.bad, state.since)),
        )
        incidents.begin(self._connection, firing)
        self._put(firing)
        return firing

    def _beside(self, slo: str, group: str, severity: Severity) -> Firing | None:
        """What fires of the same place at the other severity."""
        (other,) = (each for each in _SEVERITIES if each != severity)
        return self._open.get((slo, group, other))

    def _end(self, there: Firing, at: float, budget: float, worst: Iterable[Seen], how: str) -> None:
        del self._open[there.slo, there.group, there.severity]
        named = f"{there.slo} of {there.target}"
        at_first = there.summary.removeprefix(f"{named}: ")
        lasted = span(max(at - there.began, 0))
        ended = replace(
            there,
            ended=max(at, there.began),
            budget_left=budget,
            summary=_short(f"{named} {how}, after {lasted}; at its beginning: {at_first}"),
            worst=tuple(worst) or there.worst,
        )
        incidents.end(self._connection, ended)
        self._put(ended)

    def _put(self, firing: Firing) -> None:
        beside = self._beside(firing.slo, firing.group, firing.severity)
        alert = Alert(
            key=firing.key,
            incident=f"{self._around.monitor}-{firing.part_of}",
            beside=None if beside is None else beside.severity,
            status="firing" if firing.ended is None else "resolved",
            slo=firing.slo,
            severity=firing.severity,
            target=firing.target,
            since=firing.began,
            until=firing.ended,
            budget_left=firing.budget_left,
            evidence={**firing.evidence, "worst": [seen._asdict() for seen in firing.worst]},
            summary=firing.summary,
            link=self._around.link(firing),
        )
        self._around.put(alert)
        self._alerts.append(alert)

    def _budget_left(self, level: Level, targets: Sequence[str], at: float) -> float:
        """Of the target that has least left."""
        minute = max(int(at // MINUTE), self.evaluated)
        tracks = (self._ledger.track(level.name, target).series for target in targets)
        return min(each.last(minute, level.window).budget_left(level.objective) for each in tracks)

    def _first_bad(self, level: Level, targets: Iterable[str], since: float, most: int | None = None) -> dict[str, Any]:
        """When it became bad: when the first bad probe of the short window, or of the latest `most`, ended."""
        seen = [each for target in targets for each in [*self._ledger.track(level.name, target).bad][-(most or 0) :]]
        at = [each.at for each in seen if each.at >= since]
        return {"first_bad_at": min(at)} if at else {}

    def _worst(self, level: Level, targets: Iterable[str], since: float) -> list[Seen]:
        found = [seen for target in targets for seen in self._ledger.track(level.name, target).worst(since)]
        return sorted(found, key=lambda seen: seen.badness, reverse=True)[:WORST]


def _is_quiet(series: Series, minute: int) -> bool:
    """Whether surely nothing fires, as in nearly all minutes."""
    return series.last(minute, LONGEST).bad < FEWEST_BAD


def _fails(track: Track, level: Level) -> bool | None:
    """None until there are enough good probes in a row: with another `good`, a track begins anew, without any."""
    return True if track.failing else None if track.good_in_a_row < level.successes else False


def _severities(level: Level) -> Iterator[Severity]:
    return iter(_SEVERITIES if level.failures is None else ("page",))


def _of_regions(group: Group, firing: dict[str, bool | None]) -> bool | None:
    """Whether enough regions are bad. A region is if one of its targets is."""
    bad = unknown = 0
    for targets in group.regions.values():
        states = [firing[target] for target in targets]
        bad += True in states
        unknown += None in states and True not in states
    if bad >= group.needed:
        return True
    return None if bad + unknown >= group.needed else False


def span(seconds: float) -> str:
    """`30 s`, `5 min`, `6 h`, `3 d`."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:,.0f} {name}" if seconds >= 1_000 * unit else f"{seconds / unit:.3g} {name}"
    return f"{seconds:.0f} s"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SUMMARY else text[: _LONGEST_SUMMARY - 1] + "…"
