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

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from streamgauge.reference_server.delivery import incoming
from streamgauge.reference_server.delivery.incoming import Incoming
from streamgauge.reference_server.delivery.sink import Producer
from streamgauge.reference_server.delivery.timer_wheel import TimerWheel

# Keys of ours in the ASGI scope of a request.
CONNECTION = "streamgauge.connection"
RECEIVED_AT = "streamgauge.received_at"  # when the last bytes of the request were read; CLOCK_MONOTONIC, ns
SEND = "streamgauge.send"  # the server's own `send`, without the wrappers of any middleware


class _Refused(Exception):
    """Ends the parsing of a request. The reason is for the client."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Connection(HttpToolsProtocol):
    """A connection is full as soon as the kernel does not take everything, so at most one event waits here.

    So a slow client can make the server hold no more than the kernel's send buffer, which `--send-buffer` limits.
    """

    # In fewer cache lines: see `stream.Stream`.
    __slots__ = (
        "_arrived", "_descriptor", "_in_head", "_incoming", "_refused", "_unread", "_unread_timer", "full", "lost",
        "producer", "wheel",
    )  # fmt: skip

    def __init__(self, wheel: TimerWheel, all_incoming: Incoming, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._incoming = all_incoming
        self._arrived = 0  # bytes of the request that is arriving
        self._in_head = True
        self._refused: _Refused | None = None  # why the request is not parsed to its end
        self._unread = 0  # bytes of a document that the client has not read
        self._unread_timer: asyncio.TimerHandle | None = None
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
        if len(self.connections) > self._incoming.most and not self._incoming.make_room():
            self._refuse(503, "all connections of the server are in use; try again")
        else:
            self._incoming.expect(self)

    # The request, within the limits of `incoming`

    def data_received(self, data: bytes) -> None:
        self.wheel.catch_up()  # a burst of requests must not delay tokens, neither here nor in `door`
        self._arrived += len(data)
        self._incoming.held += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._forget_request()
        elif self._in_head and self._arrived > incoming.HEAD_LIMIT:
            self._refuse(431, f"the headers are larger than {incoming.HEAD_LIMIT} bytes")
        elif self._arrived > incoming.RAW_LIMIT:
            self._refuse(413, f"the request is larger than {incoming.RAW_LIMIT} bytes")
        elif self._incoming.full and self._arrived > incoming.HEAD_LIMIT:
            self._refuse(503, "the server receives too much at once; try again")

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= incoming.PIPELINED:
            raise self._refusal(400, f"more than {incoming.PIPELINED} requests wait on this connection")
        self._in_head = True
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # a TypedDict, which has no room for our keys
        scope[CONNECTION] = self

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= incoming.HEADERS:
            raise self._refusal(431, f"there are more than {incoming.HEADERS} headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        # Not earlier: a model starts with the whole question, however long a slow link takes to deliver it.
        self.scope[RECEIVED_AT] = time.monotonic_ns()  # type: ignore[literal-required]  # as above
        self._in_head = True
        self._forget_request()
        if self.cycle.response_complete:  # it was refused before its end
            self._incoming.expect(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._incoming.expect(self)

    def _forget_request(self) -> None:
        self._incoming.held -= self._arrived
        self._arrived = 0
        self._incoming.arrived(self)

    def _refusal(self, status: int, reason: str) -> _Refused:
        self._refused = _Refused(status, reason)
        return self._refused

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for a request that is no HTTP, or that one of the methods above refused."""
        if self._refused is not None:
            self._refuse(self._refused.status, str(self._refused))
        else:
            self._refuse(400, msg)

    def too_late(self, reason: str) -> None:
        self._refuse(408, reason)

    def _refuse(self, status: int, reason: str) -> None:
        """Close the connection, with the reason unless another answer is under way."""
        self._forget_request()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = f"{reason}\n".encode()
            head = b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True  # nothing may follow
                self.cycle.message_event.set()
        self.transport.close()

    # What is sent

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
        if self.producer is None:  # a producer has a deadline of its own
            self._unread = self.transport.get_write_buffer_size()
            self._incoming.held += self._unread
            self._unread_timer = self.loop.call_later(incoming.UNREAD_SECONDS, self.abort)

    @property
    def overloaded(self) -> bool:
        """Whether all clients together have sent, or left unread, as much as the server is ready to hold."""
        return self._incoming.full

    def _forget_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
            self._incoming.held -= self._unread

    def resume_writing(self) -> None:
        super().resume_writing()
        self.full = False
        self._forget_unread()
        if self.producer is not None:
            self.producer.resume()

    def eof_received(self) -> None:
        self._lose()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._descriptor = -1  # the kernel may give the number to another connection
        self._forget_request()
        self._forget_unread()
        self._lose()
        super().connection_lost(exc)

    def _lose(self) -> None:
        self.lost = True
        if self.producer is not None:
            self.producer.disconnected()
