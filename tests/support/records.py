"""The server's end of a TLS connection over memory buffers, so that a script can do as it likes with each record."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from tests.support.hostile import Peer

T = TypeVar("T")


class Records:
    """Does the handshake, and takes the request. After that, nothing is sent but by the script."""

    def __init__(self, context: ssl.SSLContext, peer: Peer) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._peer = peer
        self._call(self._object.do_handshake)
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += self._call(lambda: self._object.read(65_536))

    def of(self, plain: bytes) -> bytes:
        """The record, or the records of 16 KiB each, with this plain text."""
        self._object.write(plain)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """The record with close_notify."""
        with suppress(ssl.SSLError):
            self._object.unwrap()
        return self._outgoing.read()

    def fatal_alert(self) -> bytes:
        """The record with which OpenSSL tells of a record that it cannot read."""
        self._incoming.write(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        with suppress(ssl.SSLError):
            self._object.read(1)
        return self._outgoing.read()

    def _call(self, step: Callable[[], T]) -> T:
        """The result of a step of the handshake or of reading, with all that has to be sent and received for it."""
        while True:
            with suppress(ssl.SSLWantReadError):
                found = step()
                self._peer.sock.sendall(self._outgoing.read())
                return found
            self._peer.sock.sendall(self._outgoing.read())
            self._incoming.write(self._peer.sock.recv(65_536))
