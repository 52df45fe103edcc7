"""The monitor's judge as a process: a round every second, and once an hour it drops what is not kept.

`streamgauge monitor` starts it, and starts it again if it ends. It tells of each round in a line on standard output.
"""

import os
import sys
import time
from collections.abc import Callable

from msgspec.structs import replace

from streamgauge.harness.config.receivers import filled
from streamgauge.harness.config.schema import Config
from streamgauge.harness.config.secrets import Variables
from streamgauge.harness.errors import StoreError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import lines
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor import process, retention, standing
from streamgauge.harness.monitor.alerts.deliverer import Deliverer
from streamgauge.harness.monitor.alerts.message import Alert
from streamgauge.harness.monitor.alerts.outbox import Outbox, prepare
from streamgauge.harness.monitor.heartbeat import Heartbeat
from streamgauge.harness.monitor.judging import Judge, Judged
from streamgauge.harness.monitor.levels import levels
from streamgauge.harness.monitor.process import say
from streamgauge.harness.monitor.words import GOOD, ROUND, SILENT

_EVERY = 1.0  # seconds between two rounds
_TIDY_EVERY = 3_600.0  # seconds
_FINISH = 5.0  # seconds that alerts under way may take when the process ends
_SILENT_EVERY = 600.0  # seconds between two words of a target that is silent


def main(config_path: str, db: str, served: str | None = None) -> Exit:
    """`served`: the URL of the status page, for the links of alerts if the config has no other one."""

    def judge(config: Config) -> None:
        config = replace(config, monitor=replace(config.monitor, url=config.monitor.url or served))
        with MonitorStore.create(db) as store:
            _Process(store, config).run()

    return process.run(config_path, judge)


class _Process:
    def __init__(self, store: MonitorStore, config: Config) -> None:
        self._store, self._config = store, config
        self._levels = levels(config)
        receivers = filled(config.alert)
        self._deliverer = Deliverer(store.path, receivers, say)
        url = config.monitor.heartbeat
        beats = None if url is None else Variables(os.environ).fill("monitor.heartbeat", url)
        self._heartbeat = Heartbeat(beats, receivers, config.monitor.every / 1e9, say)
        with store.transaction() as connection:
            prepare(connection)
            standing.remember(connection, self._levels)
        self._judge = self._new_judge()
        self._beat_at = self._silent_at = self._tidied_at = 0.0
        self._fault = ""

    def run(self) -> None:
        """Never returns."""
        self._deliverer.start()
        try:
            while True:
                more = self._round(time.time())
                if not more:
                    time.sleep(_EVERY)
        finally:
            self._deliverer.stop(_FINISH)

    def _round(self, now: float) -> bool:
        """Whether more probes may wait to be judged."""
        try:
            judged = self._judge.round(now)
            if not judged.more and abs(now - self._tidied_at) > _TIDY_EVERY:
                self._tidied_at = now
                retention.drop(self._store, self._config.monitor.keep_raw / 1e9, now)
                self._judge.thin()
        except StoreError as fault:  # such as a full disk: nothing of the round was stored, and it is made again
            if str(fault) != self._fault:
                say(str(fault))
            self._fault = str(fault)
            self._judge = self._new_judge()
            return False
        self._fault = ""
        for line in judged.unread:
            say(f"a probe is left out: {line}")
        for sentence in judged.news:
            say(sentence)
        for alert in judged.alerts:
            say(f"{alert.severity}, {alert.status}: {alert.summary}")
        if judged.alerts:
            self._deliverer.wake()
        self._tell(judged, now)
        return judged.more

    def _tell(self, judged: Judged, now: float) -> None:
        if abs(now - self._silent_at) > _SILENT_EVERY and judged.silent:
            self._silent_at = now
            for target in judged.silent:
                _tell(f"{SILENT}{target}")
        _tell(GOOD if judged.in_time else ROUND)
        if judged.in_time and abs(now - self._beat_at) >= self._config.monitor.every / 1e9:
            self._beat_at = now
            self._heartbeat.beat()

    def _new_judge(self) -> Judge:
        return Judge(self._store, self._config, self._levels, self._put)

    def _put(self, connection: Connection) -> Callable[[Alert, float], bool]:
        return Outbox(connection, self._config.alert, tell=say).put


def _tell(line: str) -> None:
    lines.document(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
