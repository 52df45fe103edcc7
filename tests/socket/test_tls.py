"""TLS above the stamped socket: the same streams, stamps and outcomes; and what can go wrong only there."""

import shutil
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.wire.stamps import kernel_stamps
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome
from tests.support.hostile import (
    CHUNKED,
    DONE,
    LAST,
    Peer,
    ask,
    asked,
    certificate,
    chunk,
    client,
    content,
    held,
    observe,
    scripted,
    stamped_true,
    token,
    tokens,
)

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with"),
    pytest.mark.timing,
]
WHOLE = CHUNKED + chunk(tokens(3) + DONE) + LAST


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def tls(signed: tuple[Path, Path], request: pytest.FixtureRequest) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*signed)
    context.minimum_version = context.maximum_version = request.param
    return context


def test_a_stream_over_tls_completes_with_kernel_stamps_and_the_time_of_its_handshake(tls: ssl.SSLContext) -> None:
    clock = RunClock.starting_at(time.time_ns())

    def script(peer: Peer) -> list[tuple[int, int]]:
        peer.request()
        peer.send(CHUNKED)
        for piece in (token(0), token(1), DONE):
            time.sleep(0.03)
            peer.send(chunk(piece))
        peer.send(LAST)
        return peer.sent[1:-1]

    with scripted(script, tls=tls) as server:
        person = client(server.url, clock=clock, verify=False)
        seen = ask(person)
        assert all(stamped_true(seen, clock, server.result()))
        person.close()
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 2)
    assert seen.connected_at is not None
    assert seen.secured_at is not None
    assert seen.sent_at is not None
    assert seen.connected_at < seen.secured_at <= seen.sent_at
    assert seen.unstamped_reads == (0 if kernel_stamps() else seen.reads)


def test_a_certificate_that_verifies_is_trusted(
    tls: ssl.SSLContext, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(signed[0]))
    with scripted(asked(WHOLE), tls=tls) as server:
        seen = observe(server.url)
    assert (seen.outcome, seen.detail) == (Outcome.COMPLETED, "")


def test_a_certificate_that_does_not_verify_is_unreachable_and_says_why(tls: ssl.SSLContext) -> None:
    with scripted(asked(WHOLE), tls=tls) as server:
        seen = observe(server.url)
    assert (seen.outcome, seen.http_status) == (Outcome.UNREACHABLE, None)
    assert seen.detail == "TLS: the certificate does not verify: self-signed certificate"
    assert seen.connected_at is not None
    assert (seen.secured_at, seen.sent_at) == (None, None)


def test_a_certificate_for_another_name_is_unreachable_and_says_so(
    tls: ssl.SSLContext, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(signed[0]))
    with scripted(asked(WHOLE), tls=tls) as server:
        seen = observe(server.url.replace("127.0.0.1", "localhost"))
    assert seen.outcome is Outcome.UNREACHABLE
    assert "certificate is not valid for 'localhost'" in seen.detail


def test_a_server_that_speaks_no_tls_is_unreachable() -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(65_536)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with scripted(script) as server:
        seen = observe(server.url.replace("http:", "https:"), verify=False)
    assert seen.outcome is Outcome.UNREACHABLE
    assert seen.detail.startswith("TLS: ")


def test_a_handshake_that_hangs_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel accepts; nobody answers
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        seen = observe(url, timeouts={"connect": "200ms"}, verify=False)
        left = observe(url, Plan(leave_after=50_000_000), verify=False)
    assert (seen.outcome, seen.detail) == (Outcome.TIMED_OUT, "no TLS handshake in time")
    assert seen.connected_at is not None
    assert (left.outcome, left.detail) == (Outcome.CANCELLED, "left after 0.1 s, as planned")


@pytest.mark.parametrize("goodbye", [Peer.fin, Peer.reset])
def test_a_handshake_that_breaks_off_is_unreachable(goodbye: Callable[[Peer], None]) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(10)
        goodbye(peer)

    with scripted(script) as server:
        seen = observe(server.url.replace("http:", "https:"), verify=False)
    assert seen.outcome is Outcome.UNREACHABLE
    assert "in the TLS handshake" in seen.detail


def test_an_end_without_close_notify_is_truncated_and_keeps_its_chunks(tls: ssl.SSLContext) -> None:
    with scripted(asked(CHUNKED, chunk(tokens(3))), tls=tls) as server:
        seen = observe(server.url, verify=False)
    assert (seen.outcome, content(seen)) == (Outcome.TRUNCATED, 3)


def test_an_end_with_close_notify_is_truncated_as_well(tls: ssl.SSLContext) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(tokens(3)))
        peer.sock.unwrap()

    with scripted(script, tls=tls) as server:
        seen = observe(server.url, verify=False)
    assert (seen.outcome, content(seen)) == (Outcome.TRUNCATED, 3)


def test_a_record_that_does_not_decrypt_breaks_the_stream_and_keeps_its_chunks(tls: ssl.SSLContext) -> None:
    def script(peer: Peer) -> str:
        peer.request()
        peer.send(CHUNKED, chunk(tokens(3)))
        with socket.socket(fileno=peer.sock.detach()) as plain:
            plain.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
            return Peer(plain).until_gone()

    with scripted(script, tls=tls) as server:
        seen = observe(server.url, verify=False)
    assert (seen.outcome, content(seen)) == (Outcome.RESET, 3)
    assert seen.detail.startswith("TLS: ")


def test_a_connection_is_kept_over_tls(tls: ssl.SSLContext) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(WHOLE)

    with scripted(script, tls=tls) as server:
        person = client(server.url, verify=False)
        seen = [ask(person) for _ in range(3)]
        person.close()
        assert len(server.peers) == 1
    assert [each.outcome for each in seen] == [Outcome.COMPLETED] * 3
    assert [each.secured_at is None for each in seen] == [False, True, True]


def test_a_connection_with_a_close_notify_is_not_used_again(tls: ssl.SSLContext) -> None:
    with scripted(asked(WHOLE), tls=tls) as server:
        person = client(server.url, verify=False)
        ask(person)
        server.threads[0].join()
        seen = ask(person)
        person.close()
    assert (seen.outcome, seen.secured_at is None) == (Outcome.COMPLETED, False)


def test_a_large_record_in_many_segments_gives_arrivals_in_order(tls: ssl.SSLContext) -> None:
    body = tokens(20_000)
    with scripted(held(CHUNKED, chunk(body), chunk(DONE), LAST), tls=tls) as server:
        seen = observe(server.url, verify=False)
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 20_000)
    arrived = [each.at for each in seen.chunks]
    assert arrived == sorted(arrived)
