"""The clients `httpx` and `anthropic`: the wire client's records, and when the library gave each chunk on."""

import gc
import gzip
import json
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gevent
import numpy as np
import pytest

from streamgauge.harness.config import Target
from streamgauge.harness.drive import clients, network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients import Client, Interrupted, Question, Site
from streamgauge.harness.drive.wire.exchange import kernel_stamps
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.judge.measure.metrics import gauge
from streamgauge.harness.judge.store import Store
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Chunk, Kind
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.hostile import (
    CHUNKED,
    HEAD,
    IDENTITY,
    LAST,
    UNTIL_CLOSED,
    Peer,
    Script,
    asked,
    certificate,
    chunk,
    content,
    held,
    scripted,
    target,
)
from tests.support.record import MS, a_run, database, observation

LIBRARIES = ["httpx", "anthropic"]
ALL = ["wire", *LIBRARIES]


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


def delta(kind: str = "text_delta", **fields: Any) -> bytes:
    return event("content_block_delta", index=0, delta={"type": kind, **(fields or {"text": "word "})})


MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [],
    "model": "m",
    "stop_reason": None,
}
START = event("message_start", message={**MESSAGE, "usage": {"input_tokens": 7, "output_tokens": 1}})
START += event("content_block_start", index=0, content_block={"type": "text", "text": ""})
PING = event("ping")
END = event("content_block_stop", index=0)
END += event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
END += event("message_stop")
GOOD = START + delta() + PING + delta() + delta() + END
WHOLE = CHUNKED + chunk(GOOD) + LAST
BUSY = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
SHORT = {"idle": "200ms"}
GONE = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"


def refusal(status: bytes, body: bytes, kind: bytes = b"application/json") -> bytes:
    return GONE % (status, kind, len(body), body)


def person(name: str, url: str, *, fresh: bool = False, clock: RunClock | None = None, **settings: Any) -> Client:
    wanted = target(**{"protocol": "anthropic_messages", **settings})
    site = Site.of(url, wanted, clock or RunClock.starting_at(time.time_ns()))
    return clients.find(name)(site, fresh=fresh)


def ask(who: Client, plan: Plan | None = None, link: str = "direct") -> StreamObservation:
    road = network.Link(network.find(link), 1)
    question = Question(prompts.ask("Hello?"), plan or Plan(), road, time.monotonic_ns(), IDENTITY)
    return who.stream(question).observation


def observe(name: str, url: str, plan: Plan | None = None, **settings: Any) -> StreamObservation:
    who = person(name, url, **settings)
    try:
        return ask(who, plan)
    finally:
        who.close()


def reset_after_two(peer: Peer) -> None:
    peer.request()
    peer.send(CHUNKED, chunk(START + delta() + delta()))
    time.sleep(0.1)  # a reset makes the client's kernel forget what was not read yet: let it be read
    peer.reset()


# A server's behaviour → what becomes of the stream, and how much content is kept. The same for every client.

BEHAVIOURS: dict[str, tuple[Script, Outcome, int]] = {
    "good": (asked(WHOLE), Outcome.COMPLETED, 3),
    "byte by byte": (
        asked(CHUNKED, *(chunk(GOOD[at : at + 1]) for at in range(len(GOOD))), LAST),
        Outcome.COMPLETED,
        3,
    ),
    "until closed": (asked(UNTIL_CLOSED, GOOD), Outcome.COMPLETED, 3),
    "open after its end": (held(CHUNKED, chunk(GOOD)), Outcome.COMPLETED, 3),
    "no last chunk": (asked(CHUNKED, chunk(GOOD)), Outcome.COMPLETED, 3),
    "interim answer": (asked(b"HTTP/1.1 103 Early Hints\r\n\r\n" + WHOLE), Outcome.COMPLETED, 3),
    "401": (asked(refusal(b"401 Sorry", b'{"error": {"message": "who?"}}')), Outcome.REFUSED, 0),
    "429": (asked(refusal(b"429 Slow Down", b'{"error": {"message": "later"}}')), Outcome.REFUSED, 0),
    "529": (asked(refusal(b"529 Overloaded", b"<html>busy</html>", b"text/html")), Outcome.REFUSED, 0),
    "redirect": (asked(b"HTTP/1.1 307 There\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n"), Outcome.REFUSED, 0),
    "page": (asked(refusal(b"200 OK", b"<html>hello</html>", b"text/html")), Outcome.MALFORMED, 0),
    "cut": (asked(CHUNKED, chunk(START + delta() + delta())), Outcome.TRUNCATED, 2),
    "cut in an event": (asked(UNTIL_CLOSED, START + delta() + delta()[:-9]), Outcome.TRUNCATED, 1),
    "no terminal event": (asked(CHUNKED + chunk(START + delta()) + LAST), Outcome.TRUNCATED, 1),
    "no answer": (Peer.request, Outcome.RESET, 0),
    "reset": (reset_after_two, Outcome.RESET, 2),
    "silent": (held(), Outcome.TIMED_OUT, 0),
    "silent after two": (held(CHUNKED, chunk(START + delta() + delta())), Outcome.TIMED_OUT, 2),
    "in-band error": (asked(CHUNKED + chunk(START + delta() + BUSY) + LAST), Outcome.SERVER_ERROR, 1),
    "in-band error, and then silent": (held(CHUNKED + chunk(START + delta() + BUSY)), Outcome.SERVER_ERROR, 1),
    "not JSON": (asked(CHUNKED + chunk(START + delta() + b"data: {no\n\n" + END) + LAST), Outcome.MALFORMED, 1),
    "not HTTP": (asked(b"what?\r\n\r\n"), Outcome.MALFORMED, 0),
    "compressed": (asked(HEAD + b"content-encoding: gzip\r\n\r\n" + gzip.compress(GOOD)), Outcome.MALFORMED, 0),
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("name", ALL)
def test_a_server_does_to_every_client_the_same(name: str, behaviour: str) -> None:
    script, outcome, kept = BEHAVIOURS[behaviour]
    with scripted(script) as server:
        seen = observe(name, server.url, timeouts=SHORT)
        wire = observe("wire", server.url, timeouts=SHORT)
        assert len(server.peers) == 2, "it was asked once by each"
    assert (seen.outcome, content(seen)) == (outcome, kept)
    assert (seen.detail, seen.http_status, seen.stop_reason) == (wire.detail, wire.http_status, wire.stop_reason)
    assert (seen.body_bytes, seen.output_tokens) == (wire.body_bytes, wire.output_tokens)
    assert [each.kind for each in seen.chunks] == [each.kind for each in wire.chunks]


@pytest.mark.parametrize("name", ALL)
def test_an_answer_past_the_limit_is_malformed(name: str) -> None:
    with scripted(held(CHUNKED, chunk(START + delta()), chunk(b": more\n" * 10_000))) as server:
        seen = observe(name, server.url, limits={"stream_bytes": 50_000})
    assert (seen.outcome, content(seen)) == (Outcome.MALFORMED, 1)
    assert seen.detail == "the answer passed 50,000 bytes"


@pytest.mark.parametrize("name", ALL)
def test_a_refused_connection_is_unreachable(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    seen = observe(name, f"http://127.0.0.1:{port}")
    assert (seen.outcome, seen.sent_at) == (Outcome.UNREACHABLE, None)
    assert seen.detail == f"cannot connect to 127.0.0.1:{port}: ECONNREFUSED (Connection refused)"


# Leaving

WAYS = [(False, "fin"), (True, "reset")]


@pytest.mark.parametrize(("abort", "goodbye"), WAYS)
@pytest.mark.parametrize("name", ALL)
def test_a_person_leaves_when_they_would_whatever_the_client(name: str, abort: bool, goodbye: str) -> None:
    with scripted(held(CHUNKED, chunk(START + delta() + delta()))) as server:
        seen = observe(name, server.url, Plan(leave_after=100_000_000, abort=abort))
        assert server.result() == goodbye
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.CANCELLED, 2, "left after 0.1 s, as planned")


@pytest.mark.parametrize(("abort", "goodbye"), WAYS)
@pytest.mark.parametrize("name", ALL)
def test_a_person_who_leaves_after_some_chunks_leaves_at_that_chunk(name: str, abort: bool, goodbye: str) -> None:
    with scripted(held(CHUNKED + chunk(START + delta() + PING + delta() + delta()))) as server:
        seen = observe(name, server.url, Plan(leave_after_chunks=3, abort=abort))
        assert server.result() == goodbye
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.CANCELLED, 3, "left after 3 chunks, as planned")
    if name in LIBRARIES:
        assert all(each.handed_at is not None for each in seen.chunks if each.kind in CONTENT)


@pytest.mark.parametrize("name", ALL)
def test_a_person_who_leaves_while_connecting_over_a_slow_link_has_left(name: str) -> None:
    with scripted(asked(WHOLE)) as server:
        who = person(name, server.url)
        seen = ask(who, Plan(leave_after=50_000_000), "slow_4g")
        who.close()
    assert (seen.outcome, seen.connected_at, seen.sent_at) == (Outcome.CANCELLED, None, None)


@pytest.mark.parametrize("name", ALL)
def test_a_killed_greenlet_raises_with_the_record_of_what_came(name: str) -> None:
    came = threading.Event()

    def script(peer: Peer) -> str:
        peer.request()
        peer.send(CHUNKED, chunk(START + delta() + delta()))
        came.set()
        return peer.until_gone()

    with scripted(script) as server:
        who = person(name, server.url)
        caught: list[StreamObservation] = []

        def stream() -> None:
            try:
                ask(who)
            except Interrupted as end:
                caught.append(end.seen)

        running = gevent.spawn(stream)
        while not came.is_set():
            gevent.sleep(0.001)
        gevent.sleep(0.05)  # for the client to read it: the bytes are in its kernel
        running.kill()
        assert server.result() == "fin"
        who.close()
    assert [(seen.outcome, content(seen)) for seen in caught] == [(Outcome.INTERRUPTED, 2)]


@pytest.mark.parametrize("name", ALL)
def test_a_timeout_of_the_scenarios_own_passes_through_and_leaves_no_socket(name: str) -> None:
    with scripted(held(CHUNKED, chunk(START + delta()))) as server:
        who = person(name, server.url)
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
            ask(who)
        assert server.result() == "fin"
        who.close()


# What the library gave on


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_content_chunk_has_the_moment_at_which_the_library_gave_it_on(name: str) -> None:
    kinds = [
        delta(),
        delta("thinking_delta", thinking="hm"),
        delta("input_json_delta", partial_json="{"),
        delta(text=""),
    ]
    pieces = [START, *kinds, PING, delta(), END]
    with scripted(asked(CHUNKED, *map(chunk, pieces), LAST)) as server:
        seen = observe(name, server.url)
    handed = [each.handed_at for each in seen.chunks if each.kind in CONTENT]
    known = [moment for moment in handed if moment is not None]
    assert (seen.outcome, len(known), len(handed)) == (Outcome.COMPLETED, 4, 4)
    assert known == sorted(known)
    assert all(each.handed_at is None for each in seen.chunks if each.kind not in CONTENT)
    assert all(each.handed_at >= each.perceived_at for each in seen.chunks if each.handed_at is not None)


def test_the_wire_client_has_no_library_that_could_give_anything_on() -> None:
    with scripted(asked(WHOLE)) as server:
        assert {each.handed_at for each in observe("wire", server.url).chunks} == {None}


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_comes_while_the_application_is_busy_is_given_on_late_and_arrived_in_time(name: str) -> None:
    """The overhead is what the application saw later than the wire, whatever the reason."""
    clock = RunClock.starting_at(time.time_ns())
    ready, sent = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(START))
        assert ready.wait(10)
        peer.send(chunk(delta()))
        time.sleep(0.05)
        sent.set()
        time.sleep(0.05)  # for the client to read it: one read of two segments has the stamp of the second
        peer.send(chunk(END), LAST)

    def busy() -> None:
        gevent.sleep(0.1)
        ready.set()
        sent.wait(10)  # not gevent's: the loop stands still

    with scripted(script) as server:
        who = person(name, server.url, clock=clock)
        other = gevent.spawn(busy)
        seen = ask(who)
        other.get()
        who.close()
    (first,) = [each for each in seen.chunks if each.kind in CONTENT]
    assert first.handed_at is not None
    if kernel_stamps():
        assert first.handed_at - first.at > 45_000_000


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_slow_link_makes_the_person_late_and_the_library_no_slower(name: str) -> None:
    with scripted(asked(WHOLE)) as server:
        who = person(name, server.url)
        seen = ask(who, link="slow_4g")
        who.close()
    lags = [each.handed_at - each.perceived_at for each in seen.chunks if each.handed_at is not None]
    assert seen.outcome is Outcome.COMPLETED
    assert all(each.perceived_at - each.at > 75_000_000 for each in seen.chunks)
    assert 0 <= statistics.median(lags) < 75_000_000  # half the link's round trip: it is not among them


def test_events_that_the_sdk_passes_over_are_not_a_completed_stream() -> None:
    """The SDK goes by the events' names; a gateway that leaves them out gives its users nothing."""
    nameless = b"".join(line + b"\n" for line in GOOD.splitlines() if not line.startswith(b"event:"))
    with scripted(asked(CHUNKED + chunk(nameless) + LAST)) as server:
        assert observe("wire", server.url).outcome is Outcome.COMPLETED
        seen = observe("anthropic", server.url)
    assert (seen.outcome, content(seen)) == (Outcome.MALFORMED, 3)
    assert seen.detail == "the client library gave on 0 of the 3 content chunks that came"


def test_an_answer_that_only_the_library_refuses_is_malformed_in_the_librarys_words() -> None:
    with scripted(held(CHUNKED.replace(b"\r\n\r\n", b"\r\nx: " + b"y" * 110_000))) as server:
        seen = observe("httpx", server.url)
    assert (seen.outcome, content(seen)) == (Outcome.MALFORMED, 0)
    assert seen.detail.startswith("httpx gave up: RemoteProtocolError: ")


def test_a_library_that_quotes_a_secret_does_not_bring_it_into_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sk-very-secret-key")
    body = b'{"type": "error", "error": {"message": "bad key sk-very-secret-key"}}'
    with scripted(asked(refusal(b"401 Sorry", body))) as server:
        for name in ALL:
            seen = observe(name, server.url, headers={"x-api-key": "${KEY}"})
            assert (seen.outcome, "sk-very" in seen.detail) == (Outcome.REFUSED, False)


# What is asked


def requests_of(name: str, **settings: Any) -> list[bytes]:
    requests = []

    def script(peer: Peer) -> None:
        requests.append(peer.request())
        peer.send(WHOLE)

    with scripted(script) as server:
        observe(name, f"{server.url}/base", **settings)
        server.result()
    return [request.replace(str(server.port).encode(), b"PORT") for request in requests]


def fields(request: bytes) -> dict[str, str]:
    _, *lines = request.partition(b"\r\n\r\n")[0].decode().splitlines()
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_client_asks_the_same_at_the_same_place(name: str) -> None:
    (wire,), (library,) = requests_of("wire"), requests_of(name)
    assert library.startswith(b"POST /base/v1/messages HTTP/1.1\r\n")
    asked_by_wire, asked_by_library = (json.loads(each.partition(b"\r\n\r\n")[2]) for each in (wire, library))
    assert asked_by_library == asked_by_wire
    assert fields(library)["accept-encoding"] == "identity"


def test_httpx_sends_the_wire_clients_headers() -> None:
    (wire,), (library,) = requests_of("wire"), requests_of("httpx")
    assert fields(library) == {**fields(wire), "connection": "keep-alive"}


def test_the_sdk_sends_the_targets_key_and_none_that_it_finds_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from-the-environment")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("KEY", "from-the-target")
    (none,) = requests_of("anthropic")
    assert {"x-api-key", "authorization"}.isdisjoint(fields(none))
    (key,) = requests_of("anthropic", headers={"X-Api-Key": "${KEY}"})
    assert (fields(key)["x-api-key"], "authorization" in fields(key)) == ("from-the-target", False)
    (bearer,) = requests_of("anthropic", headers={"Authorization": "Bearer ${KEY}"})
    assert (fields(bearer)["authorization"], "x-api-key" in fields(bearer)) == ("Bearer from-the-target", False)
    assert b"from-the-environment" not in none + key + bearer


def test_the_sdk_cannot_ask_another_protocol_or_place() -> None:
    sdk = clients.find("anthropic")
    with pytest.raises(ScenarioError) as fault:
        sdk.check(Target(protocol="openai_chat"))
    assert str(fault.value) == "the client 'anthropic' speaks only anthropic_messages; the target is openai_chat"
    with pytest.raises(ScenarioError) as fault:
        sdk.check(Target(path="/ask"))
    assert str(fault.value) == "the client 'anthropic' asks at …/v1/messages; target.path is '/ask'"
    sdk.check(Target(path="/gateway/v1/messages"))
    for name in ("wire", "httpx"):
        clients.find(name).check(Target(protocol="openai_chat", path="/ask"))


def test_the_docs_list_the_clients_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/clients.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(clients.CLIENTS)


def test_httpx_speaks_every_protocol() -> None:
    with scripted(asked(CHUNKED + chunk(b"data: one\n\ndata: two\n\ndata: [DONE]\n\n") + LAST)) as server:
        seen = observe("httpx", server.url, protocol="plain_sse")
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 2)


def test_a_library_is_imported_only_for_a_client_that_uses_it() -> None:
    imports = "import sys, streamgauge.harness.drive.clients"
    program = f"{imports}; print(sorted({{'anthropic', 'httpx', 'httpx2'}} & set(sys.modules)))"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip() == "[]"


# Connections


def serve(peer: Peer) -> None:
    """The script that answers until the client goes."""
    while peer.request():
        peer.send(WHOLE)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_second_stream_goes_over_the_first_ones_connection(name: str) -> None:
    with scripted(serve) as server:
        who = person(name, server.url)
        first, second = ask(who), ask(who)
        who.close()
        assert len(server.peers) == 1
    assert first.connected_at is not None
    assert (second.outcome, second.connected_at) == (Outcome.COMPLETED, None)
    assert second.sent_at is not None


@pytest.mark.parametrize("name", LIBRARIES)
def test_fresh_connections_are_fresh(name: str) -> None:
    with scripted(serve) as server:
        who = person(name, server.url, fresh=True)
        seen = [ask(who) for _ in range(3)]
        who.close()
        assert len(server.peers) == 3
    assert all(each.connected_at is not None for each in seen)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_server_that_hangs_up_while_the_next_request_is_on_its_way_costs_a_connection_and_no_error(name: str) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(WHOLE)
        peer.request()  # the connection looked idle and good when this was sent

    with scripted(script, serve) as server:
        who = person(name, server.url)
        ask(who)
        seen = ask(who)
        who.close()
        assert len(server.peers) == 2
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with")
@pytest.mark.parametrize("name", LIBRARIES)
def test_over_tls_the_stamps_are_the_sockets_too(name: str, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))
    with scripted(serve, tls=context) as server:
        who = person(name, server.url, verify=False)
        seen = [ask(who), ask(who)]
        who.close()
        assert len(server.peers) == 1
        strict = observe(name, server.url)
    assert [each.outcome for each in seen] == [Outcome.COMPLETED] * 2
    assert seen[0].secured_at is not None
    assert (seen[0].unstamped_reads, content(seen[0])) == (0 if kernel_stamps() else seen[0].reads, 3)
    assert strict.outcome is Outcome.UNREACHABLE
    assert strict.detail.startswith("TLS: the certificate does not verify")


@pytest.mark.parametrize("name", LIBRARIES)
def test_no_stream_leaves_a_reference_cycle_of_ours_whatever_its_end(name: str) -> None:
    """The collector is off during a run: what it would have to find would stay."""
    scripts = [script for script, _, _ in BEHAVIOURS.values()]
    plans = [Plan(), Plan(leave_after=10_000_000), Plan(leave_after_chunks=1, abort=True)]
    with scripted(*scripts * (len(plans) + 1)) as server:
        who = person(name, server.url, fresh=True, timeouts={"idle": "20ms"}, limits={"stream_bytes": 5_000})
        for _ in scripts:  # what is made once is made now
            ask(who)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for plan in plans:
                for _ in scripts:
                    ask(who, plan)
            gc.collect()
            left = {type(each).__name__ for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        who.close()
    assert not left & {"Broken", "_Tapped", "_Lent", "Connection", "Transcript", "frame", "traceback"}, left


# What is made of it


def given_on(lags: list[float | None], outcome: Outcome = Outcome.COMPLETED) -> StreamObservation:
    """A stream with a ping and then a chunk every 20 ms, each given on so many ms after it came; None: it was not."""
    chunks = [Chunk(0, Kind.PING, 0, 9, 0)]
    for place, lag in enumerate(lags, 1):
        at = place * 20 * MS
        chunks.append(Chunk(at, Kind.TEXT, 4, 90, at, None if lag is None else at + round(lag * MS)))
    return observation([("text", 20)], arrivals=arrivals.encode(chunks), outcome=outcome)


def test_the_client_overhead_is_of_every_content_chunk_that_was_given_on(tmp_path: Path) -> None:
    streams = [
        given_on([0.25, 0.5]),
        given_on([1, None], Outcome.CANCELLED),
        given_on([2, None], Outcome.RESET),
        given_on([None]),
    ]
    with Store.open(database(tmp_path / "one.db", streams)) as store:
        found = gauge(store.streams(a_run().id)).samples("client_overhead")
    assert np.repeat(found.values, found.counts).tolist() == [0.25, 0.5, 1, 2]
    assert np.repeat(*found.gated()).tolist() == [0.25, 0.5, 1, 2]
    assert found.missing == 1
