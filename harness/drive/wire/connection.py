"""A socket, with TLS if the endpoint uses it: connect, send, close. `wire.exchange` reads the answers."""

import errno
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import gevent
from gevent import monkey
from gevent.socket import wait

from streamgauge.harness.drive.wire import stamps, turns
from streamgauge.harness.drive.wire.broken import Broken, Starved, reason, reason_of, starves
from streamgauge.harness.drive.wire.endpoint import Address, Endpoint, Resolved
from streamgauge.harness.drive.wire.tls import Plain, Tls
from streamgauge.harness.errors import TargetError
from streamgauge.harness.record.observation import Outcome

# Locust has replaced `socket.socket` with gevent's; the socket readers need the original.
_socket: Any = monkey.get_original("socket", "socket")

_poll: Any = monkey.get_original("select", "poll")
_ESTABLISHED = 1  # TCP's state, in `struct tcp_info`
_ROUND_TRIP, _RETRANSMITTED = 68, 100  # in `struct tcp_info`: tcpi_rtt, µs, and tcpi_total_retrans
_TICK = 10_000_000  # ns; how coarse the kernel's times in `struct tcp_info` are

_QUICK = 1_000_000  # ns in which a near server answers in the TLS handshake, unless it is busy

_BLOCK = 65_536  # bytes received at a time in a handshake
_SEGMENT = 1_460  # bytes of payload in an Ethernet segment
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class _Servers:
    """What is known of the servers of this process."""

    quick = 0.0  # the share of answers in TLS handshakes that came at once; the later ones count for more

    @classmethod
    def answered(cls, took: int) -> None:
        """Count an answer that came after so many ns."""
        cls.quick += ((took < _QUICK) - cls.quick) / 5


class Connection:
    """Serves one exchange at a time."""

    __slots__ = ("address", "connect_lag", "resolved_at", "sent_at", "sock", "tls")

    def __init__(self) -> None:
        self.sock: Any = None
        self.tls: Tls | None = None
        self.address: str | None = None  # the server's IP address, or the last one that was tried
        self.resolved_at: int | None = None  # CLOCK_MONOTONIC ns
        # ns from the kernel's connection, and from each answer in the TLS handshake, until we noticed; None: unknown
        self.connect_lag: int | None = None
        # CLOCK_MONOTONIC ns; taken before the last call of `send`, which may return after the answer has arrived.
        self.sent_at: int | None = None

    def prepare(self, endpoint: Endpoint) -> None:
        """Make the first message of the TLS handshake: its keys take a while to compute."""
        if endpoint.tls is not None:
            tls = Tls(endpoint.tls, endpoint.host)
            tls.handshake(b"")
            self.tls = tls

    def open(self, endpoint: Endpoint, until: int, window: int | None = None) -> None:
        """Resolve and connect before `until`. Broken (UNREACHABLE, TIMED_OUT or Starved) if that fails.

        `window`: SO_RCVBUF in bytes, which the kernel doubles; None: the kernel's own choice.
        """
        addresses, self.resolved_at = _resolved(endpoint, until)
        until += time.monotonic_ns() - self.resolved_at  # while our loop stood still, nobody could connect
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
        self.address = address[0]
        self.sock = sock = _open_socket(family)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stamps.switch_on(sock)  # before connecting, so that the first segments are stamped too
        if window is not None:
            # Before connecting, which fixes the window scale.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            # Without this, a segment on loopback would be as large as the whole window.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        began = time.monotonic_ns()
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            if not _polled(sock, _WRITABLE.mask):  # a server on this machine has answered by now
                self._wait(_WRITABLE, until, Broken(Outcome.TIMED_OUT, "no connection in time"))
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if starves(code):
            raise Starved(code)
        if code:
            raise Broken(Outcome.UNREACHABLE, f"cannot connect to {address[0]}:{address[1]}: {reason_of(code)}")
        handshake = _handshake_of(sock)
        if handshake is not None:
            self.connect_lag = max(0, time.monotonic_ns() - began - handshake)

    def secure(self, endpoint: Endpoint, until: int) -> None:
        """Do the TLS handshake before `until`. Broken (UNREACHABLE or TIMED_OUT) if that fails.

        In TLS 1.3 our last message of it goes out together with the request: see `send`.
        """
        if self.tls is None:
            self.prepare(endpoint)
        tls = self.tls
        assert tls is not None
        late = Broken(Outcome.TIMED_OUT, "no TLS handshake in time")
        try:
            with turns.Shorter():
                self._send(tls.outgoing(), until, late)
                while not tls.handshake(self._answer(until, late)):
                    self._send(tls.outgoing(), until, late)
        except OSError as fault:
            raise Broken(Outcome.UNREACHABLE, f"the connection broke in the TLS handshake: {reason(fault)}") from None

    def _answer(self, until: int, late: Broken) -> bytes:
        """What the server answers in the TLS handshake; b"" if it turns out that there is nothing yet."""
        # The loop would not do much else until a near server answers, but could notice the answer late.
        if not (_Servers.quick > 0.5 and _polled(self.sock, _READABLE.mask, _QUICK // 1_000_000)):
            self._wait(_READABLE, until, late)
        try:
            data, control, _, _ = self.sock.recvmsg(_BLOCK, stamps.CONTROL_SPACE)
        except BlockingIOError:
            return b""
        if not data:
            raise Broken(Outcome.UNREACHABLE, "the server closed the connection in the TLS handshake")
        stamp = stamps.stamp_of(control)
        if stamp:
            lag = max(0, time.time_ns() - stamp)
            _Servers.answered(time.monotonic_ns() - lag - (self.sent_at or 0))
            if self.connect_lag is not None:
                self.connect_lag += lag
        found: bytes = data
        return found

    def send(self, data: bytes, until: int) -> None:
        """Hand all of `data` to the kernel before `until`, or raise Broken. OSError if the connection broke."""
        if self.tls is not None:
            self.tls.encrypt(data)
            data = self.tls.outgoing()
        self._send(data, until, Broken(Outcome.TIMED_OUT, "the server did not take the request in time"))
        turns.sent()

    def _send(self, data: bytes, until: int, late: Broken) -> None:
        rest = memoryview(data)
        while rest:
            self.sent_at = time.monotonic_ns()
            try:
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                self._wait(_WRITABLE, until, late)

    def _wait(self, event: "_Event", until: int, late: Broken) -> None:
        """Wait until `until`, or raise `late`. What came in time counts, however late we look."""
        ready = True
        try:
            _wait_before_others(self.sock, event, seconds_until(until), late)
        except Broken:
            ready = bool(_polled(self.sock, event.mask))
        if not ready or (time.monotonic_ns() > until and _happened(self.sock, event.since) > until + _TICK):
            raise late

    def decrypt(self, data: bytes | memoryview, ends: Sequence[int]) -> Plain:
        """Like `Tls.decrypt`; also sends TLS's own replies."""
        assert self.tls is not None
        found = self.tls.decrypt(data, ends)
        if answer := self.tls.outgoing():
            with suppress(OSError):  # such as the reply to a key update; the peer can do without it
                self.sock.send(answer)
        return found

    def usable(self) -> bool:
        """Whether an idle connection is still open and silent."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)  # data or the end of the stream: not usable for another exchange
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close with FIN, or with RST if the kernel still holds unread data, as for any program."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def abort(self) -> None:
        """Close with RST, as a kernel does when data arrives for a process that was killed."""
        if self.sock is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close()


def _resolved(endpoint: Endpoint, until: int) -> Resolved:
    """The addresses, if they came before `until`, however late we look. Broken (UNREACHABLE, TIMED_OUT) or Starved."""
    try:
        return endpoint.resolve(seconds_until(until))
    except TimeoutError:
        raise Broken(Outcome.TIMED_OUT, f"no answer from the DNS for {endpoint.host}") from None
    except TargetError as fault:
        _open_socket(socket.AF_INET).close()  # without a free descriptor no name resolves, either
        raise Broken(Outcome.UNREACHABLE, str(fault)) from None
    except (RuntimeError, MemoryError) as fault:  # can't start new thread
        raise Starved(fault) from None


def _open_socket(family: int) -> Any:
    """Broken (UNREACHABLE or Starved) if there is none."""
    try:
        return _socket(family, socket.SOCK_STREAM)
    except OSError as fault:
        if starves(fault.errno):
            raise Starved(fault) from None
        raise Broken(Outcome.UNREACHABLE, f"cannot open a socket: {reason(fault)}") from None


class _Event(NamedTuple):
    """What to wait for at a socket."""

    bit: int  # as for libev
    mask: int  # as for `poll`
    since: int  # where in the kernel's `struct tcp_info` it says how many ms ago this happened


_READABLE = _Event(1, select.POLLIN, 52)  # tcpi_last_data_recv
_WRITABLE = _Event(2, select.POLLOUT, 56)  # tcpi_last_ack_recv: a new connection's, or of data we sent


def _wait_before_others(sock: Any, event: _Event, seconds: float, late: Broken) -> None:
    """Wait, or raise `late`. Of all that is ready in the gevent loop, those who wait here go on first.

    What the others wait for has its time from the kernel. These have not sent their request yet: our delay would be in
    their TTFT.
    """
    hub = gevent.get_hub()
    watcher = hub.loop.io(sock.fileno(), event.bit, priority=hub.loop.MAXPRI)
    with turns.Shorter():
        try:
            wait(watcher, seconds, late)
        finally:
            watcher.close()


def _polled(sock: Any, mask: int, wait_ms: int = 0) -> list[tuple[int, int]]:
    """Whether the socket is ready. The gevent loop stands still for as long as this waits."""
    poll = _poll()
    poll.register(sock, mask)
    found: list[tuple[int, int]] = poll.poll(wait_ms)
    return found


def _happened(sock: Any, since: int) -> int:
    """When it happened, CLOCK_MONOTONIC ns, to a few milliseconds; 0 if the connection is not open, or nobody knows."""
    if not hasattr(socket, "TCP_INFO"):  # other systems than Linux
        return 0
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, since + 4)
    if info[0] != _ESTABLISHED:
        return 0
    return time.monotonic_ns() - int.from_bytes(info[since:], sys.byteorder) * 1_000_000


def _handshake_of(sock: Any) -> int | None:
    """How long TCP's handshake took by the kernel, ns; None if it had to be repeated: that time is not known."""
    if not hasattr(socket, "TCP_INFO"):  # other systems than Linux
        return None
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RETRANSMITTED + 4)
    if len(info) < _RETRANSMITTED + 4 or any(info[_RETRANSMITTED:]):
        return None
    return int.from_bytes(info[_ROUND_TRIP : _ROUND_TRIP + 4], sys.byteorder) * 1_000


def seconds_until(moment: int) -> float:
    """Seconds until a CLOCK_MONOTONIC moment, ns. Never 0, which some functions take for "wait for ever"."""
    return max(1e-6, (moment - time.monotonic_ns()) / 1e9)
