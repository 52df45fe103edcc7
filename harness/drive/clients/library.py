"""A person whose app uses an HTTP library: the wire client with that library between socket and application.

The library runs unchanged on a network backend of ours (httpcore's and httpcore2's are alike), which gives it, as plain
text, what the stamped socket read. So arrivals, timeouts, leaving, connections and outcomes are the wire client's own,
and what the library adds is the time from a chunk's arrival to its being handed on.

The socket is read as soon as the loop can, not when the library asks. What the library writes is sent as one piece when
it first asks for the answer. A connection that we keep looks new to the library each time.
"""

import time
from abc import abstractmethod
from typing import Any, ClassVar

from streamgauge.harness.drive.clients.attempt import Attempt
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.drive.wire.exchange import Exchange
from streamgauge.harness.drive.wire.pace import Pace
from streamgauge.harness.record.observation import Outcome


class _RawExchange(Exchange):
    """An exchange that keeps what it reads, headers and framing too, until the library takes it."""

    every_read = True

    __slots__ = ("raw",)

    def __init__(self, connection: Connection, limit: int, marker: bytes, pace: Pace | None = None) -> None:
        super().__init__(connection, limit, marker, pace)
        self.raw = bytearray()
        parse, raw, wake = self.feed, self.raw, self.wake

        def feed(data: bytes) -> None:
            raw.extend(data)
            wake()
            parse(data)

        self.feed = feed


class LibraryAttempt(Attempt):
    """An attempt whose steps a library takes: what httpcore calls a NetworkStream."""

    _exchange_type: ClassVar[type[Exchange]] = _RawExchange
    _exchange: _RawExchange

    def __init__(self, connection: Connection, site: Site, question: Question, began: int | None = None) -> None:
        super().__init__(connection, site, question, began)
        self._request = bytearray()
        self.fault: BaseException | None = None  # raised by us, whatever the library makes of it on its way through
        self._handed: list[int] = []
        self._transcript.handed = self._handed

    def chunk_handed_on(self) -> None:
        """The library has just given a content chunk to the application."""
        self._handed.append(time.monotonic_ns())

    def finish(self, complaint: str | None) -> None:
        """See the answer to its end after the library is done with it; `complaint`: what the library raised.

        Broken when the answer did not get to its end; or raises what came up while the library had control.
        """
        fault, self.fault = self.fault, None
        if isinstance(fault, Broken) and self._had_left(fault):
            raise self._deadlines.farewell()
        if fault is not None:
            raise fault
        if complaint is not None and not (self._over or self._exchange.finished):
            raise Broken(Outcome.MALFORMED, complaint)
        self._wait_for_end()

    # From here to the end of the class: called by httpcore. Its timeouts are not used; `Deadlines` keeps ours.

    def connect(self) -> None:
        try:
            self._connect()
        except BaseException as fault:
            self.fault = fault
            raise

    def start_tls(
        self,
        ssl_context: Any,  # noqa: ARG002 - httpcore's signature
        server_hostname: str | None = None,  # noqa: ARG002 - the same
        timeout: float | None = None,  # noqa: ARG002 - the same
    ) -> "LibraryAttempt":
        """The connection is secured already, below what the library sees."""
        return self

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - httpcore's signature
        self._request += buffer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - httpcore's signature
        raw = self._exchange.raw
        try:
            if self._request:
                self._ask(bytes(self._request))
                self._request.clear()
            while not (raw or self._over):
                self._step()
        except BaseException as fault:
            # Bytes that came before the fault are handed on first; the library will ask again.
            if not (raw and isinstance(fault, Broken)):
                self.fault = fault
                raise
        data = bytes(raw[:max_bytes])
        del raw[:max_bytes]
        return data

    def close(self) -> None:
        """The connection's owner decides whether to keep it, close it or reset it."""

    def get_extra_info(self, info: str) -> None:
        """There is none: above all, the library gets no socket."""


class _Backend:
    """What httpcore calls a NetworkBackend: connects the attempt under way."""

    def __init__(self) -> None:
        self.attempt: LibraryAttempt | None = None

    def connect_tcp(self, host: str, port: int, **_: Any) -> LibraryAttempt:  # noqa: ARG002 - the attempt knows where
        assert self.attempt is not None
        self.attempt.connect()
        return self.attempt


class LibraryClient(WireClient):
    """Subclass it with a library that runs on `self._backend`."""

    _attempt: ClassVar[type[Attempt]] = LibraryAttempt

    def __init__(self, site: Site, *, fresh: bool = False) -> None:
        super().__init__(site, fresh=fresh)
        self._backend = _Backend()

    @abstractmethod
    def _use(self, question: Question, attempt: LibraryAttempt) -> None:
        """Ask through the library, and tell the attempt of each content chunk that it hands on."""

    def _converse(self, attempt: LibraryAttempt, question: Question) -> None:
        complaint = None
        self._backend.attempt = attempt
        try:
            self._use(question, attempt)
        except BaseException as fault:
            if attempt.fault is None and not isinstance(fault, Exception):
                raise
            complaint = f"{self.name} gave up: {type(fault).__name__}: {fault}"
            _forget_frames(fault)
            _forget_frames(attempt.fault)
        finally:
            self._backend.attempt = None
        attempt.finish(complaint)


def _forget_frames(fault: BaseException | None) -> None:
    """Drop the frames that a fault went through: h11's hold the fault itself, a reference cycle for each stream."""
    while fault is not None:
        fault.__traceback__ = None
        fault = fault.__context__
