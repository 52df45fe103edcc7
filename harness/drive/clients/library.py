"""A person whose app uses an HTTP library: the wire client with that library between socket and application.

The unchanged library runs on a network backend of ours (httpcore's and httpcore2's have the same interface), which
gives it the decrypted bytes that the stamped socket read. So arrivals, timeouts, leaving, connections and outcomes are
those of the wire client. What the library adds is the time from a chunk's arrival until it hands the chunk on.

The socket is read as soon as data arrives, not when the library asks. What the library writes is sent in one piece when
it first asks for the answer. Each connection looks new to the library, even one that we have kept.
"""

import time
from abc import abstractmethod
from typing import Any, ClassVar

from streamgauge.harness.drive.clients.attempt import Attempt
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.site import Site, breathe
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.drive.wire.exchange import Exchange
from streamgauge.harness.drive.wire.pace import Pace
from streamgauge.harness.record.observation import Outcome

_PART = 4_096  # bytes given to a library at a time: it may take long for each line or HTTP chunk


class _RawExchange(Exchange):
    """An exchange that keeps the raw HTTP bytes, headers and framing included, until the library takes them."""

    every_read = True

    __slots__ = ("raw",)

    def __init__(
        self, connection: Connection, limit: int, markers: tuple[bytes, ...], pace: Pace | None = None
    ) -> None:
        super().__init__(connection, limit, markers, pace)
        self.raw = bytearray()
        parse, raw, wake = self.feed, self.raw, self.wake

        def feed(data: bytes) -> None:
            raw.extend(data)
            wake()
            parse(data)

        self.feed = feed


class LibraryAttempt(Attempt):
    """An attempt whose steps the library triggers; to httpcore it is a NetworkStream."""

    _exchange_type: ClassVar[type[Exchange]] = _RawExchange
    _exchange: _RawExchange

    def __init__(self, connection: Connection, site: Site, question: Question, began: int | None = None) -> None:
        super().__init__(connection, site, question, began)
        self._request = bytearray()
        self.fault: BaseException | None = None  # what we raised inside the library, which may have replaced it
        self._handed: list[int] = []
        self._transcript.handed = self._handed

    def chunk_handed_on(self) -> None:
        """The library has just given a content chunk to the application."""
        self._handed.append(time.monotonic_ns())

    def finish(self, complaint: str | None) -> None:
        """Wait for the end of the answer after the library has finished; `complaint`: what the library raised.

        Broken if the answer did not get to its end. Also raises what we raised while the library had control.
        """
        fault, self.fault = self.fault, None
        if isinstance(fault, Broken) and self._had_left(fault):
            raise self._deadlines.left()
        if fault is not None:
            raise fault
        if complaint is not None and not (self._over or self._exchange.finished):
            raise Broken(Outcome.MALFORMED, complaint)
        self._wait_for_end()

    # From here to the end of the class: called by httpcore. Its timeouts are not used: `Deadlines` has ours.

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
        """Nothing to do: TLS is done below this stream, and the library gets plain text."""
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
            # First return the bytes that arrived before the fault; the library will ask again.
            if not (raw and isinstance(fault, Broken)):
                self.fault = fault
                raise
        breathe()
        size = min(max_bytes, _PART)
        data = bytes(raw[:size])
        del raw[:size]
        return data

    def close(self) -> None:
        """Nothing to do: `WireClient` decides whether to keep, close or reset the connection."""

    def get_extra_info(self, info: str) -> None:
        """No information, so the library cannot get at the socket."""


class _Backend:
    """To httpcore a NetworkBackend: connects the current attempt."""

    def __init__(self) -> None:
        self.attempt: LibraryAttempt | None = None

    def connect_tcp(self, host: str, port: int, **_: Any) -> LibraryAttempt:  # noqa: ARG002 - the attempt has them
        assert self.attempt is not None
        self.attempt.connect()
        return self.attempt


class LibraryClient(WireClient):
    """Subclass it for a library, which must use `self._backend`."""

    _attempt: ClassVar[type[Attempt]] = LibraryAttempt

    def __init__(self, site: Site, *, fresh: bool = False) -> None:
        super().__init__(site, fresh=fresh)
        self._backend = _Backend()

    @abstractmethod
    def _use(self, question: Question, attempt: LibraryAttempt) -> None:
        """Ask through the library; call `attempt.chunk_handed_on` for each content chunk that it hands on."""

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
    """Drop the tracebacks of a fault: frames of h11 hold the fault itself, a reference cycle for each stream."""
    while fault is not None:
        fault.__traceback__ = None
        fault = fault.__context__
