"""`doctor` cancels answers by their ids: what it makes of servers that do it well, half, or not at all."""

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from gevent.pool import Pool

from streamgauge.harness.config.schema import Metrics, Target
from streamgauge.harness.doctor.cancelling import parsed
from tests.support.busy import first
from tests.support.command import PATIENCE, invoke, started, until
from tests.support.diagnosed import diagnosed, says, wrong
from tests.support.hostile import CHUNKED, DONE, LAST, Peer, chunk, scripted
from tests.support.reference import reference_server

TOKENS, EACH = 60, 0.02  # of an answer; s
LONG = ("--preset", "exact", "--ttft", "50ms", "--itl", "20ms", "--tokens", "400")
KEY, RESPONSES = "sk-cancel-0123456789", "OpenAI Responses"
PLAIN = ("ordinary", "cancel")
VLLM = Metrics("/metrics", "vllm:num_requests_running", "vllm:generation_tokens_total")
OWN = parsed("POST /streams/{x-request-id}/cancel")
REFERENCE = {  # what a cancel stops → the status, and what is said
    "nothing": ("fail", "content events came after it"),
    "stream": ("fail", "the stream ended"),
    "generation": ("warn", "the stream stayed open"),
}
_STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
_COUNTS = b"vllm:num_requests_running %d\nvllm:generation_tokens_total %d\n"
_NO = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: 9\r\n\r\n<!doctype"


class Case(NamedTuple):
    status: str
    says: str
    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"  # to the cancel; b"": none; b"reset": that
    id: Any = "run-1"
    stops: bool = True


CASES = {
    "it stops": Case("pass", "the server generated"),
    "it takes no notice": Case("unknown", "it may have ended by itself", stops=False),
    "not found": Case("unknown", "HTTP 404 to the cancel", _NO % (b"404 Not Found", b"text/plain"), stops=False),
    "not allowed": Case("unknown", "--cancel names the method", _NO % (b"405 No", b"text/plain"), stops=False),
    "no permission": Case("unknown", "another key", _NO % (b"401 No", b"text/plain"), stops=False),
    "not implemented": Case("unknown", "HTTP 501", _NO % (b"501 No", b"text/plain"), stops=False),
    "an error": Case("warn", "HTTP 500 to the cancel", _NO % (b"500 No", b"text/plain"), stops=False),
    "a page": Case("unknown", "with a web page", _NO % (b"200 OK", b"text/html"), stops=False),
    "no answer": Case("warn", "got no answer within ", b"", stops=False),
    "a reset": Case("warn", "got no answer (", b"reset", stops=False),
    "a hostile id": Case("unknown", "not safe to send", id="../../v1/keys/1"),
    "no id": Case("unknown", "the stream had no `id`", id=None),
}
ASKED = {name for name, case in CASES.items() if case.id == "run-1"}


@dataclass
class Scripted:
    """A server whose answers have ids, with a metrics page."""

    case: Case
    cancels: list[bytes] = field(default_factory=list)  # the requests, whole
    stop: threading.Event = field(default_factory=threading.Event)
    running: int = 0
    generated: int = 0

    def __call__(self, peer: Peer) -> None:
        while request := peer.request():
            if b"/metrics " in request:
                page = _COUNTS % (self.running, self.generated)
                peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(page) + page)
            elif b"/chat/completions " in request:
                self._answer(peer)
            else:
                self.cancels.append(request)
                if self.case.stops:
                    self.stop.set()
                if self.case.answer == b"reset":
                    peer.reset()
                    return
                peer.send(*filter(None, [self.case.answer]))

    def _answer(self, peer: Peer) -> None:
        self.running += 1
        self.stop.clear()
        peer.send(CHUNKED)
        for _ in range(TOKENS):
            told = {"choices": [{"index": 0, "delta": {"content": "word "}}]}
            event = told if self.case.id is None else {"id": self.case.id, **told}
            try:
                peer.send(chunk(b"data: %b\n\n" % json.dumps(event).encode()))
            except OSError:
                break
            self.generated += 1
            if self.stop.wait(EACH):
                break
        self.running -= 1
        try:
            peer.send(chunk(_STOP), chunk(DONE), LAST)
        except OSError:
            return


class Seen(NamedTuple):
    found: Any
    cancels: list[bytes]


@pytest.fixture(scope="module")
def seen() -> dict[str, Seen]:
    """Of each case, each with a server of its own, whose counters tell of nobody else. They mostly wait."""
    with first(), ExitStack() as stack:
        servers = {name: Scripted(case) for name, case in CASES.items()}
        urls = {name: stack.enter_context(scripted(server)).url for name, server in servers.items()}
        for name in (*REFERENCE, RESPONSES):
            urls[name] = stack.enter_context(reference_server(*LONG)).url

        def look(name: str) -> Any:
            if name == RESPONSES:
                return diagnosed(urls[name], protocol="openai_responses", experiments=PLAIN)
            if name in REFERENCE:
                half = f"x-gauge-fault: half_cancel:{name}"
                for _ in range(3):  # at a busy moment, the pace tells nothing, and so it says
                    found = diagnosed(urls[name], half, experiments=PLAIN, cancel=OWN)
                    if found.status_of("cancel") != "unknown":
                        break
                return found
            key, own = f"authorization: Bearer {KEY}", parsed('POST /v1/answers/{id}/cancel {"id": "{id}"}')
            return diagnosed(urls[name], key, experiments=PLAIN, target=Target(metrics=VLLM), cancel=own)

        found = dict(zip(urls, Pool(len(urls)).map(look, urls), strict=True))
        return {name: Seen(found[name], servers[name].cancels if name in servers else []) for name in urls}


@pytest.mark.parametrize("name", CASES)
def test_a_cancel_passes_only_if_the_answer_is_seen_to_stop(seen: dict[str, Seen], name: str) -> None:
    case, found = CASES[name], seen[name].found
    assert (found.status_of("cancel"), case.says in says(found, "cancel")) == (case.status, True), says(found, "cancel")
    assert [each for each in wrong(found) if each == "cancel"] == (["cancel"] if case.status == "warn" else [])


@pytest.mark.parametrize("name", CASES)
def test_one_cancel_is_sent_and_only_with_an_id_that_is_harmless(seen: dict[str, Seen], name: str) -> None:
    cancels = seen[name].cancels
    assert len(cancels) == (name in ASKED)
    for request in cancels:
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/answers/run-1/cancel HTTP/1.1\r\n")
        assert f"\r\nauthorization: Bearer {KEY}".encode() in head
        assert json.loads(body) == {"id": "run-1"}


def test_a_cancel_that_is_redirected_takes_no_key_elsewhere() -> None:
    came: list[bytes] = []
    with scripted(lambda peer: came.append(peer.request())) as other:
        moved = f"HTTP/1.1 307 Moved\r\nlocation: {other.url}/cancel\r\ncontent-length: 0\r\n\r\n".encode()
        cancelled = Scripted(Case("unknown", "", moved, stops=False))
        with scripted(cancelled) as server:
            key, own = f"authorization: Bearer {KEY}", parsed("DELETE /v1/answers/{id}")
            found = diagnosed(server.url, key, experiments=PLAIN, cancel=own)
    assert says(found, "cancel").startswith("HTTP 307 to the cancel")
    assert came == []
    (request,) = cancelled.cancels
    assert request.startswith(b"DELETE /v1/answers/run-1 HTTP/1.1\r\n")
    assert (b"content-type" in request, b"\r\ncontent-length: 0\r\n" in request) == (False, True)


@pytest.mark.parametrize("stops", REFERENCE)
def test_a_server_that_accepts_a_cancel_and_stops_half_is_found_out(seen: dict[str, Seen], stops: str) -> None:
    status, told = REFERENCE[stops]
    found = seen[stops].found
    assert (wrong(found), found.status_of("cancel")) == (["cancel"], status), says(found, "cancel")
    assert told in says(found, "cancel")


def test_an_answer_of_responses_is_asked_for_in_the_background_and_cancelled_as_its_api_says(
    seen: dict[str, Seen],
) -> None:
    found = seen[RESPONSES].found
    assert (found.status_of("cancel"), wrong(found)) == ("pass", []), says(found, "cancel")


def test_a_wrong_cancel_is_a_mistake_in_the_call() -> None:
    told = invoke("doctor", "http://127.0.0.1:9", "--cancel", "POST https://other.example/{id}")
    assert told.exit_code == 2
    assert "it goes to 'https://other.example/{id}': write a path on the URL's host" in " ".join(told.output.split())


def _background(cancelled: list[bytes], begun: threading.Event, goes_on: threading.Event) -> Any:
    """A provider of Responses, whose answers in the background stand still after their first word."""

    def script(peer: Peer) -> None:
        while request := peer.request():
            if b"/cancel " in request.split(b"\r\n")[0]:
                cancelled.append(request)
                peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            elif b'"background":true' in request:
                peer.send(CHUNKED, *(chunk(_event(each)) for each in (_CREATED, _WORD)))
                time.sleep(1)  # who is interrupted before reading this cannot know what to cancel
                begun.set()
                goes_on.wait(PATIENCE)
                peer.reset()
                return
            else:
                peer.send(CHUNKED, *(chunk(_event(each)) for each in (_CREATED, *[_WORD] * 25, _COMPLETED)), LAST)

    return script


def _event(table: dict[str, Any]) -> bytes:
    return f"event: {table['type']}\ndata: {json.dumps(table)}\n\n".encode()


_CREATED: dict[str, Any] = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
_WORD: dict[str, Any] = {"type": "response.output_text.delta", "delta": "word "}
_COMPLETED: dict[str, Any] = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}}


def test_an_answer_in_the_background_that_broke_before_its_cancel_is_cancelled_all_the_same() -> None:
    cancelled: list[bytes] = []
    goes_on = threading.Event()
    goes_on.set()
    with scripted(_background(cancelled, threading.Event(), goes_on)) as server:
        found = diagnosed(server.url, protocol="openai_responses", experiments=PLAIN)
    assert [each.split(b"\r\n")[0] for each in cancelled] == [b"POST /v1/responses/resp_1/cancel HTTP/1.1"]
    assert (found.status_of("cancel"), says(found, "cancel")) == (
        "unknown",
        "the stream was over before it could be cancelled",
    )


def test_ctrl_c_leaves_no_answer_in_the_background_behind(tmp_path: Path) -> None:
    cancelled: list[bytes] = []
    begun, goes_on = threading.Event(), threading.Event()
    call = "from streamgauge.harness.cli import main; main(prog_name='streamgauge')"
    with scripted(_background(cancelled, begun, goes_on)) as server:
        words = [sys.executable, "-c", call, "doctor", server.url, "--protocol", "openai_responses"]
        with started(words, stdout=subprocess.PIPE, cwd=tmp_path) as command:
            until(begun.is_set)
            command.send_signal(signal.SIGINT)
            said, _ = command.communicate(timeout=PATIENCE)
        goes_on.set()
    assert [each.split(b"\r\n")[0] for each in cancelled] == [b"POST /v1/responses/resp_1/cancel HTTP/1.1"]
    assert (command.returncode, "stopped before all was asked" in said) == (130, True)


@pytest.mark.parametrize("budget", [5, 6])  # with 6, two are left until the server's counters are looked at
def test_no_answer_is_begun_whose_cancel_the_budget_does_not_allow(budget: int) -> None:
    cancelled: list[bytes] = []
    with scripted(_background(cancelled, threading.Event(), threading.Event())) as server:
        told = json.loads(
            invoke("doctor", server.url, "--protocol", "openai_responses", "--budget", budget, "--json").output
        )
    evidence = {each["check"]: each["evidence"] for each in told["checks"]}
    assert (told["requests"] <= budget, cancelled) == (True, [])
    assert evidence["cancel"] == f"of the budget of {budget} requests too few were left to cancel an answer"
