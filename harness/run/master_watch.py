"""Notices that a worker's master is gone: a worker alone sends load that nobody records."""

from collections.abc import Callable
from typing import Protocol

import gevent

from streamgauge.harness.drive.dispatcher import Waiting
from streamgauge.harness.run.messages import SILENT

_TICK = 0.25  # seconds between two looks
BROKEN = 2.0  # seconds without a connection; libzmq connects anew within a second if the master is there


class Line(Protocol):
    """What a worker's `Door` says of its master. The door would import Locust, which patches a test's process."""

    connected: bool | None  # None before the first connection
    heard: int  # messages of the master


class MasterWatch:
    def __init__(
        self,
        door: Line,
        under_way: Callable[[], bool],
        gone: Callable[[str], None],
        waiting: Waiting = Waiting(),  # noqa: B008 - immutable
    ) -> None:
        """`under_way`: whether users run. Otherwise silence means nothing: Locust reads no messages while users stop.

        `gone` is called once, with a sentence.
        """
        self._door = door
        self._under_way = under_way
        self._gone = gone
        self._waiting = waiting
        gevent.spawn(self._watch)

    @property
    def disconnected(self) -> bool:
        return self._door.connected is False

    def _watch(self) -> None:
        broken = silent = 0.0  # seconds, counted by ticks: a stop of this process is no silence of the master
        heard, ticked = self._door.heard, self._waiting.now()
        while broken < BROKEN and silent < SILENT:
            self._waiting.sleep(_TICK)
            now = self._waiting.now()
            passed, ticked = min((now - ticked) / 1e9, 2 * _TICK), now
            broken = broken + passed if self.disconnected else 0.0
            silent = silent + passed if self._under_way() and self._door.heard == heard else 0.0
            heard = self._door.heard
        how = f"has been disconnected for {BROKEN:g} s" if broken else f"has said nothing for {SILENT:g} s"
        self._gone(f"the master {how}")
