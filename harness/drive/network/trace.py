"""Recorded links: the moments at which a link could deliver 1,500 bytes, in the trace format of Mahimahi's mm-link(1).

Each line of a file is a whole number of milliseconds, in ascending order. A delivery for which no data is waiting is
lost. After the last line, the recording starts over.
"""

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from itertools import pairwise

from streamgauge.harness.config.contents import contents
from streamgauge.harness.errors import ScenarioError

CAPACITY = 1_500  # bytes of one delivery, IP and TCP headers included
_MS = 1_000_000
_MOST_BYTES = 64 * 2**20  # of a file
_MOST_DIGITS = 9  # of a stamp in a file: eleven days


@dataclass(frozen=True, slots=True)
class Trace:
    stamps: "array[int]" = field(compare=False, repr=False)  # ms since the recording began, ascending
    digest: str  # of the stamps

    @staticmethod
    @cache
    def read(path: str) -> "Trace":
        """The recording in a file, read once. ScenarioError with the line number for an invalid file."""
        try:
            text = contents(path, _MOST_BYTES).decode("ascii", errors="replace")
        except FileNotFoundError:
            raise ScenarioError(f"trace {path}: no such file") from None
        except OSError as fault:
            raise ScenarioError(f"trace {path}: cannot be read: {fault.strerror}") from None
        lines = [line.strip() for line in text.rstrip().splitlines()]
        wrong = next((place for place, line in enumerate(lines) if not _is_stamp(line)), None)
        if wrong is not None:
            raise ScenarioError(
                f"trace {path}, line {wrong + 1}: {lines[wrong][:40]!r} is not a whole number of milliseconds"
            )
        stamps = array("q", map(int, lines))
        back = next((place for place, (one, other) in enumerate(pairwise(stamps)) if other < one), None)
        if back is not None:
            raise ScenarioError(
                f"trace {path}, line {back + 2}: times must not decrease: {stamps[back + 1]} after {stamps[back]}"
            )
        if not stamps or stamps[-1] == 0:
            raise ScenarioError(f"trace {path}: the trace is empty; write one time per line, in milliseconds")
        return Trace(stamps, sha256(stamps.tobytes()).hexdigest())

    @property
    def period(self) -> int:
        """ns until the recording starts over."""
        return self.stamps[-1] * _MS

    @property
    def kbit(self) -> float:
        """Average capacity, kbit/s."""
        return len(self.stamps) * CAPACITY * 8 / self.stamps[-1]

    def moment(self, number: int) -> int:
        """Time of the delivery with this number, ns. Numbers go on counting when the recording starts over."""
        again, place = divmod(number, len(self.stamps))
        return again * self.period + self.stamps[place] * _MS

    def first(self, at: int) -> int:
        """The number of the first delivery at `at` (ns) or later."""
        again, rest = divmod(at - 1, self.period)
        return again * len(self.stamps) + bisect_right(self.stamps, rest // _MS)


def _is_stamp(line: str) -> bool:
    return line.isascii() and line.isdigit() and len(line) <= _MOST_DIGITS
