"""A month of a monitor at one probe a second, without waiting for it: memory, the database's size, rounds, and pages.

DAYS=8 KEEP=2 in the environment take less time.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import httpx
from msgspec.structs import replace

from streamgauge.harness.config.load import parse
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor import retention, standing
from streamgauge.harness.monitor.alerts.outbox import prepare
from streamgauge.harness.monitor.judging import Judge
from streamgauge.harness.monitor.levels import levels
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.command import free_port, until
from tests.support.monitoring import TARGETS
from tests.support.record import MS, a_run_of_probes, observation

BYTES_A_PROBE = 1_000  # of those that are kept
BYTES_BESIDE = 60_000_000  # hours, counts, and pages that wait to be used again
GROWS = 20  # MB of memory, at most, once the first streams have been dropped
PAGE_MS = 200.0  # of the status page and of /metrics, at most
DAY, STEP = 86_400, 600  # seconds
START = 1_680_048_000  # a midnight
KINDS = 50  # of probes that differ


def run() -> dict[str, Any]:
    days, keep = int(os.environ.get("DAYS", "30")), int(os.environ.get("KEEP", "7"))
    with tempfile.TemporaryDirectory() as folder:
        return _month(days, keep, Path(folder))


def _month(days: int, keep: int, folder: Path) -> dict[str, Any]:
    store = MonitorStore.create(folder / "month.db")
    text = f"{TARGETS}[monitor]\nevery = '1s'\nkeep_raw = '{keep}d'\n"
    config = parse(text.encode())
    judge = Judge(store, config, levels(config), lambda _: lambda *_: True)
    with store.transaction() as connection:
        prepare(connection)
        standing.remember(connection, levels(config))
    kinds = _kinds()
    rounds, memory, sizes, raised = [], [], [], 0
    for day in range(days):
        store.start_run(a_run_of_probes("eu", id=f"run-{day}", realtime_ns=(START + day * DAY) * 10**9))
        for second in range(0, DAY, STEP):
            is_bad = day % 5 == 3 and second == 36_000  # ten minutes of every fifth day
            store.append(f"run-{day}", _probes(kinds, second, is_bad=is_bad), [])
            now, began = START + day * DAY + second + STEP + 5, time.process_time()
            raised += len(judge.round(now).alerts)
            rounds.append(time.process_time() - began)
            if second % 3_600 == 0:
                retention.drop(store, keep * DAY, now)
                judge.thin()
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        sizes.append(sum(each.stat().st_size for each in folder.iterdir()))

    def more(number: int) -> None:
        """Six more seconds of probes."""
        first = DAY + number * 6
        store.append(f"run-{days - 1}", _probes(kinds, first, is_bad=False)[:6], [])
        judge.round(START + (days - 1) * DAY + first + 10)

    (folder / "month.toml").write_text(text)
    pages = _pages(folder, more)
    store.close()
    most = BYTES_A_PROBE * DAY * keep + BYTES_BESIDE
    assert max(sizes) < most, f"{max(sizes):,} bytes, of at most {most:,}"
    assert memory[-1] < memory[min(keep, days - 1)] + GROWS, f"memory grew: {memory}"
    assert raised, "without incidents, the pages have little to show"
    assert all(took < PAGE_MS for took in pages.values()), f"{pages} ms, of at most {PAGE_MS:.0f}"
    return {
        "days": days,
        "probes": days * DAY,
        "kept_days": keep,
        "megabytes": round(max(sizes) / 1e6),
        "memory_mb": [round(each) for each in (memory[min(keep, days - 1)], memory[-1])],
        "cpu_ms_of_a_round_of_600_probes": round(max(rounds) * 1e3),
        "alerts": raised,
        **{f"{path}_ms": round(took) for path, took in pages.items()},
    }


def _pages(folder: Path, more: Callable[[int], None]) -> dict[str, float]:
    """How long the pages take, ms: the quickest of five visits, each to what was read too long ago.

    The others tell how busy the machine was.
    """
    port = free_port()
    words = ("-m", "streamgauge.harness.monitor.web", folder / "month.toml", folder / "month.db", f"127.0.0.1:{port}")
    server = subprocess.Popen([sys.executable, *map(str, words)])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until(lambda: _answers(client))
            took: dict[str, list[float]] = {"/": [], "/metrics": []}
            for number in range(5):
                more(number)
                time.sleep(5.5)
                _visit(client, took)
    finally:
        server.kill()
        server.wait()
    return {path: min(times) for path, times in took.items()}


def _visit(client: httpx.Client, took: dict[str, list[float]]) -> None:
    for path, times in took.items():
        began = time.perf_counter()
        client.get(path).raise_for_status()
        times.append((time.perf_counter() - began) * 1e3)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code > 0
    except httpx.TransportError:
        return False


def _kinds() -> list[StreamObservation]:
    random = Random(1)

    def kind() -> StreamObservation:
        first = random.lognormvariate(6, 0.3)
        at = [first + 15 * token + random.uniform(0, 9) for token in range(32)]
        labels = {"prompt": "short", "connection": "cold"}
        return observation([("text", each) for each in at], labels=labels, input_tokens=25, output_tokens=32)

    return [kind() for _ in range(KINDS)]


def _probes(kinds: Sequence[StreamObservation], first: int, *, is_bad: bool) -> list[StreamObservation]:
    """One each second of a step."""
    if is_bad:
        kinds = [observation([], outcome=Outcome.UNREACHABLE, ended=3.0)]
    found = []
    for second in range(first, first + STEP):
        one, moved = kinds[second % len(kinds)], second * 1_000 * MS
        moments = {
            name: None if (at := getattr(one, name)) is None else at + moved
            for name in ("due_at", "started_at", "sent_at", "first_content_at", "last_content_at", "ended_at")
        }
        found.append(replace(one, **moments))
    return found
