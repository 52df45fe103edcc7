"""A port for ourselves that nobody else gets between its choice and its opening, seconds later on a busy machine."""

import socket
import sys


def reserve(host: str) -> tuple[int, socket.socket]:
    """A free port, and a socket that keeps it from other programs while it is open, and never listens."""
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ZeroMQ sets it, too: on Linux, it can open the port
    keeper.bind((host, 0))
    port = keeper.getsockname()[1]
    if sys.platform != "linux":
        keeper.close()
    return port, keeper
