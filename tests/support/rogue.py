"""Peers at a master's port that are no workers of its run. They speak as Locust's workers do."""

import contextlib
import hmac
from collections.abc import Iterator
from typing import Any

import msgpack
import zmq
from zmq.utils import z85


class Rogue:
    def __init__(self, socket: "zmq.Socket[bytes]", name: str) -> None:
        self._socket = socket
        self.name = name

    def send(self, kind: Any, data: Any, name: Any = None) -> None:
        """A message as Locust writes it; `name` is what it says of its sender."""
        self.send_bytes(msgpack.dumps((kind, data, self.name if name is None else name)))

    def send_bytes(self, *frames: bytes) -> None:
        with contextlib.suppress(zmq.Again):  # a refused peer's queue is full after a thousand
            self._socket.send_multipart(frames, zmq.NOBLOCK)

    def heard(self, seconds: float, more: float = 0.5) -> list[Any]:
        """The messages that come: the first within so many seconds, until no more come within `more`."""
        messages: list[Any] = []
        while self._socket.poll(int((more if messages else seconds) * 1_000)):
            messages.append(msgpack.loads(self._socket.recv(), strict_map_key=False))
        return messages


@contextlib.contextmanager
def rogue(port: int, token: str | None, name: str = "rogue") -> Iterator[Rogue]:
    """A peer with this token; None: one that does not even encrypt."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IDENTITY, name.encode())
        if token is not None:
            secret = z85.encode(hmac.digest(token.encode(), b"streamgauge master", "sha256"))
            socket.curve_serverkey = zmq.curve_public(secret)
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.connect(f"tcp://127.0.0.1:{port}")
        yield Rogue(socket, name)


@contextlib.contextmanager
def rogue_master(port: int, token: str | None) -> Iterator[Rogue]:
    """A master with this token; None: one that does not even encrypt. `send` goes to whoever wrote last."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        if token is not None:
            secret = z85.encode(hmac.digest(token.encode(), b"streamgauge master", "sha256"))
            socket.curve_server = True
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_public(secret), secret
        socket.bind(f"tcp://127.0.0.1:{port}")
        yield _RogueMaster(socket, "")


class _RogueMaster(Rogue):
    def heard(self, seconds: float, more: float = 0.5) -> list[Any]:
        messages: list[Any] = []
        while self._socket.poll(int((more if messages else seconds) * 1_000)):
            node, message = self._socket.recv_multipart()
            self.name = node.decode()
            messages.append(msgpack.loads(message, strict_map_key=False))
        return messages

    def send_bytes(self, *frames: bytes) -> None:
        super().send_bytes(self.name.encode(), *frames)
