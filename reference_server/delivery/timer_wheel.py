"""Due times of thousands of streams: a wheel of time slots and one timer of the event loop.

No token costs a task, a future or a timer of asyncio. An item is served at most one slot after its due time, and never
early. A late item is served at once, and each item returns its next due time, so delays do not add up. Times are
CLOCK_MONOTONIC, in ns.
"""

import asyncio
import select
import selectors
import sys
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

_SLOT = 500_000  # ns; streams that are due in one slot are served together
# Streams later than this are served before a new request is: their next token is nearer than its first.
_OVERDUE = 100_000  # ns


class Due(Protocol):
    """Something that is due at certain times, one after the other."""

    def tick(self, now: int) -> int:
        """Prepare the events that are due at `now`. Return the next due time; 0: none until `put` is called again.

        `put` cannot be undone, so `tick` may be called when nothing is due any more.
        """

    def send(self) -> None:
        """Send what the last tick prepared, if anything."""


class Timer(Protocol):
    """A call that will be made later, if it is not cancelled before."""

    def cancel(self) -> None: ...


def _call_at(at: int, call: Callable[[], None]) -> Timer:
    """A timer of the running loop, which counts by CLOCK_MONOTONIC, too."""
    return asyncio.get_running_loop().call_at(at / 1e9, call)


class TimerWheel:
    """Calls `tick` and `send` of each item when it is due. Belongs to the event loop in which it is used."""

    def __init__(
        self,
        now: Callable[[], int] = time.monotonic_ns,
        call_at: Callable[[int, Callable[[], None]], Timer] = _call_at,
    ) -> None:
        """Tests hand in a clock that does not wait: `call_at` makes a call at a time of the clock `now`."""
        self._now, self._call_at = now, call_at
        self._slots: dict[int, list[Due]] = {}  # slot n is served at n * _SLOT
        self._numbers: list[int] = []  # of the slots, as a heap
        self._timer: Timer | None = None
        self._timer_at = 0
        self._ticking = False

    def put(self, item: Due, at: int) -> None:
        """Let `item` be due at this time."""
        number = at // _SLOT + 1
        slot = self._slots.get(number)
        if slot is not None:
            slot.append(item)
            return
        self._slots[number] = [item]
        heappush(self._numbers, number)
        if not self._ticking and (self._timer is None or number * _SLOT < self._timer_at):
            self._set_timer(number * _SLOT)

    def catch_up(self) -> None:
        """Serve overdue items now. Called before work that takes long: a burst of requests must not delay tokens."""
        if self._numbers and self._numbers[0] * _SLOT < self._now() - _OVERDUE and not self._ticking:
            self._run()

    def _run(self) -> None:
        self._ticking = True
        try:
            # All items prepare their events before the first one sends. A system call leaves the interpreter with cold
            # caches, so many of them in a row cost less than one after each tick.
            for item in self._ticked(self._now()):
                item.send()
        finally:
            self._ticking = False
            if self._numbers:
                self._set_timer(self._numbers[0] * _SLOT)

    def _ticked(self, now: int) -> list[Due]:
        numbers, ticked = self._numbers, []
        while numbers and numbers[0] * _SLOT <= now:
            for item in self._slots.pop(heappop(numbers)):
                try:
                    after = item.tick(now)
                except Exception as fault:  # noqa: BLE001 - an item that raises is dropped; the others must be served
                    _report(item, fault)
                    continue
                if after:
                    self.put(item, after)
                ticked.append(item)
        return ticked

    def _set_timer(self, at: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = self._call_at(at, self._on_timer), at

    def _on_timer(self) -> None:
        self._timer = None
        self._run()


def _report(item: Due, fault: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": f"{item!r} failed", "exception": fault})


def call_after(ns: int, call: Callable[[], None]) -> asyncio.TimerHandle:
    """For a timer that is set once for many tokens, which asyncio serves well enough."""
    return asyncio.get_running_loop().call_later(ns / 1e9, call)


if sys.platform == "linux":

    class _PreciseSelector(selectors.EpollSelector):
        """epoll waits in whole milliseconds; select(2) on epoll's own descriptor waits in microseconds."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                if not select.select([self], [], [], timeout)[0]:
                    return []
                timeout = 0
            return super().select(timeout)
else:
    _PreciseSelector = selectors.DefaultSelector  # kqueue waits in nanoseconds


def event_loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers are exact to about 0.1 ms and whose transports write to the socket inside `write`.

    uvloop's timers tick in whole milliseconds. It also collects writes until the end of the loop's turn, so the truth
    log's stamp after a write would not be the time of the write.
    """
    return asyncio.SelectorEventLoop(_PreciseSelector())
