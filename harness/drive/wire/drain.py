"""The compiled part of reading: a thread in C reads all sockets that have something, and keeps it until it matters.

An event of a stream nearly always asks for no decision, only for its bytes and two times to be kept. `drain.c` does
that for a tenth of what Python takes and whatever Python does meanwhile, and tells of a stream when its answer may be
over or its room is full. Where nothing was compiled, `wire` reads each socket by itself.
"""

import ctypes
import os
import weakref
from array import array
from collections.abc import Sequence
from typing import Any

_READS, _RAW, _MARKER, _AT_ONCE = 256, 32_768, 64, 128  # as in drain.c
_READ = 24  # bytes of `struct read`: three numbers
_UNLIMITED = 1 << 62
_NEWS = 65_536  # bytes that a pipe holds


class Slot(ctypes.Structure):
    """`struct stream` of drain.c: one socket's room. Reused: its memory must outlive every call into C."""

    _fields_ = (
        ("body", ctypes.c_int64),
        ("seen", ctypes.c_int64),
        ("chunk", ctypes.c_int64),
        ("room", ctypes.c_int64),  # bytes that may be read; the caller's to set
        ("framed", ctypes.c_int32),
        ("bare", ctypes.c_int32),
        ("rest", ctypes.c_int32),
        ("torn", ctypes.c_int32),
        ("where", ctypes.c_int32),
        ("descriptor", ctypes.c_int32),
        ("watched", ctypes.c_int32),
        ("told", ctypes.c_int32),
        ("full", ctypes.c_int32),  # no more is read until it is resumed
        ("alert", ctypes.c_int32),  # tell of every read
        ("ended", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("length", ctypes.c_int32),
        ("count", ctypes.c_int32),
        ("marker_length", ctypes.c_int32),
        ("marker", ctypes.c_char * _MARKER),
        ("reads", ctypes.c_int64 * (3 * _READS)),
        ("raw", ctypes.c_char * _RAW),
    )

    def reset(self, descriptor: int, marker: bytes) -> None:
        self.descriptor, self.marker = descriptor, marker[:_MARKER]
        self.marker_length = min(len(marker), _MARKER)
        self.room = _UNLIMITED
        self.alert, self.framed, self.bare, self.rest, self.torn = 1, 0, 0, 0, 0
        self.ended, self.error, self.length, self.count = 0, 0, 0, 0

    def take(self) -> tuple[bytes, bytes, bytes]:
        """What was read since the last time: of the body alone; for the parser; and the reads that brought it, three
        64-bit numbers of each."""
        here = ctypes.addressof(self)
        raw, rest = here + Slot.raw.offset, b""
        came = ctypes.string_at(raw, self.length)
        reads = ctypes.string_at(here + Slot.reads.offset, self.count * _READ)
        bare = self.bare
        if self.rest:
            rest = ctypes.string_at(raw + self.length, self.rest)
            if self.framed:  # a line that is not whole
                ctypes.memmove(raw, rest, self.rest)
                rest = b""
        if not self.framed:
            self.bare = self.rest = 0
        self.length = self.count = 0
        return (came, rest, reads) if bare else (b"", came, reads)


class Drain:
    """The sockets that are read for one loop: by a thread, or when `told` is called. Held (`with`), none is read."""

    def __init__(self, library: Any, *, alone: bool = True) -> None:
        """`alone`: in a thread of its own."""
        size = ctypes.c_int()
        if library.sg_sizes(size) != ctypes.sizeof(Slot):
            raise RuntimeError("the compiled reader has another idea of a stream; install the package again")
        self._library = library
        self._reader = ctypes.create_string_buffer(size.value)
        pipe = os.pipe() if alone else ()
        if code := library.sg_start(self._reader, pipe[1] if pipe else -1):
            raise OSError(code, "cannot start to read")
        weakref.finalize(self, _stop, library, self._reader, pipe, os.getpid())
        self.news: int = pipe[0] if pipe else library.sg_poll(self._reader)  # readable when `told` has something to do
        self._alone = alone
        self._told = (ctypes.c_int32 * _AT_ONCE)()
        self._spare: list[Slot] = []

    def __enter__(self) -> None:
        self._library.sg_lock(self._reader)

    def __exit__(self, *_: object) -> None:
        self._library.sg_unlock(self._reader)

    def slot(self, descriptor: int, marker: bytes) -> Slot:
        slot = self._spare.pop() if self._spare else Slot()
        slot.reset(descriptor, marker)
        return slot

    def watch(self, slot: Slot) -> None:
        """Read from it until it is to be left. OSError where the kernel does not want to."""
        if code := self._library.sg_watch(self._reader, ctypes.byref(slot)):
            raise OSError(code, "cannot watch a socket")

    def resume(self, slot: Slot) -> None:
        """It was looked at, and more may be read. To be called while this is held."""
        self._library.sg_resume(self._reader, ctypes.byref(slot))

    def leave(self, slot: Slot) -> None:
        """Read no more for now; it can be watched again, and goes on where it was."""
        self._library.sg_leave(self._reader, ctypes.byref(slot))

    def free(self, slot: Slot) -> None:
        """It is left, and not needed any more."""
        self._spare.append(slot)

    def count(self, slot: Slot, begun: bytes) -> bool:
        """Count a chunked body, which begins like this, from now on; False where that cannot be."""
        return bool(self._library.sg_count(ctypes.byref(slot), begun, len(begun)))

    def told(self) -> list[int]:
        """The descriptors of those that are to be looked at; a thread's are waited for."""
        if self._alone:
            return array("i", os.read(self.news, _NEWS)).tolist()
        count: int = self._library.sg_read(self._reader, self._told)
        return self._told[:count]


def _stop(library: Any, reader: Any, pipe: Sequence[int], process: int) -> None:
    """At the latest when the interpreter ends: it frees what the thread would read into."""
    if os.getpid() == process:  # a fork has the memory, but no thread
        library.sg_stop(reader)
    for end in pipe:
        os.close(end)
