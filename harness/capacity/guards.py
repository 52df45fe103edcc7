"""What ends a search before its answer is known."""

import time
from dataclasses import dataclass, field


class Ended(Exception):
    """The search ends now, with what is known. The text says why."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The most that a search may do; None: any."""

    streams: int | None = None
    minutes: float | None = None
    began: float = field(default_factory=time.monotonic)

    def check(self, streams: int, users: int) -> None:
        """Ended if a guard is reached. `streams`: that have ended so far; `users`: each may have one more open."""
        if self.streams is not None and streams + users > self.streams:
            raise Ended(f"--max-streams {self.streams}: there is no room for one more stream of each user")
        if self.minutes is not None and time.monotonic() - self.began > 60 * self.minutes:
            raise Ended(f"--max-minutes {self.minutes:g}: the time is over")
