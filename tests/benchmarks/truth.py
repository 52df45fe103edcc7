"""How far our times are from the reference server's own log: 200 streams at 20 ms gaps, through a real Locust run.

Server and client are pinned to a core each, where there are two. An error is what we recorded minus what the server
logged. The log's stamp is taken after `send` has returned, and on loopback the kernel stamps the arrival within that
`send`: so errors are some tens of microseconds below zero, and a server that is preempted between the two makes them
larger without any fault of ours.
"""

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from reference import reference_server

from harness import arrivals
from harness.clock import RunClock
from harness.judge.store import Store

STREAMS, SECONDS, WARM_UP = 200, 10, 3  # at a time; s; s until every user has begun and settled
ROUNDS = 3
TOKENS = 100

_SCENARIO = """\
from harness.scenario import StreamUser, constant, task


class Reader(StreamUser):
    wait_time = constant(0)

    @task
    def ask(self) -> None:
        self.stream()
"""


class Errors(NamedTuple):
    """Of times, in ns, all streams together."""

    ttft: NDArray[np.int64]  # of each first token's arrival
    itl: NDArray[np.int64]  # of each gap between two tokens


def errors(streams: Iterable[tuple[str, Sequence[int]]], truth: Iterable[dict[str, Any]], clock: RunClock) -> Errors:
    """Of streams given as (request id, arrivals of content on the run's clock). AssertionError when one is not logged,
    or had another number of tokens."""
    sent = {row["id"]: row["sent"] for row in truth}
    first, gaps = [], []
    for request_id, arrived in streams:
        assert len(arrived) == len(sent[request_id]), f"{len(arrived)} of {len(sent[request_id])} tokens arrived"
        off = np.array(arrived) + clock.origin - np.array(sent[request_id])
        first.append(off[:1])
        gaps.append(np.diff(off))
    return Errors(np.concatenate(first), np.concatenate(gaps))


def run() -> dict[str, Any]:
    """The median of three rounds, figure by figure: on a shared machine one round may tell of the neighbours."""
    rounds = [_round() for _ in range(ROUNDS)]
    middle = {name: float(np.median([each[name] for each in rounds])) for name in rounds[0]}
    return {"streams": STREAMS, "seconds": SECONDS, "rounds": ROUNDS, **middle}


def _round() -> dict[str, float]:
    cores = sorted(os.sched_getaffinity(0))
    with (
        reference_server("--preset", "exact", "--tokens", str(TOKENS)) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        os.sched_setaffinity(server.process.pid, cores[:1])
        database = _locust(server.url, Path(folder), cores[-1:])
        return _measure(database, server.truth())


def _locust(url: str, folder: Path, cores: Sequence[int]) -> Path:
    """A run against `url`; its database."""
    scenario, database = folder / "readers.py", folder / "truth.db"
    scenario.write_text(_SCENARIO)
    command = [sys.executable, "-m", "locust", "-f", str(scenario), "--headless", "--host", url]
    command += ["-u", str(STREAMS), "-r", str(STREAMS), "-t", f"{WARM_UP + SECONDS + 1}s", "--only-summary"]
    command += ["--gauge-db", str(database), "--gauge-inconclusive", "pass"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, cores)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    return database


def _measure(database: Path, truth: Sequence[dict[str, Any]]) -> dict[str, float]:
    begin, end = WARM_UP * 10**9, (WARM_UP + SECONDS) * 10**9
    with Store.open(database) as store:
        run = store.run()
        cpu = store.samples(run.id, "cpu_percent")
    used = float(cpu.value[(cpu.at > begin) & (cpu.at < end)].mean())
    rows = list(stored(database))
    inside = [row for row in rows if row["outcome"] == "completed" and row["started_at"] >= begin]
    # Neither clock nor kernel has moved CLOCK_REALTIME against CLOCK_MONOTONIC since the run; it would show at once.
    clock = RunClock.starting_at(run.realtime_ns)
    found = errors(((row["request_id"], row["content"]) for row in inside), truth, clock)
    at = np.concatenate([row["content"] for row in rows])
    events_per_second = ((at >= begin) & (at < end)).sum() / SECONDS
    reads = sum(row["reads"] for row in inside)
    return {
        **_percentiles("ttft_error", found.ttft),
        **_percentiles("itl_error", found.itl),
        "server_lateness_p99_ms": _ms(np.percentile([row["sent"][0] - row["due"] for row in truth if row["sent"]], 99)),
        "read_lag_mean_ms": _ms(sum(row["read_lag_mean"] * row["reads"] for row in inside) / reads),
        "read_lag_max_ms": _ms(max(row["read_lag_max"] for row in inside)),
        "coalesced_share": round(sum(row["coalesced_reads"] for row in inside) / reads, 6),
        "saturated_share": round(sum(row["saturated_reads"] for row in inside) / reads, 6),
        "unstamped_reads": sum(row["unstamped_reads"] for row in inside),
        "events_per_second": round(float(events_per_second)),
        "client_cpu_percent": round(used, 1),
        "cpu_us_per_event": round(used / 100 / float(events_per_second) * 1e6, 1),
    }


def stored(database: Path) -> Iterator[dict[str, Any]]:
    """The streams as they are stored, with the arrivals of their content (ns on the run's clock) as `content`."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute("SELECT * FROM streams"):
            seen = arrivals.columns(row["arrivals"] or b"")
            yield {**row, "content": seen.at[arrivals.is_content(seen.kind)] * 1_000}


def _percentiles(name: str, values: NDArray[np.int64]) -> dict[str, float]:
    """Of the sizes of errors, whichever way they point."""
    found = np.percentile(np.abs(values), [50, 99, 100])
    return {f"{name}_{which}_ms": _ms(value) for which, value in zip(("p50", "p99", "max"), found, strict=True)}


def _ms(nanoseconds: float) -> float:
    return round(float(nanoseconds) / 1e6, 3)
