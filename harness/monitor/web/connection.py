"""A client's connection: uvicorn's protocol, limited in time, in what it may send and in number.

uvicorn alone keeps a connection that sends nothing for ever, and with too many of them, it answers each request with a
503: somebody who asks /healthz would take the monitor for dead.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST = 200  # connections; for one more, the oldest that carries no request is dropped, or else the oldest unread one
_MOST_RECEIVED = 65_536  # bytes of all requests of one connection
_IDLE = 10.0  # seconds after its beginning, after which a connection without a request is closed,
_LONGEST = 60.0  # and one whose answer is not read


class Connection(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._received = 0
        self._began = self.loop.time()
        self._dropped = False
        self._end = self.loop.call_later(_IDLE, self._end_if_idle)
        if len(self.connections) > _MOST:
            self._drop_one()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > _MOST_RECEIVED:
            self.transport.abort()
        else:
            super().data_received(data)

    @property
    def is_idle(self) -> bool:
        """Whether no request has come, or the last one was answered."""
        return self.cycle is None or self.cycle.response_complete

    def _drop_one(self) -> None:
        """Drop the oldest idle connection, or if only the new one is idle, the oldest whose client does not read."""
        # One that was dropped is there until the loop's next turn, and many come in one turn.
        others = [each for each in self.connections if isinstance(each, Connection) and each is not self]
        left = [each for each in others if not each._dropped]
        candidates = [each for each in left if each.is_idle] or [each for each in left if each.flow.write_paused]
        oldest = min(candidates, key=lambda each: each._began, default=self)
        oldest._dropped = True
        oldest.transport.abort()  # close() would wait for a client that does not read its answer

    def _end_if_idle(self) -> None:
        if self.is_idle:
            self.transport.close()  # once its last answer has been read
        self._end = self.loop.call_later(_LONGEST - _IDLE, self.transport.abort)
