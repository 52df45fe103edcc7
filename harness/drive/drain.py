"""The compiled part of reading: one call into C reads all sockets that have something, and keeps it until it matters.

An event of a stream nearly always asks for no decision, only for its bytes and two times to be kept. `drain.c` does
that for a tenth of what Python takes, and tells of a stream when its answer may be over or its room is full. It is
compiled when the package is installed; where no compiler was, or on another system than Linux, `load` finds nothing,
and `wire` reads each socket by itself: the same record at a higher cost.
"""

import ctypes
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LIBRARY = Path(__file__).with_name("_drain.so")
_LAYOUT, _READS, _RAW, _MARKER, _AT_ONCE = 1, 128, 16_384, 64, 128  # as in drain.c
_READ = struct.Struct("@qqq")


class Slot(ctypes.Structure):
    """`struct stream` of drain.c: one socket's room. Reused: its memory must outlive every call into C."""

    _fields_ = (
        ("descriptor", ctypes.c_int32),
        ("alert", ctypes.c_int32),  # tell of every read
        ("ended", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("length", ctypes.c_int32),
        ("count", ctypes.c_int32),
        ("marker_length", ctypes.c_int32),
        ("spare", ctypes.c_int32),
        ("marker", ctypes.c_char * _MARKER),
        ("reads", ctypes.c_char * (_READ.size * _READS)),
        ("raw", ctypes.c_char * _RAW),
    )

    def reset(self, descriptor: int, marker: bytes) -> None:
        self.descriptor, self.marker = descriptor, marker[:_MARKER]
        self.marker_length = min(len(marker), _MARKER)
        self.alert, self.ended, self.error, self.length, self.count = 1, 0, 0, 0, 0

    def take(self) -> Iterator[tuple[bytes, int, int]]:
        """What was read since the last time: data, kernel's stamp (CLOCK_REALTIME ns, 0 for none), our time."""
        begin = 0
        raw = ctypes.string_at(ctypes.addressof(self) + Slot.raw.offset, self.length)
        reads = ctypes.string_at(ctypes.addressof(self) + Slot.reads.offset, self.count * _READ.size)
        self.length = self.count = 0
        for end, stamp, seen in _READ.iter_unpack(reads):
            yield raw[begin:end], stamp, seen
            begin = end


class Drain:
    """The sockets that one loop reads; `poll` is an epoll descriptor."""

    def __init__(self, library: ctypes.CDLL, poll: int) -> None:
        self._call, self._watch, self._forget = library.sg_drain, library.sg_watch, library.sg_forget
        self._poll = poll
        self._told = (ctypes.c_int32 * _AT_ONCE)()
        self._spare: list[Slot] = []

    def watch(self, descriptor: int, marker: bytes) -> Slot:
        """OSError where the kernel does not want to."""
        slot = self._spare.pop() if self._spare else Slot()
        slot.reset(descriptor, marker)
        if code := self._watch(self._poll, ctypes.byref(slot)):
            raise OSError(code, "cannot watch a socket")
        return slot

    def forget(self, slot: Slot) -> None:
        self._forget(self._poll, ctypes.byref(slot))
        self._spare.append(slot)

    def read(self) -> list[int]:
        """Read from all that are ready; the descriptors of those that are to be looked at."""
        count: int = self._call(self._poll, self._told)
        return self._told[:count] if count else []


def load() -> Any:
    """The library; None where there is none, or another version's."""
    try:
        library = ctypes.CDLL(str(_LIBRARY))
        library.sg_size.restype = ctypes.c_size_t
        fits = library.sg_layout() == _LAYOUT and library.sg_size() == ctypes.sizeof(Slot)
    except (OSError, AttributeError):
        return None
    return library if fits else None
