"""Requests that are still arriving, and connections without one: how long, how large and how many they may be.

A client that sends slowly, or nothing, costs a connection and what it has sent so far. So each has a deadline, all
together have a size, and when there are too many connections, the one that has waited longest makes room.
"""

import time
from typing import Protocol

HEAD_LIMIT = 32 << 10  # bytes of a request's line and headers
HEADERS = 200  # in a request
BODY_LIMIT = 1 << 20  # bytes
RAW_LIMIT = 8 * BODY_LIMIT  # bytes of a request as it was sent: in chunks of one byte, a body is six times as long
PIPELINED = 8  # requests that may wait behind one that is being answered
SECONDS = 75  # for a whole request to arrive, or the next one on a kept connection to begin; balancers keep theirs 60
UNREAD_SECONDS = 60  # for a client to read a document
_HELD = 256 << 20  # bytes of unfinished requests, and of documents that clients have not read


class Waiting(Protocol):
    """A connection that waits for a request."""

    def too_late(self, reason: str) -> None:
        """Close it, with the reason for the client."""


class Incoming:
    """All connections of the server that wait for a whole request, and what unfinished transfers hold in memory."""

    def __init__(self, most: int) -> None:
        self.most = most  # connections
        self.held = 0  # bytes
        self._waiting: dict[Waiting, float] = {}  # since when; the oldest first

    @property
    def full(self) -> bool:
        return self.held > _HELD

    def expect(self, connection: Waiting) -> None:
        self._waiting.pop(connection, None)
        self._waiting[connection] = time.monotonic()

    def arrived(self, connection: Waiting) -> None:
        self._waiting.pop(connection, None)

    def make_room(self) -> bool:
        """Close the connection that has waited longest; False if none waits."""
        for connection in self._waiting:
            del self._waiting[connection]
            connection.too_late("the server has too many connections, and this one waited longest")
            return True
        return False

    def close_late(self) -> None:
        """Call it often: it looks only at those that are late."""
        until = time.monotonic() - SECONDS
        while self._waiting:
            connection, since = next(iter(self._waiting.items()))
            if since > until:
                return
            del self._waiting[connection]
            connection.too_late(f"the request did not arrive within {SECONDS} s")
