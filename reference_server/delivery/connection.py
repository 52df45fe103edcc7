"""A client's connection: uvicorn's protocol, and the sink of the stream that it carries.

uvicorn parses requests and writes the heads of responses; FastAPI routes and validates. Between the head and the end of
a response, events go straight to the socket, below ASGI: a coroutine and a message for each token would cost more than
everything else together. The protocol also calls the stream directly when the socket is full or the client has left. A
task that waits for such news would get it later.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streamgauge.reference_server.delivery.sink import Producer
from streamgauge.reference_server.delivery.timer_wheel import TimerWheel

# Keys of ours in the ASGI scope of a request.
CONNECTION = "streamgauge.connection"
RECEIVED_AT = "streamgauge.received_at"  # when the last bytes of the request were read; CLOCK_MONOTONIC, ns
SEND = "streamgauge.send"  # the server's own `send`, without the wrappers of any middleware


class Connection(HttpToolsProtocol):
    """A connection is full as soon as the kernel does not take everything, so at most one event waits here.

    So a slow client can make the server hold no more than the kernel's send buffer, which `--send-buffer` limits.
    """

    __slots__ = ("_descriptor", "full", "lost", "producer", "wheel")  # in fewer cache lines: see `stream.Stream`

    def __init__(self, wheel: TimerWheel, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.producer: Producer | None = None
        self.full = False
        self.lost = False
        self.wheel = wheel
        self._descriptor = -1  # of the socket, if events can be written to it as they are (no TLS)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        self.wheel.catch_up()  # a burst of new connections must not delay tokens
        super().connection_made(transport)
        if self.scheme == "https":
            transport.set_write_buffer_limits(high=1)  # with 0 asyncio's TLS transport would pause and never resume
        else:
            transport.set_write_buffer_limits(high=0)
            self._descriptor = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        self.wheel.catch_up()  # a burst of requests must not delay tokens, neither here nor in `door`
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # a TypedDict, which has no room for our keys
        scope[CONNECTION] = self

    def on_message_complete(self) -> None:
        # Not earlier: a model starts with the whole question, however long a slow link takes to deliver it.
        self.scope[RECEIVED_AT] = time.monotonic_ns()  # type: ignore[literal-required]  # as above
        super().on_message_complete()

    def write(self, events: bytes) -> None:
        if not events:
            return
        chunk = b"%x\r\n%b\r\n" % (len(events), events)
        if self._descriptor >= 0 and not self.full:
            # transport.write would do the same, but its overhead is as large as the cost of making the events.
            try:  # noqa: SIM105 - `suppress` would cost half as much as the rest of this method
                chunk = chunk[os.write(self._descriptor, chunk) :]
            except OSError:  # no room, or the connection broke: the transport finds out which
                pass
        if chunk:
            self._hand_over(chunk)

    def _hand_over(self, chunk: bytes) -> None:
        if self.transport.is_closing():  # the connection broke, and asyncio has not called `connection_lost` yet
            self._lose()
        else:
            self.transport.write(chunk)

    def abort(self) -> None:
        # Linger 0 closes with a reset. An ordinary close would leave the kernel with the data that the client never
        # read.
        with contextlib.suppress(OSError):  # already closed
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.full = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.full = False
        if self.producer is not None:
            self.producer.resume()

    def eof_received(self) -> None:
        self._lose()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._descriptor = -1  # the kernel may give the number to another connection
        self._lose()
        super().connection_lost(exc)

    def _lose(self) -> None:
        self.lost = True
        if self.producer is not None:
            self.producer.disconnected()
