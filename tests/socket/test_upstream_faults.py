"""The reference server in front of an upstream whose answers the test scripts."""

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
import pytest

from tests.support import patient
from tests.support.command import PATIENCE, free_port
from tests.support.reference import events, refused, wait_for
from tests.support.upstream import KEY, LONG, QUESTION, in_front_of

# Errors of the upstream


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def block(index: int, started: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        event("content_block_start", index=index, content_block=started),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


USAGE = {"input_tokens": 3, "output_tokens": 1}
START = event(
    "message_start",
    message={"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": USAGE},
)
TEXT = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"})
STOP = event("message_stop")


def end(stop_reason: str) -> dict[str, Any]:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return event("message_delta", delta=delta, usage={"output_tokens": 9})


SCRIPTS: dict[str, list[dict[str, Any]]] = {
    "refuses": [START, *TEXT, end("refusal"), STOP],
    "breaks off": [START, *TEXT],
    "overloaded": [START, *TEXT[:2], event("error", error={"type": "overloaded_error", "message": "Overloaded"})],
    "thinks in secret": [
        START,
        *block(
            0, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "signature_delta", "signature": "S1"}
        ),
        *block(1, {"type": "redacted_thinking", "data": "S2"}),
        *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"}),
        end("end_turn"),
        STOP,
    ],
    "says half a character": [
        START,
        *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a\ud83db"}),
        end("end_turn"),
        STOP,
    ],
    "calls what takes nothing": [
        START,
        *block(
            0,
            {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
        ),
        end("tool_use"),
        STOP,
    ],
}


class Scripted(http.server.BaseHTTPRequestHandler):
    """An upstream that behaves as the name of the question's model says."""

    left = threading.Event()  # set when the client of an answer that never begins has left
    asked: ClassVar[dict[str, Any]] = {}  # the latest question
    asked_with: ClassVar[dict[str, str]] = {}  # its headers

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).asked, type(self).asked_with = body, {k.lower(): v for k, v in self.headers.items()}
        model: str = body["model"]
        if model.isdigit():
            return self._refuse(int(model))
        if model == "silent":
            self.rfile.read(1)  # until the client leaves
            return None
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        if model == "never begins":
            with contextlib.suppress(OSError):
                self._comment_until_left()
            self.left.set()
            return None
        for each in SCRIPTS[model]:
            self.wfile.write(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode())
        return None

    def _comment_until_left(self) -> None:
        self.connection.settimeout(0.05)
        while True:
            self.wfile.write(b": not yet\n\n")
            with contextlib.suppress(TimeoutError):
                if not self.connection.recv(1):
                    return

    def _refuse(self, status: int) -> None:
        said = f"told you, {self.headers['authorization']}" if status == 401 else "told you"
        document = json.dumps({"type": "error", "error": {"type": "some_error", "message": said}}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(document)))
        self.send_header("retry-after", "7")
        self.end_headers()
        self.wfile.write(document)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The URL of `Scripted`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def scripted(upstream: str) -> Iterator[httpx.Client]:
    """A client of a server in front of it."""
    with (
        in_front_of(upstream) as server,
        patient.Client(base_url=server.url, headers={"x-api-key": "theirs"}) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("status", "path", "told", "kind"),
    [
        (400, "/v1/messages", 400, "invalid_request_error"),
        (404, "/v1/messages", 404, "not_found_error"),
        (413, "/v1/chat/completions", 413, "invalid_request_error"),
        (429, "/v1/messages", 429, "rate_limit_error"),
        (429, "/v1/chat/completions", 429, "rate_limit_error"),
        (500, "/v1/messages", 500, "api_error"),
        (529, "/v1/messages", 529, "overloaded_error"),
        (529, "/v1/chat/completions", 503, "server_error"),
    ],
)
def test_a_refusal_of_the_upstream_is_passed_on_in_the_dialects_form(
    scripted: httpx.Client, status: int, path: str, told: int, kind: str
) -> None:
    refused = scripted.post(path, json=LONG | {"model": str(status)})
    assert refused.status_code == told
    assert refused.headers["retry-after"] == "7"
    assert refused.json()["error"]["type"] == kind
    assert refused.json()["error"]["message"] == "told you"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_server_key_is_a_bad_gateway_for_the_client(scripted: httpx.Client, status: int) -> None:
    refused = scripted.post("/v1/messages", json=LONG | {"model": str(status)})
    assert refused.status_code == 502
    assert "this server's own key" in refused.json()["error"]["message"]
    assert KEY not in refused.text + str(refused.headers)


def test_the_upstream_gets_the_servers_key_and_all_that_the_client_sent(scripted: httpx.Client) -> None:
    sent = LONG | {"model": "refuses", "top_k": 5, "metadata": {"user_id": "u"}}
    scripted.post("/v1/messages", json=sent, headers={"anthropic-beta": "b", "authorization": "Bearer theirs"})
    assert Scripted.asked == sent
    assert Scripted.asked_with["authorization"] == f"Bearer {KEY}"
    assert Scripted.asked_with["anthropic-beta"] == "b"
    assert "theirs" not in str(Scripted.asked_with)


def test_an_error_event_of_the_upstream_becomes_an_error_event(scripted: httpx.Client) -> None:
    seen = events(scripted.post("/v1/messages", json=LONG | {"model": "overloaded"}).text)
    assert seen[-2][0] == "content_block_delta"
    assert seen[-1][0] == "error"
    assert json.loads(seen[-1][1])["error"] == {"type": "overloaded_error", "message": "Overloaded"}


def test_an_answer_that_the_upstream_does_not_finish_ends_with_an_error(scripted: httpx.Client) -> None:
    seen = events(scripted.post("/v1/messages", json=LONG | {"model": "breaks off"}).text)
    assert (seen[-1][0], "ended in the middle" in seen[-1][1]) == ("error", True)
    whole = scripted.post("/v1/messages", json=LONG | {"model": "breaks off", "stream": False})
    assert whole.status_code == 502


def test_an_upstream_that_is_silent_is_given_up(upstream: str) -> None:
    with in_front_of(upstream, "--upstream-silence", "300ms") as server:
        refused = patient.post(f"{server.url}/v1/messages", json=LONG | {"model": "silent"})
    assert refused.status_code == 504
    assert refused.json()["error"] == {"type": "timeout_error", "message": "the upstream was silent for too long"}


def test_an_upstream_that_does_not_begin_in_time_is_given_up(scripted: httpx.Client) -> None:
    Scripted.left.clear()
    asked = LONG | {"model": "never begins"}
    refused = scripted.post("/v1/messages", json=asked, headers={"x-gauge-deadline": "100ms"})
    assert refused.status_code == 504
    assert Scripted.left.wait(PATIENCE)


def test_a_client_that_leaves_before_the_upstream_has_begun_ends_the_call(scripted: httpx.Client) -> None:
    host, port = str(scripted.base_url).removeprefix("http://").rstrip("/").split(":")
    body = json.dumps(LONG | {"model": "never begins"})
    Scripted.left.clear()
    Scripted.asked = {}
    with socket.create_connection((host, int(port))) as reader:
        reader.sendall(
            f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        wait_for(lambda: Scripted.asked.get("model") == "never begins")
    assert Scripted.left.wait(PATIENCE)
    wait_for(lambda: scripted.get("/healthz").json()["active"] == 0)


def test_an_upstream_that_cannot_be_reached_is_a_bad_gateway() -> None:
    port = free_port()
    with in_front_of(f"http://127.0.0.1:{port}") as server:
        refused = patient.post(f"{server.url}/v1/messages", json=LONG)
        assert refused.status_code == 502
        assert refused.json()["error"]["message"].startswith("the upstream cannot be reached")
        unnamed = patient.post(f"{server.url}/chat/stream", json={"messages": QUESTION["messages"]})
        assert unnamed.status_code == 400
        assert "--upstream-model" in unnamed.json()["error"]["message"]


# What only a real model sends


def test_a_redacted_thought_is_passed_on_unchanged(scripted: httpx.Client) -> None:
    secret = [{"type": "thinking", "thinking": "", "signature": "S1"}, {"type": "redacted_thinking", "data": "S2"}]
    asked = LONG | {"model": "thinks in secret"}
    whole = scripted.post("/v1/messages", json=asked | {"stream": False}).json()
    assert whole["content"] == [*secret, {"type": "text", "text": "Hello"}]
    seen = [json.loads(data) for _, data in events(scripted.post("/v1/messages", json=asked).text)]
    kinds = [each["content_block"]["type"] for each in seen if each["type"] == "content_block_start"]
    assert kinds == ["thinking", "redacted_thinking", "text"]
    assert {"type": "signature_delta", "signature": "S1"} in [each.get("delta") for each in seen]
    answer = scripted.post("/v1/chat/completions", json=asked | {"stream": False}).json()
    assert answer["choices"][0]["message"]["content"] == "Hello"


def test_half_a_character_of_the_upstream_is_replaced(scripted: httpx.Client) -> None:
    asked = LONG | {"model": "says half a character", "stream": False}
    assert scripted.post("/v1/messages", json=asked).json()["content"][0]["text"] == "a?b"


def test_a_refusal_to_answer_is_a_reason_to_stop_in_each_dialect(scripted: httpx.Client) -> None:
    asked = LONG | {"model": "refuses", "stream": False}
    assert scripted.post("/v1/messages", json=asked).json()["stop_reason"] == "refusal"
    assert scripted.post("/v1/chat/completions", json=asked).json()["choices"][0]["finish_reason"] == "content_filter"


def test_a_tool_without_input_can_be_called(scripted: httpx.Client) -> None:
    asked = LONG | {"model": "calls what takes nothing", "stream": False}
    (use,) = scripted.post("/v1/messages", json=asked).json()["content"]
    assert use == {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
    (call,) = scripted.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "now", "arguments": "{}"}


# The start of the server


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--upstream", "anthropic"], "set ANTHROPIC_API_KEY"),
        (["--upstream", "anthropic", "--ttft", "1s", "--itl", "1s"], "a real model answers; leave out --itl, --ttft"),
        (["--upstream", "anthropic", "--upstream-url", "ftp://a"], "write it as http://… or https://…"),
        (["--upstream-model", "m"], "--upstream-url and --upstream-model go with --upstream anthropic"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_contradicting_upstream_options_are_an_error_of_one_line(
    words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    ran = refused("--port", "0", *words)
    assert ran.returncode == 2
    assert expected in ran.stderr
    assert ran.stderr.count("\n") == 1
