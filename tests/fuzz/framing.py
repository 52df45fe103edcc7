"""The two socket readers: of the same bytes in the same pieces they make the same answer, read by read."""

import socket
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from streamgauge.harness.drive.wire.compiled import CompiledReader, PolledSet, ReadingThread, SocketSet
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.drive.wire.exchange import Exchange, SocketReader
from streamgauge.harness.drive.wire.plain import PlainReader
from streamgauge.harness.drive.wire.tls import Tls
from streamgauge.harness.native import library
from streamgauge.harness.record.observation import Outcome
from tests.fuzz.chunks import ordinary, written
from tests.fuzz.inputs import cut, mutated

_STRANGE = (b"\r", b"\n", b"\r\n", b"\r\n ", b"\n\t", b"0", b" ", b":", b"\0", b"\x01", b"\xff")
HEADS = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n",
    b"HTTP/1.1 200 OK\r\nx: y\r\n z\r\ntransfer-encoding:\r\n\tchunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n" + b"x: y\r\n" * 600 + b"\r\n",
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx-error: none\r\nTransfer-Encoding:chunked\r\nconnection: close\r\n\r\n",
    b"HTTP/1.1 200 \r\ntransfer-encoding: chunked \r\nx_y: z\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: identity\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nupgrade: x\r\nconnection: upgrade\r\ntransfer-encoding: chunked\r\n\r\n",
)
MARKERS = ((b"never",), (b"x",), ())  # of `Exchange`
_SETS: dict[type[SocketSet], SocketSet] = {}


class Made(NamedTuple):
    status: int | None
    body: bytes
    ends: list[int]  # of each read, in the body
    complete: bool
    outcome: Outcome | None  # None: nothing broke it


class _Late(CompiledReader):
    """Passes on what C has read only when C can read no more."""

    def drain(self) -> None:
        self._sockets.drain(self._inbox)
        if self._inbox.full:
            super().drain()


def _compiled(reader: type[CompiledReader], sockets: type[SocketSet]) -> Callable[[Exchange], CompiledReader]:
    if sockets not in _SETS:
        _SETS[sockets] = sockets(library.LIBRARY)
    return lambda exchange: reader(exchange, _SETS[sockets])


def case(random: Random) -> None:
    head = random.choice(HEADS)
    zeros = b"0" * random.choice((0, 0, 0, 30, 70)) if b"hunked" in head else b""
    body = written(random) if random.random() < 0.8 else ordinary(random)
    sent = (head if random.random() < 0.9 else mutated(random, head, _STRANGE)) + zeros + body
    pieces, markers = cut(random, sent), random.choice(MARKERS)
    same(pieces, markers, random.choice((ReadingThread, PolledSet)))


def same(pieces: list[bytes], markers: tuple[bytes, ...], sockets: type[SocketSet]) -> Made:
    """What the plain reader makes of these pieces; the compiled one must make the same of them, soon or late."""
    plainly = made_of(pieces, markers, PlainReader)
    for reader in (CompiledReader, _Late):
        assert made_of(pieces, markers, _compiled(reader, sockets)) == plainly, (pieces, markers, reader)
    return plainly


def made_of(
    pieces: list[bytes],
    markers: tuple[bytes, ...],
    reader: Callable[[Exchange], SocketReader],
    tls: Tls | None = None,
) -> Made:
    """What a reader makes of these pieces, each of which is drained before the next is sent, and of the end."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        connection = Connection()
        connection.sock, connection.tls = near, tls
        exchange = Exchange(connection, 1 << 20, markers)
        exchange.start(reader(exchange))
        for piece in pieces:
            if not exchange.finished:
                far.sendall(piece)
                exchange.drain()
        far.close()
        while not exchange.finished:
            exchange.drain()
        response, broken = exchange.response, exchange.broken
        ends = exchange.reads.columns()[0].tolist()
        made = Made(response.status, bytes(response.body), ends, response.complete, broken.outcome if broken else None)
        exchange.stop()
    return made
