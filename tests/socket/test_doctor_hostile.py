"""Endpoints that do their worst to `doctor`: it ends in time, shows nothing that acts, and gives no key away."""

import gzip
import html
import json
import time
from pathlib import Path

import pytest

from tests.support.command import PATIENCE, invoke
from tests.support.diagnosed import diagnosed, named, says
from tests.support.hostile import CHUNKED, HEAD, LAST, Peer, Script, asked, chunk, held, scripted
from tests.support.late import Late

result = Late("streamgauge.harness.doctor.result")

SECRET = "sk-staging-0123456789"
CONFIG = """
[target]
protocol = "openai_chat"
headers = { authorization = "Bearer ${KEY}" }
timeouts = { first_token = "2s", idle = "2s", total = "3s" }
"""
ACTS = "\x1b]0;owned\x07\x1b[2J\u202e"
_OK = b'data: {"choices":[{"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
_END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def event(text: bytes) -> bytes:
    return _OK % text


def endlessly(first: bytes, piece: bytes, wait: float = 0.0) -> Script:
    """Sends a piece again and again, until the client has gone."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(first)
        while True:
            peer.send(piece)
            time.sleep(wait)

    return script


def each(*pieces: bytes) -> Script:
    """Answers so to every request on the connection."""

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(*pieces)

    return script


def whole(body: bytes, head: bytes = HEAD) -> Script:
    return each(head + b"content-length: %d\r\n\r\n" % len(body) + body)


ANSI = json.dumps(ACTS).encode()[1:-1]
SCRIPTS: dict[str, Script] = {
    "endless headers": endlessly(b"HTTP/1.1 200 OK\r\n", b"x-more: 1\r\n" * 500),
    "an endless body": endlessly(CHUNKED, chunk(event(b"more") * 100)),
    "a slow drip": endlessly(CHUNKED, b"1\r\nd\r\n", 0.05),
    "a gzip bomb": whole(gzip.compress(b"data: 0\n\n" * 4_000), HEAD + b"content-encoding: gzip\r\n"),
    "bytes of no format": whole(bytes(range(256)) * 40),
    "no HTTP": asked(b"\x00\xff\x00SSH-2.0-x\r\n"),
    "nothing": asked(),
    "escapes in the body": each(CHUNKED + chunk(event(ANSI) * 30 + _END) + LAST),
    "escapes in a refusal": each(
        b"HTTP/1.1 403 No\r\nserver: \x1b[31mnginx\r\ncontent-length: 12\r\n\r\n\x1b[2J\x9b31mno!!!"
    ),
    "its key repeated": each(
        b"HTTP/1.1 401 No\r\nx-key: Bearer %b\r\ncontent-length: 21\r\n\r\n%b" % (SECRET.encode(), SECRET.encode())
    ),
    "interim answers for ever": endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "a million comments": each(CHUNKED + chunk(b": x\n" * 300_000) + LAST),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_that_a_server_sends_acts_hangs_or_is_taken_for_good(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", SECRET)
    (tmp_path / "streamgauge.toml").write_text(CONFIG)
    with scripted(SCRIPTS[name]) as server:
        began = time.monotonic()
        shown = invoke("doctor", server.url, "--budget", 3, "-o", "page.html")
        took = time.monotonic() - began
        told = invoke("doctor", server.url, "--budget", 2, "--json")
    assert shown.exception is None or isinstance(shown.exception, SystemExit), shown.exception
    assert shown.exit_code in ({0, 1, 3} if name == "escapes in the body" else {1, 3}), shown.output
    assert took < PATIENCE, "three requests of at most 3 s each, and some waits"
    json.loads(told.output)
    page = (tmp_path / "page.html").read_text()
    assert page.isascii(), "as every page is saved"
    for text in (shown.output, told.output, html.unescape(page)):
        assert SECRET not in text
        assert not {"\x1b", "\x9b", "\u202e", "\x07"} & {*text}


@pytest.mark.parametrize(("sends", "sentence"), [
    ((), "Could not look: no HTTP answer: nothing arrived for 2 s"),
    ((CHUNKED, chunk(b": hello\n\n")), "Could not tell whether it streams: nothing arrived for 2 s"),
    ((CHUNKED, chunk(b"data: half")), "Could not tell whether it streams: nothing arrived for 2 s"),
])  # fmt: skip
def test_who_asks_a_silent_server_is_not_told_to_wait_longer_than_doctor_does(
    sends: tuple[bytes, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", SECRET)
    (tmp_path / "streamgauge.toml").write_text(CONFIG.replace('first_token = "2s"', 'first_token = "3s"'))
    with scripted(held(*sends)) as server:
        shown = invoke("doctor", server.url)
    assert (shown.exit_code, sentence in " ".join(shown.output.split())) == (3, True), shown.output
    assert "target.timeouts" not in shown.output
    assert shown.output.count("it was not asked") <= 1
    assert shown.output.count("the first answer took too long") == bool(sends), "one line for all of these checks"
    assert "FAIL" not in shown.output


def test_a_redirect_to_another_host_is_not_followed_and_takes_no_key_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", SECRET)
    (tmp_path / "streamgauge.toml").write_text(CONFIG)
    with scripted(each(CHUNKED + LAST)) as other:
        to = f"HTTP/1.1 302 Found\r\nlocation: {other.url}/v1\r\ncontent-length: 0\r\n\r\n"
        with scripted(each(to.encode())) as server:
            shown = invoke("doctor", server.url)
        assert (shown.exit_code, len(other.peers)) == (1, 0)
    assert "✗ FAIL: A redirect (302) drops the question: clients follow it by GET" in shown.output


def test_only_the_questions_get_the_key_and_not_the_metrics_page_or_the_preflight() -> None:
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.request():
            requests.append(request)
            if b"POST" in request[:4]:
                peer.send(CHUNKED + chunk(event(b"word") * 30 + _END) + LAST)
            else:
                peer.send(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")

    with scripted(script) as server:
        invoke("doctor", server.url, "--protocol", "openai_chat", "--header", f"authorization: Bearer {SECRET}")
    with_key = {request.split(b" ")[0] for request in requests if SECRET.encode() in request}
    without = {request.split(b" ")[0] for request in requests if SECRET.encode() not in request}
    assert (with_key, without) == ({b"POST", b"GET"}, {b"OPTIONS", b"GET"})
    assert all(
        b"/metrics" in each.split(b"\r\n")[0] for each in requests if each[:3] == b"GET" and SECRET.encode() not in each
    )


def test_an_id_is_sent_back_as_it_came_and_not_filled_in_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", SECRET)
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.request():
            requests.append(request)
            ids = b"".join(b"id: %d-${KEY}-${MISSING}\n%b" % (number, event(b"word")) for number in range(25))
            peer.send(CHUNKED + chunk(b"id: \x00\n" + event(b"word") + ids + _END) + LAST)

    with scripted(script) as server:
        found = diagnosed(server.url, experiments=("ordinary", "resume"))
    assert b"last-event-id: 12-${KEY}-${MISSING}\r\n" in requests[-1]
    assert not any(SECRET.encode() in request for request in requests)
    assert says(found, "resume").startswith("after `Last-Event-ID`, a whole new answer came")


def test_one_answer_that_is_cut_and_ended_like_a_whole_one_is_told_as_that() -> None:
    """As a proxy does that lost its connection to the server, and hides it."""
    answered = 0

    def script(peer: Peer) -> None:
        nonlocal answered
        while peer.request():
            answered += 1
            end = _END if answered != 3 else b""
            peer.send(CHUNKED.replace(b"\r\n", b"\r\nserver: Caddy\r\n", 1) + chunk(event(b"word") * 30 + end) + LAST)

    with scripted(script) as server:
        shown = invoke("doctor", server.url, "--protocol", "openai_chat", "--budget", 3)
    assert shown.exit_code == 1
    assert "An answer was cut, and then ended like a whole one: Caddy, request_buffers" in shown.output


def test_a_server_that_drops_questions_on_kept_connections_gets_no_more_than_the_budget() -> None:
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        requests.append(peer.request())
        peer.send(CHUNKED + chunk(event(b"word") * 30 + _END) + LAST)
        requests.append(peer.request())

    with scripted(script) as server:
        told = json.loads(invoke("doctor", f"{server.url}/v1/chat/completions", "--budget", 2, "--json").output)
        assert (told["requests"], len([each for each in requests if each])) == (2, 2)
        del requests[:]
        told = json.loads(invoke("doctor", f"{server.url}/v1/chat/completions", "--budget", 4, "--json").output)
        assert (told["requests"], len([each for each in requests if each])) == (4, 4)


def test_a_server_that_limits_the_rate_is_asked_nothing_more_and_has_not_failed() -> None:
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.request():
            requests.append(request)
            if len(requests) > 2:
                peer.send(b"HTTP/1.1 429 No\r\nretry-after: 20\r\ncontent-length: 0\r\n\r\n")
                continue
            peer.send(CHUNKED)
            for _ in range(25):
                peer.send(chunk(event(b"word")))
                time.sleep(0.003)
            peer.send(chunk(_END) + LAST)

    with scripted(script) as server:
        found = diagnosed(server.url, experiments=("ordinary", "identity", "whole", "bad_request"))
    assert (len(requests), found.exit_code, named(found, result.Status.FAIL)) == (3, 0, [])
    assert says(found, "whole") == "the server limits the rate (HTTP 429), so nothing more was asked"


@pytest.mark.timing
def test_two_writes_for_each_event_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As Nagle's algorithm and a delayed acknowledgement would make them arrive."""
    monkeypatch.chdir(tmp_path)

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(CHUNKED)
            for _ in range(15):
                whole_event = event(b"word")
                peer.send(chunk(whole_event[:6]))
                time.sleep(0.041)
                peer.send(chunk(whole_event[6:]))
            peer.send(chunk(_END) + LAST)

    with scripted(script) as server:
        shown = invoke("doctor", server.url, "--protocol", "openai_chat", "--budget", 3)
    assert shown.exit_code == 1
    assert "Nagle's algorithm" in shown.output.splitlines()[0]
