"""The load that a run is asked for, as far as it can be compared with the load that runs."""

from collections import deque
from typing import Any

import gevent
import msgspec
from locust.env import Environment

from streamgauge.harness.counting import some
from streamgauge.harness.judge.verdict.less_load import Asked
from streamgauge.harness.run.open_load import OpenLoad

_EVERY = 1.0  # seconds between two looks at a shape
_HELD = 4  # looks: a shape asks for a number of users if it wants them for so long, and not only in passing


class AskedLoad:
    """Of one run."""

    def __init__(self, environment: Environment, load: OpenLoad) -> None:
        self._environment = environment
        self._load = load
        self._of_shape = 0  # the most users that the shape wanted for a while

    def watch_shape(self) -> None:
        """Follow what a load shape asks for. Returns at once if there is none, otherwise never."""
        looks: deque[int] = deque(maxlen=_HELD)
        while self._environment.shape_class is not None:
            gevent.sleep(_EVERY)
            looks.append(self._environment.runner.target_user_count)
            if len(looks) == _HELD:
                self._of_shape = max(self._of_shape, min(looks))

    def facts(self, schedule_began: float | None) -> dict[str, Any]:
        """For the run's record; `schedule_began`: seconds into the run.

        Empty for a run that is started and ended in the web UI, where a person decides both.
        """
        options = self._environment.parsed_options
        if not options.headless:
            return {}
        if self._environment.shape_class is not None:
            return {"asked": msgspec.to_builtins(Asked(users=self._of_shape))}
        is_open = self._load.name is not None
        if is_open and schedule_began is None:
            schedule_began = options.run_time
        asked = Asked(
            users=self._most(options.num_users or 1),
            spawn_rate=None if is_open else float(options.spawn_rate or 1),
            seconds=options.run_time if self._load.lasts is None else None,
            schedule_began=schedule_began,
        )
        return {"asked": msgspec.to_builtins(asked)}

    def advice(self) -> str:
        """What to change if not all users can be there before the run ends; "" if they can."""
        options = self._environment.parsed_options
        users, rate = options.num_users or 1, options.spawn_rate or 1
        if not options.headless or self._environment.shape_class is not None or self._load.name is not None:
            return ""
        if not options.run_time or self._most(users) / rate <= options.run_time:
            return ""
        return (
            f"at {rate:g} started per second, {some(users, 'user is', 'users are')} there only after "
            f"{users / rate:,.0f} s, and the run takes {options.run_time:,} s: it will be invalid; raise --spawn-rate"
        )

    def _most(self, users: int) -> int:
        """So many of these users as the classes allow: Locust starts no more than their fixed counts."""
        counts = [user.fixed_count for user in self._environment.user_classes]
        return min(users, sum(counts)) if all(counts) else users
