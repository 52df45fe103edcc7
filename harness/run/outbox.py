"""Encoded batches on their way from a worker to the master, in order, each kept until the master has stored it. Pure.

A connection can lose what it took, so a batch without an acknowledgement is sent again; its number lets the master drop
what it has already. The caller sends, and says what time it is (seconds, monotonic).
"""

from collections import deque
from collections.abc import Callable

_WINDOW = 8  # batches sent and not yet acknowledged: at most so many are sent again after a lost connection
_PATIENCE = 2.0  # seconds to wait for an acknowledgement before all of them are sent again
_ROOM = 32 * 2**20  # bytes without acknowledgement, some 30,000 streams; beyond it no new streams should begin


class Outbox:
    def __init__(self, send: Callable[[bytes], None], room: int = _ROOM) -> None:
        """`send` may lose what it gets."""
        self._send = send
        self._room = room
        self._kept: deque[bytes] = deque()
        self._first = 1  # number of the oldest batch kept
        self._sent = 0  # of those kept, from the oldest on
        self._heard_at = 0.0  # of the last acknowledgement, or when the window's first batch was sent
        self._size = 0

    def __len__(self) -> int:
        """Batches without acknowledgement."""
        return len(self._kept)

    @property
    def next_number(self) -> int:
        """The number of the next batch that is put in, from 1 on."""
        return self._first + len(self._kept)

    @property
    def full(self) -> bool:
        """The caller should make no more batches now. One that comes all the same is taken."""
        return self._size > self._room

    def put(self, batch: bytes, now: float) -> None:
        self._kept.append(batch)
        self._size += len(batch)
        self.push(now)

    def stored(self, upto: int, now: float) -> None:
        """Drop all batches up to this number. A repeated or late acknowledgement does no harm."""
        while self._kept and self._first <= upto:
            self._size -= len(self._kept.popleft())
            self._first += 1
            self._sent = max(0, self._sent - 1)
            self._heard_at = now
        self.push(now)

    def push(self, now: float) -> None:
        """Send as many batches as the window allows; all of the window again if no acknowledgement came in time."""
        if now - self._heard_at > _PATIENCE:
            self._sent = 0
        while self._sent < min(_WINDOW, len(self._kept)):
            if self._sent == 0:
                self._heard_at = now
            batch = self._kept[self._sent]
            self._sent += 1  # before sending: `send` may switch greenlets, and an acknowledgement arrive meanwhile
            self._send(batch)
