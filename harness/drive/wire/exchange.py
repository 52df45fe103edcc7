"""One HTTP/1.1 exchange on a gevent loop: connect, TLS, send, stamped reads. The hot path.

Promises: the arrival time of every read is the kernel's (SO_TIMESTAMPNS), or our own clock where the kernel gives
none, and then it is counted; the waiting greenlet is switched to only when there is something to decide; whatever
goes wrong leaves all that was received in place. Decodes nothing: bytes and stamps are all it knows.

Times are CLOCK_MONOTONIC nanoseconds, kernel stamps CLOCK_REALTIME nanoseconds; `RunClock` puts both on one line.
"""

import errno
import os
import ssl
import struct
import time
from array import array
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import gevent
import httptools
from gevent import monkey
from gevent.event import Event
from gevent.socket import wait_read, wait_write

from streamgauge.harness.drive.wire.drain import Drain, Slot
from streamgauge.harness.errors import TargetError
from streamgauge.harness.native import library
from streamgauge.harness.record.observation import Outcome

# Locust has replaced these with gevent's; the loop below drives the plain socket by itself.
_socket: Any = monkey.get_original("socket", "socket")
_getaddrinfo: Any = monkey.get_original("socket", "getaddrinfo")

SO_TIMESTAMPNS = 35  # Linux; not in Python's socket module
_TIMESPEC = struct.Struct("@ll")
_CONTROL = 64  # room for one timespec with its header
_BLOCK = 65_536
_BUFFER = bytearray(_BLOCK)  # one for the process: a read is parsed before the next one starts
_VIEW = memoryview(_BUFFER)
_MAX_HEADERS = 200
_MOST_BARREN = 262_144  # bytes of headers, interim answers, chunk extensions or trailers without any of the body
_MOST_READS = 500_000  # each costs memory of ours, however little it brings
_LONG = 86_400_000_000_000  # ns; no timer is set for what is so far away
_READ = 1  # libev's event bit
_INTERIM = frozenset(range(100, 200)) - {101}  # Switching Protocols is an answer


class Broken(Exception):
    """The exchange cannot go on; `outcome` is what becomes of the stream."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a target listens."""

    tls: ssl.SSLContext | None
    host: str
    port: int
    base: str  # path prefix, without a trailing slash

    @classmethod
    def of(cls, url: str, *, verify: bool = True) -> "Endpoint":
        """`https://staging.example/base` → Endpoint. TargetError for what is no http(s) URL."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as fault:
            raise TargetError(f"host {url!r}: not a URL: {fault}") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise TargetError(f"host {url!r}: not a URL of a server; write it like https://staging.example")
        if parts.username or parts.password:
            raise TargetError("host: a user name or password in the URL would be stored; use target.headers instead")
        if parts.query or parts.fragment:
            raise TargetError(f"host {url!r}: a query or fragment does not belong here; see target.path")
        tls = None
        if parts.scheme == "https":
            tls = ssl.create_default_context()
            if not verify:
                tls.check_hostname = False
                tls.verify_mode = ssl.CERT_NONE
        default = 443 if parts.scheme == "https" else 80
        return cls(tls, parts.hostname, default if port is None else port, parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def resolve(self) -> list[tuple[int, tuple[Any, ...]]]:
        """Addresses to try, as (family, address). TargetError when the name does not resolve."""
        try:
            with suppress(OSError, UnicodeError):
                # An address needs no thread, whose waiting for a busy interpreter would look like the server's.
                return _as_it_is(self.host, self.port)
            return _addresses(gevent.get_hub().resolver.getaddrinfo(self.host, self.port, 0, 1))
        except (OSError, UnicodeError) as fault:
            raise TargetError(f"host {self.host!r} does not resolve: {_reason(fault)}") from None


class Connection:
    """A connected socket, with TLS above it where the endpoint has it. Not for two exchanges at once."""

    __slots__ = ("_incoming", "_outgoing", "resolved_at", "sent_at", "sock", "tls")

    def __init__(self) -> None:
        self.sock: Any = None
        self.tls: ssl.SSLObject | None = None
        self.resolved_at: int | None = None  # CLOCK_MONOTONIC ns
        self.sent_at: int | None = (
            None  # when the last bytes went to the kernel: an answer can be back before `send` is
        )

    def open(self, endpoint: Endpoint, until: int, window: int | None = None) -> None:
        """Resolve and connect before `until`. Broken (UNREACHABLE or TIMED_OUT) otherwise.

        `window`: bytes that the kernel may take in before we read them (it doubles the number); None: as it likes.
        """
        with gevent.Timeout(_seconds(until), Broken(Outcome.TIMED_OUT, f"no answer from the DNS for {endpoint.host}")):
            try:
                addresses = endpoint.resolve()
            except TargetError as fault:
                raise Broken(Outcome.UNREACHABLE, str(fault)) from None
        self.resolved_at = time.monotonic_ns()
        for number, (family, address) in enumerate(addresses, 1):
            try:
                self._connect(family, address, until, window)
                break
            except Broken as fault:
                self.close()
                if number == len(addresses) or fault.outcome is Outcome.TIMED_OUT:
                    raise

    def _connect(self, family: int, address: tuple[Any, ...], until: int, window: int | None) -> None:
        try:
            self.sock = _socket(family, 1)
        except OSError as fault:
            raise Broken(Outcome.UNREACHABLE, f"cannot open a socket: {_reason(fault)}") from None
        self.sock.setblocking(False)
        self.sock.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY
        stamped(self.sock)  # before connect: the first segments come stamped, too
        if window is not None:
            self.sock.setsockopt(1, 8, window)  # SOL_SOCKET, SO_RCVBUF; before connect, which tells the peer its scale
            self.sock.setsockopt(6, 2, 1460)  # TCP_MAXSEG: loopback's segments are as large as such a window
        code = self.sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            wait_write(self.sock.fileno(), _seconds(until), Broken(Outcome.TIMED_OUT, "no connection in time"))
            code = self.sock.getsockopt(1, 4)  # SOL_SOCKET, SO_ERROR
        if code:
            raise Broken(Outcome.UNREACHABLE, f"cannot connect to {address[0]}:{address[1]}: {_errno(code)}")

    def secure(self, endpoint: Endpoint, until: int) -> None:
        """The TLS handshake, before `until`. Broken (UNREACHABLE or TIMED_OUT) otherwise."""
        assert endpoint.tls is not None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = endpoint.tls.wrap_bio(self._incoming, self._outgoing, server_hostname=endpoint.host)
        late = Broken(Outcome.TIMED_OUT, "no TLS handshake in time")
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush(until, late)
                wait_read(self.sock.fileno(), _seconds(until), late)
                self._incoming.write(self._receive())
            except ssl.SSLError as fault:
                raise Broken(Outcome.UNREACHABLE, f"TLS: {_reason(fault)}") from None
            else:
                self._flush(until, late)
                return

    def _receive(self) -> bytes:
        try:
            data: bytes = self.sock.recv(_BLOCK)
        except BlockingIOError:
            return b""
        except OSError as fault:
            raise Broken(Outcome.UNREACHABLE, f"the connection broke in the TLS handshake: {_reason(fault)}") from None
        if not data:
            raise Broken(Outcome.UNREACHABLE, "the server closed the connection in the TLS handshake")
        return data

    def send(self, data: bytes, until: int) -> None:
        """Hand `data` to the kernel, however often it wants to be asked. OSError when the connection is gone."""
        late = Broken(Outcome.TIMED_OUT, "the server did not take the request in time")
        if self.tls is None:
            self._push(data, until, late)
        else:
            self.tls.write(data)  # a memory BIO takes all of it
            self._flush(until, late)

    def _flush(self, until: int, late: Broken) -> None:
        if self._outgoing.pending:
            self._push(self._outgoing.read(), until, late)

    def _push(self, data: bytes, until: int, late: Broken) -> None:
        rest = memoryview(data)
        while rest:
            self.sent_at = time.monotonic_ns()
            try:
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                wait_write(self.sock.fileno(), _seconds(until), late)

    def decrypt(self, data: memoryview) -> tuple[bytes, bool, Broken | None]:
        """Ciphertext → plain text, whether the peer has ended the TLS stream, and what broke it, if anything did."""
        assert self.tls is not None
        self._incoming.write(data)
        plain, ended, broken = [], False, None
        try:
            while block := self.tls.read(_BLOCK):
                plain.append(block)
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as fault:
            broken = Broken(Outcome.RESET, f"TLS: {_reason(fault)}")
        if self._outgoing.pending:  # an answer to a key update; if the kernel is full, the peer does without
            with suppress(OSError):
                self.sock.send(self._outgoing.read())
        return b"".join(plain), ended, broken

    def usable(self) -> bool:
        """Whether an idle connection is still open and silent."""
        try:
            self.sock.recv(1, 2)  # MSG_PEEK; anything at all, data or end, spoils it
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """FIN (or RST where the kernel still holds unread data, as for any program)."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def abort(self) -> None:
        """RST: what a killed app's kernel sends when data comes for a process that is gone."""
        if self.sock is not None:
            self.sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER: on, 0 s
            self.close()


class Pace(Protocol):
    """How fast may be read; times are CLOCK_MONOTONIC ns."""

    steady: bool  # what may be read now may be read later, too; else it is to be asked before each read

    def take(self, now: int) -> tuple[int, int]:
        """How many bytes may be read from now on, and until when; or 0, and when to ask again."""

    def took(self, now: int, size: int) -> None:
        """So many were, from `now` on."""


class Exchange:
    """One request on a connection and what came back.

    `body` grows as reads come in. Of each that added to it, `reads` has three numbers: where in the body it ended, the
    kernel's stamp (CLOCK_REALTIME ns, 0: none) and when we saw it (CLOCK_MONOTONIC ns). The owner calls `wait` and
    decides; before it looks at what came, it calls `catch_up`. `on_data`, where set, is called from the loop when
    something was added, and must be quick.
    """

    every_read: ClassVar[bool] = False  # somebody wants the data of each read as it comes

    __slots__ = (
        "_barren",
        "_changed",
        "_connection",
        "_drain",
        "_feed",
        "_granted",
        "_headers",
        "_loop",
        "_pace",
        "_parser",
        "_slot",
        "_stamp",
        "_timer",
        "_uncounted",
        "_watched",
        "body",
        "broken",
        "complete",
        "finished",
        "headers",
        "headers_read",
        "holds",
        "keeps_alive",
        "last_read_at",
        "limit",
        "marker",
        "marker_seen",
        "on_body",
        "on_data",
        "reads",
        "received",
        "status",
    )

    def __init__(self, connection: Connection, limit: int, marker: bytes, pace: Pace | None = None) -> None:
        self._connection = connection
        self._pace = pace  # None: read whatever there is
        self._granted = 0  # bytes that the pace last let compiled code read
        self._timer: Any = None  # to ask the pace again
        self._changed = Event()
        self._headers: list[tuple[bytes, bytes]] = []
        self._barren = 0  # bytes since the last of the body
        self._loop: _Loop | None = None  # that reads for us
        self._drain: Drain | None = None  # and its compiled code
        self._slot: Slot | None = None  # where that does
        self._watched = False  # and it looks at the socket now
        self._uncounted = True  # compiled code has not been told that a body begins
        self._stamp = 0  # of the read that is parsed
        self.limit = limit  # bytes of body before the stream is MALFORMED
        self.marker = marker  # bytes that hint at the terminal event; b"": anything may be it
        self.marker_seen = False
        self.body = bytearray()
        self.reads = array("q")
        self.holds = array("q")  # when we began to read again after not reading on purpose, CLOCK_MONOTONIC ns
        self.received = 0  # bytes off the socket
        self.last_read_at = 0
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.headers_read: tuple[int, int] | None = None  # stamp and our time of the read that completed them
        self.complete = False  # the HTTP message has ended as it should
        self.keeps_alive = False  # and the connection can carry another exchange
        self.finished = False  # nothing more will come
        self.broken: Broken | None = None
        self.on_data: Callable[[], None] | None = None
        self.on_body = self.body.extend  # called by httptools by this name: from C to C, with no frame of ours between
        self._parser: Any = httptools.HttpResponseParser(self)
        self._feed: Callable[[bytes], None] = self._parser.feed_data

    def start(self) -> None:
        """Begin to read."""
        self.last_read_at = time.monotonic_ns()
        self._loop = _Loop.here()
        self._drain = self._loop.drain_for(self._connection, self._pace)
        if self._drain is not None:
            self._slot = self._loop.slot(self._drain, self._connection, self)
        self._look()

    def pause(self) -> None:
        """Read no more until `resume`: what comes waits in the kernel, and then at the server."""
        self.catch_up()
        self._look_away()

    def resume(self) -> None:
        if not self.finished:
            self.last_read_at = time.monotonic_ns()
            self.holds.append(self.last_read_at)
            self._look()

    def wait(self, until: int) -> None:
        """Sleep until something is to be decided: the end, the marker, a `wake`, or the time `until`."""
        if not self._changed.is_set():
            self._changed.wait(max(0.0, _seconds(until)))
        self._changed.clear()

    def wake(self) -> None:
        self._changed.set()

    def stop(self) -> None:
        """Read no more; the socket is still open. Breaks the cycles with the parser, so the collector can stay off."""
        self._let_go()
        self._parser = None
        del self._feed
        self.on_data = None
        self.finished = True

    def _look_away(self, wait: int = _LONG) -> None:
        """Read no more; ask the pace after so long, ns, whether to go on."""
        self._ask_in(wait)
        if self._watched and self._loop is not None:
            self._loop.leave(self._connection, self._drain, self._slot)
            self._watched = False

    def _let_go(self) -> None:
        self._look_away()
        if self._loop is not None:
            self._loop.forget(self._connection, self._drain, self._slot)
            self._loop = self._drain = self._slot = None

    # From here to the end of the class: called by the loop, for what may be an event of every stream.

    def readable(self) -> None:
        """Read once: where no compiled code does, where TLS has to be taken off, and where the link sets the pace."""
        room = _BLOCK
        if self._pace is not None:
            now = time.monotonic_ns()
            room, again = self._pace.take(now)
            if room <= 0:
                self._look_away(again - now)
                return
        try:
            size, control, _, _ = self._connection.sock.recvmsg_into((_VIEW[:room],), _CONTROL)
        except BlockingIOError:
            return
        except OSError as fault:
            self._end(Broken(Outcome.RESET, f"the connection broke: {_reason(fault)}"))
            return
        seen, stamp = time.monotonic_ns(), 0
        # There is no control data in the first moments after the option is switched on, either.
        if control and len(control[0][2]) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(control[0][2])
            stamp = seconds * 1_000_000_000 + nanoseconds
        if self._pace is not None:
            self._pace.took(seen, size)
        data: Any = _VIEW[:size]
        ended, broken = not size, None
        if size and self._connection.tls is not None:
            data, ended, broken = self._connection.decrypt(data)
        self._take(len(self.body), data, array("q", (0, stamp, seen)), seen, ended, broken)

    def _look(self) -> None:
        """Read what comes; compiled code no more of it than the pace lets it, Python asks at each read."""
        if self._slot is not None and self._pace is not None:
            now = time.monotonic_ns()
            self._granted, again = self._pace.take(now)
            self._slot.room = self._granted
            if not self._granted:
                self._look_away(again - now)
                return
            self._ask_in(again - now)
        if not self._watched and self._loop is not None:
            self._loop.watch(self._connection, self, self._drain, self._slot)
            self._watched = True

    def _ask_in(self, wait: int) -> None:
        """Ask the pace again after so long, ns; compiled code does not know when its grant ends."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        if wait < _LONG:
            self._timer = gevent.get_hub().loop.timer(max(0.001, wait / 1e9))
            self._timer.start(self._ask)

    def _ask(self) -> None:
        self._timer.close()
        self._timer = None
        if not self._watched:
            self.holds.append(time.monotonic_ns())
        with self._drain or nullcontext():  # or a read would go by between the two
            self.catch_up()
            if not self.finished:
                self._look()

    def catch_up(self) -> None:
        """Take what compiled code has read and kept back."""
        slot, drain = self._slot, self._drain
        if slot is None or drain is None:
            return
        with drain:
            self._take_from(slot, drain)
            drain.resume(slot)

    def _take_from(self, slot: Slot, drain: Drain) -> None:
        broken = None
        if slot.error:
            broken = Broken(Outcome.RESET, f"the connection broke: {os.strerror(slot.error)}")
        elif slot.torn:
            broken = Broken(Outcome.MALFORMED, "not HTTP: a chunk did not end where it said")
        bare, data, reads = slot.take()
        begin, came = len(self.body), array("q", reads)
        self.body += bare
        first_at = came[2] if came else slot.seen
        self._take(begin, data, came, slot.seen, bool(slot.ended), broken)
        if self.finished:
            return
        if data and self._uncounted and self.status is not None:
            self._uncounted = False
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                _, blank, begun = data.partition(b"\r\n\r\n")
                slot.framed = bool(blank) and drain.count(slot, begun) and slot.body == len(self.body)
        if slot.framed and not self.every_read and slot.where == 0 and data.endswith(b"\n"):
            slot.bare = 1  # the next byte begins a chunk, for the parser, too
        # Where nobody waits for the data, there is nothing to be decided until the end, which compiled code knows.
        settled = self.marker and not self.marker_seen and self.on_data is None and not self.every_read
        slot.alert = not (settled and slot.bare)
        if self._pace is not None and slot.room < self._granted:
            self._pace.took(first_at, self._granted - slot.room)
            self._look()

    def _take(self, begin: int, data: bytes, came: "array[int]", seen: int, ended: bool, broken: Broken | None) -> None:
        """Parse what these reads brought, the last at `seen`; the body was `begin` long before them.

        Their ends are known, but for one that was read alone.
        """
        body, reads = self.body, self.reads
        known = len(reads)
        self._stamp, self.last_read_at = came[-2] if came else 0, max(self.last_read_at, seen)
        if data:
            self.received += len(data)
            try:
                self._feed(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                ended = True
                if not self.complete:  # what follows the end of the message only spoils the connection
                    broken = Broken(Outcome.MALFORMED, f"not HTTP: {str(error)[:200]}")
        length = len(body)
        reads.extend(came)
        while len(reads) > known and length <= (reads[-6] if len(reads) > 3 else 0):
            del reads[-3:]  # it brought nothing of the body
        if length > begin:
            reads[-3] = length
            self._barren = 0
            if not self.marker_seen and body.find(self.marker, max(0, begin - len(self.marker))) >= 0:
                self.marker_seen = True
                self._changed.set()
            if self.on_data is not None:
                self.on_data()
        else:
            self._barren += len(data)
        broken = self._excess() or broken
        if ended:
            self.keeps_alive = False
        if self.complete or ended or broken:
            self._end(broken)

    def _excess(self) -> Broken | None:
        fault = None
        if len(self.body) > self.limit:
            fault = f"the answer passed {self.limit:,} bytes"
        elif len(self.reads) > 3 * _MOST_READS:
            fault = f"the answer came in more than {_MOST_READS:,} pieces"
        elif self._barren > _MOST_BARREN:
            fault = f"{self._barren:,} bytes and none of the answer among them"
        return Broken(Outcome.MALFORMED, fault) if fault else None

    def _end(self, broken: Broken | None) -> None:
        self.broken = broken
        self.finished = True
        self._let_go()
        self._changed.set()

    # httptools calls these by name.

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("a second answer, to a request that was not made")  # ends the parsing, see `_take`

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._headers) < _MAX_HEADERS:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status in _INTERIM:  # the real one follows
            self._headers.clear()
            return
        self.status = status
        self.headers_read = (self._stamp, self.last_read_at)
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._headers}
        self._headers.clear()

    def on_message_complete(self) -> None:
        if self.status is not None:
            self.complete = True
            self.keeps_alive = self._parser.should_keep_alive()


class _Loop:
    """Who reads for the exchanges of one gevent loop: compiled code for plain sockets; others are read one by one."""

    @staticmethod
    def here() -> "_Loop":
        """That of this thread's loop."""
        hub = gevent.get_hub()
        if hub not in _LOOPS:
            _LOOPS[hub] = _Loop(hub.loop)
        return _LOOPS[hub]

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._watchers: dict[int, Any] = {}
        self._exchanges: dict[int, Exchange] = {}
        self._news: list[Any] = []  # watchers
        self._drains: list[Drain] = []
        if library.LIBRARY is not None:
            self._drains = [Drain(library.LIBRARY), Drain(library.LIBRARY, alone=False)]
        for drain in self._drains:
            # Not to keep the loop alive: whoever waits for an exchange has a timer in it.
            watcher = loop.io(drain.news, _READ, ref=False)
            watcher.start(self._look, drain)
            self._news.append(watcher)

    def drain_for(self, connection: Connection, pace: Pace | None) -> Drain | None:
        """Who reads a connection, None where compiled code cannot."""
        if not self._drains or connection.tls is not None or not (pace is None or pace.steady):
            return None
        return self._drains[0 if pace is None else 1]  # a link's pace is asked at every few reads

    def slot(self, drain: Drain, connection: Connection, exchange: Exchange) -> Slot:
        """Where compiled code reads for an exchange; to be forgotten."""
        descriptor = connection.sock.fileno()
        self._exchanges[descriptor] = exchange
        return drain.slot(descriptor, exchange.marker)

    def watch(self, connection: Connection, exchange: Exchange, drain: Drain | None, slot: Slot | None) -> None:
        """Read when there is something, until it is to be left."""
        if drain is not None and slot is not None:
            drain.watch(slot)
            return
        descriptor = connection.sock.fileno()
        self._watchers[descriptor] = watcher = self._loop.io(descriptor, _READ)
        watcher.start(exchange.readable)

    def leave(self, connection: Connection, drain: Drain | None, slot: Slot | None) -> None:
        if drain is not None and slot is not None:
            drain.leave(slot)
            return
        watcher = self._watchers.pop(connection.sock.fileno())
        watcher.stop()
        watcher.close()

    def forget(self, connection: Connection, drain: Drain | None, slot: Slot | None) -> None:
        if drain is not None and slot is not None:
            del self._exchanges[connection.sock.fileno()]
            drain.free(slot)

    def _look(self, drain: Drain) -> None:
        for descriptor in drain.told():
            if descriptor in self._exchanges:  # else it was left since
                self._exchanges[descriptor].catch_up()


_LOOPS: "WeakKeyDictionary[Any, _Loop]" = WeakKeyDictionary()  # by hub
os.register_at_fork(after_in_child=_LOOPS.clear)  # a child must not read from its parent's descriptors


def stamped(sock: Any) -> bool:
    """Ask the kernel to stamp what arrives on a socket; False where it cannot (then our own clock serves)."""
    try:
        sock.setsockopt(1, SO_TIMESTAMPNS, 1)  # SOL_SOCKET
    except OSError:
        return False
    return True


def kernel_stamps() -> bool:
    """Whether this machine's kernel stamps arrivals at all."""
    with _socket(2, 1) as probe:  # AF_INET, SOCK_STREAM
        return stamped(probe)


@lru_cache
def _as_it_is(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """A host that is an address already; OSError for a name."""
    return _addresses(_getaddrinfo(host, port, 0, 1, 0, 4))  # SOCK_STREAM, AI_NUMERICHOST


def _addresses(found: list[tuple[int, int, int, str, tuple[Any, ...]]]) -> list[tuple[int, tuple[Any, ...]]]:
    return [(family, address) for family, _, _, _, address in found]


def _seconds(until: int) -> float:
    """How long it is until a CLOCK_MONOTONIC time; at least a moment, since 0 would mean for ever to some callees."""
    return max(1e-6, (until - time.monotonic_ns()) / 1e9)


def _errno(code: int) -> str:
    return f"{errno.errorcode.get(code, code)} ({_reason(OSError(code, ''))})"


def _reason(fault: BaseException) -> str:
    """What the system says of an error, without its numbers and tuples."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {fault.verify_message}"
    if isinstance(fault, ssl.SSLError):
        return fault.reason or str(fault)
    if isinstance(fault, OSError) and fault.errno is not None:
        return fault.strerror or os.strerror(fault.errno)
    return str(fault)
