"""Load shapes: how many users there are at each moment. Pure functions, and the Locust classes that call them."""

from collections.abc import Sequence
from math import cos, inf, pi
from typing import ClassVar

from locust import LoadTestShape

from streamgauge.harness.drive.attributes import misspelt
from streamgauge.harness.errors import ScenarioError


def steps(at: float, users: Sequence[int], seconds: float) -> int | None:
    """The number of users `at` seconds into a staircase; None after its last step."""
    step = int(at // seconds)
    return users[step] if step < len(users) else None


def ramp(at: float, users: int, seconds: float, hold: float) -> int | None:
    """A linear rise to `users` over `seconds`, held for `hold` seconds; None after that."""
    if at >= seconds + hold:
        return None
    return max(1, round(users * min(1.0, at / seconds)))


def spike(at: float, users: tuple[int, int], seconds: tuple[float, float, float]) -> int | None:
    """A sudden peak. `users`: outside and during it; `seconds`: before, during and after it; None after that."""
    before, during, after = seconds
    if at >= before + during + after:
        return None
    return users[before <= at < before + during]


def wave(at: float, users: tuple[int, int], period: float, seconds: float) -> int | None:
    """A sine wave between the fewest and the most users, starting at the fewest; None after `seconds`."""
    fewest, most = users
    if at >= seconds:
        return None
    return round(fewest + (most - fewest) * (1 - cos(2 * pi * at / period)) / 2)


_SETTABLE = ("users", "seconds", "period", "hold", "planned", "tick")


class Planned(LoadTestShape):  # type: ignore[misc]  # locust ships no types
    """A shape that ends by itself or after `--run-time`, whichever comes first."""

    abstract = True
    at_once: ClassVar[bool] = False  # whether users who are let in together begin together, as a crowd does
    use_common_options = True  # without this, Locust warns that it ignores --run-time

    def check(self) -> None:
        """ScenarioError for a negative number of users, a duration that is not positive, or a misspelt attribute."""
        for fault in misspelt(type(self), self._base(), _SETTABLE):
            raise ScenarioError(fault)
        for name in ("users", "seconds", "period", "hold"):
            given = getattr(self, name, 1)
            numbers = given if isinstance(given, Sequence) else (given,)
            if not all(isinstance(number, int | float) and 0 <= number < inf for number in numbers):
                raise ScenarioError(f"{type(self).__name__}.{name}: {given!r} must hold numbers of 0 or more")
            if name in ("seconds", "period") and not any(numbers):
                raise ScenarioError(f"{type(self).__name__}.{name}: {given!r} is not a duration; write one above 0")

    def _base(self) -> type:
        """The shipped shape that the scenario's is made of."""
        return next(each for each in type(self).__mro__ if each.__module__ == __name__)

    def planned(self, at: float) -> int | None:
        """The number of users `at` seconds after the start; None after the end."""
        raise NotImplementedError

    def tick(self) -> tuple[int, float] | None:
        at, limit = self.get_run_time(), self.runner.environment.parsed_options.run_time
        users = None if limit and at >= limit else self.planned(at)
        return None if users is None else (users, max(1.0, users))  # spawn rate: each change takes one second


class Ramp(Planned):
    """A linear rise to `users` over `seconds`, then constant for `hold` seconds."""

    abstract = True
    users: ClassVar[int] = 100
    seconds: ClassVar[float] = 120
    hold: ClassVar[float] = 60

    def planned(self, at: float) -> int | None:
        return ramp(at, self.users, self.seconds, self.hold)


class Spike(Planned):
    """A constant number of users with a sudden peak, whose users begin together."""

    abstract = True
    at_once = True
    users: ClassVar[tuple[int, int]] = (10, 60)  # outside the peak, during the peak
    seconds: ClassVar[tuple[float, float, float]] = (60, 30, 90)  # before, during and after the peak

    def planned(self, at: float) -> int | None:
        return spike(at, self.users, self.seconds)


class Wave(Planned):
    """A sine wave between the fewest and the most users, as load over the day."""

    abstract = True
    users: ClassVar[tuple[int, int]] = (5, 50)
    period: ClassVar[float] = 120  # seconds from one minimum to the next
    seconds: ClassVar[float] = 600

    def planned(self, at: float) -> int | None:
        return wave(at, self.users, self.period, self.seconds)


class Steps(Planned):
    """A staircase: each number of users for `seconds` seconds."""

    abstract = True
    users: ClassVar[Sequence[int]] = (10, 20, 40, 80)
    seconds: ClassVar[float] = 30

    def planned(self, at: float) -> int | None:
        return steps(at, self.users, self.seconds)
