"""systemd's notifications of a service with Type=notify: one datagram each, to the socket that $NOTIFY_SOCKET names.

Without systemd there is no such socket, and nothing is sent. See sd_notify(3) and sd_watchdog_enabled(3).
"""

import os
import socket
from collections.abc import Mapping

READY = "READY=1"
ALIVE = "WATCHDOG=1"
STOPPING = "STOPPING=1"


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether it was sent. A socket that is gone or full must not end the monitor: the watchdog then does."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = f"\0{address[1:]}" if address.startswith("@") else address  # @: Linux's abstract names
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(1.0)
            sender.sendto(state.encode(), name)
    except OSError:
        return False
    return True


def watchdog_every(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often to send ALIVE, in seconds: four times in WatchdogSec, since it waits for a line of the judge.

    None: nobody watches this process.
    """
    microseconds, process = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or int(microseconds) == 0 or process != str(os.getpid()):
        return None
    return int(microseconds) / 4e6
