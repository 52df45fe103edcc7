"""A connected socket, with TLS above it where the endpoint has it: connect, send, close. Reads nothing of an answer."""

import errno
import socket
import struct
import time
from contextlib import suppress
from typing import Any

import gevent
from gevent import monkey
from gevent.socket import wait_read, wait_write

from streamgauge.harness.drive.wire import stamps
from streamgauge.harness.drive.wire.broken import Broken, reason, reason_of
from streamgauge.harness.drive.wire.endpoint import Address, Endpoint
from streamgauge.harness.drive.wire.tls import Tls
from streamgauge.harness.errors import TargetError
from streamgauge.harness.record.observation import Outcome

# Locust has replaced this with gevent's; the exchange's reader drives the plain socket itself.
_socket: Any = monkey.get_original("socket", "socket")

_BLOCK = 65_536  # bytes received at a time in a handshake
_SEGMENT = 1_460  # bytes: what an Ethernet segment holds
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Connection:
    """Serves one exchange at a time."""

    __slots__ = ("resolved_at", "sent_at", "sock", "tls")

    def __init__(self) -> None:
        self.sock: Any = None
        self.tls: Tls | None = None
        self.resolved_at: int | None = None  # CLOCK_MONOTONIC ns
        # CLOCK_MONOTONIC ns: taken before the kernel gets the last bytes, as an answer can be back before `send` is.
        self.sent_at: int | None = None

    def open(self, endpoint: Endpoint, until: int, window: int | None = None) -> None:
        """Resolve and connect before `until`. Broken (UNREACHABLE or TIMED_OUT) otherwise.

        `window`: bytes that the kernel may receive before we read them (it doubles the number); None: its own choice.
        """
        late = Broken(Outcome.TIMED_OUT, f"no answer from the DNS for {endpoint.host}")
        with gevent.Timeout(seconds_until(until), late):
            try:
                addresses = endpoint.resolve()
            except TargetError as fault:
                raise Broken(Outcome.UNREACHABLE, str(fault)) from None
        self.resolved_at = time.monotonic_ns()
        for number, address in enumerate(addresses, 1):
            try:
                self._connect(address, until, window)
                break
            except Broken as fault:
                self.close()
                if number == len(addresses) or fault.outcome is Outcome.TIMED_OUT:
                    raise

    def _connect(self, to: Address, until: int, window: int | None) -> None:
        family, address = to
        try:
            self.sock = sock = _socket(family, socket.SOCK_STREAM)
        except OSError as fault:
            raise Broken(Outcome.UNREACHABLE, f"cannot open a socket: {reason(fault)}") from None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stamps.switch_on(sock)  # before connecting, so that the first segments are stamped too
        if window is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)  # before connecting, which fixes its scale
            # On loopback a segment would be as large as the whole window.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            wait_write(sock.fileno(), seconds_until(until), Broken(Outcome.TIMED_OUT, "no connection in time"))
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise Broken(Outcome.UNREACHABLE, f"cannot connect to {address[0]}:{address[1]}: {reason_of(code)}")

    def secure(self, endpoint: Endpoint, until: int) -> None:
        """The TLS handshake, before `until`. Broken (UNREACHABLE or TIMED_OUT) otherwise."""
        assert endpoint.tls is not None
        self.tls = tls = Tls(endpoint.tls, endpoint.host)
        late = Broken(Outcome.TIMED_OUT, "no TLS handshake in time")
        received = b""
        while not tls.handshake(received):
            self._send(tls.outgoing(), until, late)
            wait_read(self.sock.fileno(), seconds_until(until), late)
            received = self._receive()
        self._send(tls.outgoing(), until, late)

    def _receive(self) -> bytes:
        try:
            data: bytes = self.sock.recv(_BLOCK)
        except BlockingIOError:
            return b""
        except OSError as fault:
            raise Broken(Outcome.UNREACHABLE, f"the connection broke in the TLS handshake: {reason(fault)}") from None
        if not data:
            raise Broken(Outcome.UNREACHABLE, "the server closed the connection in the TLS handshake")
        return data

    def send(self, data: bytes, until: int) -> None:
        """Hand all of `data` to the kernel before `until`, or Broken. OSError when the connection is gone."""
        if self.tls is not None:
            self.tls.encrypt(data)
            data = self.tls.outgoing()
        self._send(data, until, Broken(Outcome.TIMED_OUT, "the server did not take the request in time"))

    def _send(self, data: bytes, until: int, late: Broken) -> None:
        rest = memoryview(data)
        while rest:
            self.sent_at = time.monotonic_ns()
            try:
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                wait_write(self.sock.fileno(), seconds_until(until), late)

    def decrypt(self, data: memoryview) -> tuple[bytes, bool, Broken | None]:
        """As `Tls.decrypt`; sends what TLS has to answer."""
        assert self.tls is not None
        found = self.tls.decrypt(data)
        if answer := self.tls.outgoing():
            with suppress(OSError):  # an answer to a key update: if the kernel is full, the peer does without it
                self.sock.send(answer)
        return found

    def usable(self) -> bool:
        """Whether an idle connection is still open and silent."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)  # anything, data or end, makes it unusable for another exchange
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """FIN (or RST where the kernel still holds unread data, as for any program)."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def abort(self) -> None:
        """RST: what a killed app's kernel sends when data comes for a process that is gone."""
        if self.sock is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close()


def seconds_until(moment: int) -> float:
    """The time until a CLOCK_MONOTONIC moment; never 0, which some callees take for "wait for ever"."""
    return max(1e-6, (moment - time.monotonic_ns()) / 1e9)
