"""Prometheus's page: what the probes saw, how the service levels are, and how the monitor itself is.

Counters of probes and histograms begin at 0 when the process starts; those of service levels go on. Histograms have ten
buckets for each power of ten, so that a quantile of Prometheus is off by less than the width of its bucket, 28 % at
most.
"""

import re
import threading
from collections import Counter as Counts
from collections.abc import Iterator, Mapping

import numpy as np
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily as Histogram
from prometheus_client.core import InfoMetricFamily as Info
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor import standing
from streamgauge.harness.monitor.burn import PACES
from streamgauge.harness.monitor.exposition.probes import NewProbes, Probes
from streamgauge.harness.monitor.exposition.promql import span
from streamgauge.harness.record.observation import Outcome

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
WINDOWS = tuple(sorted({window for pace in PACES for window in (pace.long, pace.short)}))
# Renard's R10: ten preferred numbers for each power of ten, from 1 ms to 100 s.
_TENTHS = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
BUCKETS = np.array([*(round(each * 10.0**power, 6) for power in range(-3, 2) for each in _TENTHS), 100.0])  # seconds
_MEASURED = {  # by metric, what its histogram is about
    "ttft": "Due time to first content.",
    "itl": "Gaps between chunks with content.",
    "e2e": "Due time to last content.",
    "connect": "Time to connect, of probes that opened a connection.",
}
_TOKENS = {"input": "input_tokens", "output": "output_tokens", "cache_read": "cache_read_tokens",
           "cache_write": "cache_write_tokens"}  # fmt: skip
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")


class _Filled:
    """One histogram."""

    def __init__(self) -> None:
        self.counts = np.zeros(len(BUCKETS) + 1, np.int64)  # the last one: above all buckets
        self.total = 0.0  # seconds


class Page(Collector):
    """One for the process's life; `text` may be called from any thread."""

    def __init__(self, store: MonitorStore, targets: Mapping[str, Mapping[str, str]]) -> None:
        """`targets`: the labels of each."""
        self._store = store
        self._targets = targets
        self._new = NewProbes(store, targets)
        self._lock = threading.Lock()
        self._ended: Counts[tuple[str, str]] = Counts()  # by target and outcome
        self._tokens: Counts[tuple[str, str]] = Counts()
        self._last_at: dict[str, float] = {}
        self._histograms = {
            (metric, target, connection): _Filled()
            for metric in _MEASURED for target in targets for connection in ("cold", "warm")
        }  # fmt: skip
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """StoreError if the database cannot be read."""
        with self._lock:
            for probes in self._new.read():
                self._take(probes)
            return generate_latest(self._registry)

    def _take(self, probes: Probes) -> None:
        streams, target = probes.streams, probes.target
        self._ended.update((target, outcome) for outcome in streams.text["outcome"])
        for kind, column in _TOKENS.items():
            self._tokens[target, kind] += int(np.nansum(streams.number[column]))
        ended = probes.run.realtime_ns / 1e9 + float(np.nanmax(streams.number["ended_at"])) / 1e9
        self._last_at[target] = max(ended, self._last_at.get(target, 0.0))
        for name in _MEASURED:
            metric = METRICS[name]
            seen = metric.observe(streams)
            counted = np.ones(len(streams), bool) if metric.pooled else ~seen.failed
            for connection, chosen in (("cold", probes.cold), ("warm", ~probes.cold)):
                ticks = seen.ticks[np.repeat(chosen & counted, seen.counts)]
                filled = self._histograms[name, target, connection]
                seconds = ticks / (metric.ticks_per_unit * 1e3)
                filled.counts += np.bincount(np.searchsorted(BUCKETS, seconds), minlength=len(BUCKETS) + 1)
                filled.total += float(seconds.sum())

    def collect(self) -> Iterator[Metric]:
        yield from self._of_probes()
        with self._store.reading() as connection:
            yield from _of_levels(connection)
            yield from _of_alerts(connection)
            yield Gauge(
                "streamgauge_judged_timestamp_seconds",
                "When the monitor last judged its probes.",
                standing.number(connection, "judged_at", 0.0),
            )

    def _of_probes(self) -> Iterator[Metric]:
        info = Info("streamgauge_target", "The labels of each target.", labels=["target"])
        for target, labels in self._targets.items():
            info.add_metric(
                [target], {_NO_LABEL.sub("_", name): value for name, value in labels.items() if name != "target"}
            )
        yield info
        ended = Counter("streamgauge_probes", "Probes that have ended.", labels=["target", "outcome"])
        tokens = Counter("streamgauge_tokens", "Tokens that the server told.", labels=["target", "kind"])
        last = Gauge("streamgauge_last_probe_timestamp_seconds", "When the last probe ended.", labels=["target"])
        for target in self._targets:
            for outcome in Outcome:
                ended.add_metric([target, outcome.value], self._ended[target, outcome.value])
            for kind in _TOKENS:
                tokens.add_metric([target, kind], self._tokens[target, kind])
            if target in self._last_at:
                last.add_metric([target], self._last_at[target])
        yield from (ended, tokens, last)
        for name, help_text in _MEASURED.items():
            family = Histogram(f"streamgauge_{name}_seconds", help_text, labels=["target", "connection"])
            for (metric, target, connection), filled in self._histograms.items():
                if metric == name:
                    family.add_metric([target, connection], _buckets(filled), filled.total)
            yield family


def _of_levels(connection: Connection) -> Iterator[Metric]:
    place = ["slo", "target"]
    objective = Gauge("streamgauge_slo_objective_ratio", "The share of probes that must be good.", labels=place)
    probes = Counter("streamgauge_slo_probes", "Probes that count in a service level.", labels=place)
    bad = Counter("streamgauge_slo_bad_probes", "Those of them that were bad.", labels=place)
    left = Gauge("streamgauge_slo_budget_left_ratio", "Error budget left: 1 is all of it.", labels=place)
    burn = Gauge("streamgauge_slo_burn_rate", "At 1, the budget lasts the window.", labels=[*place, "window"])
    for each in standing.standings(connection, WINDOWS):
        named = [each.slo, each.target]
        objective.add_metric(named, each.objective)
        probes.add_metric(named, each.ever.total)
        bad.add_metric(named, each.ever.bad)
        if each.budget_left is not None:
            left.add_metric(named, each.budget_left)
        for window in WINDOWS:
            if (rate := each.burn(window)) is not None:
                burn.add_metric([*named, span(window)], rate)
    opened = Gauge("streamgauge_incidents_open", "Incidents that go on.", labels=[*place, "severity"])
    for found in _open_incidents(connection):
        opened.add_metric(list(found), 1)
    yield from (objective, probes, bad, left, burn, opened)


def _open_incidents(connection: Connection) -> list[tuple[str, str, str]]:
    return connection.execute("SELECT DISTINCT slo, grouped_as, severity FROM incidents WHERE ended IS NULL").fetchall()


def _of_alerts(connection: Connection) -> Iterator[Metric]:
    """How alerts are delivered: whoever waits for one must know that none can arrive."""
    alerts = Gauge("streamgauge_alerts", "Alerts by what became of them.", labels=["receiver", "state"])
    for receiver, state, number in connection.execute("SELECT receiver, state, count(*) FROM deliveries GROUP BY 1, 2"):
        alerts.add_metric([receiver, state], number)
    failing = Gauge("streamgauge_receiver_failures", "Attempts in a row that failed.", labels=["receiver"])
    for receiver, failures in connection.execute("SELECT name, failures FROM receivers"):
        failing.add_metric([receiver], failures)
    yield from (alerts, failing)


def _buckets(filled: _Filled) -> list[tuple[str, float]]:
    sums = np.cumsum(filled.counts).tolist()
    return [(f"{edge:g}", count) for edge, count in zip(BUCKETS.tolist(), sums, strict=False)] + [("+Inf", sums[-1])]
