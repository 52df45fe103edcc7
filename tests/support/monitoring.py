"""What the monitor's tests need: probes whose results are known, and incidents by an arithmetic of their own."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Config
from streamgauge.harness.judge.store import monitor_schema
from streamgauge.harness.monitor.alerts.message import Alert
from streamgauge.harness.monitor.ledger import Seen
from streamgauge.harness.monitor.levels import Level, levels
from streamgauge.harness.monitor.watch import Surroundings, Watch

START = 28_000_000  # a minute since 1970
TARGETS = '[[monitor.target]]\nname = "eu"\nhost = "http://eu.example"\n'


def config(text: str, targets: str = TARGETS) -> Config:
    return parse(f"{targets}\n{text}".encode())


class Told(NamedTuple):
    """One alert, as a test compares it; `minute` is counted from START."""

    status: str
    severity: str
    minute: float


class Monitor:
    """A watch over a database in memory, that is told results minute by minute."""

    def __init__(self, given: Config, in_maintenance: Callable[[str, float], bool] = lambda *_: False) -> None:
        self.connection = sqlite3.connect(":memory:")
        monitor_schema.migrate(Database(self.connection))
        self.alerts: list[Alert] = []
        self.levels = levels(given)
        self._in_maintenance = in_maintenance
        self._streams = 0
        self.start(START - 1)

    def start(self, evaluated: int) -> None:
        """As a judge does that has been restarted: all it knows is in the database."""
        around = Surroundings("m", self.alerts.append, self._in_maintenance)
        self.watch = Watch(self.connection, self.levels, around, evaluated, (evaluated + 1) * 60.0)

    def minute(self, number: int, results: Iterable[tuple[str, bool]]) -> None:
        """The results of each target in one minute, and its end."""
        for target, good in results:
            self.probe(number * 60 + 30, target, good)
        self.watch.advance(START + number)

    def probe(self, second: float, target: str, good: bool, level: Level | None = None) -> None:
        self._streams += 1
        seen = Seen(self._streams, "run", START * 60 + second, "completed" if good else "timed_out", None)
        for each in self.levels if level is None else [level]:
            self.watch.take(each, target, seen, good=good)

    @property
    def told(self) -> list[Told]:
        return [
            Told(each.status, each.severity, ((each.since if each.until is None else each.until) - START * 60) / 60)
            for each in self.alerts
        ]


def expected(bad: NDArray[np.bool_], objective: float) -> list[Told]:
    """The alerts of one probe a minute, by sums over windows and nothing else; in the order of their minutes."""
    sums = np.concatenate([[0], np.cumsum(bad)])
    minutes = np.arange(1, len(bad) + 1)

    def share(window: int) -> NDArray[np.float64]:
        first = np.maximum(minutes - window, 0)
        found: NDArray[np.float64] = (sums[minutes] - sums[first]) / (minutes - first)
        return found

    def enough(window: int) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = sums[minutes] - sums[np.maximum(minutes - window, 0)] >= 3
        return found

    def burns(rate: float, long: int, short: int) -> NDArray[np.bool_]:
        least = rate * (1 - objective) - 1e-12
        found: NDArray[np.bool_] = (share(long) >= least) & (share(short) >= least) & enough(long)
        return found

    page = burns(14.4, 60, 5) | burns(6, 360, 30)
    told: list[Told] = []
    for severity, fires in (("page", page), ("ticket", burns(1, 4_320, 360))):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], fires]).astype(int)))
        told += [Told("firing" if fires[edge] else "resolved", severity, float(edge + 1)) for edge in edges]
    return sorted(told, key=lambda each: (each.minute, each.severity))


def outages(minutes: int, of: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which minutes' probes are bad: those from `begin` to before `end`."""
    bad = np.zeros(minutes, bool)
    for begin, end in of:
        bad[begin:end] = True
    return bad
