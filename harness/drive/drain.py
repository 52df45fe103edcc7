"""The compiled part of reading: one call into C reads all sockets that have something, and keeps it until it matters.

An event of a stream nearly always asks for no decision, only for its bytes and two times to be kept. `drain.c` does
that for a tenth of what Python takes, and tells of a stream when its answer may be over or its room is full. Where
nothing was compiled, `wire` reads each socket by itself.
"""

import ctypes

_READS, _RAW, _MARKER, _AT_ONCE = 256, 32_768, 64, 128  # as in drain.c
_READ = 3 * 8  # bytes of `struct read`
_UNLIMITED = 1 << 62


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
        ("alert", ctypes.c_int32),  # tell of every read
        ("ended", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("length", ctypes.c_int32),
        ("count", ctypes.c_int32),
        ("marker_length", ctypes.c_int32),
        ("marker", ctypes.c_char * _MARKER),
        ("reads", ctypes.c_char * (_READ * _READS)),
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
    """The sockets that one loop reads; `poll` is an epoll descriptor."""

    def __init__(self, library: ctypes.CDLL, poll: int) -> None:
        if library.sg_size() != ctypes.sizeof(Slot):
            raise RuntimeError("the compiled reader has another idea of a stream; install the package again")
        self._call, self._watch, self._forget = library.sg_drain, library.sg_watch, library.sg_forget
        self._count = library.sg_count
        self._poll = poll
        self._told = (ctypes.c_int32 * _AT_ONCE)()
        self._spare: list[Slot] = []

    def slot(self, descriptor: int, marker: bytes) -> Slot:
        slot = self._spare.pop() if self._spare else Slot()
        slot.reset(descriptor, marker)
        return slot

    def watch(self, slot: Slot) -> None:
        """Read from it until it is to be left. OSError where the kernel does not want to."""
        if code := self._watch(self._poll, ctypes.byref(slot)):
            raise OSError(code, "cannot watch a socket")

    def leave(self, slot: Slot) -> None:
        """Read no more for now; it can be watched again, and goes on where it was."""
        self._forget(self._poll, ctypes.byref(slot))

    def free(self, slot: Slot) -> None:
        """It is left, and not needed any more."""
        self._spare.append(slot)

    def count(self, slot: Slot, begun: bytes) -> bool:
        """Count a chunked body, which begins like this, from now on; False where that cannot be."""
        return bool(self._count(ctypes.byref(slot), begun, len(begun)))

    def read(self) -> list[int]:
        """Read from all that are ready; the descriptors of those that are to be looked at."""
        count: int = self._call(self._poll, self._told)
        return self._told[:count] if count else []
