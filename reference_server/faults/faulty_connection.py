"""A connection that injects faults: the mechanism behind every entry of `catalogue.FAULTS`.

A `FaultyConnection` wraps the model's steps, for faults that happen after a number of tokens, and the connection, for
faults in the bytes that go out. `catalogue` defines what each fault does to it, and `injector` decides which answers
get faults.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing

from starlette.types import Message, Send

from streamgauge.reference_server.delivery.connection import Connection
from streamgauge.reference_server.delivery.sink import Producer
from streamgauge.reference_server.delivery.stream import Cancels
from streamgauge.reference_server.dialects.question import SEPARATORS, Framing
from streamgauge.reference_server.model.answer import Source
from streamgauge.reference_server.model.steps import NO_TOKENS, Step

ID = re.compile(rb"^id:.*\n", re.MULTILINE)

Steps = AsyncIterator[tuple[int, Step]]
Action = Callable[[int], Awaitable[int]]  # from the wait before the next token to the wait that it gets instead, ns
Rewrite = Callable[[bytes, bool], bytes]  # from events to the bytes that go out; True: these are the last


class FaultyConnection:
    """Replaces the connection of one answer in the scope of its request.

    There it is the sink that events are written to, and the `send` that the response's head and end go through.
    """

    def __init__(self, real: Connection, send: Send, framing: Framing) -> None:
        self.real = real
        self.framing = framing
        self.separator = SEPARATORS[framing]
        self.headers: list[tuple[bytes, bytes]] = []  # added to those of the response
        self.headers_wait = 0  # ns
        self.ignores_disconnect = False
        self.cancels: Cancels = "all"
        self.silent = False  # nothing goes out any more
        self.rewrites: list[Rewrite] = []  # of everything that goes out, in this order
        self.changes: list[Callable[[bytes], bytes]] = []  # of the next event
        self.last_id = b""  # the `id:` line of the last event that went out
        self._send = send
        self._actions: defaultdict[int, list[Action]] = defaultdict(list)
        self._after_write: Callable[[], None] | None = None

    # As a connection

    @property
    def full(self) -> bool:
        return self.real.full

    @property
    def lost(self) -> bool:
        return self.real.lost

    @property
    def producer(self) -> Producer | None:
        return self.real.producer

    @producer.setter
    def producer(self, producer: Producer | None) -> None:
        self.real.producer = producer
        if producer is not None and self.ignores_disconnect:
            producer.ignores_disconnect = True

    def write(self, events: bytes) -> None:
        if not events or self.silent:
            return
        self._out(events if events.startswith(b":") else self._changed(events), last=False)
        if self._after_write is not None:
            self._after_write()

    def abort(self) -> None:
        self.real.abort()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(self.headers_wait / 1e9)
            message = {**message, "headers": [*message["headers"], *self.headers]}
        elif not self.silent:
            self._out(b"", last=True)
        await self._send(message)

    def _changed(self, events: bytes) -> bytes:
        *before, event = [event + self.separator for event in events.removesuffix(self.separator).split(self.separator)]
        for change in self.changes:
            event = change(event)
        self.changes.clear()
        found = ID.findall(events)
        self.last_id = found[-1] if found else self.last_id
        return b"".join(before) + event

    def _out(self, events: bytes, *, last: bool) -> None:
        for rewrite in self.rewrites:
            events = rewrite(events, last)
        self.real.write(events)

    # As a source

    def at(self, token: int, action: Action) -> None:
        """Do this after this many tokens, or after the last one if there are fewer."""
        self._actions[token].append(action)

    def source(self, source: Source) -> Source:
        """The same source, with the actions between its steps."""
        return Source(self._steps(source.steps), source.end, source.planned) if self._actions else source

    async def _steps(self, steps: Iterator[tuple[int, Step]] | Steps) -> AsyncGenerator[tuple[int, Step], None]:
        count = 0
        async with aclosing(_each(steps)) as each:
            async for wait, step in each:
                if step.kind not in NO_TOKENS:
                    wait = await self._act(count, wait)  # noqa: PLW2901 - an action can change the wait
                    count += 1
                yield wait, step
        for token in sorted(self._actions):
            await self._act(token, 0)

    async def _act(self, token: int, wait: int) -> int:
        """Do what is to happen after this token. Each action gets the wait that the one before returned."""
        for action in self._actions.pop(token, ()):
            wait = await action(wait)
        return wait

    # Ends. For the stream, each of these is a client that has left.

    def reset(self) -> None:
        self.silent = True
        self.real.abort()

    def close(self) -> None:
        """Close the connection and leave the HTTP message unfinished."""
        self._out(b"", last=True)
        self.silent = True
        self.real.transport.close()

    def cut(self) -> None:
        """End the HTTP message as if the answer were complete."""
        self._out(b"", last=True)
        self.silent = True
        self.real.transport.write(b"0\r\n\r\n")
        self.real.transport.close()

    def cut_after_this(self) -> None:
        self._after_write = self.cut


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
