"""An open load in Locust: a schedule says when streams are due, and the scenario's users serve these arrivals.

In the process that records the run, `OpenLoad` is the load that was asked for, and `Sharing` divides the arrivals of
one run among the processes. In each process that simulates users, a `Dispatcher` hands out its share.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

import msgspec
from locust.env import Environment

from streamgauge.harness.config.schema import Load
from streamgauge.harness.drive import schedule
from streamgauge.harness.drive.dispatcher import Dispatcher
from streamgauge.harness.drive.schedule import Schedule
from streamgauge.harness.drive.shapes import Planned
from streamgauge.harness.drive.users import StreamUser, assigned
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.run.messages import LoadShare, StartRun
from streamgauge.harness.run.pace import pace_of

_LEAD = 500_000_000  # ns between the last spawn and the schedule's start; every worker has its message by then
_GRACE = 100_000_000  # ns that the run goes on after the last arrival is due, so that its stream begins
_BUSY = 30  # seconds that one arrival keeps a user busy: the default number of users suffices up to this
_FEWEST, _MOST = 100, 3_000  # bounds of the default number of users


@dataclass(frozen=True, slots=True)
class OpenLoad:
    given: Load
    name: str | None  # of the schedule, for the fingerprint; None: a closed load, without a schedule
    lasts: int | None = None  # ns from the first arrival to the last; None: the schedule is endless


def open_load(given: Load, environment: Environment, total: float) -> OpenLoad:
    """The load that the config and the options ask for. For an open load, also fills in Locust's own options.

    `total`: the total timeout of a stream, seconds. ScenarioError for an invalid load, or one that does not fit the
    scenario.
    """
    options = environment.parsed_options
    if isinstance(environment.shape_class, Planned):
        environment.shape_class.check()
    given = given_load(given, options)
    found = schedule.find(given)
    if found is None:
        return OpenLoad(given, None)
    _check(environment)
    _spawn_at_once(found, options)
    lasts = None if found.last is None else round(found.last * 1e9)
    if lasts is not None and options.run_time is None:
        environment.stop_timeout = environment.stop_timeout or total  # lets the last streams finish
    return OpenLoad(given, found.name, lasts)


def given_load(given: Load, options: Any) -> Load:
    """The config's load with what the options say in its place."""
    if options.gauge_arrivals is not None:
        return msgspec.structs.replace(given, arrivals=options.gauge_arrivals, rate=options.gauge_rate)
    if options.gauge_rate is not None:
        return msgspec.structs.replace(given, rate=options.gauge_rate)
    return given


def default_users(found: Schedule) -> int:
    """How many users serve the arrivals if nobody says it."""
    return round(min(max(found.rate * _BUSY, _FEWEST), _MOST))


def _check(environment: Environment) -> None:
    if environment.shape_class is not None:
        shape = type(environment.shape_class).__name__
        raise ScenarioError(
            f"load.arrivals sets when streams are due, and the scenario's shape {shape} "
            "sets how many users run: a run can have only one of them; remove the other"
        )
    if not _servers_of_arrivals(environment):
        raise ScenarioError("load.arrivals: there is nobody to serve them: every user class has a fixed_count")


def _spawn_at_once(found: Schedule, options: Any) -> None:
    if options.num_users is None:
        options.num_users = default_users(found)
    if options.spawn_rate is None:
        options.spawn_rate = options.num_users
        # Locust warns about such a spawn rate. Here it is harmless: these users send nothing when they are spawned.
        logging.getLogger("locust.runners").addFilter(lambda record: "spawn rate is very high" not in record.msg)


class Sharing:
    """Divides the arrivals of one run among the processes that took part when it started."""

    def __init__(self, load: OpenLoad, nodes: Sequence[str]) -> None:
        self._load = load
        self._begins_at: int | None = None  # ns on the run's clock; None until all users have been spawned
        self._places = {node: (place, len(nodes)) for place, node in enumerate(nodes)}

    def begin(self, now: int) -> bool:
        """Call it when all users have been spawned. Returns whether a schedule begins. `now`: ns on the run's clock."""
        if self._load.name is None or self._begins_at is not None:
            return False
        self._begins_at = now + _LEAD
        return True

    @property
    def ends_at(self) -> int | None:
        """When the run ends by itself, ns on the run's clock. None: the schedule has not begun, or is endless."""
        if self._begins_at is None or self._load.lasts is None:
            return None
        return self._begins_at + self._load.lasts + _GRACE

    @property
    def began(self) -> float | None:
        """When the schedule began, seconds into the run; None: it has not, or there is none."""
        return None if self._begins_at is None else self._begins_at / 1e9

    def of(self, node: str) -> LoadShare:
        return LoadShare(self._load.given, self._load.name, self._begins_at, self._places.get(node))


def dispatcher_of(environment: Environment, order: StartRun, clock: RunClock) -> Dispatcher | None:
    """The dispatcher of this process's share: one of every n arrivals, if n processes take part. None: a closed load.

    ScenarioError if the schedule is a file that differs from the master's.
    """
    load, seed = order.load, order.seed
    found = schedule.find(load.load)
    if found is None:
        return None
    if found.name != load.schedule:
        raise ScenarioError(f"load.arrivals: the file here is {found.name}, that of the master {load.schedule}")
    return Dispatcher(
        ((number, round(at * 1e9)) for number, at in _arrivals(environment, found, order, clock)),
        seed,
        weights={user.__name__: user.weight for user in _servers_of_arrivals(environment)},
        most=lambda: environment.runner.target_user_count,
        # Locust decides how many users of each class a worker gets, and that may be none: start one here.
        fetch=lambda kind: environment.user_classes_by_name[kind](environment).start(environment.runner.user_greenlets),
    )


def _arrivals(
    environment: Environment, found: Schedule, order: StartRun, clock: RunClock
) -> Iterable[tuple[int, float]]:
    pace = pace_of(environment)
    if pace is not None:
        return enumerate(pace.times(Random(f"{order.seed}/arrivals")))
    # Of probes, those count too that are due while this process is starting: each must be in the record.
    probes = environment.parsed_options.gauge_probe is not None
    return _mine(found, order.load.place, order.seed, (lambda: clock.realtime) if probes else time.time)


def _mine(
    found: Schedule, place: tuple[int, int] | None, seed: int, since: Callable[[], float]
) -> Iterable[tuple[int, float]]:
    """Number and time of each arrival of this process, which is `place[0]` of `place[1]`; None: it takes no part.

    The time is in seconds since the schedule began, or for a schedule with a period, since 1970.
    """
    if place is None:
        return ()
    if found.period is not None:
        slots = schedule.every(found.period, seed, since)
        return ((number, at) for number, at in slots if number % place[1] == place[0])
    return islice(enumerate(found.times(Random(f"{seed}/arrivals"))), place[0], None, place[1])


def open_dispatcher(environment: Environment, load: LoadShare) -> None:
    """Start this process's dispatcher if the time when the schedule begins is known."""
    run = assigned(environment)
    if run is not None and run.dispatcher is not None and load.begins_at is not None:
        clock = run.site.clock
        begins_at = clock.origin + load.begins_at
        found = schedule.find(load.load)
        if found is not None and found.period is not None:
            begins_at = -clock.offset  # CLOCK_MONOTONIC in 1970
        run.dispatcher.open(begins_at, clock.origin + (load.load.warm_up or 0))


def close(environment: Environment) -> None:
    """Hand out no more arrivals: the run is about to end."""
    run = assigned(environment)
    if run is not None and run.dispatcher is not None:
        run.dispatcher.close()


def _servers_of_arrivals(environment: Environment) -> list[type[StreamUser]]:
    return [user for user in environment.user_classes if issubclass(user, StreamUser) and user.takes_arrivals()]
