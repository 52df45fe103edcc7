"""The server of the benchmarks: bare asyncio, on schedule at 50,000 events per second on one core.

Every answer is the same made-up Anthropic stream: the first token 200 ms after the request or up to one gap later,
then one token every 20 ms. One timer serves all streams: a gap is divided into ticks, each connection is assigned one
tick, so that the load is even, and each event is one `send`. Tokens that are due go before everything else. Speaks just
enough HTTP for well-behaved clients.

Its first argument is the path of a log: it prints its URL, logs what it sent (see `Row`), and on SIGTERM prints how
late it was. With the paths of a certificate and its key as further arguments, it speaks TLS: it encrypts an answer when
the request comes, so that a token costs no more than without TLS when it is due. All times are CLOCK_MONOTONIC ns.
"""

import asyncio
import ctypes
import gc
import json
import os
import signal
import socket
import ssl
import struct
import sys
import time
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .sending import Together, Tokens, compiled

TOKENS, TTFT, GAP = 200, 200_000_000, 20_000_000  # ns
ANSWER = (TTFT + TOKENS * GAP) / 1e9  # duration of an answer, seconds
TICK = 500_000
_TICKS = GAP // TICK  # ticks per gap

_ROW = struct.Struct("<QqqqI")
_TIMESPEC = struct.Struct("@ll")
_SO_TIMESTAMPNS = 35
_CLOCK_MONOTONIC, _TFD_TIMER_ABSTIME, _TFD_NONBLOCK = 1, 1, 0o4000


CUT_OFF = 0


class Row(NamedTuple):
    """One stream as recorded by the server or by a client."""

    id: int  # the number in the request-id header; a client has CUT_OFF for an interrupted answer
    began: int  # server: kernel stamp of the request's arrival; client: the start of its TTFT
    due: int  # server: when the first token was due; client: 0
    at: NDArray[np.int64]  # server: when `send` of each token returned; client: when each token arrived
    handshake: int = 0  # server: ns that the client waited for it in the TLS handshake before this stream; client: 0


def write_row(
    log: BinaryIO, number: int, began: int, due: int, at: "array[int] | NDArray[np.int64]", handshake: int = 0
) -> None:
    log.write(_ROW.pack(number, began, due, handshake, len(at)) + at.tobytes())


def read_rows(log: Path) -> Iterator[Row]:
    data = log.read_bytes()
    offset = 0
    while offset < len(data):
        number, began, due, handshake, count = _ROW.unpack_from(data, offset)
        at = np.frombuffer(data, np.int64, count, offset + _ROW.size)
        yield Row(number, began, due, at, handshake)
        offset += _ROW.size + 8 * count


def lateness(rows: Iterable[Row], begin: int = 0, end: int = 1 << 62, gap: int = GAP) -> dict[str, float]:
    """Number and lateness of the tokens sent between two times."""
    late = [(row.at - row.due - gap * np.arange(len(row.at)))[(row.at >= begin) & (row.at < end)] for row in rows]
    ms = np.concatenate(late) / 1e6 if late else np.zeros(0)
    if not len(ms):
        return {"events": 0}
    p50, p99, most = (round(float(value), 3) for value in np.percentile(ms, [50, 99, 100]))
    return {"events": len(ms), "late_p50_ms": p50, "late_p99_ms": p99, "late_max_ms": most}


def _chunk(*events: tuple[str, dict[str, Any]]) -> bytes:
    events_text = "".join(f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n" for name, data in events)
    return f"{len(events_text):x}\r\n{events_text}\r\n".encode()


_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"request-id: req_%012d\r\ntransfer-encoding: chunked\r\n\r\n"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
_MESSAGE: dict[str, Any] = {
    "id": "msg_benchmark",
    "type": "message",
    "role": "assistant",
    "model": "benchmark",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 12, "output_tokens": 1},
}
_START = _chunk(
    ("message_start", {"message": _MESSAGE}),
    ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
)
_TOKEN = _chunk(("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": " token"}}))
_STOP = (
    _chunk(
        ("content_block_stop", {"index": 0}),
        (
            "message_delta",
            {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": TOKENS}},
        ),
        ("message_stop", {}),
    )
    + b"0\r\n\r\n"
)


class _Secure:
    """TLS of one connection."""

    def __init__(self, context: ssl.SSLContext, sock: socket.socket) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._sock = sock
        self._met = False
        self._waited = 0  # ns that the client has waited for us in the handshake

    def waited(self) -> int:
        """How long the client has waited for us in the handshake since the last call, ns."""
        waited, self._waited = self._waited, 0
        return waited

    def encrypted(self, data: bytes) -> bytes:
        self._object.write(data)
        return self._outgoing.read()

    def records(self, data: bytes, count: int) -> bytes:
        """So many records of the same size, each with this data, to be sent one after another before anything else."""
        for _ in range(count):
            self._object.write(data)
        return self._outgoing.read()

    def decrypted(self, data: bytes, arrived: int) -> bytes:
        """What the client says with these bytes, which arrived then; b"" if it is still shaking hands."""
        self._incoming.write(data)
        found = b""
        with suppress(ssl.SSLWantReadError):
            if not self._met:
                self._object.do_handshake()
                self._met = True
            found = self._object.read(65_536)
        if self._outgoing.pending:
            self._sock.send(self._outgoing.read())
            if not self._met:
                self._waited += time.monotonic_ns() - arrived
        return found


class _Stream:
    __slots__ = (
        "began",
        "due",
        "handshake",
        "number",
        "phase",
        "secure",
        "sock",
        "stop",
        "tokens",
        "under_way",
    )

    def __init__(self, sock: socket.socket, phase: int, context: ssl.SSLContext | None) -> None:
        self.sock = sock
        self.secure = None if context is None else _Secure(context, sock)
        self.tokens: Tokens  # of the latest answer
        self.stop = _STOP  # as it is sent
        self.phase = phase  # its tick within a gap
        self.under_way = False
        self.number = self.began = self.due = self.handshake = 0

    def send(self, data: bytes) -> None:
        self.sock.send(data if self.secure is None else self.secure.encrypted(data))

    def write(self, log: BinaryIO) -> None:
        write_row(log, self.number, self.began, self.due, self.tokens.sent, self.handshake)

    def begin(self) -> None:
        """Send what precedes the tokens."""
        self.under_way = True
        self.send(_HEAD % self.number + _START)
        data, size = _TOKEN, len(_TOKEN)
        if self.secure is not None:
            data = self.secure.records(_TOKEN, TOKENS)
            size, self.stop = len(data) // TOKENS, self.secure.encrypted(_STOP)
        self.tokens = Tokens(self.sock.fileno(), data, size, TOKENS)


class _Server:
    def __init__(self, log: BinaryIO, context: ssl.SSLContext | None) -> None:
        self._log = log
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._zero = time.monotonic_ns()
        self._offset = time.time_ns() - time.monotonic_ns()  # between the kernel's stamps and CLOCK_MONOTONIC
        self._tick = 0
        self._answers = 0
        self._phase = 0
        self._starting: defaultdict[int, list[_Stream]] = defaultdict(list)  # by the tick of the first token
        self._ending: defaultdict[int, list[_Stream]] = defaultdict(list)  # by the tick after the last one
        library = compiled()
        self._sending: list[Together[_Stream]] = [Together(library) for _ in range(_TICKS)]  # by phase
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)  # accepted sockets inherit it
        self._timer = _timer(self._zero + TICK)
        self._loop.add_reader(self._listener, self._accept)
        self._loop.add_reader(self._timer, self._on_timer)
        self.url = f"http{'' if context is None else 's'}://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._phase = (self._phase + 1) % _TICKS
        self._loop.add_reader(sock, self._on_readable, _Stream(sock, self._phase, self._context), bytearray())

    def _on_readable(self, stream: _Stream, asked: bytearray) -> None:
        self._read(stream, asked)
        self._send_due()  # a handshake or the start of an answer takes so long that several in a row would delay tokens

    def _read(self, stream: _Stream, asked: bytearray) -> None:
        try:
            data, control, _, _ = stream.sock.recvmsg(65_536, 64)
        except BlockingIOError:
            return
        except OSError:
            data, control = b"", []
        if not data:
            self._leave(stream)
            return
        began = time.monotonic_ns()
        if control:
            seconds, nanoseconds = _TIMESPEC.unpack(control[0][2])
            began = seconds * 1_000_000_000 + nanoseconds - self._offset
        try:
            asked += data if stream.secure is None else stream.secure.decrypted(data, began)
        except ssl.SSLError:
            self._leave(stream)
            return
        head, blank, body = asked.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not blank or len(body) < int(length or 0):
            return
        asked.clear()
        if head.startswith(b"GET "):  # a metrics page, which it does not have
            stream.send(_NOT_FOUND)
            return
        self._answer(stream, began)

    def _answer(self, stream: _Stream, began: int) -> None:
        self._answers += 1
        earliest = max(-((self._zero - began - TTFT) // TICK), self._tick + 1)  # rounded up
        first = earliest + (stream.phase - earliest) % _TICKS
        stream.number, stream.began, stream.due = self._answers, began, self._zero + first * TICK
        stream.handshake = 0 if stream.secure is None else stream.secure.waited()
        stream.begin()
        self._starting[first].append(stream)
        self._ending[first + TOKENS * _TICKS].append(stream)

    def _on_timer(self) -> None:
        os.read(self._timer, 8)  # so that it waits for the next tick
        self._send_due()

    def _send_due(self) -> None:
        """Send all tokens that are due by now."""
        while self._zero + (self._tick + 1) * TICK <= time.monotonic_ns():
            self._tick += 1
            self._send(self._tick)

    def _send(self, tick: int) -> None:
        together = self._sending[tick % _TICKS]
        for stream in self._ending.pop(tick, ()):
            if stream.under_way and len(stream.tokens.sent) == TOKENS:
                with suppress(OSError):  # the client has gone, with all tokens
                    stream.sock.send(stream.stop)
                self._end(stream)
        for stream in self._starting.pop(tick, ()):
            if stream.under_way:
                together.add(stream)
        for stream in together.send():
            self._leave(stream)

    def _end(self, stream: _Stream) -> None:
        """End the answer that is under way."""
        stream.under_way = False
        self._sending[stream.phase].discard(stream)
        stream.write(self._log)

    def _leave(self, stream: _Stream) -> None:
        if stream.under_way:
            self._end(stream)
        self._loop.remove_reader(stream.sock)
        stream.sock.close()


def _timer(first: int) -> int:
    """A timerfd that becomes readable at each tick: asyncio's own timers have millisecond resolution."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer: int = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK)
    setting = struct.pack("@llll", 0, TICK, first // 10**9, first % 10**9)
    if timer < 0 or libc.timerfd_settime(timer, _TFD_TIMER_ABSTIME, setting, None):
        raise OSError(ctypes.get_errno(), "no timerfd")
    return timer


async def _serve(truth: Path, *certificate: Path) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate[0], certificate[1])
    with truth.open("wb") as log:
        server = _Server(log, context)
        gc.collect()
        gc.freeze()
        gc.disable()
        print(server.url, flush=True)
        await over.wait()
    print(json.dumps(lateness(read_rows(truth))), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(*map(Path, sys.argv[1:])))
