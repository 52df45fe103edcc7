"""Turns of the gevent loop: how long it works before it looks whom else to serve. Shorter while somebody connects.

Data that has arrived can wait, since its arrival time is the kernel's. A request that waits for its connection cannot:
the delay is a part of its TTFT.
"""

import time

import gevent

_LONGEST = 1_000_000  # ns
_WHILE_CONNECTING = 200_000  # ns; a break costs 10,000


class _Turn:
    """What happens between two polls of the gevent loop."""

    poll = -1  # the number of the poll before it
    began = 0  # CLOCK_MONOTONIC ns
    connecting = 0  # greenlets that wait for a connection or for TLS


def over() -> bool:
    """Whether the present turn was long enough."""
    # Not by `loop.now()`: gevent sets it whenever a timer starts.
    poll, now = gevent.get_hub().loop.iteration, time.monotonic_ns()
    if poll != _Turn.poll:
        _Turn.poll, _Turn.began = poll, now
    return now - _Turn.began > (_WHILE_CONNECTING if _Turn.connecting else _LONGEST)


def short() -> bool:
    """Whether turns are short now."""
    return _Turn.connecting > 0


class Shorter:
    """Makes turns short during the `with` block."""

    def __enter__(self) -> None:
        _Turn.connecting += 1

    def __exit__(self, *_: object) -> None:
        _Turn.connecting -= 1
