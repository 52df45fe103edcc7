"""Turns of the gevent loop: how long it works before it looks whom else to serve. Shorter while somebody connects.

Data that has arrived can wait, since its arrival time is the kernel's. A request that waits for its connection cannot:
the delay is a part of its TTFT. For the same reason the reading thread gives way while a request is made and sent.
"""

import time

import gevent

from streamgauge.harness.native import library

_LONGEST = 1_000_000  # ns
_WHILE_CONNECTING = 200_000  # ns; a break costs 10,000
# ns in which the reading thread gives way, unless the request is sent before: longer than it usually takes to make one,
# and to go on with a connection that has waited for the server.
_REQUEST = 300_000
_NEXT_STEP = 500_000
_WAITING = 60_000_000_000
_LONGEST_QUEUE = 0.02  # seconds for which a new user lets others connect first


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


class Postponed:
    """A kind of work that waits for the next turn if this one is over while somebody connects; but never twice."""

    def __init__(self) -> None:
        self._postponed = False

    def now(self) -> bool:
        """Whether to postpone it now."""
        self._postponed = not self._postponed and short() and over()
        return self._postponed


def after_others() -> None:
    """Return when nobody connects, or after a moment: it does not matter whether a new user begins now or then.

    Two who connect at once wait for each other, and that would be in their TTFT.
    """
    end = time.monotonic() + _LONGEST_QUEUE
    while _Turn.connecting and time.monotonic() < end:
        gevent.sleep(0.001)


def hurry() -> None:
    """A request is due now: let the reading thread give way until it is sent."""
    if not _Turn.connecting:
        _hurry(_REQUEST)


def sent() -> None:
    """The request is sent: what comes now has its time from the kernel."""
    if not _Turn.connecting:
        _hurry(0)


class Shorter:
    """Makes turns short during the `with` block, and lets the reading thread give way until shortly after it."""

    def __enter__(self) -> None:
        if not _Turn.connecting:
            _hurry(_WAITING)
        _Turn.connecting += 1

    def __exit__(self, *_: object) -> None:
        _Turn.connecting -= 1
        if not _Turn.connecting:
            _hurry(_NEXT_STEP)


def _hurry(ns: int) -> None:
    if library.LIBRARY is not None:
        library.LIBRARY.sg_hurry(ns)
