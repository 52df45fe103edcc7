"""The reference server at 28 and 50 events per second and stream: lateness, throughput and CPU.

At 50, a bare asyncio server runs beside it. Server and client have a core each; the client is the C program that only
reads. Lateness is the time of each token's write minus its due time, from the server's own log. The bare server sends
one constant answer and does nothing else; the difference is the cost of being a real server.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

from .arena import READERS, medians
from .server import ANSWER, GAP, TOKENS, Row, lateness, read_rows

LOADS = ((500, 20), (1000, 36), (1000, 20))  # streams, ms between two tokens
WARM_UP, SECONDS = ANSWER + 2, 2 * ANSWER
ROUNDS = 3
_LONGEST = TOKENS * 6 // 5  # tokens; the most that the client asks for
_REPOSITORY = Path(__file__).parents[2]


class _Line(msgspec.Struct):
    """The fields used from the reference server's log."""

    received_at: int
    due: int
    sent: list[int]


def run(loads: Sequence[tuple[int, int]] = LOADS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians of the rounds by load and server; within a round, the servers run one after another."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        client = Path(folder) / "floor"
        subprocess.run(["cc", "-O2", "-o", client, READERS / "floor.c"], check=True)
        log = Path(folder) / "log"
        for size, gap in loads:
            names = [name for name in _SERVERS if name != "bare" or gap * 1_000_000 == GAP]  # it has one fixed gap
            results = [{name: _round(name, client, size, gap, log) for name in names} for _ in range(rounds)]
            for name in names:
                found[f"{size}_{gap}ms_{name}"] = median = medians([result[name] for result in results])
                print(_line(size, gap, name, median), flush=True)
    return found


def _round(name: str, client: Path, size: int, gap: int, log: Path) -> dict[str, float]:
    cores = sorted(os.sched_getaffinity(0))
    log.unlink(missing_ok=True)
    command, rows = _SERVERS[name]
    pace = [] if name == "bare" else ["--itl", f"{gap}ms", "--tokens", str(_LONGEST)]
    with _started([sys.executable, *command, str(log), *pace], cores[-1:]) as server:
        assert server.stdout is not None
        port = server.stdout.readline().rpartition(":")[2].strip()
        with _started([str(client), port, str(size), str(TOKENS)], cores[:1]) as reader:
            time.sleep(WARM_UP)
            program = psutil.Process(server.pid)
            begin, before = time.monotonic_ns(), sum(program.cpu_times()[:2])
            time.sleep(SECONDS)
            end, cpu = time.monotonic_ns(), sum(program.cpu_times()[:2]) - before
            assert reader.poll() is None, "the client ended"
    late = lateness(rows(log), begin, end, gap * 1_000_000)
    return {
        "events_per_second": round(late.pop("events") / SECONDS),
        "cpu_percent": round(cpu / SECONDS * 100, 1),
        **late,
    }


def _bare(log: Path) -> Iterator[Row]:
    return read_rows(log)


def _reference(log: Path) -> Iterator[Row]:
    for line in log.read_bytes().splitlines():
        row = msgspec.json.decode(line, type=_Line)
        yield Row(0, row.received_at, row.due, np.array(row.sent, np.int64))


_SERVERS = {
    "bare": (["-m", "tests.benchmarks.server"], _bare),
    "reference": (["-m", "streamgauge.reference_server", "--port", "0", "--preset", "exact", "--truth"], _reference),
}


class _started:  # noqa: N801 - used like a function
    """A process pinned to these cores for the duration of the `with` block."""

    def __init__(self, command: Sequence[str], cores: Sequence[int]) -> None:
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(_REPOSITORY)}
        )
        os.sched_setaffinity(self._process.pid, cores)

    def __enter__(self) -> "subprocess.Popen[str]":
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)


def _line(size: int, gap: int, name: str, found: dict[str, float]) -> str:
    return (
        f"reference: {size:>5,} streams, {gap} ms  {name:<10}{found['events_per_second']:>7,.0f} events/s  late p50 "
        f"{found['late_p50_ms']:.3f} ms, p99 {found['late_p99_ms']:.3f} ms  ({found['cpu_percent']:.0f} % of a core)"
    )
