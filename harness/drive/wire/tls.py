"""TLS of one connection, over memory buffers. Does no I/O: the socket is read elsewhere, with kernel stamps."""

import ssl
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from streamgauge.harness.drive.wire.broken import GARBAGE, Broken, is_alert, reason
from streamgauge.harness.record.observation import Outcome

_RECORD = 16_384  # bytes of plain text in a record at most; each call of OpenSSL decrypts one record
_USUAL = 479  # bytes of most records at most; for so few, Python allocates memory twice as fast
_INPUT = 4_096  # bytes given to OpenSSL at a time, unless one read is more; it keeps a buffer as large as the most
_NO_RECORD = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}  # OpenSSL's names for bytes that are no record


class Plain(NamedTuple):
    """What several reads of ciphertext were."""

    data: bytes
    ends: list[int]  # where each read ends in `data`
    ended: bool  # the peer has ended the TLS stream
    broken: Broken | None  # what broke it


class CutOff(Broken):
    """The peer closed the connection without TLS's close_notify: whoever is in between can do that."""

    def __init__(self) -> None:
        super().__init__(
            Outcome.TRUNCATED, "the connection was closed without TLS's close_notify: the answer may be cut short"
        )


class Unreadable(Broken):
    """What the peer sent cannot be decrypted, or is an alert that says why the peer gives up."""


class Tls:
    __slots__ = ("_begun", "_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._begun = False  # data has come

    def handshake(self, received: bytes) -> bool:
        """Process the peer's next bytes (b"" to begin). True if the handshake is complete; Broken if it failed.

        Send `outgoing` after each call.
        """
        self._incoming.write(received)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as fault:
            raise Broken(Outcome.UNREACHABLE, f"TLS: {reason(fault)}") from None
        return True

    def encrypt(self, data: bytes) -> None:
        """Encrypt `data` and add it to `outgoing`."""
        self._object.write(data)

    def outgoing(self) -> bytes:
        """The bytes to send now; b"": nothing."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def decrypt(self, data: bytes | memoryview, ends: Sequence[int]) -> Plain:
        """Decrypt reads, at least one, that end at these places of `data`.

        OpenSSL takes no more of its input than the record that it decrypts, so what is left of the input tells which
        read completed a record.
        """
        records, ended, broken, begin = _Records([], []), False, None, 0
        try:
            for end in _parts(ends):
                self._incoming.write(data[begin:end])
                begin = end
                ended = self._read(end, records)
                if ended:
                    break
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as fault:
            # In TLS 1.3, a server refuses a client without a certificate after the handshake.
            refused = is_alert(fault) and not (self._begun or records.plain)
            told = GARBAGE if fault.reason in _NO_RECORD else reason(fault)
            broken = Unreadable(Outcome.UNREACHABLE if refused else Outcome.RESET, f"TLS: {told}")
        self._begun = self._begun or bool(records.plain)
        return Plain(b"".join(records.plain), records.by_read(ends), ended, broken)

    def _read(self, size: int, into: "_Records") -> bool:
        """Decrypt one record after another of the first `size` bytes. Returns whether TLS has ended.

        If the last read ends with a record, no call is made for nothing: the exception for that would cost as much as a
        small record.
        """
        incoming, read = self._incoming, self._object.read
        keep, note = into.plain.append, into.places.append
        left, before = incoming.pending, -1
        while left and left != before:
            before = left
            try:
                plain = read(_USUAL)
            except ssl.SSLWantReadError:  # a part of a record, or one that is not data
                left = incoming.pending
                continue
            if not plain:
                return True
            if len(plain) == _USUAL and self._object.pending():
                plain += read(_RECORD)
            left = incoming.pending
            keep(plain)
            note(size - left)
        return False


class _Records(NamedTuple):
    """The records of some ciphertext."""

    plain: list[bytes]
    places: list[int]  # where in the ciphertext each ends

    def by_read(self, ends: Sequence[int]) -> list[int]:
        """Where in the plain text each read ends, given where it ends in the ciphertext."""
        until = list(accumulate(map(len, self.plain), initial=0))
        if self.places == ends:  # each read was one record
            return until[1:]
        return [until[bisect_right(self.places, end)] for end in ends]


def _parts(ends: Sequence[int]) -> Iterator[int]:
    """Where to divide reads that end at these places, so that OpenSSL's copy of its input stays small."""
    number = begin = 0
    while number < len(ends):
        number = max(number + 1, bisect_right(ends, begin + _INPUT, number))
        begin = ends[number - 1]
        yield begin
