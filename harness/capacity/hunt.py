"""The search for a capacity as the command does it: one run, and visits to its levels until the answer is known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from streamgauge.harness.capacity.driven import Work, driven
from streamgauge.harness.capacity.found import Found, GaveWay, Knee, Level, first_broken, told_per_second
from streamgauge.harness.capacity.guards import Ended, Guards
from streamgauge.harness.capacity.path import Order, Search
from streamgauge.harness.capacity.per_stream import Judging
from streamgauge.harness.capacity.rows import Rows
from streamgauge.harness.capacity.sequential import Outcome, Visit
from streamgauge.harness.capacity.streams import Limit
from streamgauge.harness.capacity.units import Unit
from streamgauge.harness.capacity.visiting import Looked, Visits
from streamgauge.harness.config.load import file_of
from streamgauge.harness.config.schema import Config
from streamgauge.harness.judge.measure.cost import cost_of, prices_of
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.judge.verdict.rules import parse_all

_MOST_SECONDS = 120.0  # of a visit, if its streams are as different as those of the visit before
_LONG = 240.0  # seconds after which a visit is undecided, unless the server is so slow that it has few streams
_PATIENCE = 30.0  # seconds after a stream's total timeout


class Watch(Protocol):
    """Who is told how the search goes on."""

    def visits(self, order: Order, search: Search) -> None:
        """A visit begins."""

    def looks(self, order: Order, visit: Visit) -> None:
        """More of its streams have ended."""

    def visited(self, level: Level, search: Search) -> None:
        """A visit is over."""


@dataclass(frozen=True, slots=True)
class Plan:
    config: Config
    most: int  # users
    first: int
    guards: Guards
    at_least: int | None = None
    ladder: Sequence[int] = ()  # the only levels, if there are any
    unit: Unit = Unit.USERS  # of the levels


class Hunt:
    def __init__(self, plan: Plan, visits: Visits, watch: Watch) -> None:
        self._plan = plan
        self._visits = visits
        self._watch = watch
        self.search = Search(
            visits.judging.limits,
            plan.most,
            plan.first,
            plan.at_least,
            plan.ladder,
            plan.unit.least,
            affords=self._affords,
        )
        self.levels: list[Level] = []
        self.stopped: str | None = None  # why it ended before the answer was known

    def go(self) -> None:
        """Until the answer is known, or something ends the search."""
        try:
            while (order := self.search.next()) is not None:
                self._visit(order)
        except Ended as why:
            self.stopped = str(why)
        except KeyboardInterrupt:
            self.stopped = "interrupted"

    def _visit(self, order: Order) -> None:
        self._watch.visits(order, self.search)
        limits = self.search.limits
        visit = Visit(self._visits.fewest(order), limits, order.rigour)
        among = order.among(limits)
        looked, outcome = self._looked(order, visit, among)
        silent = self._visits.judging.silent()
        for count in visit.counts():
            if not count.streams:
                silent = silent or f"no stream has a figure for {count.limit.rules[0]!r}, or each was left too early"
        if silent:
            raise Ended(f"nothing tells whether the rules are kept: {silent}")
        visited, level = self._visits.over(order, visit, outcome, looked)
        self.search.visits.append(visited)
        self.levels.append(level)
        self._watch.visited(level, self.search)

    def _affords(self, users: int) -> float:
        """So many effective streams as end in the time that a visit may take, if the server is as fast as before."""
        if not self.levels or not (rate := self.levels[-1].completions):
            return math.inf
        last = self.levels[-1]
        worth = last.effective / last.streams if last.streams else 1.0
        return rate * min(1.0, users / last.users) * worth * _MOST_SECONDS

    def _looked(self, order: Order, visit: Visit, among: Sequence[Limit]) -> tuple[Looked, Outcome]:
        for looked in self._visits.level(order):
            outcome = visit.after(looked.batch, among)
            self._watch.looks(order, visit)
            if looked.grows:
                return looked, Outcome.MISSED
            if outcome is not None:
                return looked, outcome
            if visit.is_blind or (visit.has_plenty and looked.seconds > _LONG):
                return looked, Outcome.UNDECIDED
        raise AssertionError("a level goes on for as long as it is looked at")


def hunt(work: Work, plan: Plan, watch: Watch) -> Found:
    """Search. Mistaken if the run could not begin."""
    config, database = plan.config, work.options["db"]
    judging = Judging(parse_all(config.sla, file_of(work.options["config"])), config.reader)
    with driven(work, plan.guards.streams) as run:
        run.begin()
        with Store.open(database) as store:
            patience = config.target.timeouts.total / 1e9 + _PATIENCE
            visits = Visits(store, run, Rows(store, run.run), judging, config.reader, plan.guards, patience, plan.unit)
            hunting = Hunt(plan, visits, watch)
            hunting.go()
            run.end(msgspec.to_builtins(_found(hunting, plan, store, run.run)))
            return _found(hunting, plan, store, run.run)


def _found(hunting: Hunt, plan: Plan, store: Store, run_id: str) -> Found:
    search, run = hunting.search, store.run(run_id)
    way = _gave_way(search)
    knee = None if way == "generator" else search.knee()
    measurements = Measurements(only=())
    for streams in store.streams(run_id):
        measurements.take(streams)
    totals = measurements.totals()
    cost = cost_of(totals, prices_of(run.config))
    found = Found(
        proven=search.proven,
        knee=None if knee is None else Knee(*(round(each, 2) for each in knee)),
        gave_way=way,
        rule=None,
        levels=hunting.levels,
        passed=search.passed,
        not_passed=search.not_passed,
        stopped=hunting.stopped if hunting.stopped != "" else _why_over(run),
        at_least=plan.at_least,
        most=plan.most,
        unit=plan.unit,
        run=run.id,
        host=run.host,
        scenario=run.scenario,
        streams=totals.streams,
        seconds=store.duration(run) / 1e9,
        cost=None if cost is None else cost.total,
        currency=None if cost is None else cost.currency,
    )
    broken = first_broken(found)
    return told_per_second(msgspec.structs.replace(found, rule=broken.rule if broken and way == "server" else None))


def _gave_way(search: Search) -> GaveWay | None:
    lowest = search.not_passed
    if lowest is None:
        return None
    visits = [visit for visit in search.visits if visit.users == lowest and visit.outcome is not Outcome.PASSED]
    return "generator" if visits and all(visit.generator for visit in visits) else "server"


def _why_over(run: Run) -> str:
    """Why the run ended by itself."""
    told = run.instrument.get("aborted") or next(iter(run.instrument.get("mistakes") or []), "")
    return str(told or "the run ended by itself")
