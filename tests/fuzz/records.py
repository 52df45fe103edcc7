"""The two socket readers of TLS: of the same records in the same pieces they make the same answer, read by read."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from random import Random

from streamgauge.harness.drive.wire.compiled import ReadingThread
from streamgauge.harness.drive.wire.encrypted import TlsReader, TlsThread
from streamgauge.harness.drive.wire.exchange import Exchange, SocketReader
from streamgauge.harness.drive.wire.plain import PlainReader
from streamgauge.harness.drive.wire.tls import Tls
from streamgauge.harness.native import library
from tests.fuzz.chunks import written
from tests.fuzz.framing import HEADS, MARKERS, Made, made_of
from tests.fuzz.inputs import cut, mutated

_STRANGE = (b"\x15", b"\x16", b"\x17\x03\x03", b"\xff", b"\0")
_ANONYMOUS = "AECDH-AES128-SHA:@SECLEVEL=0"  # needs no certificate
_THREADS: list[TlsThread] = []


def _compiled(exchange: Exchange) -> TlsReader:
    if not _THREADS:
        _THREADS.append(TlsThread(ReadingThread(library.LIBRARY)))
    return TlsReader(exchange, _THREADS[0])


def _context(side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_ANONYMOUS)
    return context


_CLIENT, _SERVER = _context(ssl.PROTOCOL_TLS_CLIENT), _context(ssl.PROTOCOL_TLS_SERVER)


class _Session:
    """A server's and a client's end of one TLS connection."""

    def __init__(self) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._server = _SERVER.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.client = Tls(_CLIENT, "localhost")
        said = b""
        while not self.client.handshake(said):
            self._incoming.write(self.client.outgoing())
            with suppress(ssl.SSLWantReadError):
                self._server.do_handshake()
            said = self._outgoing.read()

    def encrypted(self, plain: bytes) -> bytes:
        self._server.write(plain)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        with suppress(ssl.SSLError):
            self._server.unwrap()
        return self._outgoing.read()


def case(random: Random) -> None:
    records = [part for part in cut(random, random.choice(HEADS) + written(random)) if part]
    markers = random.choice(MARKERS)
    closes, changes, seed = random.random() < 0.5, random.random() < 0.3, random.random()

    def made(reader: Callable[[Exchange], SocketReader]) -> Made:
        same, session = Random(seed), _Session()
        sent = b"".join(map(session.encrypted, records)) + (session.goodbye() if closes else b"")
        return made_of(cut(same, mutated(same, sent, _STRANGE) if changes else sent), markers, reader, session.client)

    found = made(_compiled), made(PlainReader)
    # Two sessions have different ciphertext, of which a change makes different things: only that nothing fails is sure.
    assert changes or found[0] == found[1], (records, markers, seed)
