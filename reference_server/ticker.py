"""Due times: thousands of streams, one heap, one timer of the loop. No task, future or timer of asyncio for a token.

Whatever is due is done in the order in which it is due. A thing that is late is done at once and its next time is its
own to say, so lateness does not add up. Times are CLOCK_MONOTONIC, ns.
"""

import asyncio
import select
import selectors
import sys
import time
from heapq import heappop, heappush, heapreplace
from typing import Protocol

_GRAIN = 500_000  # ns between two looks at the heap, so that a crowd of streams is served in batches
_OVERDUE = 100_000  # ns; so late that a request has to wait: its first token has more time than others' next


class Due(Protocol):
    """Something that has times at which it is due; one at a time."""

    ticket: int  # of its entry in the heap; all others are out of date

    def tick(self, now: int) -> int:
        """Get ready what is due. The next time, or 0 when there is none until it is put in again."""

    def send(self) -> None:
        """Send what the last tick got ready, if anything."""


class Ticker:
    """Calls `tick` of what was put in, each at its time. Belongs to the loop that is running when it is used."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Due]] = []
        self._new: list[tuple[int, int, Due]] = []  # put in during a tick
        self._tickets = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._ticking = False

    def put(self, item: Due, at: int) -> None:
        """Let `item` be due then, and no longer at the time that it was put in for before."""
        self._tickets += 1
        item.ticket = self._tickets
        entry = (at, self._tickets, item)
        if self._ticking:
            self._new.append(entry)
            return
        heappush(self._heap, entry)
        if self._timer is None or at < self._timer_at:
            self._set_timer(at)

    def catch_up(self) -> None:
        """Do what is overdue before something else that takes its time: a burst of requests must not hold up tokens."""
        if self._heap and self._heap[0][0] < time.monotonic_ns() - _OVERDUE and not self._ticking:
            self._run()

    def _run(self) -> None:
        began = time.monotonic_ns()
        self._ticking = True
        try:
            # First everything that is due is got ready, then it is sent: every system call leaves the interpreter with
            # cold caches, and so it is cheaper to do many in a row than one with each tick.
            for item in self._ticked(began):
                item.send()
        finally:
            self._ticking = False
            if self._heap:
                self._set_timer(max(self._heap[0][0], began + _GRAIN))

    def _ticked(self, now: int) -> list[Due]:
        heap, new, ticked = self._heap, self._new, []
        while heap and heap[0][0] <= now:
            _, ticket, item = heap[0]
            after = 0
            try:
                after = item.tick(now) if item.ticket == ticket else 0
            finally:  # one that breaks is dropped, and the others go on
                if after:
                    heapreplace(heap, (after, ticket, item))
                else:
                    heappop(heap)
            ticked.append(item)
            if new:
                for entry in new:
                    heappush(heap, entry)
                new.clear()
        return ticked

    def _set_timer(self, at: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = asyncio.get_running_loop().call_at(at / 1e9, self._on_timer), at

    def _on_timer(self) -> None:
        self._timer = None
        self._run()


if sys.platform == "linux":

    class _PreciseSelector(selectors.EpollSelector):
        """epoll waits in whole milliseconds; select(2) on epoll's own descriptor waits in microseconds."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select([self], [], [], timeout)
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
