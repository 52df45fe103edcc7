"""ITL and E2E as entries in Locust's statistics, beside the TTFT that each stream reports to Locust itself.

An entry is no request: it is in no total (`Aggregated`), and never a failure. So Locust's web UI, tables, CSV files and
HTML report show both. Their percentiles are as coarse as all of Locust's; the verdict has exact ones.
"""

import time
from typing import Any

import numpy as np
import numpy.ma  # np.unique would import it when first called, which needs a descriptor
from locust import stats
from locust.stats import RequestStats, StatsEntry

from streamgauge.harness.judge.measure.arrays import Integers
from streamgauge.harness.judge.measure.histogram import bins_of, middles
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.store import Streams

_SHOWN = ("itl", "e2e")


def add(to: RequestStats, streams: Streams) -> None:
    """Count these streams' samples in the entries of their user classes, such as `Reader ITL`."""
    users = streams.text["user"]
    for name in _SHOWN:
        metric = METRICS[name]
        seen = metric.observe(streams)
        for user in sorted(users.values):
            ticks = seen.ticks[np.repeat(users.are(user) & streams.streamed, seen.counts)]
            if len(ticks):
                key = f"{user} {name.upper()}", "SSE"
                to.entries[key].extend(_entry(to, key, ticks, metric.ticks_per_unit))


def _entry(to: RequestStats, key: tuple[str, str], ticks: Integers, ticks_per_ms: int) -> Any:
    """These samples as Locust counts them."""
    entry = StatsEntry(to, *key)
    now = time.time()
    entry.num_requests, entry.last_request_timestamp = len(ticks), now
    entry.num_reqs_per_sec[int(now)] = len(ticks)
    entry.total_response_time = float(ticks.sum()) / ticks_per_ms
    entry.min_response_time = float(ticks.min()) / ticks_per_ms
    entry.max_response_time = float(ticks.max()) / ticks_per_ms
    bins, counts = np.unique(bins_of(ticks), return_counts=True)
    for took, count in zip((middles(bins) / ticks_per_ms).tolist(), counts.tolist(), strict=True):
        entry.response_times[stats.bucket_response_time(took)] += count
    return entry
