"""Resident memory of a run at constant load: growth after the first minute, and memory per stream.

Growth is that of a straight line fitted to the samples after the first minute.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .arena import READERS, Window, locust, watch

STREAMS, SECONDS, FIRST = 200, 180, 60  # s; growth is measured after FIRST
CROWD = 1000
_MIB = 2**20


def run() -> dict[str, Any]:
    long = _watch(STREAMS, SECONDS)
    after = [(at, resident) for at, resident in long.memory if at >= FIRST]
    at, resident = np.array(after).T
    slope = float(np.polyfit(at, resident, 1)[0])  # bytes/s
    one, crowd = (_watch(streams, 10).memory[-1][1] for streams in (1, CROWD))
    found = {
        "streams": STREAMS,
        "seconds": SECONDS,
        "streams_done": len(long.sent),
        "resident_mib_after_first_minute": round(resident[0] / _MIB, 1),
        "resident_mib_at_end": round(resident[-1] / _MIB, 1),
        "growth_mib": round(slope * (at[-1] - at[0]) / _MIB, 2),
        "growth_share": round(slope * (at[-1] - at[0]) / resident[0], 4),
        "crowd": CROWD,
        "kib_a_stream": round((crowd - one) / (CROWD - 1) / 1024, 1),
        "resident_mib": [(round(at), round(resident / _MIB, 1)) for at, resident in long.memory],
    }
    print(
        f"memory: {STREAMS} streams for {SECONDS} s: {found['resident_mib_after_first_minute']} MiB after {FIRST} s, "
        f"growth since {found['growth_mib']} MiB = {found['growth_share']:.2%} of it"
    )
    print(f"memory: {found['kib_a_stream']} KiB a stream, {CROWD:,} at a time against one")
    return found


def _watch(streams: int, seconds: float) -> Window:
    with tempfile.TemporaryDirectory() as folder:
        return watch(
            locust(READERS / "wire.py", streams, Path(folder) / "run.db"),
            warm_up=5,
            seconds=seconds - 5,
            environment={"BENCHMARK_CLIENT": "wire"},
        )
