"""The reads of one answer: where in the body each ended, and when. No other Python module knows their layout.

One block of memory has three 64-bit numbers for each read, like `struct read` in `native/layout.h`: compiled code
writes such blocks and reads them.
"""

import ctypes
from array import array
from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.native import layout
from streamgauge.harness.record.clock import RunClock

_FIELDS = 3
_BYTES = ctypes.sizeof(layout.Read)


class Read(NamedTuple):
    end: int  # bytes of the body after this read
    stamp: int  # the kernel's, CLOCK_REALTIME ns; 0: the kernel gave none
    seen: int  # CLOCK_MONOTONIC ns: when we read it

    def arrived(self, clock: RunClock) -> int:
        """Arrival time, CLOCK_MONOTONIC ns: by the kernel's stamp; without a stamp, when we read it."""
        return self.stamp - clock.offset if self.stamp else self.seen


class Reads:
    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers = array("q")

    @classmethod
    def of(cls, *reads: Read) -> "Reads":
        found = cls()
        for read in reads:
            found._numbers.extend(read)
        return found

    @classmethod
    def at(cls, address: int, count: int) -> "Reads":
        """A copy of `count` reads that compiled code has written at this address."""
        found = cls()
        found._numbers.frombytes(ctypes.string_at(address, count * _BYTES))
        return found

    def __len__(self) -> int:
        return len(self._numbers) // _FIELDS

    def __getitem__(self, number: int) -> Read:
        begin = _FIELDS * (number if number >= 0 else len(self) + number)
        return Read(*self._numbers[begin : begin + _FIELDS])

    @property
    def address(self) -> int:
        """Address for compiled code; valid until more reads are added."""
        return self._numbers.buffer_info()[0]

    def address_of(self, number: int) -> int:
        """Address of this read and those after it; valid like `address`."""
        return self.address + number * _BYTES

    def columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(`end`, `stamp`, `seen`) of all reads, not copied: no reads can be added while one of these is in use."""
        ends, stamps, seen = np.asarray(self._numbers, np.int64).reshape(-1, _FIELDS).T
        return ends, stamps, seen

    def arrived(self, clock: RunClock) -> NDArray[np.int64]:
        """`Read.arrived` of all reads."""
        _, stamps, seen = self.columns()
        return np.where(stamps != 0, stamps - clock.offset, seen)

    def extend(self, more: "Reads") -> None:
        self._numbers.extend(more._numbers)

    def ends(self) -> list[int]:
        return self._numbers[::_FIELDS].tolist()

    def end_at(self, ends: list[int]) -> None:
        """Set the end of each read."""
        self._numbers[::_FIELDS] = array("q", ends)

    def forget_after(self, number: int) -> None:
        """Keep only the first `number` reads."""
        del self._numbers[_FIELDS * number :]

    def settle(self, known: int, length: int) -> None:
        """Set the last read's end to `length`, and drop trailing reads that added no body.

        Only the reads from number `known` on are new; the last of them has no end yet.
        """
        numbers = self._numbers
        while len(numbers) > _FIELDS * known and length <= (numbers[-2 * _FIELDS] if len(numbers) > _FIELDS else 0):
            del numbers[-_FIELDS:]
        if len(numbers) > _FIELDS * known:
            numbers[-_FIELDS] = length

    def completing(self, place: int) -> int:
        """The number of the read with which the body reached `place`."""
        return bisect_left(self._numbers[::_FIELDS], place)
