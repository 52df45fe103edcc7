"""Stands in for Python where some program is to be a fork of one that is prepared. Starts in 20 ms.

Passes on SIGTERM, and ends as the fork ends. If it is killed, so is the fork.
"""

import json
import os
import signal
import socket
import sys
from typing import NoReturn


def main(door: str, python: str, begin: list[str]) -> NoReturn:
    """`begin`: the first words of those commands of `python` that become forks."""
    words = sys.argv[1:]
    if words[: len(begin)] != begin:
        os.execv(python, [python, *words])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as order:
        order.connect(door)
        folder = os.getcwd()  # noqa: PTH109 - importing pathlib would take as long as all else
        what = {"words": words[1:], "cwd": folder, "environment": dict(os.environ), "python": ""}
        # The descriptors that `forking.DESCRIPTORS` names; importing that would take as long as all else.
        given = [os.environ[name] for name in ("STREAMGAUGE_TOLD", "STREAMGAUGE_LEVELS") if name in os.environ]
        more = [int(number) for numbers in given for number in numbers.split(",")]
        socket.send_fds(order, [json.dumps(what).encode()], [0, 1, 2, *more])
        pid = int(order.recv(32))
        signal.signal(signal.SIGTERM, lambda number, _: os.kill(pid, number))
        code = int(order.recv(32))
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    sys.exit(code)
