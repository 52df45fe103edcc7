"""What was really sent, and when: the log that a client's accuracy is judged by.

One JSON line for every stream that ended, however it ended. Times are CLOCK_MONOTONIC in nanoseconds, which on Linux
all processes of a machine share. A stream collects its stamps in a plain list and writes once, at its end. The file is
appended to, never cut: rows are told apart by the request id that every response carries.
"""

from pathlib import Path
from typing import Literal

import msgspec

# disconnected: the client left; cancelled: somebody else stopped it; stopped: the server was told to end.
Outcome = Literal["completed", "disconnected", "cancelled", "failed", "stopped"]


class Row(msgspec.Struct):
    id: str  # the response's request id header
    client: str | None  # the request's x-gauge-stream header
    received_at: int  # the whole request was there
    due: int | None  # the first token was due; None: it was never known when
    sent: list[int]  # per token: the event that it was in had been handed to the kernel
    ended_at: int
    outcome: Outcome
    tokens: int  # generated; fewer than planned when the client left
    paused: int  # ns that the client kept the model waiting; all that came after was due later by as much


class TruthLog:
    """Appends rows to a file, or nowhere when there is no path. OSError when the file cannot be opened."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("ab", buffering=0)

    def write(self, row: Row) -> None:
        if self._file is not None:
            self._file.write(msgspec.json.encode(row) + b"\n")  # one write: lines of several processes never mix
