"""The monitor as a whole: keeps its processes alive, heals one that hangs, and tells systemd how it is."""

import time
from collections.abc import Callable, Sequence

from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.monitor import systemd
from streamgauge.harness.monitor.processes import prober_of
from streamgauge.harness.monitor.supervisor import Part, Supervisor
from streamgauge.harness.monitor.words import SILENT

_YOUNG = 600.0  # seconds: a prober that was started so lately, or within three of its intervals, is left alone


class Service:
    def __init__(self, parts: Sequence[Part], every: float, say: Callable[[str], None]) -> None:
        """`every`: seconds between two probes of a target."""
        self._say = say
        self._patience = max(_YOUNG, 3 * every)
        self._alive_every = systemd.watchdog_every()
        self._alive_at: float | None = None  # monotonic; None: the judge has made no round yet
        self._supervisor = Supervisor(parts, say, self._hear)

    def run(self) -> Exit:
        """Until one of `interrupt.endings`."""
        try:
            return self._supervisor.run()
        finally:
            systemd.notify(systemd.STOPPING)

    def _hear(self, line: str) -> None:
        """A line of the judge. Without any, systemd's watchdog starts the whole service anew."""
        if line.startswith(SILENT):
            target = line.removeprefix(SILENT)
            again = self._supervisor.restart(prober_of(target), self._patience)
            self._say(f"{target} has not been probed for much too long{'; its prober is started again' * again}")
            return
        now = time.monotonic()
        if self._alive_at is None:
            systemd.notify(systemd.READY)
        if self._alive_at is None or (self._alive_every is not None and now - self._alive_at >= self._alive_every):
            self._alive_at = now
            systemd.notify(systemd.ALIVE)
