"""Errors of our times against the reference server's own log: 200 streams with 20 ms gaps, in a real Locust run.

Does what `streamgauge calibrate` does, at one load and three times. The log's stamp is taken after `send` has
returned, and on loopback the kernel stamps the arrival during `send`, so errors are some tens of microseconds below
zero. A server that is preempted between the two makes them larger, which is not the client's error.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamgauge.harness import cores
from streamgauge.harness.calibration.measurement import calibrate, layouts
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.clock import RunClock

STREAMS, SECONDS = 200, 10
ROUNDS = 3
ONE_CORE = layouts(cores.places(), cores.usable())[:1]


class Errors(NamedTuple):
    """Errors of times in ns, pooled over streams."""

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
    """The median of each figure over three rounds: on a shared machine, one round may be disturbed."""
    rounds = [
        msgspec.to_builtins(point)
        for _ in range(ROUNDS)
        for point in calibrate([STREAMS], SECONDS, [False], lambda _: None, among=ONE_CORE).points
    ]
    return {**{name: float(np.median([each[name] for each in rounds])) for name in rounds[0]}, "rounds": ROUNDS}


def stored(database: Path) -> Iterator[dict[str, Any]]:
    """The stored streams; `content` holds the arrivals of their content chunks, ns on the run's clock."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute("SELECT * FROM streams"):
            seen = arrivals.columns(row["arrivals"] or b"")
            yield {**row, "content": seen.at[arrivals.is_content(seen.kind)] * 1_000}
