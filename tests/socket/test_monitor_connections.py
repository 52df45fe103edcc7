"""The connections to the monitor's pages: how many there may be, whatever their clients do."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from uvicorn.server import ServerState

from streamgauge.harness.monitor.web.connection import Connection
from tests.support.command import PATIENCE

MOST = 200
ANSWER = bytes(20_000_000)  # more than the kernel keeps for a client that does not read
SMALL = 4_096  # bytes of a socket's buffer
PIECE = bytes(100_000)  # more than two such buffers and asyncio keep for a client that does not read


async def _large(_: Request) -> Response:
    return Response(ANSWER)


async def _piece(_: Request) -> Response:
    return Response(PIECE)


async def _pieces(_: Request) -> Response:
    def pieces() -> Iterator[bytes]:
        yield PIECE
        yield PIECE

    return StreamingResponse(pieces())


async def _well(_: Request) -> Response:
    return Response()


def _config() -> uvicorn.Config:
    answers = {"/": _large, "/piece": _piece, "/pieces": _pieces, "/healthz": _well}
    app = Starlette(routes=[Route(path, answer) for path, answer in answers.items()])
    config = uvicorn.Config(app, http=Connection, ws="none", log_level="error", lifespan="off")
    config.load()
    return config


async def _left(clients: int, request: bytes = b"") -> int:
    """How many of so many connections that came at the same time are left; the first sends a request."""
    state, config = ServerState(), _config()
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0), backlog=clients) as listening:
        first = stack.enter_context(socket.create_connection(listening.getsockname(), PATIENCE))
        accepted: list[Connection] = []

        def accept() -> Connection:
            accepted.append(Connection(config, state, {}))
            return accepted[-1]

        async with await asyncio.get_running_loop().create_server(accept, sock=listening, backlog=clients):
            await _until(lambda: len(state.connections) == 1)
            first.sendall(request)
            await _until(lambda: not request or (accepted[0].cycle is not None and accepted[0].is_idle))
            for _ in range(clients - 1):
                stack.enter_context(socket.create_connection(listening.getsockname(), PATIENCE))
            await _until(lambda: len(accepted) == clients)
            for _ in range(10):  # turns of the loop, in which what was closed goes
                await asyncio.sleep(0)
            assert accepted[0] not in state.connections, "the oldest"
            left = len(state.connections)
            for each in list(state.connections):
                each.transport.abort()
    return left


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0)


def test_of_many_connections_that_come_at_once_only_so_many_are_kept() -> None:
    assert asyncio.run(_left(2 * MOST)) == MOST


def test_an_answer_that_nobody_reads_keeps_no_connection_over_the_limit() -> None:
    assert asyncio.run(_left(MOST + 1, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")) == MOST


async def _health_beside_unread(path: str) -> bytes:
    """The first line of /healthz's answer while as many clients as may be do not read theirs."""
    state, config = ServerState(), _config()
    request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0), backlog=MOST) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)  # of what it accepts, too
        address = listening.getsockname()
        accepted: list[Connection] = []

        def accept() -> Connection:
            accepted.append(Connection(config, state, {}))
            return accepted[-1]

        async with await asyncio.get_running_loop().create_server(accept, sock=listening, backlog=MOST):
            for _ in range(MOST):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
                client.settimeout(PATIENCE)
                client.connect(address)
                client.sendall(request)
            await _until(lambda: sum(each.flow is not None and each.flow.write_paused for each in accepted) == MOST)
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                said = await reader.read()
            writer.close()
            for each in list(state.connections):
                each.transport.abort()
            await _until(lambda: not state.connections and not state.tasks)
    return said.partition(b"\r\n")[0]


@pytest.mark.parametrize("path", ["/piece", "/pieces"], ids=["whole", "half-sent"])
def test_clients_that_do_not_read_their_answers_keep_nobody_from_asking(path: str) -> None:
    assert asyncio.run(_health_beside_unread(path)) == b"HTTP/1.1 200 OK"
