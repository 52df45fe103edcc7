"""One HTTP/1.1 request on a connection and what came back. The hot path.

Promises: the arrival time of every read is the kernel's (SO_TIMESTAMPNS), or our own clock where the kernel gives
none, which is counted; the waiting greenlet is switched to only when there is something to decide; whatever goes wrong
leaves all that was received in place. Decodes no events: it knows only bytes and stamps.

Times are CLOCK_MONOTONIC nanoseconds, kernel stamps CLOCK_REALTIME nanoseconds; `RunClock` puts both on one line.
"""

import time
from array import array
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol

import httptools
from gevent.event import Event

from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.connection import Connection, seconds_until
from streamgauge.harness.drive.wire.pace import Pace
from streamgauge.harness.drive.wire.reads import Read, Reads
from streamgauge.harness.drive.wire.response import Response
from streamgauge.harness.record.observation import Outcome

_MOST_WITHOUT_BODY = 262_144  # bytes in a row: headers, interim answers, chunk extensions or trailers
_MOST_READS = 500_000  # each costs memory of ours, however little it brings


class SocketReader(Protocol):
    """Reads the socket of one exchange and gives it what came (`Exchange.take`)."""

    def resume(self) -> None:
        """Begin to read, or go on after `pause`."""

    def pause(self) -> None:
        """Read no more until `resume`: what comes waits in the kernel, and then at the server."""

    def catch_up(self) -> None:
        """Give the exchange what was read and kept back."""

    def release(self) -> None:
        """Read no more."""


class _NotReading:
    """Before the request is sent, and after the answer's end."""

    def resume(self) -> None: ...
    def pause(self) -> None: ...
    def catch_up(self) -> None: ...
    def release(self) -> None: ...


_NOT_READING: SocketReader = _NotReading()


class Piece(NamedTuple):
    """What one read brought, or several that a reader had kept back."""

    data: bytes | memoryview  # for the HTTP parser
    reads: Reads  # the last one's end is not known yet
    seen: int  # of the last read, CLOCK_MONOTONIC ns
    body: bytes = b""  # of the body, freed of its framing; comes before `data`
    ended: bool = False  # the peer sends no more
    broken: Broken | None = None


class Exchange:
    """`response.body` grows as reads come in; `reads` has each read that added to it.

    The owner calls `wait` and decides; before it looks at what came, it calls `catch_up`. `on_data`, if set, is called
    from the gevent loop whenever something was added, and must be quick.
    """

    every_read: ClassVar[bool] = False  # `feed` has to get the data of each read as it comes

    __slots__ = (
        "_changed",
        "_reader",
        "_without_body",
        "broken",
        "connection",
        "feed",
        "finished",
        "holds",
        "last_read_at",
        "limit",
        "marker",
        "marker_seen",
        "on_data",
        "pace",
        "reads",
        "received",
        "response",
    )

    def __init__(self, connection: Connection, limit: int, marker: bytes, pace: Pace | None = None) -> None:
        self.connection = connection
        self.pace = pace  # None: read whatever there is
        self.limit = limit  # bytes of body before the stream is MALFORMED
        self.marker = marker  # bytes that hint at the terminal event; b"": anything may be it
        self.marker_seen = False
        self.response = Response()
        self.feed: Callable[[bytes], None] = self.response.feed
        self.reads = Reads()
        self.holds = array("q")  # when we began to read again after not reading on purpose, CLOCK_MONOTONIC ns
        self.received = 0  # bytes off the socket
        self.last_read_at = 0
        self.finished = False  # nothing more will come
        self.broken: Broken | None = None
        self.on_data: Callable[[], None] | None = None
        self._changed = Event()
        self._reader = _NOT_READING
        self._without_body = 0  # bytes since the last of the body

    def start(self, reader: SocketReader) -> None:
        """Begin to read; `Loop.read` calls it."""
        self.last_read_at = time.monotonic_ns()
        self._reader = reader
        reader.resume()

    def catch_up(self) -> None:
        """Take what the reader has kept back."""
        self._reader.catch_up()

    def pause(self) -> None:
        """Read no more until `resume`: what comes waits in the kernel, and then at the server."""
        self._reader.catch_up()
        self._reader.pause()

    def resume(self) -> None:
        if not self.finished:
            self.last_read_at = time.monotonic_ns()
            self.holds.append(self.last_read_at)
            self._reader.resume()

    def wait(self, until: int) -> None:
        """Sleep until something is to be decided: the end, the marker, a `wake`, or the time `until`."""
        if not self._changed.is_set():
            self._changed.wait(seconds_until(until))
        self._changed.clear()

    def wake(self) -> None:
        self._changed.set()

    def stop(self) -> None:
        """Read no more; the socket is still open. Breaks the reference cycles, so that the collector can stay off."""
        self._release()
        self.response.close()
        del self.feed
        self.on_data = None
        self.finished = True

    @property
    def only_the_end_matters(self) -> bool:
        """Whether nothing is to be decided before the marker or the end comes, so that reads may be kept back."""
        return bool(self.marker) and not self.marker_seen and self.on_data is None and not self.every_read

    # From here to the end of the class: called by the reader, possibly for every event of every stream.

    def take(self, piece: Piece) -> None:
        """Parse what came, and decide whether the exchange ends with it."""
        response, reads, data = self.response, self.reads, piece.data
        body, known = response.body, len(reads)
        before = len(body)
        body += piece.body
        self.last_read_at = max(self.last_read_at, piece.seen)
        ended, broken = piece.ended, piece.broken
        if data:
            if response.headers_read is None:
                stamp = piece.reads[-1].stamp if piece.reads else 0
                response.read = Read(0, stamp, self.last_read_at)
            self.received += len(data)
            try:
                self.feed(data)  # type: ignore[arg-type]  # httptools takes any buffer
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                ended = True
                if not response.complete:  # what follows the end of the message only makes the connection unusable
                    broken = Broken(Outcome.MALFORMED, f"not HTTP: {str(error)[:200]}")
        reads.extend(piece.reads)
        reads.settle(known, len(body))
        if len(body) > before:
            self._body_came(before)
        else:
            self._without_body += len(data)
        broken = self._excess() or broken
        if ended:
            response.keeps_alive = False
        if response.complete or ended or broken:
            self.end(broken)

    def end(self, broken: Broken | None) -> None:
        """Nothing more comes; `broken`: why, if the answer is not complete."""
        self.broken = broken
        self.finished = True
        self._release()
        self._changed.set()

    def _body_came(self, before: int) -> None:
        self._without_body = 0
        if not self.marker_seen and self.response.body.find(self.marker, max(0, before - len(self.marker))) >= 0:
            self.marker_seen = True
            self._changed.set()
        if self.on_data is not None:
            self.on_data()

    def _excess(self) -> Broken | None:
        fault = None
        if len(self.response.body) > self.limit:
            fault = f"the answer passed {self.limit:,} bytes"
        elif len(self.reads) > _MOST_READS:
            fault = f"the answer came in more than {_MOST_READS:,} pieces"
        elif self._without_body > _MOST_WITHOUT_BODY:
            fault = f"{self._without_body:,} bytes and none of the answer among them"
        return Broken(Outcome.MALFORMED, fault) if fault else None

    def _release(self) -> None:
        self._reader.release()
        self._reader = _NOT_READING
