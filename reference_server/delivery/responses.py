"""The responses that carry a stream: as server-sent events, or as one JSON document at its end."""

import asyncio
from collections.abc import Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from streamgauge.reference_server.delivery.connection import CONNECTION, RECEIVED_AT, SEND
from streamgauge.reference_server.delivery.sink import ClientConnection, Producer, Sink
from streamgauge.reference_server.delivery.stream import Stream

_EVENT_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # nginx and proxies like it would collect events otherwise
}
_SECONDS_TO_READ_THE_END = 10  # for a slow client, after its stream has ended

Open = Callable[[Sink, int], None]  # starts a producer into the sink; the request was received at this time, ns


class _Carrier(Response):
    """Carries what one producer writes, and returns when nothing more will be sent.

    If it returns without ending the response, uvicorn closes the connection. That tells the client of the failure.
    """

    def __init__(self, producer: Producer, open: Open, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self.producer: Producer = producer
        self.open = open
        self.init_headers(headers)

    async def carry(self, scope: Scope, sink: Sink) -> None:
        connection: ClientConnection = scope[CONNECTION]
        connection.producer = self.producer
        try:
            self.open(sink, scope[RECEIVED_AT])
            if connection.lost:
                self.producer.disconnected()
            await self.producer.wait()
        except asyncio.CancelledError:
            self.producer.fail(503, "the server is shutting down", "stopped")
        finally:
            connection.producer = None


class EventStream(_Carrier):
    """The answer as server-sent events."""

    def __init__(self, producer: Producer, open: Open, headers: Mapping[str, str]) -> None:
        super().__init__(producer, open, _EVENT_STREAM_HEADERS | dict(headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the body has been read
        connection: ClientConnection = scope[CONNECTION]
        send = scope[SEND]
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self.carry(scope, connection)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_SECONDS_TO_READ_THE_END, connection.abort) if connection.full else None
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if timer is not None:
            timer.cancel()


class WholeAnswer(_Carrier):
    """The answer as one JSON document at its end, or an error if the stream failed."""

    producer: Stream

    def __init__(
        self, stream: Stream, open: Open, headers: Mapping[str, str], error: Callable[[int, str], Response]
    ) -> None:
        super().__init__(stream, open, {"content-type": "application/json", **headers})
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        document = _Document()
        await self.carry(scope, document)
        stream = self.producer
        if stream.state in {"completed", "cancelled"}:
            headers = [*self.raw_headers, (b"content-length", str(len(document.body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": document.body, "more_body": False})
        elif stream.state != "disconnected":
            await self.error(stream.status, stream.detail)(scope, receive, send)


class _Document:
    """The sink of an answer that is sent whole."""

    full = False

    def __init__(self) -> None:
        self.body = b""

    def write(self, events: bytes) -> None:
        self.body += events

    def abort(self) -> None:
        pass
