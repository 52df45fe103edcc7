"""Records that come while Python decrypts others: each is read in time, and none by the wrong exchange."""

import shutil
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import gevent
import pytest

from streamgauge.harness.drive.wire.tls import Plain, Tls
from streamgauge.harness.native import library
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome
from tests.support.command import PATIENCE
from tests.support.hostile import (
    CHUNKED,
    DONE,
    LAST,
    Peer,
    ask,
    certificate,
    chunk,
    client,
    content,
    observe,
    scripted,
    stamped_true,
    token,
    tokens,
)

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with")
timing = pytest.mark.timing
WHOLE = CHUNKED + chunk(tokens(3) + DONE) + LAST


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))
    return context


def decrypts_slowly(patch: pytest.MonkeyPatch, begins: threading.Event, ends: threading.Event) -> None:
    """Decrypting the end of the first answer takes until the second event. The loop stands still meanwhile."""
    real = Tls.decrypt

    def decrypt(self: Tls, data: bytes | memoryview, places: Sequence[int]) -> Plain:
        plain = real(self, data, places)
        if plain.data.endswith(LAST) and not begins.is_set():
            begins.set()
            assert ends.wait(PATIENCE)
            time.sleep(0.03)  # if the reading thread could read, it has
        return plain

    patch.setattr(Tls, "decrypt", decrypt)


@timing
@pytest.mark.skipif(library.LIBRARY is None, reason="without compiled code, Python reads")
@pytest.mark.usefixtures("stamping")
def test_other_streams_are_read_while_one_is_decrypted(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RunClock.starting_at(time.time_ns())
    begins, ends = threading.Event(), threading.Event()

    def script(peer: Peer) -> list[tuple[int, int]]:
        if b"/v1/second" in peer.request():
            peer.send(WHOLE)
            return []
        peer.send(CHUNKED)
        assert begins.wait(PATIENCE)
        for piece in map(token, range(5)):
            peer.send(chunk(piece))
            time.sleep(0.02)
        ends.set()
        time.sleep(0.05)
        peer.send(chunk(DONE))
        peer.send(LAST)
        return peer.sent[1:-1]

    decrypts_slowly(monkeypatch, begins, ends)
    with scripted(script, tls=tls) as server:
        people = [client(server.url + path, clock=clock, verify=False) for path in ("", "/v1/second")]
        first = gevent.spawn(ask, people[0])
        while not server.peers:
            gevent.sleep(0.001)
        ask(people[1])
        seen = first.get()
        true = stamped_true(seen, clock, server.result())
        for person in people:
            person.close()
    assert (seen.outcome, content(seen), seen.coalesced_reads) == (Outcome.COMPLETED, 5, 0)
    assert all(true)


@timing
@pytest.mark.skipif(library.LIBRARY is None, reason="without compiled code, Python reads")
def test_python_decrypts_the_head_and_then_the_tokens_with_the_end(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokens come one by one, but so soon that the server does not seem to be quiet."""
    words = b'data: {"choices": [{"index": 0, "delta": {"content": "word"}}]}\n\n'
    stop = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    decrypted: list[int] = []  # records, by call
    real = Tls.decrypt

    def decrypt(self: Tls, data: bytes | memoryview, places: Sequence[int]) -> Plain:
        decrypted.append(len(places))
        return real(self, data, places)

    def script(peer: Peer) -> None:
        peer.request()
        for piece in (CHUNKED, *[chunk(words)] * 5, chunk(stop), chunk(DONE) + LAST):
            peer.send(piece)
            time.sleep(0.01)

    monkeypatch.setattr(Tls, "decrypt", decrypt)
    with scripted(script, tls=tls) as server:
        seen = observe(server.url, verify=False, protocol="openai_chat")
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 5)
    assert decrypted[-1] == 7  # before, the head, and by itself perhaps a session ticket
    assert len(decrypted) <= 3


def test_what_comes_while_the_end_is_decrypted_does_not_spoil_the_next_answer(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins, ends = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(WHOLE)
            begins.wait(PATIENCE)
            if not ends.is_set():
                peer.send(CHUNKED)
                ends.set()

    decrypts_slowly(monkeypatch, begins, ends)
    with scripted(script, tls=tls) as server:
        person = client(server.url, verify=False)
        seen = [ask(person), ask(person)]
        person.close()
        assert len(server.peers) == 2
    assert [(each.outcome, content(each)) for each in seen] == [(Outcome.COMPLETED, 3)] * 2
