"""The truth log: the tokens that were sent, and when. A client's measurements are compared with it.

One JSON line for every streamed answer that ended, however it ended; an answer that is sent whole has none. Times are
CLOCK_MONOTONIC in nanoseconds, which on Linux all processes of a machine share. A stream collects its stamps in memory
and writes once, at its end. The file is only appended to: each row has the request id of its response, so the rows of
different runs are not confused.
"""

from pathlib import Path
from typing import Literal

import msgspec

# disconnected: the client left; cancelled: another request stopped it; stopped: the server shut down.
Outcome = Literal["completed", "disconnected", "cancelled", "failed", "stopped"]


class TruthRow(msgspec.Struct):
    id: str  # the response's request id header
    client: str | None  # the request's x-gauge-stream header
    received_at: int  # when the last bytes of the request were read
    due: int | None  # when the first token was due; None: that was never known
    # For each token: when its event was handed to the connection; of a resumable answer, when it was written to the
    # log. So a token that a client got only after it came back has the time of its generation.
    sent: list[int]
    ended_at: int
    outcome: Outcome
    tokens: int  # generated; fewer than planned if the client left
    paused: int  # ns that a slow client made the model wait; everything after a pause was due later by its length


class TruthLog:
    """Appends rows to a file; without a path it drops them. OSError when the file cannot be opened."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("ab", buffering=0)

    def write(self, row: TruthRow) -> None:
        if self._file is not None:
            # One write for each row, so that rows of several processes do not mix.
            self._file.write(msgspec.json.encode(row) + b"\n")
