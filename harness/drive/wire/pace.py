"""How fast an exchange may read: the emulated link's part in reading."""

from collections.abc import Callable
from typing import Any, Protocol

import gevent

FAR_AWAY = 86_400_000_000_000  # ns; no timer is set for a moment that is further away
_SHORTEST = 0.001  # seconds


class Pace(Protocol):
    """Times are CLOCK_MONOTONIC ns."""

    steady: bool  # an allowance does not expire; otherwise it has to be asked for before each read

    def allowance(self, now: int) -> tuple[int, int]:
        """How many bytes may be read from now on, and until when; or 0, and when to ask again."""

    def spend(self, now: int, size: int) -> None:
        """`size` bytes were read, from `now` on."""


class Alarm:
    """Calls back once, later."""

    __slots__ = ("_timer",)

    def __init__(self) -> None:
        self._timer: Any = None

    def set(self, wait: int, callback: Callable[[], None]) -> None:
        """In `wait` ns, in place of what was set before; never, if that is too far away."""
        self.cancel()
        if wait < FAR_AWAY:
            self._timer = gevent.get_hub().loop.timer(max(_SHORTEST, wait / 1e9))
            self._timer.start(callback)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
