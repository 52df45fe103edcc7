"""The compiled socket readers: `native/reader.c` reads the sockets and keeps the data until Python needs it.

Most events of a stream need no decision: only their bytes and two times have to be kept. C does that at a tenth of
Python's cost, even while Python is busy. It reports a socket when its answer may be complete or its inbox is full, and
when an answer begins with an unusual head.
"""

import ctypes
import os
import time
import weakref
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from streamgauge.harness.drive.wire import turns
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.exchange import Exchange, Piece
from streamgauge.harness.drive.wire.pace import Alarm, Pace
from streamgauge.harness.drive.wire.reads import Read, Reads
from streamgauge.harness.native import layout
from streamgauge.harness.record.observation import Outcome

_UNLIMITED = 1 << 62
_REPORTS = 4  # sockets that are taken before the gevent loop serves others; with TLS, one takes 0.1 to 0.4 ms


class Inbox(layout.Inbox):
    """The memory into which C reads one socket. Reused, and never freed while C may write to it."""

    def reset(self, descriptor: int, markers: Sequence[bytes]) -> None:
        self.descriptor, self.markers = descriptor, len(markers)
        self.longest = max(map(len, markers), default=0)
        for place, marker in enumerate(markers):
            self.marker[place].value, self.marker_lengths[place] = marker, len(marker)
        self.allowance = _UNLIMITED
        self.report_all, self.counted, self.stripped, self.tail, self.torn = 1, 0, 0, 0, 0
        self.ended, self.error, self.length, self.count = 0, 0, 0, 0
        self.received, self.chunks = 0, 0
        self.records, self.unattended, self.head.end = 0, 0, 0

    def take_head(self) -> Piece:
        """The answer's head, which C has read without a report. Call it before `take`."""
        raw, head = ctypes.addressof(self) + Inbox.raw.offset, self.head
        size = head.end
        data = ctypes.string_at(raw, size)
        self.length -= size
        self.received -= size
        ctypes.memmove(raw, raw + size, self.length + self.tail)
        head.end = 0
        return Piece(data, Reads.of(Read(0, head.stamp, head.seen)), head.seen, size)

    def take(self) -> Piece:
        """What was read since the last call."""
        address = ctypes.addressof(self)
        raw, rest = address + Inbox.raw.offset, b""
        came = ctypes.string_at(raw, self.length)
        reads = Reads.at(address + Inbox.reads.offset, self.count)
        stripped = self.stripped
        if self.tail:
            rest = ctypes.string_at(raw + self.length, self.tail)
            if self.counted:  # C goes on with the incomplete line: move it to the beginning
                ctypes.memmove(raw, rest, self.tail)
                rest = b""
        if not self.counted:
            self.stripped = self.tail = 0
        size, chunks = self.received, self.chunks
        self.length = self.count = self.received = self.chunks = 0
        body, data = (came, rest) if stripped else (b"", came)
        return Piece(data, reads, self.seen, size, body, chunks, bool(self.ended), self._broken())

    def _broken(self) -> Broken | None:
        if self.error:
            return Broken(Outcome.RESET, f"the connection broke: {os.strerror(self.error)}")
        if self.torn:
            return Broken(Outcome.MALFORMED, "not HTTP: a chunk does not end where its size line says")
        return None


class SocketSet(ABC):
    """A set of sockets that C reads for one gevent loop. While the set is locked (`with`), C reads none of them."""

    report_descriptor: int  # readable when `reported` would return something

    def __init__(self, library: Any, *, pipe: Sequence[int] = ()) -> None:
        self._library = library
        self._reader = ctypes.create_string_buffer(library.sg_reader_size())
        if code := library.sg_start(self._reader, pipe[1] if pipe else -1):
            _close(pipe)
            raise OSError(code, "cannot start to read")
        self._stop = weakref.finalize(self, _stop, library, self._reader, pipe, os.getpid())
        self._readers: dict[int, CompiledReader] = {}  # by descriptor
        self._spare: list[Inbox] = []

    def __enter__(self) -> None:
        self._library.sg_lock(self._reader)

    def __exit__(self, *_: object) -> None:
        self._library.sg_unlock(self._reader)

    def close(self) -> None:
        """Give the descriptors back. A set that still reads sockets keeps them until it is collected."""
        if not self._readers:
            self._stop()

    @abstractmethod
    def reported(self) -> list[int]:
        """The descriptors of the sockets whose inboxes Python has to take."""

    def catch_up(self) -> None:
        """Let the readers of all reported sockets catch up."""
        for descriptor in self.reported():
            if descriptor in self._readers:  # otherwise it was released after the report
                self._readers[descriptor].catch_up()

    def inbox(self, descriptor: int, markers: Sequence[bytes]) -> Inbox:
        inbox = self._spare.pop() if self._spare else Inbox()
        inbox.reset(descriptor, markers)
        return inbox

    def add(self, reader: "CompiledReader", inbox: Inbox) -> None:
        self._readers[inbox.descriptor] = reader

    def remove(self, inbox: Inbox) -> None:
        """Give back an inbox that is no longer watched or needed."""
        del self._readers[inbox.descriptor]
        self.spare(inbox)

    def spare(self, inbox: Inbox) -> None:
        """Give back an inbox that was never added."""
        self._spare.append(inbox)

    def watch(self, inbox: Inbox) -> None:
        """Read into the inbox until `unwatch`. OSError if the kernel refuses."""
        if code := self._library.sg_watch(self._reader, ctypes.byref(inbox)):
            raise OSError(code, "cannot watch a socket")

    def resume(self, inbox: Inbox) -> None:
        """Go on reading after the inbox was taken. Lock the set around both."""
        self._library.sg_resume(self._reader, ctypes.byref(inbox))

    def unwatch(self, inbox: Inbox) -> None:
        """Stop reading until the next `watch`."""
        self._library.sg_unwatch(self._reader, ctypes.byref(inbox))

    def drain(self, inbox: Inbox) -> None:
        """Read now what the kernel has for a watched socket."""
        self._library.sg_drain(self._reader, ctypes.byref(inbox))

    def put(self, inbox: Inbox, data: bytes, reads: Reads, begin: int) -> int:
        """Put the reads of `data` from number `begin` on into an inbox that is not watched. Returns how many fitted.

        Take the inbox before the rest is put.
        """
        at, address = (reads[begin - 1].end, reads.address_of(begin)) if begin else (0, reads.address)
        return int(self._library.sg_put(ctypes.byref(inbox), data, address, at, len(reads) - begin))

    def count(self, inbox: Inbox, begun: bytes) -> bool:
        """Count the bytes of a chunked body that begins with `begun`. False if C cannot count this body."""
        return bool(self._library.sg_count(ctypes.byref(inbox), begun, len(begun)))


class ReadingThread(SocketSet):
    """A thread in C reads whenever data arrives, and reports through a pipe."""

    def __init__(self, library: Any) -> None:
        pipe = os.pipe()
        self.report_descriptor = pipe[0]
        self._catching_up = turns.Postponed()
        super().__init__(library, pipe=pipe)

    def catch_up(self) -> None:
        if not self._catching_up.now():  # otherwise the loop calls again
            super().catch_up()

    def reported(self) -> list[int]:
        """Blocks until the thread has reported something."""
        return array("i", os.read(self.report_descriptor, 4 * (1 if turns.short() else _REPORTS))).tolist()


class PolledSet(SocketSet):
    """C reads when Python asks it to: cheaper if nearly every read needs a decision, as on an emulated link."""

    def __init__(self, library: Any) -> None:
        super().__init__(library)
        self.report_descriptor = library.sg_epoll(self._reader)
        self._report = (ctypes.c_int32 * layout.AT_ONCE)()

    def reported(self) -> list[int]:
        count: int = self._library.sg_read_ready(self._reader, self._report)
        return self._report[:count]


def _stop(library: Any, reader: Any, pipe: Sequence[int], process: int) -> None:
    """Stop reading. Runs when the set is collected, or before the interpreter frees memory at its end."""
    if os.getpid() == process:  # a forked child has no such thread
        library.sg_stop(reader)
    _close(pipe)


def _close(pipe: Sequence[int]) -> None:
    for end in pipe:
        os.close(end)


class CompiledReader:
    """Reads all data as it arrives."""

    separates: ClassVar[bool] = True

    __slots__ = ("_awaits_body", "_counts", "_exchange", "_http", "_inbox", "_sockets", "_watched")

    def __init__(self, exchange: Exchange, sockets: SocketSet) -> None:
        self._exchange = exchange
        self._sockets = sockets
        self._inbox = sockets.inbox(exchange.connection.sock.fileno(), exchange.markers)
        self._http = self._inbox  # the one whose data is HTTP
        self._watched = False
        self._awaits_body = True  # the headers are not complete yet
        self._counts = False  # C counted the body when the inbox was last taken
        self._inbox.unattended = self.separates and exchange.only_the_end_matters
        sockets.add(self, self._inbox)

    def resume(self) -> None:
        if not self._watched:
            self._sockets.watch(self._inbox)
            self._watched = True

    def pause(self) -> None:
        if self._watched:
            self._sockets.unwatch(self._inbox)
            self._watched = False

    def catch_up(self) -> None:
        inbox = self._inbox
        if inbox.received or inbox.ended:  # otherwise nothing has come since the last call
            with self._sockets:
                self._take_http(None)
                self._sockets.resume(inbox)

    def drain(self) -> None:
        before = -1
        while self._watched and before < self._exchange.received:
            before = self._exchange.received
            self._sockets.drain(self._inbox)
            self.catch_up()

    def release(self) -> None:
        self.pause()
        self._sockets.remove(self._inbox)

    def _take_http(self, broken: Broken | None) -> None:
        """Pass on the data that is HTTP; `broken`: what broke the connection, if the inbox does not say it."""
        exchange = self._exchange
        if self._http.head.end:
            self._awaits_body, self._counts = False, True
            exchange.take(self._http.take_head())
        uncounted = not self._http.counted and not self._counts
        piece = self._http.take()
        if broken is not None:
            piece = piece._replace(broken=broken)
        for part in _apart(piece) if uncounted else (piece,):
            if not exchange.finished:
                exchange.take(part)
        if not exchange.finished:
            self._prepare(piece)
        self._counts = bool(self._http.counted)

    def _prepare(self, piece: Piece) -> None:
        """Tell C how to treat the data after this piece."""
        inbox, exchange, data = self._http, self._exchange, piece.data
        response = exchange.response
        if data and self._awaits_body and response.status is not None:
            self._awaits_body = False
            if response.headers.get("transfer-encoding", "").lower() == "chunked":
                _, blank, begun = bytes(data).partition(b"\r\n\r\n")
                # Python decompresses each read on its own, so C must not count what it has no decompressed length for.
                counted = bool(blank) and response.inflater is None and self._sockets.count(inbox, begun)
                inbox.counted = counted and inbox.body == len(response.body)
        if inbox.counted and not exchange.every_read and inbox.state == layout.SIZE and data[-1:] == b"\n":
            inbox.stripped = 1  # the next byte begins a chunk for C and for the parser: C can remove the framing
        # In a stripped inbox C itself finds the marker and the end, and nothing else needs to be reported. Of a marker
        # that has begun in what Python has taken, C sees only the rest; no marker goes over the end of a line.
        whole_lines = response.body.endswith((b"\n", b"\r"))
        inbox.report_all = not (exchange.only_the_end_matters and inbox.stripped and whole_lines)


def _apart(piece: Piece) -> Iterator[Piece]:
    """The reads of a piece that C did not count, one by one: only after parsing is it known where each ends."""
    reads, last, begin = piece.reads, len(piece.reads) - 1, 0
    for number in range(last):
        read = reads[number]
        size = read.end - begin
        yield Piece(piece.data[begin : read.end], Reads.of(read), read.seen, size)
        begin = read.end
    if last > 0:
        piece = piece._replace(data=piece.data[begin:], reads=Reads.of(reads[last]), size=piece.size - begin)
    yield piece


class PacedCompiledReader(CompiledReader):
    """Lets C read only what the pace allows, and asks again when the allowance is used up or has expired."""

    separates: ClassVar[bool] = False  # C reads only when Python asks it to

    __slots__ = ("_alarm", "_allowed", "_pace")

    def __init__(self, exchange: Exchange, sockets: SocketSet, pace: Pace) -> None:
        super().__init__(exchange, sockets)
        self._pace = pace
        self._alarm = Alarm()  # C does not know when its allowance ends
        self._allowed = 0  # bytes that C was last allowed to read

    def resume(self) -> None:
        now = time.monotonic_ns()
        self._allowed, again_at = self._pace.allowance(now)
        self._inbox.allowance = self._allowed
        if not self._allowed:
            super().pause()
        self._alarm.set(again_at - now, self._ask_again)
        if self._allowed:
            super().resume()

    def pause(self) -> None:
        self._alarm.cancel()
        super().pause()

    def _ask_again(self) -> None:
        self._alarm.cancel()
        if not self._watched:
            self._exchange.holds.append(time.monotonic_ns())
        with self._sockets:  # so that C reads nothing between catching up and the new allowance
            self.catch_up()
            if not self._exchange.finished:
                self.resume()

    def _prepare(self, piece: Piece) -> None:
        super()._prepare(piece)
        spent = self._allowed - self._inbox.allowance
        if spent > 0:
            self._pace.spend(piece.reads[0].seen if piece.reads else piece.seen, spent)
            self.resume()
