"""One process against two (`--processes 2`), with a server that needs a small part of a core.

On a machine with two cores, the second process shares its core with the server and with the master, which stores the
streams. That limits the total, not the division into processes. With more cores, the server should have its own.
"""

import socket
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from .arena import READERS, in_time, locust, medians, of_the_server, recorded, watch
from .server import ANSWER

STREAMS = 300  # 15,000 events per second
WARM_UP, SECONDS = ANSWER + 4, 2 * ANSWER  # Locust starts users once per second
ROUNDS = 3


def run() -> dict[str, Any]:
    """Medians of the rounds for one and two processes; `ratio`: events per CPU-second of two against one."""
    found = {count: medians([in_time(partial(_round, count)) for _ in range(ROUNDS)]) for count in (1, 2)}
    for count, figures in found.items():
        print(
            f"processes: {count}  {STREAMS} streams  {figures['events_per_cpu_second']:,.0f} events/CPU-s in all  "
            f"TTFT error p99 {figures['ttft_error_p99_ms']:.3f} ms  "
            f"ITL error p99 {figures['itl_error_p99_ms']:.3f} ms  ({of_the_server(figures)})",
            flush=True,
        )
    ratio = found[2]["events_per_cpu_second"] / found[1]["events_per_cpu_second"]
    return {"streams": STREAMS, "one": found[1], "two": found[2], "ratio": round(ratio, 3)}


def _round(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        database, port = Path(folder) / "run.db", str(free.getsockname()[1])
        free.close()
        two = ["--processes", "2", "--master-bind-port", port, "--master-port", port]
        window = watch(
            locust(READERS / "wire.py", STREAMS, database, two if count == 2 else []),
            warm_up=WARM_UP,
            seconds=SECONDS,
            environment={"BENCHMARK_CLIENT": "wire"},
            shared=count == 2,
        )
        seen = list(recorded(database))
        return {
            "events_per_cpu_second": round(window.events(seen) / window.cpu),
            "events_per_second": round(window.events(seen) / SECONDS),
            "cpu_percent": round(window.cpu / SECONDS * 100, 1),
            **window.errors(seen),
            "server_late_p99_ms": window.server["late_p99_ms"],
        }
