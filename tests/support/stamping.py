"""The kernel's time stamps of what arrives, waited for."""

import contextlib
import socket
from collections.abc import Iterator

from streamgauge.harness.drive.wire.stamps import CONTROL_SPACE, Stamping, kernel_stamps, stamp_of, switch_on
from tests.support.command import until


@contextlib.contextmanager
def stamping() -> Iterator[None]:
    """In here the kernel stamps all that arrives, where it can: it begins only after a socket asked for it, and on a
    busy machine that may be long after."""
    kept = Stamping()
    if kernel_stamps():
        until(stamped_in_advance)
    yield
    del kept


def stamped_in_advance() -> bool:
    """Whether the kernel stamps what arrives on a socket that has not asked for it."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as near:
        far, _ = listening.accept()
        with far:
            far.sendall(b"token")
            near.recv(1, socket.MSG_PEEK)  # it has arrived
            assert switch_on(near)
            _, control, _, _ = near.recvmsg(16, CONTROL_SPACE)
    return stamp_of(control) > 0
