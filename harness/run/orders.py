"""How a search for a capacity and the run that it drives talk: two pipes, a line of JSON for each message.

    search → run   Users, Rate, End
    run → search   Began, Reached

What the streams of the run were is not told here: the search reads it from the database. This module does not import
Locust.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

# In the environment of the run: the two descriptors, and how many streams may begin.
_DESCRIPTORS, _MOST_STREAMS = "STREAMGAUGE_LEVELS", "STREAMGAUGE_MOST_STREAMS"
_LONGEST = 1 << 20  # bytes of a message; `End` has a row for each visit


class Users(msgspec.Struct, frozen=True, tag="users"):
    """Run so many users from now on."""

    users: int


class Rate(msgspec.Struct, frozen=True, tag="rate"):
    """Let so many streams become due from now on, in an open load; 0: none, until the next rate."""

    per_minute: int


class End(msgspec.Struct, frozen=True, tag="end"):
    """End the run, and store what the search found."""

    found: dict[str, Any]


class Began(msgspec.Struct, frozen=True, tag="began"):
    run: str  # its id


class Reached(msgspec.Struct, frozen=True, tag="reached"):
    """What was ordered is there."""

    load: int  # users, or streams per minute
    at: int  # ns on the run's clock


Order = Users | Rate | End
Report = Began | Reached


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of both pipes that one side holds."""

    reads: int
    writes: int
    most_streams: int | None = None  # that may begin in the run; None: any number

    @property
    def environment(self) -> dict[str, str]:
        """What `given` reads in the run."""
        return {_DESCRIPTORS: f"{self.reads},{self.writes}", _MOST_STREAMS: str(self.most_streams or "")}

    def send(self, message: Order | Report) -> None:
        """OSError if the other side is gone."""
        data = msgspec.json.encode(message, enc_hook=str) + b"\n"
        while data:
            data = data[os.write(self.writes, data) :]

    def close(self) -> None:
        os.close(self.reads)
        os.close(self.writes)


def pipes(most_streams: int | None) -> tuple[Ends, Ends]:
    """The ends of the search, and those of the run."""
    run_reads, search_writes = os.pipe()
    search_reads, run_writes = os.pipe()
    return Ends(search_reads, search_writes), Ends(run_reads, run_writes, most_streams)


def given() -> Ends | None:
    """In the process of a run: its ends, if a search drives it."""
    descriptors, most_streams = (os.environ.pop(name, "") for name in (_DESCRIPTORS, _MOST_STREAMS))
    try:
        reads, writes = map(int, descriptors.split(","))
    except ValueError:
        return None
    return Ends(reads, writes, int(most_streams) if most_streams.isdecimal() else None)


class Lines:
    """Messages out of what has been read of a pipe so far."""

    def __init__(self, kind: Any) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._rest = b""

    def messages(self, data: bytes) -> Iterator[Any]:
        """ValueError for a line that is no message."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            raise ValueError("a message without an end")
        for line in lines:
            yield self._decoder.decode(line)
