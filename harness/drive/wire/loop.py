"""Chooses the socket reader of each exchange: C for plain sockets where possible, else Python."""

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
from streamgauge.harness.drive.wire.exchange import Exchange, SocketReader
from streamgauge.harness.drive.wire.plain import READABLE, PacedPlainReader, PlainReader
from streamgauge.harness.native import library


class Loop:
    @staticmethod
    def current() -> "Loop":
        """That of this thread's gevent loop."""
        hub = gevent.get_hub()
        if hub not in _LOOPS:
            _LOOPS[hub] = Loop(hub.loop)
        return _LOOPS[hub]

    def __init__(self, loop: Any) -> None:
        self._compiled = None if library.LIBRARY is None else _Compiled(loop)

    def read(self, exchange: Exchange) -> None:
        """Begin to read for an exchange whose request is sent."""
        exchange.start(self._reader(exchange))

    def _reader(self, exchange: Exchange) -> SocketReader:
        pace, compiled = exchange.pace, self._compiled
        # C cannot decrypt, and it cannot ask for an allowance before each read.
        if compiled is None or exchange.connection.tls is not None or not (pace is None or pace.steady):
            return PlainReader(exchange) if pace is None else PacedPlainReader(exchange, pace)
        if pace is None:
            return CompiledReader(exchange, compiled.thread)
        return PacedCompiledReader(exchange, compiled.polled, pace)  # its pace is asked every few reads


class _Compiled:
    """The sockets that C reads for one gevent loop."""

    def __init__(self, loop: Any) -> None:
        self.thread = ReadingThread(library.LIBRARY)
        self.polled = PolledSet(library.LIBRARY)
        self._watchers = [_catch_up_on_news(loop, sockets) for sockets in (self.thread, self.polled)]


def _catch_up_on_news(loop: Any, sockets: SocketSet) -> Any:
    """The watcher. It does not keep the loop alive: a greenlet waiting for an exchange has set a timer, which does."""
    watcher = loop.io(sockets.news, READABLE, ref=False)
    watcher.start(sockets.catch_up)
    return watcher


_LOOPS: "WeakKeyDictionary[Any, Loop]" = WeakKeyDictionary()  # by hub
os.register_at_fork(after_in_child=_LOOPS.clear)  # a child must not read from its parent's descriptors
