"""TLS of one connection, over memory buffers. Does no I/O: the socket is read elsewhere, with kernel stamps."""

import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from streamgauge.harness.drive.wire.broken import GARBAGE, Broken, is_alert, reason
from streamgauge.harness.record.observation import Outcome

_RECORD = 16_384  # bytes of plain text in a record at most; each call of OpenSSL decrypts one record
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
        read completed a record. If the last read ends with a record, no call is made for nothing: the exception for
        that would cost as much as a small record.
        """
        plain, found, ended, broken, left = bytearray(), list[int](), False, None, 0
        self._incoming.write(data)
        try:
            while not ended and self._incoming.pending != left:
                left = self._incoming.pending
                with suppress(ssl.SSLWantReadError):  # a part of a record, or one that is not data
                    ended = self._read(plain, found, ends)
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as fault:
            # In TLS 1.3, a server refuses a client without a certificate after the handshake.
            refused = is_alert(fault) and not (self._begun or plain)
            told = GARBAGE if fault.reason in _NO_RECORD else reason(fault)
            broken = Broken(Outcome.UNREACHABLE if refused else Outcome.RESET, f"TLS: {told}")
        found += [len(plain)] * (len(ends) - len(found))
        self._begun = self._begun or bool(plain)
        return Plain(bytes(plain), found, ended, broken)

    def _read(self, plain: bytearray, found: list[int], ends: Sequence[int]) -> bool:
        """Decrypt one record after another, and note where the reads before each end. Returns whether TLS has ended."""
        incoming, read, size = self._incoming, self._object.read, ends[-1]
        while incoming.pending:
            block = read(_RECORD)
            place = size - incoming.pending
            while ends[len(found)] < place:
                found.append(len(plain))
            plain += block
            if not block:
                return True
        return False
