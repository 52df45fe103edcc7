"""Users who are let in 200 a second: what their common start adds to TTFT. Plain sockets and TLS.

The TTFT of a first stream contains connecting and the TLS handshake, as a person's does. What the server needs for the
handshake is no error; what we compute for it is one. Beside the error of the whole TTFT there are the error from the
sending of the request on, and how long connecting took.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.hostile import certificate

from .arena import READERS, in_time, locust, medians, of_the_server, recorded, watch
from .server import ANSWER, Row
from .truth import stored

USERS, RATE = 1000, 200
ROUNDS = 3


def run(users: int = USERS, rate: int = RATE, rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians of the rounds: the errors of the streams from the first user's first one on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {}
        for kind, signed in (("plain", ()), ("tls", certificate(folder))):
            one = partial(_round, folder, users, rate, signed)
            found[kind] = median = medians([in_time(one) for _ in range(rounds)])
            print(
                f"burst: {users:,} users at {rate} a second, {kind}: "
                f"TTFT error p99 {median['ttft_error_p99_ms']:.3f} ms, "
                f"from the request on {median['asked_ttft_error_p99_ms']:.3f} ms; "
                f"connecting p50 {median['connecting_p50_ms']:.1f} ms, p99 {median['connecting_p99_ms']:.1f} ms "
                f"({of_the_server(median)})",
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
    seen = list(recorded(database))
    return {
        **window.errors(seen),
        "asked_ttft_error_p99_ms": window.errors(_asked(database, seen, window.sent))["ttft_error_p99_ms"],
        **_connecting(database),
        "server_late_p99_ms": window.server["late_p99_ms"],
    }


def _asked(database: Path, seen: Iterable[Row], sent: Mapping[int, Row]) -> Iterable[Row]:
    """The same streams with TTFTs from the sending of the request on, and the handshake of the server's record."""
    for row, stream in zip(seen, stored(database), strict=True):
        before = (stream["sent_at"] or stream["due_at"]) - stream["due_at"]
        handshake = sent[row.id].handshake if row.id in sent else 0
        yield row._replace(began=row.began + before - handshake)


def _connecting(database: Path) -> dict[str, float]:
    """How long streams with a new connection took from their due time to the sending of the request, ms."""
    took = [
        stream["sent_at"] - stream["due_at"]
        for stream in stored(database)
        if stream["connected_at"] is not None and stream["sent_at"] is not None
    ]
    p50, p99 = np.percentile(took, [50, 99]) / 1e6
    return {"connecting_p50_ms": round(float(p50), 3), "connecting_p99_ms": round(float(p99), 3)}


def _let_in(command: Callable[[str], list[str]], rate: int) -> Callable[[str], list[str]]:
    return lambda url: [*command(url), "-r", str(rate)]
