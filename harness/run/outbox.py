"""The batches that a worker sends to the master, each kept until the master has acknowledged storing it. Pure.

What a broken connection had on its way is lost, and the master takes no batch while too much waits to be stored: then
the batches are sent again, first one and more with each acknowledgement. Their numbers let the master drop those that
it has stored already. A slow connection loses nothing, and would only be slower with repeats. The caller passes in the
time (`now`: seconds, monotonic) and a function that sends.
"""

from collections import deque
from collections.abc import Callable

_WINDOW = 8  # most batches sent and not acknowledged
_PATIENCE = 2.0  # seconds until batches that the master did not take are sent again
_SLOW = 8.0  # seconds without a word after which the oldest batch is sent again, if `_PATIENCE` was too short once
_ROOM = 32 * 2**20  # bytes not acknowledged, about 30,000 streams; above this, no new streams should begin


class Outbox:
    def __init__(self, send: Callable[[bytes], None], room: int = _ROOM) -> None:
        """`send` need not be reliable: a lost batch is sent again."""
        self._send = send
        self._room = room
        self._kept: deque[bytes] = deque()
        self._first = 1  # number of the oldest batch kept
        self._sent = 0  # how many of the kept batches have been sent, from the oldest on
        self._window = _WINDOW  # how many may be
        self._heard_at = 0.0  # time of the last acknowledgement, or when the first batch of the window was sent
        self._patience = _PATIENCE  # seconds after that until the oldest batch is sent again
        self._pauses_until = 0.0
        self._size = 0  # bytes of the kept batches

    def __len__(self) -> int:
        """The number of batches that are not acknowledged."""
        return len(self._kept)

    @property
    def next_number(self) -> int:
        """The number that the next batch gets, counted from 1."""
        return self._first + len(self._kept)

    @property
    def full(self) -> bool:
        """Whether the caller should stop making batches. `put` still accepts one."""
        return self._size > self._room

    def put(self, batch: bytes, now: float) -> None:
        self._kept.append(batch)
        self._size += len(batch)
        self.push(now)

    def stored(self, upto: int, now: float) -> None:
        """Drop all batches up to this number. A repeated or late acknowledgement does no harm."""
        if self._kept and self._first <= upto:
            self._window = min(2 * self._window, _WINDOW)
        while self._kept and self._first <= upto:
            self._size -= len(self._kept.popleft())
            self._first += 1
            self._sent = max(0, self._sent - 1)
            self._heard_at = now
        self.push(now)

    def not_taken(self, now: float) -> None:
        """The master did not take a batch: it has no room, or misses one before. Send all again, a little later."""
        self._sent, self._window = 0, 1
        self._pauses_until = now + _PATIENCE

    def reconnected(self, now: float) -> None:
        """There is a new connection; what was on its way through the old one may be lost."""
        self._sent, self._window, self._patience = 0, 1, _PATIENCE
        self.push(now)

    def push(self, now: float) -> None:
        """Send what the window allows; if no acknowledgement came in time, send the oldest batch again."""
        if now < self._pauses_until:
            return
        if self._sent and now - self._heard_at > self._patience:
            self._heard_at, self._patience = now, _SLOW
            self._send(self._kept[0])
        while self._sent < min(self._window, len(self._kept)):
            if self._sent == 0:
                self._heard_at = now
            batch = self._kept[self._sent]
            self._sent += 1  # before sending: `send` may switch greenlets, and `stored` may be called meanwhile
            self._send(batch)
