"""The plain socket readers, in Python: without compiled code; and on emulated links, under TLS or if allowance expires.

The gevent loop makes one call for each read.
"""

import time
from typing import Any, ClassVar, NamedTuple

import gevent

from streamgauge.harness.drive.wire.broken import Broken, reason
from streamgauge.harness.drive.wire.exchange import Exchange, Piece
from streamgauge.harness.drive.wire.pace import Alarm, Pace
from streamgauge.harness.drive.wire.reads import Read, Reads
from streamgauge.harness.drive.wire.stamps import CONTROL_SPACE, stamp_of
from streamgauge.harness.drive.wire.tls import CutOff
from streamgauge.harness.record.observation import Outcome

READABLE = 1  # libev's event bit
_BLOCK = 65_536
_BUFFER = bytearray(_BLOCK)  # shared by all readers: each read is parsed before the next one starts
_VIEW = memoryview(_BUFFER)


class _Received(NamedTuple):
    size: int  # bytes in the buffer; 0: the peer has closed its side
    stamp: int  # as in `Read`
    seen: int  # as in `Read`


class PlainReader:
    """Reads all data as it arrives."""

    separates: ClassVar[bool] = False

    __slots__ = ("_exchange", "_watcher")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._watcher: Any = None  # None: paused

    def resume(self) -> None:
        if self._watcher is None:
            descriptor = self._exchange.connection.sock.fileno()
            self._watcher = gevent.get_hub().loop.io(descriptor, READABLE)
            self._watcher.start(self._readable)

    def pause(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def catch_up(self) -> None:
        """Nothing to do: each read is passed on at once."""

    def drain(self) -> None:
        before = -1
        while self._watcher is not None and before < self._exchange.received:
            before = self._exchange.received
            self._readable()

    def release(self) -> None:
        self.pause()

    def _readable(self) -> None:
        received = self._receive(_BLOCK)
        if received is not None:
            self._pass_on(received)

    def _receive(self, room: int) -> _Received | None:
        """One read of at most `room` bytes into the buffer; None if there was no data, or the read failed."""
        try:
            size, control, _, _ = self._exchange.connection.sock.recvmsg_into((_VIEW[:room],), CONTROL_SPACE)
        except BlockingIOError:
            return None
        except OSError as fault:
            self._exchange.end(Broken(Outcome.RESET, f"the connection broke: {reason(fault)}"))
            return None
        seen = time.monotonic_ns()
        return _Received(size, stamp_of(control), seen)

    def _pass_on(self, received: _Received) -> None:
        size, stamp, seen = received
        connection = self._exchange.connection
        data: Any = _VIEW[:size]
        ended, broken = not size, None
        if connection.tls is not None:
            data, _, finished, broken = connection.decrypt(data, (size,))
            broken = broken or (CutOff() if ended and not finished else None)
            ended = ended or finished
        self._exchange.take(Piece(data, Reads.of(Read(0, stamp, seen)), seen, size, ended=ended, broken=broken))


class PacedPlainReader(PlainReader):
    """Asks the pace before each read."""

    __slots__ = ("_alarm", "_pace")

    def __init__(self, exchange: Exchange, pace: Pace) -> None:
        super().__init__(exchange)
        self._pace = pace
        self._alarm = Alarm()  # set while the pace allows nothing

    def pause(self) -> None:
        self._alarm.cancel()
        super().pause()

    def _readable(self) -> None:
        now = time.monotonic_ns()
        room, again_at = self._pace.allowance(now)
        if room <= 0:
            self.pause()
            self._alarm.set(again_at - now, self._go_on)
            return
        received = self._receive(room)
        if received is not None:
            self._pace.spend(received.seen, received.size)
            self._pass_on(received)

    def _go_on(self) -> None:
        self._alarm.cancel()
        self._exchange.holds.append(time.monotonic_ns())
        self.resume()
