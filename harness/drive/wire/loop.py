"""Chooses the socket reader of each exchange of a gevent loop: compiled if possible, otherwise plain."""

import os
from typing import Any
from weakref import WeakKeyDictionary

import gevent

from streamgauge.harness.drive.wire.compiled import (
    CompiledReader,
    PacedCompiledReader,
    PolledSet,
    ReadingThread,
    SocketSet,
)
from streamgauge.harness.drive.wire.encrypted import TlsReader, TlsThread
from streamgauge.harness.drive.wire.exchange import Exchange, SocketReader
from streamgauge.harness.drive.wire.plain import READABLE, PacedPlainReader, PlainReader
from streamgauge.harness.native import library


class Loop:
    """The socket readers of one gevent loop."""

    @staticmethod
    def current() -> "Loop":
        """The `Loop` of this thread's gevent loop."""
        hub = gevent.get_hub()
        if hub not in _LOOPS:
            _LOOPS[hub] = Loop(hub.loop)
        return _LOOPS[hub]

    def __init__(self, loop: Any) -> None:
        self._compiled = None if library.LIBRARY is None else _Compiled(loop)

    def read(self, exchange: Exchange) -> None:
        """Start reading for an exchange whose request has been sent."""
        exchange.start(self._reader(exchange))

    def close(self) -> None:
        """Give back the thread and the descriptors that reading takes. No exchange may start afterwards."""
        if self._compiled is not None:
            self._compiled.close()

    def _reader(self, exchange: Exchange) -> SocketReader:
        pace, compiled = exchange.pace, self._compiled
        encrypted = exchange.connection.tls is not None
        if pace is None:
            if compiled is None:
                return PlainReader(exchange)
            return TlsReader(exchange, compiled.tls) if encrypted else CompiledReader(exchange, compiled.thread)
        # The compiled reader cannot ask for an allowance before each read, and paced TLS is rare.
        if compiled is None or encrypted or not pace.steady:
            return PacedPlainReader(exchange, pace)
        return PacedCompiledReader(exchange, compiled.polled, pace)


class _Compiled:
    """The sockets that C reads for one gevent loop."""

    def __init__(self, loop: Any) -> None:
        self.thread = ReadingThread(library.LIBRARY)
        self.tls = TlsThread(self.thread)
        self.polled = PolledSet(library.LIBRARY)
        self._watchers = [_watcher(loop, sockets) for sockets in (self.thread, self.polled)]

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.close()
        self.thread.close()
        self.polled.close()


def _watcher(loop: Any, sockets: SocketSet) -> Any:
    """A started watcher that calls `catch_up` when C reports sockets. It does not keep the loop from ending."""
    watcher = loop.io(sockets.report_descriptor, READABLE, ref=False)
    watcher.start(sockets.catch_up)
    return watcher


_LOOPS: "WeakKeyDictionary[Any, Loop]" = WeakKeyDictionary()  # by hub
os.register_at_fork(after_in_child=_LOOPS.clear)  # a child must not read its parent's descriptors
