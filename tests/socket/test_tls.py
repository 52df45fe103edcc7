"""TLS above the stamped socket: the same streams, stamps and outcomes; and what can go wrong only there."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import gevent
import pytest

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.wire.stamps import kernel_stamps
from streamgauge.harness.native import library
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import CONTENT, Outcome
from tests.support import stacks
from tests.support.command import PATIENCE, free_port
from tests.support.hostile import (
    CHUNKED,
    DONE,
    LAST,
    UNTIL_CLOSED,
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
    target,
    token,
    tokens,
    unread,
)
from tests.support.records import Records

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with")
timing = pytest.mark.timing
SAYS_GOODBYE: Callable[[Peer], object] = lambda peer: peer.sock.unwrap()  # noqa: E731 - a parameter of a test
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


@timing
@pytest.mark.usefixtures("stamping")
def test_a_stream_over_tls_completes_with_kernel_stamps_and_the_time_of_its_handshake(tls: ssl.SSLContext) -> None:
    clock = RunClock.starting_at(time.time_ns())

    def script(peer: Peer) -> list[tuple[int, int]]:
        peer.request()
        peer.send(CHUNKED)
        for piece in (token(0), token(1), DONE):
            peer.until_read()
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
    assert seen.detail == "the connection was closed without TLS's close_notify: the answer may be cut short"


@pytest.mark.parametrize(("end", "outcome"), [(lambda _: None, Outcome.TRUNCATED), (SAYS_GOODBYE, Outcome.COMPLETED)])
def test_an_answer_that_ends_with_its_connection_is_complete_only_with_close_notify(
    tls: ssl.SSLContext, end: Callable[[Peer], object], outcome: Outcome
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(UNTIL_CLOSED, tokens(3))
        end(peer)

    with scripted(script, tls=tls) as server:
        seen = observe(server.url, verify=False, end="close")
    assert (seen.outcome, content(seen)) == (outcome, 3)


def test_a_server_that_wants_a_certificate_of_the_client_is_unreachable_and_says_so(
    signed: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(signed[0])
    with scripted(asked(WHOLE), tls=tls) as server:
        seen = observe(server.url, verify=False)
    assert seen.outcome is Outcome.UNREACHABLE, seen.detail
    assert seen.detail.startswith("TLS: the server ")
    assert "certificate of the client" in seen.detail


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


@contextmanager
def openssl_server(signed: tuple[Path, Path], version: str, *typed: bytes) -> Iterator[str]:
    """OpenSSL's own test server, which sends what is typed to it; some letters are commands, such as K: new keys."""
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(signed[0]), "-key", str(signed[1])]
    command.append(version)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        until_it_says(server.stdout, b"ACCEPT")

        def answer() -> None:
            assert server.stdin is not None
            assert server.stdout is not None
            until_it_says(server.stdout, b"POST")
            for line in typed:
                while unread(server.stdin):
                    time.sleep(0.001)  # each in a read of its own: a command is recognised at a read's beginning
                server.stdin.write(line)

        answering = threading.Thread(target=answer)
        answering.start()
        yield f"https://127.0.0.1:{port}"
        answering.join()
        server.kill()


def until_it_says(output: IO[bytes], words: bytes) -> None:
    said = b""
    while words not in said:
        more = output.read(65_536)
        assert more, said
        said += more


@pytest.mark.parametrize(("version", "command"), [("-tls1_3", b"K\n"), ("-tls1_3", b"k\n"), ("-tls1_2", b"r\n")])
def test_new_keys_and_a_renegotiation_in_mid_answer_change_nothing(
    signed: tuple[Path, Path], version: str, command: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = [head, chunk(token(0)), command, chunk(token(1)), command, chunk(token(2)), chunk(DONE), LAST]
    with openssl_server(signed, version, *answer) as url:
        seen = observe(url, verify=False)
    assert (seen.outcome, seen.detail, content(seen)) == (Outcome.COMPLETED, "", 3)


@timing
@pytest.mark.usefixtures("stamping")
def test_records_that_come_while_the_interpreter_is_busy_have_their_true_times(tls: ssl.SSLContext) -> None:
    clock = RunClock.starting_at(time.time_ns())
    ready, sent = threading.Event(), threading.Event()

    def script(peer: Peer) -> list[tuple[int, int]]:
        peer.request()
        peer.send(CHUNKED)
        time.sleep(0.05)
        ready.set()
        for piece in (*map(token, range(5)), DONE):
            time.sleep(0.02)
            peer.send(chunk(piece))
        sent.set()
        peer.send(LAST)
        return peer.sent[1:-1]

    def busy() -> None:
        while not ready.is_set():
            gevent.sleep(0.001)
        sent.wait(PATIENCE)  # not gevent's: the loop stands still

    with scripted(script, tls=tls) as server:
        person = client(server.url, clock=clock, verify=False)
        other = gevent.spawn(busy)
        seen = ask(person)
        other.get()
        true = stamped_true(seen, clock, server.result())
        person.close()
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 5)
    if library.LIBRARY is not None:  # compiled code has a thread of its own, and decrypts nothing
        assert all(true)
        assert seen.coalesced_reads == 0


@pytest.mark.usefixtures("stamping")
@pytest.mark.parametrize("name", stacks.LIBRARIES)
def test_a_library_over_tls_has_the_same_times_and_outcome(tls: ssl.SSLContext, name: str) -> None:
    clock = RunClock.starting_at(time.time_ns())

    def script(peer: Peer) -> list[tuple[int, int]]:
        peer.request()
        peer.send(CHUNKED + chunk(stacks.START))
        for _ in range(3):
            peer.until_read()
            peer.send(chunk(stacks.delta()))
        peer.until_read()
        peer.send(chunk(stacks.END) + LAST)
        return peer.sent[1:4]

    with scripted(script, tls=tls) as server:
        person = stacks.person(name, server.url, clock=clock, verify=False)
        seen = stacks.ask(person)
        sent = server.result()
        person.close()
    assert (seen.outcome, content(seen), seen.unstamped_reads) == (Outcome.COMPLETED, 3, 0)
    arrived = [clock.origin + each.at for each in seen.chunks if each.kind in CONTENT]
    # 5 ms: a kernel under load may leave the receiver's half for a moment later.
    assert all(
        before <= at + 50_000 and at <= after + 5_000_000 for at, (before, after) in zip(arrived, sent, strict=True)
    )


@timing
def test_a_slow_server_that_goes_on_after_its_last_record_is_not_waited_for(tls: ssl.SSLContext) -> None:
    """Only the plain text shows that the answer is complete; it is decrypted although no more records come."""
    began = time.monotonic()
    longer = b"data: " + b"x" * 200 + b"\n\n"  # each record is longer than the one before: none looks like an end
    with scripted(
        held(CHUNKED, *(chunk(token(n)) for n in range(3)), chunk(longer), chunk(DONE + b":" * 300) + LAST), tls=tls
    ) as server:
        seen = observe(server.url, verify=False)
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 4)
    assert time.monotonic() - began < 2


@timing
def test_an_answer_in_the_handshake_that_the_busy_loop_sees_late_is_told_as_its_own_lag(tls: ssl.SSLContext) -> None:
    asked_for = threading.Event()

    def script(peer: Peer) -> str:
        peer.sock.recv(1, socket.MSG_PEEK)  # the client's hello
        asked_for.set()
        time.sleep(0.03)  # until the loop stands still
        Records(tls, peer)
        return peer.until_gone()

    def busy() -> None:
        while not asked_for.is_set():
            gevent.sleep(0.001)
        time.sleep(0.12)  # not gevent's: the loop stands still

    with scripted(script) as server:
        url = server.url.replace("http:", "https:")
        site = Site.of(
            url, target(timeouts={"first_token": "300ms"}, verify=False), RunClock.starting_at(time.time_ns())
        )
        person = WireClient(site)
        other = gevent.spawn(busy)
        seen = ask(person)
        other.get()
        person.close()
    assert seen.secured_at is not None
    assert 50 < site.connecting.take_most() < 1_000
    assert site.connecting.late == 1
