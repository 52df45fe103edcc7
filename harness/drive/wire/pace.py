"""The pace: how fast an exchange may read its socket on an emulated link."""

from collections.abc import Callable
from typing import Any, Protocol

import gevent

FAR_AWAY = 86_400_000_000_000  # ns; a day
_SHORTEST = 0.001  # seconds


class Pace(Protocol):
    """Times are CLOCK_MONOTONIC ns."""

    steady: bool  # True: an allowance does not expire; False: ask for a new one before each read

    def allowance(self, now: int) -> tuple[int, int]:
        """(bytes, until): how many bytes may be read from `now` until then; or (0, when to ask again)."""

    def spend(self, now: int, size: int) -> None:
        """Record that `size` bytes were read from `now` on."""


class Alarm:
    """A timer that calls back once."""

    __slots__ = ("_timer",)

    def __init__(self) -> None:
        self._timer: Any = None

    def set(self, wait: int, callback: Callable[[], None]) -> None:
        """Call `callback` in `wait` ns; never if `wait` is FAR_AWAY or more. Replaces an alarm set before."""
        self.cancel()
        if wait < FAR_AWAY:
            self._timer = gevent.get_hub().loop.timer(max(_SHORTEST, wait / 1e9))
            self._timer.start(callback)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
