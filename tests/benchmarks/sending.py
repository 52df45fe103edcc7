"""How the benchmarks' server sends tokens: by a function in C, which is compiled when the server begins.

In Python, a quarter of the server's CPU time went into finding the socket and the token of each stream. Over TLS, the
rest of its core was too little for the handshakes of a start of 200 users a second, which then came in clumps.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

_SOURCE = Path(__file__).parent / "sending.c"


class _Sending(ctypes.Structure):
    """As in `sending.c`."""

    _fields_ = (
        ("next", ctypes.c_void_p),
        ("sent", ctypes.c_void_p),
        ("sock", ctypes.c_int32),
        ("size", ctypes.c_int32),
        ("step", ctypes.c_int32),
        ("count", ctypes.c_int32),
        ("failed", ctypes.c_int32),
    )


class Tokens:
    """The tokens of one answer."""

    __slots__ = ("_data", "_sent", "sending")

    def __init__(self, sock: int, data: bytes, size: int, count: int) -> None:
        """`data`: one token of `size` bytes, to be sent `count` times; or all tokens, one after another."""
        self._data, self._sent = data, np.zeros(count, np.int64)  # kept, since C has their addresses
        step = size if len(data) > size else 0
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        self.sending = _Sending(address, self._sent.ctypes.data, sock, size, step, 0, 0)

    @property
    def sent(self) -> NDArray[np.int64]:
        """When `send` of each token sent so far returned, CLOCK_MONOTONIC ns."""
        return self._sent[: self.sending.count]


class _Answering(Protocol):
    tokens: Tokens


Stream = TypeVar("Stream", bound=_Answering)


class Together(Generic[Stream]):
    """Streams whose tokens are due at the same moments."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._streams: list[Stream] = []
        self._addresses: Any = None  # of what C needs of each; None: not made since the last change

    def add(self, stream: Stream) -> None:
        self._streams.append(stream)
        self._addresses = None

    def discard(self, stream: Stream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
            self._addresses = None

    def send(self) -> list[Stream]:
        """Send the next token of each. Returns those that failed: the client has gone, or is far behind."""
        if self._addresses is None:
            every = [ctypes.addressof(stream.tokens.sending) for stream in self._streams]
            self._addresses = (ctypes.c_void_p * len(every))(*every)
        if not self._library.send_tokens(self._addresses, len(self._streams)):
            return []
        return [stream for stream in self._streams if stream.tokens.sending.failed]


def compiled() -> Any:
    """`sending.c` as a library."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "sending.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(made), str(_SOURCE)], check=True)
        return ctypes.CDLL(str(made))
