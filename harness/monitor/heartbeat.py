"""The dead man's switch: after each good round, somebody outside is told that the monitor lives.

A URL is fetched (Healthchecks, Uptime Kuma's push monitors, …), and an Alertmanager with `watchdog = true` gets an
alert that always fires: whoever gets neither for some rounds knows that the monitor is dead. A receiver that does not
answer delays no round: each has a thread, and at most one beat is under way.
"""

import threading
import time
from collections.abc import Callable

from streamgauge.harness.config.alerts import Alertmanager
from streamgauge.harness.config.receivers import Filled
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.monitor.alerts.receivers import alertmanager
from streamgauge.harness.monitor.alerts.receivers.attempt import Failed, Refused
from streamgauge.harness.monitor.alerts.receivers.http import get
from streamgauge.harness.unexpected import sentence

_SECONDS = 10.0  # for one beat


class Heartbeat:
    """`tell` gets a line when beats begin to fail, and when they succeed again."""

    def __init__(self, url: str | None, filled: Filled, every: float, tell: Callable[[str], None]) -> None:
        """`url`: filled in, None for none. `every`: seconds between two rounds."""
        redaction = filled.redaction.also([url] if url else [])
        self._beaters = [
            _Beater(f"the watchdog at {table.called}", _watchdog(table, every), redaction, tell)
            for table in filled.receivers
            if isinstance(table, Alertmanager) and table.watchdog
        ]
        if url:
            self._beaters.append(_Beater("the heartbeat", lambda: get(url, seconds=_SECONDS), redaction, tell))

    def beat(self) -> None:
        """Call it after a round in which every target was asked and stored, whatever the answers were."""
        for beater in self._beaters:
            beater.due.set()

    def wait(self, seconds: float) -> bool:
        """Until what was due has been sent; False if that took longer."""
        return all(beater.idle.wait(seconds) for beater in self._beaters)


def _watchdog(table: Alertmanager, every: float) -> Callable[[], None]:
    return lambda: alertmanager.send_watchdog(table, time.time(), every)


class _Beater:
    def __init__(self, name: str, send: Callable[[], None], redaction: Redaction, tell: Callable[[str], None]) -> None:
        self.due = threading.Event()
        self.idle = threading.Event()
        self._name, self._send, self._redaction, self._tell = name, send, redaction, tell
        self._fails = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while True:
            self.due.wait()
            self.idle.clear()
            self.due.clear()
            fault = self._fault()
            if fault is not None and not self._fails:
                self._tell(f"{self._name} fails: {self._redaction.blotted(fault)}")
            if fault is None and self._fails:
                self._tell(f"{self._name} is sent again")
            self._fails = fault is not None
            self.idle.set()

    def _fault(self) -> str | None:
        try:
            self._send()
        except (Refused, Failed) as fault:
            return str(fault)
        except Exception as fault:  # noqa: BLE001 - a mistake here must not end the thread
            return f"unexpected error: {sentence(fault)}"
        return None
