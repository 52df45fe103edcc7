"""A connection on which things go wrong: the mechanism behind every entry of `faults.FAULTS`.

A `Trouble` sits outside of what it spoils: around the model's steps, where something happens after so many tokens, and
in the connection's place, where the bytes go out. It decides nothing: `faults` arms it, `dealing` says for whom.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing

from starlette.types import Message, Send

from streamgauge.reference_server.connection import Connection
from streamgauge.reference_server.delivery import Carried, Source
from streamgauge.reference_server.model import NO_TOKENS, Step

ID = re.compile(rb"^id:.*\n", re.MULTILINE)

Steps = AsyncIterator[tuple[int, Step]]
Act = Callable[[int], Awaitable[int]]  # from the wait before the next token to the one that it has instead, ns
Rewrite = Callable[[bytes, bool], bytes]  # what goes out for these events; True: nothing comes after them


class Trouble:
    """What one answer meets, in the place that its connection has in the scope of the request.

    There it is the outlet that events are written to, and the `send` that the response's head and end go through.
    """

    def __init__(self, connection: Connection, send: Send) -> None:
        self.connection = connection
        self.headers: list[tuple[bytes, bytes]] = []  # of the response, besides its own
        self.headers_wait = 0  # ns
        self.deaf = False  # to the client's leaving
        self.silent = False  # nothing goes out any more
        self.rewrites: list[Rewrite] = []  # of all that goes out, in this order
        self.treatments: list[Callable[[bytes], bytes]] = []  # of the next event
        self.last_id = b""  # the `id:` line of the event that went out last
        self._send = send
        self._points: defaultdict[int, list[Act]] = defaultdict(list)
        self._then: Callable[[], None] | None = None

    # As a connection

    @property
    def full(self) -> bool:
        return self.connection.full

    @property
    def lost(self) -> bool:
        return self.connection.lost

    @property
    def stream(self) -> Carried | None:
        return self.connection.stream

    @stream.setter
    def stream(self, stream: Carried | None) -> None:
        self.connection.stream = stream
        if stream is not None and self.deaf:
            stream.deaf = True

    def write(self, events: bytes) -> None:
        if not events or self.silent:
            return
        self._out(events if events.startswith(b":") else self._treated(events), last=False)
        if self._then is not None:
            self._then()

    def abort(self) -> None:
        self.connection.abort()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(self.headers_wait / 1e9)
            message = {**message, "headers": [*message["headers"], *self.headers]}
        elif not self.silent:
            self._out(b"", last=True)
        await self._send(message)

    def _treated(self, events: bytes) -> bytes:
        *before, event = _events(events)
        for treat in self.treatments:
            event = treat(event)
        self.treatments.clear()
        found = ID.findall(events)
        self.last_id = found[-1] if found else self.last_id
        return b"".join(before) + event

    def _out(self, events: bytes, *, last: bool) -> None:
        for rewrite in self.rewrites:
            events = rewrite(events, last)
        self.connection.write(events)

    # As a source

    def at(self, token: int, act: Act) -> None:
        """Let this happen after so many tokens, or after the last where there are fewer."""
        self._points[token].append(act)

    def source(self, source: Source) -> Source:
        """The same, with what happens on its way."""
        return Source(self._steps(source.steps), source.end) if self._points else source

    async def _steps(self, steps: Iterator[tuple[int, Step]] | Steps) -> AsyncGenerator[tuple[int, Step], None]:
        count = 0
        async with aclosing(_each(steps)) as each:
            async for wait, step in each:
                if step.kind not in NO_TOKENS:
                    for act in self._points.pop(count, ()):
                        wait = await act(wait)  # noqa: PLW2901 - each fault goes on from what the one before made of it
                    count += 1
                yield wait, step
        for token in sorted(self._points):
            for act in self._points[token]:
                await act(0)

    # Ends. The stream learns of them as of a client that left.

    def reset(self) -> None:
        self.silent = True
        self.connection.abort()

    def close(self) -> None:
        """The connection, with the HTTP message unfinished."""
        self._out(b"", last=True)
        self.silent = True
        self.connection.transport.close()

    def cut(self) -> None:
        """The HTTP message, as if that were all of it."""
        self._out(b"", last=True)
        self.silent = True
        self.connection.transport.write(b"0\r\n\r\n")
        self.connection.transport.close()

    def cut_after_this(self) -> None:
        self._then = self.cut


async def _each(steps: Iterator[tuple[int, Step]] | Steps) -> AsyncGenerator[tuple[int, Step], None]:
    if isinstance(steps, Iterator):
        for found in steps:
            yield found
        return
    try:
        async for found in steps:
            yield found
    finally:
        if isinstance(steps, AsyncGenerator):
            await steps.aclose()


def _events(events: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in events.removesuffix(b"\n\n").split(b"\n\n")]
