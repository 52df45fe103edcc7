"""Due times: thousands of streams, one wheel of time slots, one timer of the loop.

No task, future or timer of asyncio for a token. Whatever is due is done within a slot's length, and never early. A
thing that is late is done at once and its next time is its own to say, so lateness does not add up. Times are
CLOCK_MONOTONIC, ns.
"""

import asyncio
import select
import selectors
import sys
import time
from heapq import heappop, heappush
from typing import Protocol

_SLOT = 500_000  # ns; a crowd of streams is served in batches
_OVERDUE = 100_000  # ns; so late that a request has to wait: its first token has more time than others' next


class Due(Protocol):
    """Something that has times at which it is due; one at a time."""

    def tick(self, now: int) -> int:
        """Get ready what is due, if anything is: it may be asked at a time that it was once put in for.

        The next time, or 0 when there is none until it is put in again.
        """

    def send(self) -> None:
        """Send what the last tick got ready, if anything."""


class Ticker:
    """Calls `tick` of what was put in, each at its time. Belongs to the loop that is running when it is used."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Due]] = {}  # by their number: slot n is served at n * _SLOT
        self._numbers: list[int] = []  # of the slots, as a heap
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._ticking = False

    def put(self, item: Due, at: int) -> None:
        """Let `item` be due then."""
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
        """Do what is overdue before something else that takes its time: a burst of requests must not hold up tokens."""
        if self._numbers and self._numbers[0] * _SLOT < time.monotonic_ns() - _OVERDUE and not self._ticking:
            self._run()

    def _run(self) -> None:
        self._ticking = True
        try:
            # First everything that is due is got ready, then it is sent: every system call leaves the interpreter with
            # cold caches, and so it is cheaper to do many in a row than one with each tick.
            for item in self._ticked(time.monotonic_ns()):
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
                except Exception as fault:  # noqa: BLE001 - one that breaks is dropped, and the others go on
                    _tell(item, fault)
                    continue
                if after:
                    self.put(item, after)
                ticked.append(item)
        return ticked

    def _set_timer(self, at: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = asyncio.get_running_loop().call_at(at / 1e9, self._on_timer), at

    def _on_timer(self) -> None:
        self._timer = None
        self._run()


def _tell(item: Due, fault: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": f"{item!r} broke", "exception": fault})


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
    """A loop whose timers are exact to some 0.1 ms and whose transports write to the socket inside `write`.

    uvloop's timers tick in whole milliseconds, and it collects writes until the loop's turn ends, so the truth log's
    stamp after a write would not be the time of the write.
    """
    return asyncio.SelectorEventLoop(_PreciseSelector())
