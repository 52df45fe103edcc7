"""One HTTP/1.1 request on a connection and its answer. The hot path.

Promises: the arrival time of a read is the kernel's (SO_TIMESTAMPNS); reads without a kernel stamp get our own time and
are counted. The waiting greenlet is woken only when there is something to decide. After any failure, everything that
was received is kept. Decodes no events: it deals only with bytes and stamps.

Times are CLOCK_MONOTONIC nanoseconds, kernel stamps CLOCK_REALTIME nanoseconds; `RunClock` converts both to one axis.
"""

import time
from array import array
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol

import gevent
import httptools
from gevent.event import Event

from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.connection import Connection, seconds_until
from streamgauge.harness.drive.wire.inflate import Damaged, Inflater
from streamgauge.harness.drive.wire.pace import Pace
from streamgauge.harness.drive.wire.reads import Read, Reads
from streamgauge.harness.drive.wire.response import MOST_FIELDS, Response
from streamgauge.harness.record.observation import Outcome

# Limits for one answer. What a byte costs us depends on how the server packs it; these count what costs.
_MOST_WITHOUT_BODY = 262_144  # bytes in a row of headers, interim answers, chunk extensions or trailers
_MOST_FRAMING = 8_000_000  # bytes of all these, and of what TLS adds
_MOST_READS = 500_000
_MOST_CHUNKS = 500_000  # of HTTP's chunked transfer coding
_MOST_LINE_ENDS = 1_000_000  # CR and LF; an answer of 250,000 usual events has 750,000


class SocketReader(Protocol):
    """Reads the socket of one exchange and passes the data to `Exchange.take`."""

    separates: ClassVar[bool]  # whether it goes on reading while Python is busy, so that each read has its own stamp

    def resume(self) -> None:
        """Start reading, or go on after `pause`."""

    def pause(self) -> None:
        """Stop reading until `resume`. New data waits in the kernel; when that is full, at the server."""

    def catch_up(self) -> None:
        """Pass on what was read and not passed on yet."""

    def drain(self) -> None:
        """Read and pass on all that has arrived, as far as the pace allows; nothing while paused."""

    def release(self) -> None:
        """Stop reading, and free what reading needs."""


class _NotReading:
    """The socket reader before the request is sent and after the answer's end."""

    separates: ClassVar[bool] = False

    def resume(self) -> None: ...
    def pause(self) -> None: ...
    def catch_up(self) -> None: ...
    def drain(self) -> None: ...
    def release(self) -> None: ...


_NOT_READING: SocketReader = _NotReading()


class Piece(NamedTuple):
    """The data of one read, or of several that a socket reader had not passed on."""

    data: bytes | memoryview  # for the HTTP parser
    reads: Reads  # the end of the last one is only known after parsing
    seen: int  # of the last read, CLOCK_MONOTONIC ns
    size: int  # bytes read from the socket
    body: bytes = b""  # bytes of the body without chunk framing, which precede `data`
    chunks: int = 0  # HTTP chunks among `body`
    ended: bool = False  # the peer has closed its side
    broken: Broken | None = None


class Exchange:
    """`response.body` grows as data arrives; `reads` has each read that added to it.

    The owner calls `wait` and then decides; it calls `catch_up` before it uses the data. `on_data`, if set, is called
    from the gevent loop whenever the body has grown, and must be quick.
    """

    every_read: ClassVar[bool] = False  # whether `feed` must get the data of each read at once

    __slots__ = (
        "_changed",
        "_chunks",
        "_counted",
        "_line_ends",
        "_reader",
        "_without_body",
        "broken",
        "connection",
        "feed",
        "finished",
        "holds",
        "last_read_at",
        "limit",
        "marker_seen",
        "markers",
        "on_data",
        "pace",
        "reads",
        "received",
        "response",
        "separates",
        "started_at",
    )

    def __init__(
        self, connection: Connection, limit: int, markers: tuple[bytes, ...], pace: Pace | None = None
    ) -> None:
        self.connection = connection
        self.pace = pace  # None: no limit
        self.limit = limit  # bytes of body; a longer one is MALFORMED
        self.markers = markers  # one occurs in each event that may end the stream; (): any event may
        self.marker_seen = False
        self.response = Response()
        self.feed: Callable[[bytes], None] = self.response.feed
        self.reads = Reads()
        self.holds = array("q")  # when reading went on after each intended pause, CLOCK_MONOTONIC ns
        self.received = 0  # bytes read from the socket
        self.started_at = 0  # when reading began
        self.separates = False  # see `SocketReader`
        self.last_read_at = 0
        self.finished = False  # nothing more is read
        self.broken: Broken | None = None
        self.on_data: Callable[[], None] | None = None
        self._changed = Event()
        self._reader = _NOT_READING
        self._without_body = 0  # bytes received since the body last grew
        self._line_ends = 0  # in the body up to `_counted`; a body with fewer bytes than the limit is not searched
        self._counted = 0
        self._chunks = 0  # HTTP chunks that C removed the framing of

    def start(self, reader: SocketReader) -> None:
        """Start reading; called by `Loop.read`."""
        self.started_at = self.last_read_at = time.monotonic_ns()
        self._reader, self.separates = reader, reader.separates
        reader.resume()

    def catch_up(self) -> None:
        """Take what the socket reader has read and not passed on yet."""
        self._reader.catch_up()

    def drain(self) -> None:
        """Take all that has arrived, even if it has not been read yet; nothing while paused."""
        self._reader.drain()

    def pause(self) -> None:
        """Stop reading until `resume`. New data waits in the kernel; when that is full, at the server."""
        self._reader.catch_up()
        self._reader.pause()
        self._reader.catch_up()  # a thread may have read in between

    def resume(self) -> None:
        if not self.finished:
            self.last_read_at = time.monotonic_ns()
            self.holds.append(self.last_read_at)
            self._reader.resume()

    def wait(self, until: int) -> None:
        """Sleep until something has to be decided: at the end, at a marker, after a `wake`, or the time `until`."""
        if not self._changed.is_set():
            # What `wait(timeout)` does, at half its cost: every stream waits.
            alarm = gevent.get_hub().loop.timer(seconds_until(until))
            alarm.start(self._changed.set)
            try:
                self._changed.wait()
            finally:
                alarm.close()
        self._changed.clear()

    def wake(self) -> None:
        self._changed.set()

    def cut(self, kept: int, broken: Broken) -> None:
        """End the exchange for this reason, and forget all but the first `kept` reads."""
        self.end(broken)
        if kept < len(self.reads):
            del self.response.body[self.reads[kept - 1].end if kept else 0 :]
            self.reads.forget_after(kept)

    def stop(self) -> None:
        """Stop reading; the socket stays open. Breaks the reference cycles, since the garbage collector is off."""
        self._release()
        self.response.close()
        del self.feed
        self.on_data = None
        self.finished = True

    @property
    def begun(self) -> bool:
        """Whether a byte of HTTP has come; TLS's own records do not count."""
        return self.response.read.seen != 0

    @property
    def only_the_end_matters(self) -> bool:
        """Whether nothing has to be decided before the marker or the end, so that data may be passed on late."""
        return bool(self.markers) and not self.marker_seen and self.on_data is None and not self.every_read

    # From here to the end of the class: called by the socket reader, possibly for every event of every stream.

    def take(self, piece: Piece) -> None:
        """Parse a piece, and end the exchange if it is complete or broken."""
        response, reads, data = self.response, self.reads, piece.data
        body, known = response.body, len(reads)
        before = len(body)
        body += piece.body
        self.last_read_at = max(self.last_read_at, piece.seen)
        self.received += piece.size
        self._chunks += piece.chunks
        ended, broken = piece.ended, piece.broken
        if data:
            if response.headers_read is None:
                stamp = piece.reads[-1].stamp if piece.reads else 0
                response.read = Read(0, stamp, self.last_read_at)
            try:
                self.feed(data)  # type: ignore[arg-type]  # httptools takes any buffer
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                broken = Broken(Outcome.MALFORMED, f"not HTTP: {str(error)[:200]}")
        if broken is not None and response.complete:  # after the message, it only makes the connection unusable
            ended, broken = True, None
        if response.inflater is not None and len(body) > before:
            broken = self._inflate(response.inflater, before) or broken
        reads.extend(piece.reads)
        reads.settle(known, len(body))
        if len(body) > before:
            self._body_grew(before)
        else:
            self._without_body += piece.size
        broken = self._excess() or broken
        if ended:
            response.keeps_alive = False
        if response.complete or ended or broken:
            self.end(broken)

    def end(self, broken: Broken | None) -> None:
        """End the exchange; `broken`: the reason if the answer is not complete."""
        self.broken = broken
        self.finished = True
        self._release()
        self._changed.set()

    def _body_grew(self, before: int) -> None:
        body = self.response.body
        self._without_body = 0
        if len(body) > _MOST_LINE_ENDS:
            self._line_ends += body.count(b"\n", self._counted) + body.count(b"\r", self._counted)
            self._counted = len(body)
        if not (self.marker_seen or self.response.complete) and self._marked(before):
            self.marker_seen = True
            self._changed.set()
        if self.on_data is not None:
            self.on_data()

    def _inflate(self, inflater: Inflater, before: int) -> Broken | None:
        """Decompress what the last read added to the body, from this offset on."""
        body = self.response.body
        try:
            # One byte beyond the limit is enough to see that it is exceeded.
            body[before:] = inflater.feed(bytes(body[before:]), self.limit + 1 - before)
        except Damaged as damage:
            del body[before:]
            encoding = self.response.headers["content-encoding"][:50]
            return Broken(Outcome.MALFORMED, f"content-encoding: {encoding}, {damage}")
        return None

    def _marked(self, before: int) -> bool:
        """Whether the body has a marker that ends after this offset."""
        find = self.response.body.find
        return not self.markers or any(find(marker, max(0, before - len(marker) + 1)) >= 0 for marker in self.markers)

    def _excess(self) -> Broken | None:
        fault, response = None, self.response
        if len(response.body) > self.limit:
            fault = f"the answer is longer than {self.limit:,} bytes"
        elif self._line_ends > _MOST_LINE_ENDS:
            fault = f"the answer has more than {_MOST_LINE_ENDS:,} line ends"
        elif len(self.reads) > _MOST_READS:
            fault = f"the answer arrived in more than {_MOST_READS:,} reads"
        elif self._chunks + response.chunks > _MOST_CHUNKS:
            fault = f"the answer came in more than {_MOST_CHUNKS:,} HTTP chunks"
        elif response.fields > MOST_FIELDS:
            fault = f"the answer has more than {MOST_FIELDS} header fields"
        elif self.received - len(response.body) > _MOST_FRAMING:
            fault = f"more than {_MOST_FRAMING:,} bytes of HTTP headers, chunk framing and TLS around the answer"
        elif self._without_body > _MOST_WITHOUT_BODY:
            fault = f"{self._without_body:,} bytes in a row without any of the answer's body"
        return Broken(Outcome.MALFORMED, fault) if fault else None

    def _release(self) -> None:
        self._reader.release()
        self._reader = _NOT_READING
