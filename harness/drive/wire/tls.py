"""TLS of one connection, over memory buffers. Does no I/O: the socket is read elsewhere, with kernel stamps."""

import ssl

from streamgauge.harness.drive.wire.broken import Broken, reason
from streamgauge.harness.record.observation import Outcome

_BLOCK = 65_536  # bytes decrypted at a time


class Tls:
    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

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

    def decrypt(self, data: memoryview) -> tuple[bytes, bool, Broken | None]:
        """Ciphertext → (plain text, whether the peer has ended the TLS stream, what broke the stream or None)."""
        self._incoming.write(data)
        plain, ended, broken = [], False, None
        try:
            while block := self._object.read(_BLOCK):
                plain.append(block)
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as fault:
            broken = Broken(Outcome.RESET, f"TLS: {reason(fault)}")
        return b"".join(plain), ended, broken
