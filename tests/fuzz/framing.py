"""The two socket readers: of the same bytes in the same pieces they make the same answer, read by read."""

import socket
from collections.abc import Callable
from random import Random
from typing import Any

from streamgauge.harness.drive.wire.compiled import CompiledReader, ReadingThread
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.drive.wire.exchange import Exchange, SocketReader
from streamgauge.harness.drive.wire.plain import PlainReader
from streamgauge.harness.native import library
from tests.fuzz.chunks import written
from tests.fuzz.inputs import cut, mutated

_STRANGE = (b"\r", b"\n", b"\r\n", b"0", b" ", b":", b"\0")
_HEADS = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n",
)
_SETS: list[ReadingThread] = []


def _compiled(exchange: Exchange) -> CompiledReader:
    if not _SETS:
        _SETS.append(ReadingThread(library.LIBRARY))
    return CompiledReader(exchange, _SETS[0])


def case(random: Random) -> None:
    head = random.choice(_HEADS)
    zeros = b"0" * random.choice((0, 0, 0, 30, 70)) if b"hunked" in head else b""
    sent = (head if random.random() < 0.9 else mutated(random, head, _STRANGE)) + zeros + written(random)
    pieces = cut(random, sent)
    assert _made_of(pieces, _compiled) == _made_of(pieces, PlainReader), pieces


def _made_of(pieces: list[bytes], reader: Callable[[Exchange], SocketReader]) -> tuple[Any, ...]:
    """What a reader makes of these pieces, each of which is drained before the next is sent, and of the end."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        connection = Connection()
        connection.sock = near
        exchange = Exchange(connection, 1 << 20, (b"never",))
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
        made = (
            response.status,
            bytes(response.body),
            ends,
            response.complete,
            broken and broken.outcome,
        )
        exchange.stop()
    return made
