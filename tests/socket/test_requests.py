"""The requests that a config asks for, as a server receives them, from every client."""

import json

import pytest

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive import clients, network
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question, Reply
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.site import Site
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome
from tests.support.hostile import DONE, IDENTITY, Peer, asked, scripted
from tests.support.stacks import WHOLE

HI = Prompt((("user", "Hi ü"),), conversation="c-1")


def ask(site: Site, client: str = "wire", prompt: Prompt = HI) -> Reply:
    person = clients.find(client)(site)
    try:
        return person.stream(Question(prompt, Plan(), network.Link(network.find("direct"), 1), 0, IDENTITY))
    finally:
        person.close()


def received(
    toml: str, client: str = "wire", base: str = "", answer: bytes = WHOLE
) -> tuple[str, dict[str, str], bytes]:
    """The request line, the headers and the body of one request."""

    def script(peer: Peer) -> bytes:
        request = peer.request()
        peer.send(answer)
        return request

    with scripted(script) as server:
        ask(Site.of(server.url + base, parse(toml.encode()).target, RunClock(0, 0)), client)
        head, _, body = server.result().partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    return line, {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}, body


@pytest.mark.parametrize("client", ["wire", "httpx", "anthropic"])
def test_every_client_sends_the_changed_body(client: str) -> None:
    thinking = "thinking = { type = 'enabled', budget_tokens = 9 }"
    _, _, body = received(f"[target.body]\ntemperature = 0\n{thinking}\nchat_template_kwargs = {{ a = 1 }}", client)
    sent = json.loads(body)
    assert sent["temperature"] == 0
    assert sent["thinking"] == {"type": "enabled", "budget_tokens": 9}
    assert sent["chat_template_kwargs"] == {"a": 1}
    assert sent["messages"] == [{"role": "user", "content": "Hi ü"}]


TEMPLATE = "[target.request]\nbody = { ask = '{prompt}', all = '{messages}', c = '{conversation}' }\n"


@pytest.mark.parametrize("client", ["wire", "httpx"])
def test_a_teams_own_body_is_sent_as_it_is_written(client: str) -> None:
    line, headers, body = received(TEMPLATE + "[target]\npath = '/chat/{model}?v=1'\nmodel = 'm/1'", client, "/base")
    assert line == "POST /base/chat/m%2F1?v=1 HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {"ask": "Hi ü", "all": [{"role": "user", "content": "Hi ü"}], "c": "c-1"}


@pytest.mark.parametrize("client", ["wire", "httpx"])
def test_a_form_is_sent_as_a_form(client: str) -> None:
    _, headers, body = received("[target.request]\ncontent_type = 'form'\nbody = { q = '{prompt}' }", client)
    assert (headers["content-type"], body) == ("application/x-www-form-urlencoded", b"q=Hi+%C3%BC")


@pytest.mark.parametrize("client", ["wire", "httpx"])
def test_a_get_is_sent_without_a_body(client: str) -> None:
    line, headers, body = received("[target.request]\nmethod = 'GET'\nquery = { q = '{prompt}' }", client)
    assert (line, body) == ("GET /v1/messages?q=Hi+%C3%BC HTTP/1.1", b"")
    assert {"content-length", "content-type", "transfer-encoding"}.isdisjoint(headers)


@pytest.mark.parametrize("client", ["wire", "httpx", "anthropic"])
@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("/v1", "/v1/messages"),
        ("/v1/", "/v1/messages"),
        ("/proxy/v1", "/proxy/v1/messages"),
        ("/v1/messages", "/v1/messages"),
        ("/proxy", "/proxy/v1/messages"),
        ("/v2", "/v2/v1/messages"),
    ],
)
def test_a_host_that_repeats_the_beginning_of_the_path_is_understood(client: str, base: str, path: str) -> None:
    assert received("", client, base)[0] == f"POST {path} HTTP/1.1"


def test_the_sdk_refuses_what_it_cannot_send() -> None:
    sdk = clients.find("anthropic")
    for target, fault in (
        (parse(TEMPLATE.encode()).target, r"it cannot follow \[target\.request\]"),
        (Target(omit=("max_tokens",)), "cannot omit 'max_tokens': the SDK requires it"),
    ):
        with pytest.raises(ScenarioError, match=fault):
            sdk.check(target)


def test_each_user_gets_a_credential_of_their_own_and_it_is_masked_in_what_the_server_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEYS", "first-secret-key\nsecond-secret-key")
    toml = (
        "[target]\nheaders = { authorization = 'Bearer ${credential.key}' }\nbody = { who = '${credential.key}' }\n"
        "[target.credentials]\nvariable = 'KEYS'"
    )
    asked_with = []

    def script(peer: Peer) -> None:
        head, _, body = peer.request().partition(b"\r\n\r\n")
        key = json.loads(body)["who"]
        assert f"authorization: Bearer {key}".encode() in head
        asked_with.append(key)
        peer.send(b"HTTP/1.1 403 No\r\nconnection: close\r\n\r\nthe key %b is unknown" % key.encode())

    with scripted(script) as server:
        site = Site.of(server.url, parse(toml.encode()).target, RunClock(0, 0))
        seen = [ask(site.for_user(f"u{number}", number)).observation for number in range(3)]
    assert asked_with == ["first-secret-key", "second-secret-key", "first-secret-key"]
    assert {stream.detail for stream in seen} == {"HTTP 403: the key … is unknown"}


@pytest.mark.parametrize("client", ["wire", "httpx", "anthropic"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_location_is_told(client: str, status: int) -> None:
    answer = b"HTTP/1.1 %d There\r\nlocation: https://other.example/v1\r\ncontent-length: 0\r\n\r\n" % status
    with scripted(asked(answer)) as server:
        seen = ask(Site.of(server.url, Target(), RunClock(0, 0)), client).observation
    assert (seen.outcome, seen.http_status) == (Outcome.REFUSED, status)
    assert seen.detail == f"HTTP {status} redirects to https://other.example/v1, which is not followed:"


def plain(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n" + text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"data: one\n\nevent: thinking\ndata: hm\n\ndata:  two\n\n" + DONE, "one two"),
        (b"data: half\n\ndata: cut of", "half"),
        (b'data: some\n\ndata: {"error": "no more"}\n\ndata: after\n\n', "some"),
        (b"data: good\n\ndata: \xff\n\n", "good"),
    ],
)
def test_the_text_of_an_answer_is_kept_if_the_conversation_goes_on_with_it(answer: bytes, text: str) -> None:
    with scripted(asked(plain(answer))) as server:
        kept = Site.of(server.url, Target(protocol="plain_sse", history="real"), RunClock(0, 0))
        dropped = Site.of(server.url, Target(protocol="plain_sse"), RunClock(0, 0))
        assert ask(kept).text == text
        assert ask(dropped).text == ""
