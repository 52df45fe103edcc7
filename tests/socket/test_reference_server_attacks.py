"""Clients that send too slowly, too much or nothing, and pages that call the server by another name."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import psutil
import pytest

from streamgauge.reference_server.delivery import incoming
from streamgauge.reference_server.delivery.incoming import Incoming
from tests.support import patient
from tests.support.command import PATIENCE
from tests.support.reference import ReferenceServer, reference_server, wait_for

QUICK = ("--preset", "exact", "--ttft", "10ms", "--itl", "1ms", "--tokens", "20")
BODY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 100_000,
    "stream": True,
    "messages": [{"role": "user", "content": "?"}],
}
GET = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
ENDLESS = {"x-gauge-tokens": "100000", "x-gauge-itl": "10ms"}


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*QUICK, "--drain", "0s") as running:  # its answers of a minute
        yield running


def connected(server: ReferenceServer) -> socket.socket:
    url = httpx.URL(server.url)
    return socket.create_connection((url.host, url.port), timeout=PATIENCE)


def answer(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    try:
        while data := connection.recv(65_536):
            parts.append(data)
    except ConnectionResetError:  # it closed before it had read everything
        pass
    return b"".join(parts)


def sent(server: ReferenceServer, data: bytes) -> bytes:
    with connected(server) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return answer(connection)


def request(path: str = "/v1/messages", headers: dict[str, str] | None = None, body: object = BODY) -> bytes:
    content = json.dumps(body).encode()
    lines = [f"{name}: {value}\r\n" for name, value in {"host": "localhost", **(headers or {})}.items()]
    return f"POST {path} HTTP/1.1\r\n{''.join(lines)}content-length: {len(content)}\r\n\r\n".encode() + content


def memory(server: ReferenceServer) -> float:
    """MB"""
    return float(psutil.Process(server.process.pid).memory_info().rss / 1e6)


# The Host header


@pytest.mark.parametrize("host", ["LOCALHOST:80", "127.0.0.1:8080", "127.8.8.8", "[::1]:1", "proxy.example"])
def test_a_server_on_loopback_answers_to_its_names(host: str) -> None:
    with reference_server(*QUICK, "--allow-host", "Proxy.example") as server:
        assert patient.get(f"{server.url}/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "[", ""])
@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/v1/messages"])
def test_a_page_that_calls_the_server_by_another_name_gets_nothing(
    server: ReferenceServer, host: str, path: str
) -> None:
    for method in ("GET", "POST"):
        refused = patient.request(method, f"{server.url}{path}", headers={"host": host})
        assert refused.status_code == 421
        assert "--allow-host NAME adds a name" in refused.json()["error"]["message"]


def test_a_server_for_other_machines_answers_to_any_name() -> None:
    with reference_server(*QUICK, "--host", "0.0.0.0") as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert patient.get(f"{url}/healthz", headers={"host": "gauge.example"}).status_code == 200


# Requests that do not end


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (GET + b"x: " + b"a" * (1 << 20), b"431"),
        (GET + b"a: b\r\n" * 201 + b"\r\n", b"431"),
        (GET.replace(b"/healthz", b"/" + b"a" * (1 << 20)), b"431"),
        (b"\r\n" * (1 << 19), b"431"),
        (b"POST /nowhere HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nX\r\n", b"40"),
        (b"\x16\x03\x01\x02\x00" * 10, b"400"),
    ],
    ids=["a long header", "many headers", "a long path", "blank lines", "a bad chunk", "TLS"],
)
def test_a_request_that_is_too_large_or_is_none_is_refused(server: ReferenceServer, head: bytes, status: bytes) -> None:
    got = sent(server, head)
    assert got.startswith(b"HTTP/1.1 " + status) or got == b"", "a reset can overtake the refusal"
    assert server.active() == 0


def test_a_body_without_an_end_is_cut_off_wherever_it_goes(server: ReferenceServer) -> None:
    before = memory(server)
    head = b"POST /nowhere HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    with connected(server) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.sendall(head + chunk * 1_000)  # 65 MB
    assert memory(server) - before < 30


def test_requests_behind_a_slow_answer_are_few(server: ReferenceServer) -> None:
    before = memory(server)
    for _ in range(20):
        sent(server, request(headers={"x-gauge-ttft": "60s"}) + (GET + b"\r\n") * 5_000)
    assert memory(server) - before < 50
    assert sent(server, (GET + b"\r\n") * 3 + GET + b"connection: close\r\n\r\n").count(b'"status":"ok"') == 4


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with reference_server(*QUICK) as server:
        for path in ("/v1/messages", "/v1/chat/completions", "/chat/stream", "/v1/messages/count_tokens", "/none"):
            with connected(server) as connection:
                connection.sendall(f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{{".encode())
                server.active()  # a round trip: now the server waits for the rest
        server.active()
    assert capfd.readouterr().err == ""


# Connections


class Connection:
    """A connection as `Incoming` knows it."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def too_late(self, reason: str) -> None:
        self.reasons.append(reason)


def test_a_request_that_is_late_is_closed_and_one_that_arrived_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    all_incoming, late, arrived, kept = Incoming(10), Connection(), Connection(), Connection()
    for connection in (late, arrived, kept):
        all_incoming.expect(connection)
    all_incoming.arrived(arrived)
    now += incoming.SECONDS / 2
    all_incoming.expect(kept)  # its answer has ended: the next request may come
    now += incoming.SECONDS / 2 + 1
    all_incoming.close_late()
    assert (late.reasons, arrived.reasons, kept.reasons) == (["the request did not arrive within 75 s"], [], [])


def test_the_connection_that_has_waited_longest_makes_room() -> None:
    with reference_server(*QUICK, "--max-streams", "1") as server, ExitStack() as stack:
        stream = stack.enter_context(patient.stream("POST", f"{server.url}/v1/messages", json=BODY, headers=ENDLESS))
        chunks = stream.iter_bytes()
        next(chunks)
        idle = [stack.enter_context(connected(server)) for _ in range(1_100)]  # 1,001 are accepted
        assert answer(idle[0]).endswith(b"the server has too many connections, and this one waited longest\n")
        assert server.active() == 1, "new connections get in"
        next(chunks)
        idle[-1].sendall(GET + b"connection: close\r\n\r\n")
        assert b'"status":"ok"' in answer(idle[-1])


# Answers that nobody reads


def test_answers_of_many_tokens_that_nobody_reads_are_bounded_together() -> None:
    with reference_server(*QUICK, "--max-tokens", "500000") as server, ExitStack() as stack:
        before = memory(server)
        long = {"x-gauge-tokens": "100000", "x-gauge-itl": "0ms"}
        stalled = [stack.enter_context(connected(server)) for _ in range(50)]
        for number, connection in enumerate(stalled):
            if number % 2:
                connection.sendall(request(headers=long))
            else:
                connection.sendall(request(headers=long | {"x-gauge-ttft": "60s"}, body=BODY | {"stream": False}))
        wait_for(lambda: server.active() == 5)
        refused = answer_head(stalled[-1])
        assert refused.startswith(b"HTTP/1.1 529 ")
        assert b"at most 500000 are held at a time; try again" in refused
        assert memory(server) - before < 60
        assert patient.post(f"{server.url}/v1/messages", json=BODY, headers=long).status_code == 529
        for connection in stalled:
            connection.close()
        wait_for(lambda: server.active() == 0)
        again = patient.post(f"{server.url}/chat/stream", json=BODY, headers={"x-gauge-tokens": "9"})
        assert again.status_code == 200, "the room is free again"


def test_resumable_answers_are_bounded_together(server: ReferenceServer) -> None:
    headers = {"x-gauge-tokens": "20000", "x-gauge-resumable": "60s", "x-gauge-ttft": "60s"}
    with ExitStack() as stack:
        for _ in range(33):  # 8 MB each
            connection = stack.enter_context(connected(server))
            connection.sendall(request(headers=headers))
        wait_for(lambda: server.active() == 33)
        refused = patient.post(f"{server.url}/v1/messages", json=BODY, headers=headers)
        assert refused.status_code == 529
        assert "no room for one more resumable answer" in refused.text
        more = patient.post(f"{server.url}/v1/messages", json=BODY, headers={"x-gauge-resumable": "60s"})
        assert more.status_code == 200, "a short one has room"


def answer_head(connection: socket.socket) -> bytes:
    return connection.recv(65_536)


# Questions that are costly to answer


def test_a_question_with_many_stop_sequences_is_refused(server: ReferenceServer) -> None:
    stops = [f"zq{number}" for number in range(65)]
    for path, key in (("/v1/messages", "stop_sequences"), ("/chat/stream", "stop"), ("/v1/chat/completions", "stop")):
        refused = patient.post(f"{server.url}{path}", json=BODY | {key: stops})
        assert refused.status_code == 400
        assert key in refused.json()["error"]["message"]


def test_a_question_with_many_tools_is_refused(server: ReferenceServer) -> None:
    """The whole prompt is read for each, which stops all streams."""
    function = {"name": "t", "parameters": {}}
    chat = {"type": "function", "function": function}
    cases: list[tuple[str, list[Any]]] = [
        ("/v1/messages", [{"name": f"t{number}", "input_schema": {"type": "object"}} for number in range(129)]),
        ("/v1/chat/completions", [chat] * 129),
        ("/chat/stream", ["gauge_level"] * 129),
    ]
    for path, tools in cases:
        refused = patient.post(f"{server.url}{path}", json=BODY | {"tools": tools})
        assert refused.status_code == 400, path
        assert "tools: " in refused.json()["error"]["message"]
        taken = patient.post(f"{server.url}{path}", json=BODY | {"tools": tools[:128]})
        assert taken.status_code == 200, path
    refused = patient.post(f"{server.url}/api/chat", json={"model": "m", **BODY, "tools": [chat] * 129})
    assert refused.status_code == 400
    parts = [{"parts": [{"text": "Hi"}]}]
    declared = [{"functionDeclarations": [function] * 129}]
    refused = patient.post(
        f"{server.url}/v1beta/models/m:streamGenerateContent", json={"contents": parts, "tools": declared}
    )
    assert refused.status_code == 400


def test_a_question_with_many_unanswered_tool_calls_is_refused(server: ReferenceServer) -> None:
    """The calls are searched for each result."""
    calls = [{"function": {"name": f"t{number}", "arguments": {}}} for number in range(129)]
    results = [{"role": "tool", "tool_name": call["function"]["name"], "content": "x"} for call in reversed(calls)]

    def asked(number: int) -> int:
        said = {"role": "assistant", "content": "", "tool_calls": calls[:number]}
        messages = [*BODY["messages"], said, *results[-number:]]
        return patient.post(f"{server.url}/api/chat", json={"model": "m", "messages": messages}).status_code

    assert (asked(128), asked(129)) == (200, 400)
