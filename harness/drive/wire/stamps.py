"""The kernel's arrival times (SO_TIMESTAMPNS): CLOCK_REALTIME nanoseconds, in a control message with each read.

The kernel gives one stamp for a read, that of the read's last segment. `stamp_of` serves TLS handshakes and the socket
readers in Python; the compiled reader finds the stamp itself, in native/reader.c.
"""

import socket
import struct
import weakref
from contextlib import suppress
from typing import Any

from gevent import monkey

# Locust has replaced `socket.socket` with gevent's, which would need a gevent loop.
_socket: Any = monkey.get_original("socket", "socket")

SO_TIMESTAMPNS = 35  # Linux; Python's `socket` has no name for it
CONTROL_SPACE = 64  # bytes for a control message with one timespec
_TIMESPEC = struct.Struct("@ll")


def switch_on(sock: Any) -> bool:
    """Ask the kernel to stamp what arrives on a socket. False if it cannot; then our own clock is used."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


class Stamping:
    """While one of these lives, the kernel stamps all that arrives on this machine.

    It does so only while some socket asks, and begins a moment after the first one did. What comes before has no stamp.
    """

    def __init__(self) -> None:
        with suppress(OSError):  # no free descriptor; then no connection gets one, either
            kept = _socket(socket.AF_INET, socket.SOCK_STREAM)
            weakref.finalize(self, kept.close)
            switch_on(kept)


def kernel_stamps() -> bool:
    """Whether this machine's kernel stamps arrivals at all."""
    with _socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return switch_on(probe)


def stamped_by() -> str:
    """Who tells when data arrived: the kernel, or Python after it has read."""
    return "kernel" if kernel_stamps() else "python"


def stamp_of(control: list[tuple[int, int, bytes]]) -> int:
    """The stamp in a read's control messages, ns; 0 if there is none, as shortly after `switch_on`."""
    if not control or len(control[0][2]) != _TIMESPEC.size:
        return 0
    seconds, nanoseconds = _TIMESPEC.unpack(control[0][2])
    stamp: int = seconds * 1_000_000_000 + nanoseconds
    return stamp
