"""Load shapes: how many users there are, when. The arithmetic is pure; Locust's ticks are at the edge.

A door to locust.
"""

from collections.abc import Sequence
from typing import ClassVar

from locust import LoadTestShape


def steps(at: float, users: Sequence[int], seconds: float) -> int | None:
    """How many users there are `at` seconds into a staircase; None after its last step."""
    step = int(at // seconds)
    return users[step] if step < len(users) else None


class Steps(LoadTestShape):  # type: ignore[misc]  # locust ships no types
    """A staircase: each number of users for so many seconds. `--run-time` cuts it short."""

    abstract = True
    users: ClassVar[Sequence[int]] = (10, 20, 40, 80)
    seconds: ClassVar[float] = 30
    spawn_rate: ClassVar[float] = 20  # users a second, between steps

    def tick(self) -> tuple[int, float] | None:
        users = steps(self.get_run_time(), self.users, self.seconds)
        return None if users is None else (users, self.spawn_rate)
