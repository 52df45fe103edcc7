"""A client's connection, and the responses that go over it: the one place that reaches below ASGI.

uvicorn keeps parsing requests and writing the heads of responses, FastAPI keeps routing and validation. Between a head
and its end a stream's events go straight into the transport, because a coroutine and a message for every token would
cost more than all the rest; and the protocol itself tells the stream that the socket is full or the client gone, as a
task that waits for the news gets it later.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streamgauge.reference_server.delivery import Carried, Outlet, Stream
from streamgauge.reference_server.ticker import Ticker

# What the scope of a request has beside ASGI's own.
CONNECTION = "streamgauge.connection"
RECEIVED_AT = "streamgauge.received_at"  # when its last bytes were read; CLOCK_MONOTONIC, ns
SEND = "streamgauge.send"  # the server's own `send`, below every middleware's wrapper

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # nginx and its kin would collect events otherwise
}
_LAST_WORDS = 10  # seconds in which a slow client can read the end of a stream that is over

Opening = Callable[[Outlet, int], None]  # how what is carried begins: with its outlet, and when the request came


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, as the outlet of the stream that it carries.

    It is full as soon as the kernel does not take everything: what waits here is never more than one event. So what a
    slow client can make the server hold is the kernel's send buffer, which `--send-buffer` bounds.
    """

    __slots__ = ("_descriptor", "full", "lost", "stream", "ticker")  # apart from uvicorn's many: see `delivery.Stream`

    def __init__(self, ticker: Ticker, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stream: Carried | None = None
        self.full = False
        self.lost = False
        self.ticker = ticker
        self._descriptor = -1  # of the socket, where events need no more than to be written to it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        self.ticker.catch_up()  # as in `data_received`: connections come in bursts, too
        super().connection_made(transport)
        if self.scheme == "https":
            transport.set_write_buffer_limits(high=1)  # 0 would tell it to pause for ever
        else:
            transport.set_write_buffer_limits(high=0)
            self._descriptor = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        self.ticker.catch_up()  # a burst of requests must not hold up tokens: neither here nor in `door`
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # a TypedDict, which has no room for our keys
        scope[CONNECTION] = self

    def on_message_complete(self) -> None:
        # Not before: a model begins with the whole question, however long a slow link takes to bring it.
        self.scope[RECEIVED_AT] = time.monotonic_ns()  # type: ignore[literal-required]  # as above
        super().on_message_complete()

    def write(self, events: bytes) -> None:
        if not events:
            return
        chunk = b"%x\r\n%b\r\n" % (len(events), events)
        if self._descriptor >= 0 and not self.full:
            # The transport would do the same, but its own part of that takes as long as making the events does.
            try:  # noqa: SIM105 - `suppress` would cost half as much as the rest
                chunk = chunk[os.write(self._descriptor, chunk) :]
            except OSError:  # no room, or the connection broke: the transport finds out which
                pass
        if chunk:
            self._hand_over(chunk)

    def _hand_over(self, chunk: bytes) -> None:
        if self.transport.is_closing():  # it broke a moment ago, and asyncio has not yet said so
            self._gone()
        else:
            self.transport.write(chunk)

    def abort(self) -> None:
        # With a reset: an ordinary close would leave the kernel with all that the client has not read.
        with contextlib.suppress(OSError):  # it is gone already
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.full = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.full = False
        if self.stream is not None:
            self.stream.resume()

    def eof_received(self) -> None:
        self._gone()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._descriptor = -1  # from now on it may be another connection's
        self._gone()
        super().connection_lost(exc)

    def _gone(self) -> None:
        self.lost = True
        if self.stream is not None:
            self.stream.disconnected()


class _Answer(Response):
    """Carries one stream from its opening to its end, and returns when nothing more will be sent.

    Where it returns without an end, uvicorn closes the connection, which is how the client is told.
    """

    def __init__(self, stream: Carried, opening: Opening, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self.stream: Carried = stream
        self.opening = opening
        self.init_headers(headers)

    async def carry(self, scope: Scope, outlet: Outlet) -> None:
        connection: Connection = scope[CONNECTION]
        connection.stream = self.stream
        try:
            self.opening(outlet, scope[RECEIVED_AT])
            if connection.lost:
                self.stream.disconnected()
            await self.stream.wait()
        except asyncio.CancelledError:
            self.stream.fail(503, "the server is going down", "stopped")
        finally:
            connection.stream = None


class EventStream(_Answer):
    """The answer as server-sent events."""

    def __init__(self, stream: Carried, opening: Opening, headers: Mapping[str, str]) -> None:
        super().__init__(stream, opening, STREAM_HEADERS | dict(headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the body has been read
        connection, send = scope[CONNECTION], scope[SEND]
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self.carry(scope, connection)
        timer = asyncio.get_running_loop().call_later(_LAST_WORDS, connection.abort) if connection.full else None
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if timer is not None:
            timer.cancel()


class WholeAnswer(_Answer):
    """The answer as one JSON document at its end; an error where the stream failed."""

    stream: Stream

    def __init__(
        self, stream: Stream, opening: Opening, headers: Mapping[str, str], error: Callable[[int, str], Response]
    ) -> None:
        super().__init__(stream, opening, {"content-type": "application/json", **headers})
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        document = _Document()
        await self.carry(scope, document)
        if self.stream.state in {"completed", "cancelled"}:
            headers = [*self.raw_headers, (b"content-length", str(len(document.body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": document.body, "more_body": False})
        elif self.stream.state != "disconnected":
            await self.error(self.stream.status, self.stream.detail)(scope, receive, send)


class _Document:
    """The outlet of an answer that is sent whole."""

    full = False

    def __init__(self) -> None:
        self.body = b""

    def write(self, events: bytes) -> None:
        self.body += events

    def abort(self) -> None:
        pass
