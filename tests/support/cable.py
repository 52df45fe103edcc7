"""A cable between two Ethernet devices that takes its time, for kernels without netem: made for that alone.

`python cable.py NEAR FAR DELAY JITTER` makes two TAP devices of these names and prints a line; whoever started it then
moves them to where they belong. Each frame waits for DELAY ± JITTER seconds, and none overtakes another. It ends with
its standard input.
"""

import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque
from contextlib import suppress

_TUNSETIFF, _TAP, _BARE = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h: frames of Ethernet, without a header of its own
_LONGEST = 1 << 16  # bytes of a frame
_MOST = 10_000  # frames on their way; more are lost


class Way:
    """One of the two directions."""

    def __init__(self, source: int, sink: int, delay: float, jitter: float) -> None:
        self.source = source
        self._sink, self._delay, self._jitter = sink, delay, jitter
        self._frames: deque[tuple[float, bytes]] = deque()  # each with when it arrives

    @property
    def due(self) -> float | None:
        """When the next frame arrives; None without one."""
        return self._frames[0][0] if self._frames else None

    def take(self, now: float) -> None:
        """Take all frames that the source has sent."""
        with suppress(OSError):  # no more, or the device is down
            while frame := os.read(self.source, _LONGEST):
                at = now + self._delay + random.uniform(-self._jitter, self._jitter)
                if len(self._frames) < _MOST:
                    self._frames.append((max(at, self._frames[-1][0] if self._frames else at), frame))

    def deliver(self, now: float) -> None:
        """Hand over what has arrived."""
        while self._frames and self._frames[0][0] <= now:
            with suppress(OSError):  # the device is down: the frame is lost
                os.write(self._sink, self._frames.popleft()[1])


def device(name: str) -> int:
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(opened, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP | _BARE))
    return opened


def main(near: str, far: str, delay: float, jitter: float) -> None:
    ends = device(near), device(far)
    ways = [Way(*those, delay, jitter) for those in (ends, ends[::-1])]
    print("there", flush=True)
    poll = select.poll()
    for file in (sys.stdin.fileno(), *ends):
        poll.register(file, select.POLLIN)
    while True:
        due = min((way.due for way in ways if way.due is not None), default=None)
        ready = dict(poll.poll(None if due is None else max(0.0, due - time.monotonic()) * 1e3))
        if sys.stdin.fileno() in ready:
            return
        now = time.monotonic()
        for way in ways:
            if way.source in ready:
                way.take(now)
            way.deliver(now)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
