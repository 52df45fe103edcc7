"""An open load in Locust: the scenario's users serve arrivals, and every process has its share of the schedule.

`OpenLoad` is the keeper's side: it says when the schedule begins, and who serves which part of it. `turnstile` is the
side of a process that drives users.
"""

import logging
from collections.abc import Sequence
from itertools import islice
from random import Random
from typing import Any

import msgspec
from locust.env import Environment

from streamgauge.harness.config.schema import Load
from streamgauge.harness.drive import schedule
from streamgauge.harness.drive.shapes import Planned
from streamgauge.harness.drive.turnstile import Turnstile
from streamgauge.harness.drive.users import StreamUser, assigned
from streamgauge.harness.errors import ScenarioError

_LEAD = 500_000_000  # ns that a schedule begins after all users are there: by then every worker has heard of it
_GRACE = 100_000_000  # ns after the last arrival was due: by then it has begun
_ENOUGH = 30  # seconds that a person may be busy with an arrival, before there are too few of them
_FEWEST, _MOST = 100, 3_000  # people, where nobody says how many


class OpenLoad:
    """The load of a run whose streams are due on a schedule; without one (`name` is None), a closed load."""

    def __init__(self, given: Load, environment: Environment, total: float) -> None:
        """`total`: seconds that no stream outlasts. ScenarioError for what is no load, or not one for this scenario."""
        options = environment.parsed_options
        if isinstance(environment.shape_class, Planned):
            environment.shape_class.check()
        if options.gauge_arrivals is not None:
            given = Load(arrivals=options.gauge_arrivals, rate=options.gauge_rate)
        elif options.gauge_rate is not None:
            given = Load(arrivals=given.arrivals, rate=options.gauge_rate)
        found = schedule.find(given)
        self.name = None if found is None else found.name
        self.ends_at: int | None = None  # when its last arrival has come, ns on the run's clock; None: never
        self._given = given
        self._lasts: int | None = None  # ns from its first moment to its last
        self._begins_at: int | None = None  # ns on the run's clock; None: nobody knows yet
        self._shares: dict[str, tuple[int, int]] = {}  # of each process: which of how many
        if found is None:
            return
        if environment.shape_class is not None:
            raise ScenarioError(
                f"load.arrivals says when streams are due, and the scenario's shape, "
                f"{type(environment.shape_class).__name__}, how many people ask: a run has one of the two"
            )
        if not _people(environment):
            raise ScenarioError("load.arrivals: there is nobody to serve them: every user class has a fixed_count")
        if options.num_users is None:
            options.num_users = round(min(max(found.rate * _ENOUGH, _FEWEST), _MOST))
        if options.spawn_rate is None:
            options.spawn_rate = options.num_users
            # Locust warns of so many at once. But these only wait for arrivals.
            logging.getLogger("locust.runners").addFilter(lambda record: "spawn rate is very high" not in record.msg)
        self._lasts = None if found.last is None else round(found.last * 1e9)
        if self._lasts is not None and options.run_time is None:
            environment.stop_timeout = environment.stop_timeout or total  # the last ones may finish

    def divide(self, nodes: Sequence[str]) -> None:
        """Give each of these processes its share of a schedule that has not begun."""
        self._begins_at = self.ends_at = None
        self._shares = {node: (place, len(nodes)) for place, node in enumerate(nodes)}

    def begin(self, now: int) -> bool:
        """Everybody is there at `now`, ns on the run's clock. False where none begins by that."""
        if self.name is None or self._begins_at is not None:
            return False
        self._begins_at = now + _LEAD
        self.ends_at = None if self._lasts is None else self._begins_at + self._lasts + _GRACE
        return True

    def order(self, node: str) -> dict[str, Any]:
        """What a process must know of it. One that was not there in the beginning has no share."""
        return {
            "load": msgspec.json.encode(self._given),
            "name": self.name,
            "begins_at": self._begins_at,
            "share": self._shares.get(node),
        }


def turnstile(environment: Environment, order: dict[str, Any], seed: int) -> Turnstile | None:
    """What lets in this process's share, every so-manieth arrival; None for a closed load. `order` as OpenLoad's.

    ScenarioError where a file of times is not the one that the keeper of the run has.
    """
    found = schedule.find(msgspec.json.decode(order["load"], type=Load))
    if found is None:
        return None
    if found.name != order["name"]:
        raise ScenarioError(f"load.arrivals: the file here is {found.name}, that of the master {order['name']}")
    times = enumerate(found.times(Random(f"{seed}/arrivals")))
    mine = islice(times, order["share"][0], None, order["share"][1]) if order["share"] else ()
    return Turnstile(
        ((number, round(at * 1e9)) for number, at in mine),
        seed,
        weights={user.__name__: user.weight for user in _people(environment)},
        most=lambda: environment.runner.target_user_count,
        # Locust shares classes out among its workers as it comes, and one may have none of a class.
        fetch=lambda kind: environment.user_classes_by_name[kind](environment).start(environment.runner.user_greenlets),
    )


def let_in(environment: Environment, order: dict[str, Any]) -> None:
    """Open the turnstile of this process for when the schedule begins, if its keeper knows that already."""
    run = assigned(environment)
    if run is not None and run.turnstile is not None and order["begins_at"] is not None:
        run.turnstile.open(run.site.clock.origin + order["begins_at"])


def close(environment: Environment, **_: Any) -> None:
    """The run is about to end: let nobody in any more."""
    run = assigned(environment)
    if run is not None and run.turnstile is not None:
        run.turnstile.close()


def _people(environment: Environment) -> list[type[StreamUser]]:
    """Who serves arrivals."""
    return [user for user in environment.user_classes if issubclass(user, StreamUser) and user.takes_arrivals()]
