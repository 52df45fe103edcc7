"""Users who are let in 200 a second: what their common start adds to TTFT. Plain sockets and TLS."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.hostile import certificate

from .arena import READERS, locust, medians, recorded, watch
from .server import ANSWER

USERS, RATE = 1000, 200
ROUNDS = 3


def run(users: int = USERS, rate: int = RATE, rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians of the rounds: the errors of the streams from the first user's first one on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {}
        for kind, signed in (("plain", ()), ("tls", certificate(folder))):
            found[kind] = median = medians([_round(folder, users, rate, signed) for _ in range(rounds)])
            print(
                f"burst: {users:,} users at {rate} a second, {kind}: "
                f"TTFT error p99 {median['ttft_error_p99_ms']:.3f} ms  "
                f"(server late p99 {median['server_late_p99_ms']} ms)",
                flush=True,
            )
    return found


def _round(folder: Path, users: int, rate: int, signed: Sequence[Path]) -> dict[str, float]:
    database = folder / "run.db"
    database.unlink(missing_ok=True)
    window = watch(
        _let_in(locust(READERS / "wire.py", users, database), rate),
        warm_up=0.1,
        seconds=5 + users / rate + 2 * ANSWER,
        environment={"BENCHMARK_CLIENT": "wire"},
        certificate=signed,
    )
    return {**window.errors(recorded(database)), "server_late_p99_ms": window.server["late_p99_ms"]}


def _let_in(command: Callable[[str], list[str]], rate: int) -> Callable[[str], list[str]]:
    return lambda url: [*command(url), "-r", str(rate)]
