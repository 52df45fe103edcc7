"""The probes that are new since the last look, for whoever exposes their figures."""

import threading
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from streamgauge.harness.judge.measure.arrays import Mask
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.store import Run, Streams
from streamgauge.harness.judge.store.monitored import MonitorStore, New

_AT_ONCE = 5_000  # streams


class Probes(NamedTuple):
    """Some probes of one target."""

    target: str
    run: Run
    streams: Streams
    cold: Mask  # which of them opened a connection


class NewProbes:
    """Reads what is stored from now on: counters begin at 0 with each process, as those of Prometheus may."""

    def __init__(self, store: MonitorStore, targets: Mapping[str, object]) -> None:
        self._store = store
        self._targets = targets
        with store.reading() as connection:
            (newest,) = connection.execute("SELECT ifnull(max(id), 0) FROM streams").fetchone()
        self._last = int(newest)
        self._lock = threading.Lock()

    def read(self) -> Iterator[Probes]:
        """Those since the last call. StoreError if the database cannot be read; damaged rows are left out."""
        with self._lock:
            while True:
                latest = self._store.new_streams(self._last, _AT_ONCE)
                self._last = latest.last
                yield from filter(None, map(self._of_target, latest.new))
                if not latest.more:
                    return

    def _of_target(self, new: New) -> Probes | None:
        """None for streams that no probe made, or of a target that the config has no more."""
        target = new.run.probes
        if target is None or target not in self._targets:
            return None
        cold = np.asarray(METRICS["connect"].observe(new.streams).counts > 0)
        return Probes(target, new.run, new.streams, cold)
