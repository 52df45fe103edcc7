"""`make soak`: 200 users for half an hour, while another process locks the database for 2 s every 20 s.

Ends with exit code 1 if the run's memory grows, if its event loop stops for 50 ms or more, or if anything is lost. On
a machine that is busy with something else every process stops at times. Another process watches what the kernel counts
of the run's threads, and each stop is told with what the machine did meanwhile: one that waiting for a core explains is
not the run's own. `chrt -f 20 make soak` keeps other people's work from delaying the run at all.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.benchmarks import stops
from tests.benchmarks.stops import STOP_MS
from tests.support.command import BIN, REPOSITORY, count, rows, started, until
from tests.support.reference import ReferenceServer, reference_server

USERS, MINUTES = 200, 30.0
WARM = 120.0  # seconds: Locust's statistics and the allocator's pools fill
# Of the resident memory, per half hour. Locust and we keep some numbers for each second, 2 or 3 % of it. A hundred
# bytes kept by mistake for each stream are 7 %.
MOST_GROWTH = 0.05
NEAR = 1.0  # seconds; a process samples its own lag once in that time

_SCENARIO = """
from streamgauge.scenario import StreamUser, between, task

class Steady(StreamUser):
    wait_time = between(1, 3)

    @task
    def ask(self):
        self.stream()
"""
_CONFIG = """
[target]
max_tokens = 40
[[sla]]
rule = "error_rate < 1%"
"""
_LOCKS = """
import sqlite3, sys, time
line = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
while True:
    time.sleep(18)
    line.execute("BEGIN IMMEDIATE")
    print(time.time(), flush=True)
    time.sleep(2)
    line.execute("ROLLBACK")
"""


def soak(minutes: float) -> dict[str, Any]:
    """Run it, and return what was seen."""
    with tempfile.TemporaryDirectory() as place, reference_server("--preset", "exact", "--itl", "80ms") as server:
        folder = Path(place)
        (folder / "steady.py").write_text(_SCENARIO)
        (folder / "soak.toml").write_text(_CONFIG)
        words = [
            BIN / "locust", "-f", "steady.py", "--headless", "-u", USERS, "-r", 20, "-t", f"{minutes * 60:.0f}s",
            "-H", server.url, "--only-summary", "--gauge-config", "soak.toml", "--gauge-db", "run.db",
            "--gauge-json", "run.json",
        ]  # fmt: skip
        with (
            (folder / "samples").open("w") as samples,
            (folder / "locked").open("w") as locked,
            started(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run,
            started([sys.executable, "-m", "tests.benchmarks.stops", run.pid], cwd=REPOSITORY, stdout=samples),
        ):
            until(lambda: count(folder / "run.db", "streams") > 0)
            with started([sys.executable, "-c", _LOCKS, folder / "run.db"], stdout=locked):
                memory = _memory(run)
            _, said = run.communicate(timeout=120)
        seen = _seen(folder, memory)
        seen |= {"exit_code": run.returncode, "validity": json.loads((folder / "run.json").read_text())["validity"]}
        return {**seen, **_lost(folder / "run.db", server), "said": said.splitlines()[-3:]}


def _memory(run: "subprocess.Popen[str]") -> list[tuple[float, int]]:
    """(seconds since now, resident bytes) of the run, every second until shortly before it ends."""
    process, begun, found = psutil.Process(run.pid), time.monotonic(), []
    while run.poll() is None:
        try:
            found.append((time.monotonic() - begun, process.memory_info().rss))
        except psutil.NoSuchProcess:
            break
        time.sleep(1)
    return found[:-10]  # its last seconds judge the run, which takes memory of its own


def _seen(folder: Path, memory: Sequence[tuple[float, int]]) -> dict[str, Any]:
    at, resident = np.array([sample for sample in memory if sample[0] >= WARM]).T
    slope = float(np.polyfit(at, resident, 1)[0])  # bytes/s
    ((zero,),) = rows(folder / "run.db", "SELECT realtime_ns FROM runs")
    sql = "SELECT at_ns, value FROM samples WHERE name = 'loop_lag_ms' AND value >= ?"
    with closing(sqlite3.connect(folder / "run.db")) as database:
        told = [((zero + at) / 1e9, ms) for at, ms in database.execute(sql, [STOP_MS])]
    samples, locked = stops.read(folder / "samples"), _times(folder / "locked")
    found = [stops.explained(at, ms, samples) for at, ms in told]
    own = [stop for stop in found if stop.own]
    return {
        "resident_mib": round(float(resident[0]) / 2**20, 1),
        "growth_per_half_hour": round(slope * 1800 / float(resident[0]), 4),
        "stops": [str(stop) for stop in found],
        "stops_with_a_busy_machine": len(found) - len(own),
        "stops_while_locked": sum(bool(((stop.at >= locked) & (stop.at < locked + 2 + NEAR)).any()) for stop in found),
        "locks": len(locked),
        "longest_own_stop_ms": round(max((stop.ms for stop in own), default=0.0), 1),
        "own_stops": [round(stop.ms, 1) for stop in own],
        "samples": len(samples),
    }


def _times(file: Path) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """The first number of each whole line."""
    return np.array([float(line.split()[0]) for line in file.read_text().splitlines(keepends=True) if "\n" in line])


def _lost(database: Path, server: ReferenceServer) -> dict[str, int]:
    """Streams of the truth log that the database has not, and streams begun that it has not."""
    logged = {row["id"] for row in server.truth()}
    named = {name for (name,) in rows(database, "SELECT request_id FROM streams WHERE request_id IS NOT NULL")}
    ((begun,),) = rows(database, "SELECT max(value) FROM samples WHERE name = 'streams_begun'")
    # A stream that the end of the run cut off before its headers has a row, and no name.
    nameless = count(database, "streams") - len(named)
    return {
        "truth_log": len(logged),
        "rows": count(database, "streams"),
        "not_stored": max(0, len(logged - named) - nameless),
        "begun_without_a_row": int(begun) - count(database, "streams"),
    }


def faults(seen: dict[str, Any]) -> list[str]:
    found = []
    if seen["growth_per_half_hour"] > MOST_GROWTH:
        found.append(f"memory grew by {seen['growth_per_half_hour']:.1%} per half hour")
    if seen["own_stops"]:
        found.append(
            f"the event loop stopped {len(seen['own_stops'])} times, for up to {seen['longest_own_stop_ms']} ms"
        )
    if seen["not_stored"] or seen["begun_without_a_row"]:
        found.append(f"{seen['not_stored']} answers and {seen['begun_without_a_row']} streams begun have no row")
    if seen["exit_code"]:
        found.append(f"the run ended with exit code {seen['exit_code']}: {seen['said']}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    seen = soak(parser.parse_args().minutes)
    wrong = faults(seen)
    print(json.dumps(seen, indent=2))
    print(f"soak: {'; '.join(wrong) or 'flat memory, no stop of its own, nothing lost'}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
