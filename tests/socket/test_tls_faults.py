"""What can be wrong with TLS: each fault is an outcome and one sentence, alike for both readers and all clients."""

import os
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome
from tests.support import stacks
from tests.support.command import PATIENCE
from tests.support.hostile import (
    CHUNKED,
    DONE,
    LAST,
    Peer,
    Script,
    ask,
    asked,
    certificate,
    chunk,
    client,
    content,
    observe,
    scripted,
    target,
    token,
    tokens,
)
from tests.support.records import Records

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with"),
    pytest.mark.usefixtures("reader"),
]
BEGUN = CHUNKED + chunk(tokens(3))
GARBAGE = "TLS: what came cannot be decrypted: it is garbage, or was changed"


VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=VERSIONS, ids=["1.2", "1.3"])
def tls(signed: tuple[Path, Path], request: pytest.FixtureRequest) -> ssl.SSLContext:
    return server_side(signed, request.param, request.param)


def server_side(signed: tuple[Path, Path], oldest: ssl.TLSVersion, newest: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*signed)
    context.minimum_version, context.maximum_version = oldest, newest
    return context


def recorded(tls: ssl.SSLContext, *parts: Callable[[Records], bytes]) -> Script:
    """A script that sends the bytes of each part after another, and then waits for the client to go."""

    def script(peer: Peer) -> str:
        records = Records(tls, peer)
        for part in parts:
            peer.send(part(records))
        return peer.until_gone()

    return script


def over_tls(url: str) -> str:
    return url.replace("http:", "https:")


# Certificates and versions


def test_an_expired_certificate_is_unreachable_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, key = certificate(tmp_path)
    expired = tmp_path / "expired.pem"
    command = ["openssl", "x509", "-in", str(made), "-signkey", str(key), "-days", "-1", "-out", str(expired)]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(expired))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(expired, key)
    with scripted(asked(BEGUN), tls=context) as server:
        seen = observe(server.url)
    assert (seen.outcome, seen.sent_at) == (Outcome.UNREACHABLE, None)
    assert seen.detail == "TLS: the certificate does not verify: certificate has expired"


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_server_that_speaks_only_an_old_version_is_unreachable_and_says_so(
    signed: tuple[Path, Path], newest: ssl.TLSVersion
) -> None:
    context = server_side(signed, ssl.TLSVersion.TLSv1, newest)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with scripted(asked(BEGUN), tls=context) as server:
        seen = observe(server.url, verify=False)
    assert (seen.outcome, seen.detail) == (
        Outcome.UNREACHABLE,
        "TLS: the server speaks no version of TLS that we do",
    )


def test_a_handshake_that_cannot_even_begin_is_unreachable_and_says_so(tls: ssl.SSLContext) -> None:
    with scripted(asked(BEGUN), tls=tls) as server:
        site = Site.of(server.url, target(), RunClock.starting_at(time.time_ns()))
        assert site.endpoint.tls is not None
        site.endpoint.tls.minimum_version, site.endpoint.tls.maximum_version = VERSIONS[1], VERSIONS[0]
        person = WireClient(site)
        seen = ask(person)
        person.close()
    assert (seen.outcome, seen.sent_at) == (Outcome.UNREACHABLE, None)
    assert seen.detail.endswith("no protocols available")


def test_a_server_that_would_like_a_certificate_of_the_client_goes_on_without(tls: ssl.SSLContext) -> None:
    tls.verify_mode = ssl.CERT_OPTIONAL
    with scripted(asked(BEGUN + chunk(DONE) + LAST), tls=tls) as server:
        seen = observe(server.url, verify=False)
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


def test_a_connection_that_breaks_before_the_handshake_is_unreachable_and_says_so() -> None:
    connected, gone = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        assert connected.wait(PATIENCE)
        peer.reset()
        gone.set()

    with scripted(script) as server:
        endpoint, connection = Endpoint.of(over_tls(server.url)), Connection()
        until = time.monotonic_ns() + PATIENCE * 1_000_000_000
        connection.open(endpoint, until)
        connected.set()
        assert gone.wait(PATIENCE)
        with pytest.raises(Broken, match="the connection broke in the TLS handshake: ") as broken:
            connection.secure(endpoint, until)
        connection.close()
    assert broken.value.outcome is Outcome.UNREACHABLE


# Records

STRANGE = {
    "does not decrypt": b"\x17\x03\x03\x00\x20" + b"x" * 32,
    "has no content": b"\x17\x03\x03\x00\x00",
    "is longer than a record may be": b"\x17\x03\x03\xff\xff" + bytes(66_000),
    "is an alert that is not encrypted": b"\x15\x03\x03\x00\x02\x02\x28",
    "is HTTP that is not encrypted": b"HTTP/1.1 500 Internal Server Error\r\n\r\n",
    "is zeros": bytes(100),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_a_strange_record_breaks_the_stream_and_keeps_its_chunks(tls: ssl.SSLContext, strange: bytes) -> None:
    with scripted(recorded(tls, lambda records: records.of(BEGUN) + strange)) as server:
        seen = observe(over_tls(server.url), verify=False)
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.RESET, 3, GARBAGE)


def test_a_strange_record_before_the_answer_breaks_the_stream(tls: ssl.SSLContext) -> None:
    with scripted(recorded(tls, lambda _: STRANGE["is zeros"])) as server:
        seen = observe(over_tls(server.url), verify=False)
    assert (seen.outcome, seen.http_status, seen.detail) == (Outcome.RESET, None, GARBAGE)


def test_a_record_that_comes_twice_breaks_the_stream(tls: ssl.SSLContext) -> None:
    with scripted(
        recorded(tls, lambda records: records.of(BEGUN), lambda records: 2 * records.of(chunk(token(3))))
    ) as server:
        seen = observe(over_tls(server.url), verify=False)
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.RESET, 4, GARBAGE)


@pytest.mark.parametrize(("begun", "outcome"), [(BEGUN, Outcome.RESET), (b"", Outcome.UNREACHABLE)])
def test_an_alert_ends_the_stream_with_its_name(tls: ssl.SSLContext, begun: bytes, outcome: Outcome) -> None:
    def answer(records: Records) -> bytes:
        return (records.of(begun) if begun else b"") + records.fatal_alert()

    with scripted(recorded(tls, answer)) as server:
        seen = observe(over_tls(server.url), verify=False)
    assert (seen.outcome, content(seen)) == (outcome, 3 if begun else 0)
    assert seen.detail == "TLS: the server sent the alert bad record mac"


def test_a_large_record_in_many_small_pieces_completes(tls: ssl.SSLContext) -> None:
    def script(peer: Peer) -> str:
        records = Records(tls, peer)
        sent = records.of(CHUNKED + chunk(tokens(1_000))) + records.of(chunk(DONE) + LAST)
        peer.send(*(sent[at : at + 100] for at in range(0, len(sent), 100)))
        return peer.until_gone()

    with scripted(script) as server:
        seen = observe(over_tls(server.url), verify=False)
    assert (seen.outcome, seen.detail, content(seen)) == (Outcome.COMPLETED, "", 1_000)


def test_an_answer_that_stops_in_the_middle_of_a_record_times_out(tls: ssl.SSLContext) -> None:
    with scripted(recorded(tls, lambda records: records.of(BEGUN) + records.of(chunk(token(3)))[:-1])) as server:
        seen = observe(over_tls(server.url), verify=False, timeouts={"idle": "100ms"})
    assert (seen.outcome, content(seen)) == (Outcome.TIMED_OUT, 3)


def test_a_connection_that_ends_in_the_middle_of_a_record_is_truncated(tls: ssl.SSLContext) -> None:
    def script(peer: Peer) -> None:
        records = Records(tls, peer)
        peer.send(records.of(BEGUN) + records.of(chunk(token(3)))[:-1])

    with scripted(script) as server:
        seen = observe(over_tls(server.url), verify=False)
    assert (seen.outcome, content(seen)) == (Outcome.TRUNCATED, 3)
    assert "without TLS's close_notify" in seen.detail


# Clients with a library

PART = CHUNKED + chunk(stacks.START + stacks.delta() + stacks.delta())
ENDS: dict[str, Callable[[Records], bytes]] = {
    "close_notify": Records.goodbye,
    "garbage": lambda _: STRANGE["does not decrypt"],
    "an alert": Records.fatal_alert,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_library_has_the_outcome_of_the_wire_client(tls: ssl.SSLContext, end: Callable[[Records], bytes]) -> None:
    outcomes = set()
    for name in ("wire", *stacks.LIBRARIES):
        with scripted(recorded(tls, lambda records: records.of(PART), end)) as server:
            seen = stacks.observe(name, over_tls(server.url), verify=False)
        outcomes.add((seen.outcome, seen.detail, content(seen)))
    ((outcome, _, kept),) = outcomes
    assert outcome in {Outcome.TRUNCATED, Outcome.RESET}
    assert kept == 2


def test_a_library_cannot_be_told_that_a_cut_off_answer_is_whole(tls: ssl.SSLContext) -> None:
    outcomes = set()
    for name in ("wire", *stacks.LIBRARIES):
        with scripted(asked(PART), tls=tls) as server:
            seen = stacks.observe(name, server.url, verify=False)
        outcomes.add((seen.outcome, content(seen), "close_notify" in seen.detail))
    assert outcomes == {(Outcome.TRUNCATED, 2, True)}


# Kept connections


@pytest.mark.parametrize("goodbye", [Peer.fin, Peer.reset, lambda peer: peer.sock.unwrap()])
def test_a_question_whose_kept_connection_closes_without_an_answer_is_asked_again(
    tls: ssl.SSLContext, goodbye: Callable[[Peer], object]
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(BEGUN + chunk(DONE) + LAST)
        peer.request()
        goodbye(peer)

    with scripted(script, asked(BEGUN + chunk(DONE) + LAST), tls=tls) as server:
        person = client(server.url, verify=False)
        first, second = ask(person), ask(person)
        person.close()
    assert (first.outcome, second.outcome, second.detail) == (Outcome.COMPLETED, Outcome.COMPLETED, "")
    assert len(server.peers) == 2


@pytest.mark.parametrize(
    ("answer", "outcome"), [(b"no record of TLS", Outcome.RESET), (b"", Outcome.TRUNCATED)], ids=["garbage", "begun"]
)
def test_a_question_is_not_asked_again_when_something_has_come(
    tls: ssl.SSLContext, answer: bytes, outcome: Outcome
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(BEGUN + chunk(DONE) + LAST)
        peer.request()
        if answer:
            os.write(peer.sock.fileno(), answer)
        else:
            peer.send(b"HTTP/1.1 200")

    with scripted(script, tls=tls) as server:
        person = client(server.url, verify=False)
        first, second = ask(person), ask(person)
        person.close()
    assert (first.outcome, second.outcome) == (Outcome.COMPLETED, outcome)
    assert len(server.peers) == 1
