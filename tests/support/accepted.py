"""A database of runs that may be accepted into a baseline."""

import tempfile
from functools import cache
from pathlib import Path
from random import Random

from streamgauge.harness.judge.store import Run, Store
from tests.support.record import MS, a_run, new_store, ttfts

KIND = {"scenario": "chat", "load": {"users": 20}}
CONFIG = """
[target]
max_tokens = 3
[regression]
metrics = ["p95(ttft)"]
"""


def add(store: Store, run: Run, ttft: float) -> str:
    """A finished run of 80 streams with about this TTFT, in ms."""
    draw = Random(run.id)
    store.start_run(run)
    store.append(run.id, ttfts([ttft * draw.gauss(1, 0.01) * draw.uniform(0.8, 1.2) for _ in range(80)]))
    store.finish_run(run.id, ended_ns=10_000 * MS, status="finished")
    return run.id


@cache
def _ten_and_three() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gauge.db"
        with new_store(path) as store:
            for place in range(10):
                add(store, a_run(id=f"old-{place}", fingerprint=KIND, labels={"branch": "main"}), 400)
            for place in range(3):
                add(store, a_run(id=f"new-{place}", fingerprint=KIND, labels={"series": "7"}), 402)
        return path.read_bytes()


def fill(folder: Path) -> None:
    """Make a config, and a database of ten runs of the branch main and then one series of three."""
    (folder / "streamgauge.toml").write_text(CONFIG)
    (folder / "gauge.db").write_bytes(_ten_and_three())
