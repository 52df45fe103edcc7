"""What `doctor` makes of endpoints of which it is told nothing but the URL."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import pytest

from tests.support.diagnosed import diagnosed, named, says
from tests.support.hostile import LAST, Peer, Server, chunk, scripted
from tests.support.late import Late

result = Late("streamgauge.harness.doctor.result")

WORDS = [f"word{number} " for number in range(25)]
_TEXT = " ".join(WORDS)
ABSENT = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


class Answer(NamedTuple):
    kind: str
    pieces: list[bytes]
    method: bytes = b"POST"
    status: bytes = b"200 OK"
    headers: bytes = b""

    def send(self, peer: Peer) -> None:
        kind = f"content-type: {self.kind}\r\n".encode() if self.kind else b""
        framing = b"transfer-encoding: chunked\r\n" if self.pieces else b"content-length: 0\r\n"
        peer.send(b"HTTP/1.1 %b\r\ncache-control: no-cache\r\n%b%b%b\r\n" % (self.status, kind, self.headers, framing))
        for piece in self.pieces:
            peer.send(chunk(piece))
            time.sleep(0.003)
        if self.pieces:
            peer.send(LAST)


def sse(make: Callable[[str], Any]) -> list[bytes]:
    """An event with each word."""
    return [b"data: %b\n\n" % (made if isinstance(made := make(word), bytes) else json.dumps(made).encode())
            for word in WORDS]  # fmt: skip


def _delta(word: str) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": word}}]}


_grown = count(1)
_STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
_DONE = b"data: [DONE]\n\n"
_CHOICE = {"message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}
_DOCUMENT = json.dumps({"object": "chat.completion", "choices": [_CHOICE]}).encode()
OPENAI = Answer("text/event-stream", [*sse(_delta), _STOP, _DONE])
ENDPOINTS = {
    "/openai": OPENAI,
    "/own": Answer("text/event-stream", sse(lambda word: {"piece": word})),
    "/lines": Answer("application/x-ndjson", [json.dumps({"piece": word}).encode() + b"\n" for word in WORDS]),
    "/bare": Answer("text/event-stream", sse(str.encode)),
    "/text": Answer("text/plain; charset=utf-8", [word.encode() for word in WORDS]),
    "/events": Answer("text/event-stream", sse(str.encode), b"GET"),
    "/without-done": Answer("text/event-stream", [*sse(_delta), _STOP]),
    "/without-end": Answer("text/event-stream", sse(_delta)),
    "/moved": Answer("", [], status=b"307 Temporary Redirect", headers=b"location: /openai\r\n"),
    "/gone": Answer("", [], status=b"302 Found", headers=b"location: /openai\r\n"),
    "/document": Answer("application/json", [_DOCUMENT]),
    "/one-event": Answer("text/event-stream", [b"data: %b\n\n" % json.dumps(_delta(_TEXT)).encode(), _STOP, _DONE]),
    "/page": Answer("text/html", [b"<!doctype html><title>Log in</title>"]),
    "/other-document": Answer("application/json", [b'{"status": "fine"}']),
    "/nothing": Answer("text/event-stream", []),
    "/comments": Answer("text/event-stream", [b": still here\n\n"] * 5),
    "/no-blank-lines": Answer("text/event-stream", [event[:-1] for event in OPENAI.pieces]),
    "/limited": Answer("", [], status=b"429 Too Many Requests", headers=b"retry-after: 7\r\n"),
    "/repeats": Answer("text/event-stream", [*(sse(lambda _: _delta("".join(WORDS[: next(_grown)])))), _STOP, _DONE]),
    "/socket": Answer("", [], status=b"426 Upgrade Required", headers=b"upgrade: websocket\r\n"),
}
# Exit code, protocol, the checks that fail, those that warn, and the beginning of the sentence.
_END = "It streams, with 1 warning: only the end of the HTTP message tells the end of 2 answers"
EXPECTED: dict[str, tuple[int, str, list[str], list[str], str]] = {
    "/own": (0, "custom", [], ["end"], _END),
    "/lines": (0, "custom", [], ["end"], _END),
    "/bare": (0, "custom", [], ["end"], _END),
    "/text": (0, "custom", [], ["end"], _END),
    "/events": (0, "custom", [], ["end"], _END),
    "/without-done": (0, "openai_chat", [], ["end", "usage"], "It streams, with 2 warnings: only the stop reason"),
    "/without-end": (1, "openai_chat", ["end"], [], "The answer has no terminal event"),
    "/moved": (0, "openai_chat", [], ["redirect", "usage"], "It streams, with 2 warnings: HTTP 307 to /openai"),
    "/gone": (1, "openai_chat", ["redirect"], ["usage"], "A redirect (302) drops the question"),
    "/document": (1, "openai_chat", ["streaming"], [], "The server does not stream: its whole answer is one JSON"),
    "/one-event": (0, "openai_chat", [], ["streaming", "usage"], "The server may send its whole answer as one event"),
    "/page": (3, "openai_chat", [], [], "Could not look: HTTP 200 with a web page, and not an answer: <!doctype"),
    "/other-document": (3, "openai_chat", [], [], "Could not tell whether it streams: one JSON document came"),
    "/nothing": (1, "openai_chat", ["end"], [], "The server says yes and sends nothing"),
    "/comments": (1, "openai_chat", ["end"], [], "Only signs of life come, and no answer"),
    "/no-blank-lines": (1, "openai_chat", ["sse"], [], "The events are not as the standard has them"),
    "/repeats": (1, "openai_chat", ["chunks"], ["usage"], "Each chunk repeats all the text before it"),
    "/limited": (3, "openai_chat", [], [], "Could not look: HTTP 429: no words"),
    "/socket": (3, "openai_chat", [], [], "Could not look: HTTP 426: no words"),
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    def script(peer: Peer) -> None:
        while request := peer.request():
            method, target = request.split(b" ")[:2]
            found = ENDPOINTS.get(target.split(b"?")[0].decode())
            if found is None or found.method != method:
                peer.send(ABSENT)
            else:
                found.send(peer)

    with scripted(script) as running:
        yield running


@pytest.mark.parametrize("path", EXPECTED)
def test_an_endpoint_that_nobody_described_is_looked_at_as_what_it_is(server: Server, path: str) -> None:
    found = diagnosed(f"{server.url}{path}", protocol=None, experiments=("ordinary",))
    told = found.exit_code, found.evidence.protocol, named(found, result.Status.FAIL), named(found, result.Status.WARN)
    assert (told, found.sentence[: len(EXPECTED[path][-1])]) == (EXPECTED[path][:-1], EXPECTED[path][-1])


def test_what_was_found_by_a_question_is_shown_as_lines_of_the_config(server: Server) -> None:
    found = diagnosed(f"{server.url}/lines", protocol=None, experiments=("ordinary",))
    assert found.evidence.advice[-1].lines == (
        '[target]\nprotocol = "custom"\npath = "/lines"\nend = "close"\n\n'
        '[target.events]\nframing = "ndjson"\ntext = "piece"\n'
    )
    assert says(found, "streaming").startswith("25 content events in ")
