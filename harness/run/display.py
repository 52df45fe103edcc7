"""Shows a run while it goes on: in the terminal, in Locust's web UI and in Locust's statistics, once a second."""

from collections.abc import Callable

import gevent
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner

from streamgauge.harness.run import locust_entries, screen, view
from streamgauge.harness.run.latest import Latest
from streamgauge.harness.run.recording import Recording
from streamgauge.harness.run.settings import Settings
from streamgauge.harness.run.streams_tab import StreamsTab
from streamgauge.harness.run.terminal import say
from streamgauge.harness.run.view import View

_EVERY = 1.0  # seconds
_LINES_EVERY = 3  # of these, where there is no screen


class Display:
    def __init__(
        self,
        environment: Environment,
        runner: LocalRunner | MasterRunner,
        settings: Settings,
        recording: Recording,
        tab: StreamsTab | None,
    ) -> None:
        """Shows nothing yet. `tab`: that of the web UI; None without one."""
        self._environment = environment
        self._runner = runner
        self._settings = settings
        self._recording = recording
        self._tab = tab
        self._screen: screen.Screen | None = None
        self._latest = Latest(settings.rules, settings.config.reader, settings.warm_up)
        recording.counted_by.append(self._latest.add)

    def watch(self, ends: Callable[[], float | None]) -> None:
        """Never returns. `ends`: when the run is to end, s after its beginning; None: unknown."""
        if self._settings.progress:
            self._screen = screen.opened()
        looks = 0
        while True:
            gevent.sleep(_EVERY)
            looks += 1
            self._look(ends())
            if self._settings.progress and self._screen is None and looks % _LINES_EVERY == 0:
                for line in self._recording.live.lines(int(self._now), self._runner.user_count):
                    say(line)

    def finish(self) -> None:
        """Count the last streams, and give the terminal back."""
        try:
            self._look(None)
        finally:
            if self._screen is not None:
                self._screen.close()

    @property
    def _now(self) -> float:
        return self._recording.clock.now() / 1e9

    def _look(self, ends: float | None) -> None:
        streams = self._latest.take(self._now)
        if streams is not None:
            gevent.sleep(0)  # between steps of some ms each, for the users of a run without workers
            locust_entries.add(self._environment.stats, streams)
        if self._screen is None and self._tab is None:
            return
        gevent.sleep(0)
        seen = self._view(ends)
        if self._screen is not None:
            from streamgauge.harness.run import dashboard  # noqa: PLC0415 - it imports rich: only for a screen

            self._screen.show(lambda width, height: dashboard.lines(seen, width, height))
        if self._tab is not None:
            self._tab.show(seen)

    def _view(self, ends: float | None) -> View:
        recording, now = self._recording, self._now
        processes = recording.processes.values()
        return View(
            scenario=recording.run.scenario,
            host=recording.run.host,
            seconds=now,
            ends=ends,
            warm_up=max(0.0, self._settings.warm_up / 1e9 - now),
            users=self._runner.user_count,
            active=view.active(processes),
            outcomes=recording.live.outcomes(now),
            failures=recording.live.failures(now),
            figures=self._latest.figures(now),
            health=view.health(processes),
        )
