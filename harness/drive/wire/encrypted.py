"""The compiled socket reader of TLS: C reads the ciphertext, and Python decrypts many records at once.

The header of a TLS record is not encrypted. So C knows where records end, and the kernel's stamp of the read that
completed a record is the arrival time of what is in it, whenever it is decrypted. That happens when C reports the
socket, when the owner of the exchange has to decide something, and when the server has been quiet for a while: only the
plain text shows that an answer is complete.
"""

import time

from streamgauge.harness.drive.wire import turns
from streamgauge.harness.drive.wire.compiled import CompiledReader, ReadingThread
from streamgauge.harness.drive.wire.exchange import Exchange, Piece
from streamgauge.harness.drive.wire.pace import Alarm
from streamgauge.harness.drive.wire.tls import CutOff, Plain
from streamgauge.harness.native import layout

_EVERY = 80_000_000  # ns between two looks for quiet servers
_QUIET = 80_000_000  # ns after the last read
_MOST_QUIET = 320_000_000  # the same for a server that is found quiet again and again between two records
_GOLDEN = 0.618034  # its multiples, modulo 1, are spread evenly however many there are
_BREAK = 1_000_000  # ns until the rest is decrypted
_ENOUGH = 8  # reads that are worth decrypting: a call for one record costs as much as twenty of many

_NOTHING = Plain(b"", [], ended=False, broken=None)


class TlsThread:
    """Decrypts what quiet servers have sent, for the readers of one reading thread."""

    def __init__(self, sockets: ReadingThread) -> None:
        self.sockets = sockets
        self._readers: set[TlsReader] = set()
        self._quiet: list[TlsReader] = []  # those found quiet whose turn has not come yet
        self._share = 0.0
        self._alarm = Alarm()
        self._looking = turns.Postponed()

    def add(self, reader: "TlsReader") -> None:
        if not self._readers:
            self._alarm.set(_EVERY, self._look)
        self._readers.add(reader)

    def remove(self, reader: "TlsReader") -> None:
        self._readers.discard(reader)

    def next_share(self, whole: int) -> int:
        """A quarter to a half of `whole`, another part for each reader.

        If all had the same, a pause of the server would leave them in step: all would have to be decrypted at once. Not
        more, since two inboxes of each stream would hold as much.
        """
        self._share = (self._share + _GOLDEN) % 1
        return int(whole * (0.25 + self._share / 4))

    def _look(self) -> None:
        if not self._quiet:
            now = time.monotonic_ns()
            with self.sockets:
                self._quiet = [reader for reader in self._readers if reader.is_quiet(now)]
        over = self._looking.now()
        while self._quiet and not over:
            reader = self._quiet.pop()
            if reader in self._readers:  # otherwise an earlier one has ended it
                reader.look()
            over = turns.over()
        self._alarm.cancel()
        if self._readers:
            self._alarm.set(_BREAK if self._quiet else _EVERY, self._look)


class TlsReader(CompiledReader):
    """Two inboxes: C reads records into one, and Python puts their plain text into the other, which holds HTTP."""

    __slots__ = ("_quiet_after", "_thread")

    def __init__(self, exchange: Exchange, thread: TlsThread) -> None:
        super().__init__(exchange, thread.sockets)
        self._thread = thread
        self._quiet_after = _QUIET
        self._inbox.records = self._inbox.counted = 1
        self._inbox.shortest = layout.RAW
        self._inbox.enough = thread.next_share(layout.RAW)
        self._inbox.markers = 0
        self._http = thread.sockets.inbox(-1, ())
        thread.add(self)

    def is_quiet(self, now: int) -> bool:
        """Whether records wait to be decrypted, and no more came for a while. Only while the sockets are locked."""
        return now - self._inbox.seen > self._quiet_after and bool(self._inbox.length)

    def look(self) -> None:
        """Decrypt what waits. If that is little, wait longer the next time: the server may be slow, and not quiet."""
        with self._sockets:
            little = self._inbox.count < _ENOUGH
        if little:
            self._quiet_after = min(2 * self._quiet_after, _MOST_QUIET)
        self.catch_up()

    def catch_up(self) -> None:
        """As any reader, but without holding up the others: decrypting takes so long that C could not read in time."""
        inbox, begins = self._inbox, not self._http.stripped
        if not (inbox.received or inbox.ended):  # nothing has come since the last call
            return
        with self._sockets:
            piece = inbox.take()
            inbox.full = 1  # C leaves this socket alone: what an answer's end leaves unread is the next exchange's
        self._decrypt(piece)
        with self._sockets:
            inbox.report_all = not self._exchange.only_the_end_matters
            if begins and self._http.stripped:
                inbox.shortest = 0  # the head has come, and its record is longer than those of tokens
            self._sockets.resume(inbox)

    def release(self) -> None:
        self._thread.remove(self)
        super().release()
        self._sockets.spare(self._http)

    def _decrypt(self, piece: Piece) -> None:
        exchange, connection, http = self._exchange, self._exchange.connection, self._http
        plain = connection.decrypt(piece.data, piece.reads.ends()) if piece.reads else _NOTHING
        piece.reads.end_at(plain.ends)
        # An alert comes before the reset by which the server then throws away a request that it has not read.
        broken = plain.broken or piece.broken or (CutOff() if piece.ended and not plain.ended else None)
        http.received, http.seen = piece.size, piece.seen
        put = 0
        while not exchange.finished:
            put += self._sockets.put(http, plain.data, piece.reads, put)
            at_end = put == len(piece.reads)
            http.ended = at_end and (piece.ended or plain.ended)
            self._take_http(broken if at_end else None)
            if at_end:
                break
        if self._inbox.tail:  # a part of a record, which the next exchange would take for a record's beginning
            exchange.response.keeps_alive = False
