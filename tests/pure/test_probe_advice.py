"""What `try` advises for a server's words and for a connection that fails; tests/data/screens shows whole answers."""

from dataclasses import replace

import msgspec
import pytest

from streamgauge.harness.config.schema import Events, Request, Target
from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Probe, reread
from streamgauge.harness.probe.keys import expected_header
from streamgauge.harness.probe.remedies import remedies
from streamgauge.harness.probe.sent import sent
from streamgauge.harness.record.observation import Outcome

OPENAI = Target(protocol="openai_chat", headers={"authorization": "Bearer ${STAGING_KEY}"})
SECRET = "sk-staging-0123456789"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGING_KEY", SECRET)


def refused(status: int, words: str, target: Target = OPENAI, **headers: str) -> Probe:
    probe = reread(words.encode(), target)
    probe.transcript.status = status
    probe.transcript.headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return probe


def advice(status: int, words: str, target: Target = OPENAI, **headers: str) -> Advice:
    return remedies(refused(status, words, target, **headers), [])[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Unrecognized request argument supplied: stream_options", 'omit = ["stream_options"]'),
        ('{"object":"error","message":"[{\'type\': \'extra_forbidden\', \'loc\': (\'body\', \'stream_options\')}]"}',
         'omit = ["stream_options"]'),
        ("unknown field `include_usage`", 'omit = ["stream_options.include_usage"]'),
        ("stream_options.include_usage is not supported", 'omit = ["stream_options.include_usage"]'),
        ("max_tokens: unsupported, use max_completion_tokens", "max_completion_tokens = 400"),
        ("max_tokens must be at most 64", "max_tokens = 64"),
        ("max_tokens is too large: 400. This model supports at most 128 completion tokens", "max_tokens = 128"),
        ("anthropic-version: header is required", 'protocol = "anthropic_messages"'),
        ('{"detail":[{"loc":["body","query"],"msg":"field required","type":"value_error.missing"}]}', '"{prompt}"'),
        ('{"detail":[{"type":"missing","loc":["body","session_id"]},{"type":"missing","loc":["body","question"]}]}',
         'session_id = "{conversation}"'),
        ("'prompt' is a required property", 'prompt = "{prompt}"'),
        ('{"error":{"message":"inputs: Field required"}}', 'inputs = "{prompt}"'),
        ("The model `reference` does not exist", 'model = "…"'),
        ("model 'reference' not found, try pulling it first", 'model = "…"'),
        ('{"error":{"type":"not_found_error","message":"model: reference"}}', 'model = "…"'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 404, 422])
def test_the_words_of_a_refusal_lead_to_a_line(status: int, words: str, expected: str) -> None:
    found = advice(status, words)
    assert expected in found.lines
    lines.applied(OPENAI, found.lines)  # they are lines of a config


@pytest.mark.parametrize("words", ["", "Bad Request", "the model is overloaded", "\xff", "{}", "[]", '{"error":[1]}'])
def test_words_that_name_nothing_lead_to_no_line(words: str) -> None:
    found = remedies(refused(400, words), [])
    assert [each.lines for each in found] == [""]


def test_a_key_that_the_config_itself_adds_is_named_with_its_place() -> None:
    own = msgspec.structs.replace(OPENAI, body={"temperature": 0.5})
    assert "[target.body]. Take it out" in advice(400, "temperature: only the default (1) is supported", own).says
    asked = msgspec.structs.replace(OPENAI, request=Request(body={"q": "{prompt}", "depth": 3}))
    assert "[target.request.body]. Take it out" in advice(422, "depth is not permitted", asked).says
    omitted = msgspec.structs.replace(OPENAI, omit=("max_tokens",))
    assert "correct `omit`" in advice(400, "max_tokens: Field required", omitted).says


@pytest.mark.parametrize(
    ("status", "headers", "says"),
    [
        (401, {"www_authenticate": 'Basic realm="x"'}, 'The server asks for: Basic realm="x"'),
        (403, {}, "authorization: ${STAGING_KEY}"),
        (404, {}, "anthropic_messages would be at /v1/messages"),
        (405, {"allow": "GET"}, "It takes GET"),
        (406, {}, "text/event-stream"),
        (413, {}, "too large"),
        (415, {}, "application/json"),
        (418, {}, "its words are all"),
        (426, {}, "WebSocket"),
        (429, {"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, "retry-after Wed"),
        (301, {}, "does not say where"),
        (302, {"location": "/login?next=x"}, "login page"),
        (307, {"location": "https://localhost/v1"}, "ask https://localhost"),
        (308, {"location": "http://other.example/v1"}, "Ask http://other.example"),
        (302, {"location": "http://[::1"}, "to what is no URL"),
        (503, {}, "The server failed"),
    ],
)
def test_each_status_has_its_advice(status: int, headers: dict[str, str], says: str) -> None:
    assert says in advice(status, "no", OPENAI, **headers).says


def test_a_redirect_on_the_same_host_leads_to_its_path() -> None:
    found = advice(308, "", location="/v1/chat/completions/")
    assert found.lines == '[target]\npath = "/v1/chat/completions/"\n'


@pytest.mark.parametrize("location", ["/take/${HOME}", "/take/$%7BHOME}", "/{conversation}"])
def test_a_redirect_cannot_ask_for_a_variable_of_the_environment(location: str) -> None:
    """In a config, braces stand for one, and the lines may be asked with at once."""
    assert advice(307, "", location=location).lines == ""


@pytest.mark.parametrize(
    ("detail", "says"),
    [
        ("host 'x' does not resolve: Name or service not known", "No such name"),
        ("no answer from the DNS for x", "No such name"),
        ("cannot connect to 10.0.0.1:80: ECONNREFUSED (Connection refused)", "Nothing listens"),
        ("cannot connect to 10.0.0.1:80: EHOSTUNREACH (No route to host)", "no route"),
        ("no connection in time", "firewall"),
        ("TLS: the certificate does not verify: certificate has expired", "has expired"),
        ("TLS: the certificate does not verify: Hostname mismatch, certificate is not valid for 'x'.", "another name"),
        ("TLS: the certificate does not verify: IP address mismatch, certificate is not valid for '1'", "another name"),
        ("TLS: the certificate does not verify: self-signed certificate", "SSL_CERT_FILE"),
        ("TLS: the certificate does not verify: unable to get local issuer certificate", "SSL_CERT_FILE"),
        ("TLS: the server does not speak TLS at this port", "does not speak TLS"),
        ("the server closed the connection in the TLS handshake", "does it speak TLS?"),
        ("no TLS handshake in time", "does it speak TLS?"),
        ("TLS: SSLV3_ALERT_HANDSHAKE_FAILURE", "client's certificate"),
    ],
)
def test_each_failed_connection_has_its_advice(detail: str, says: str) -> None:
    probe = reread(b"", OPENAI)
    probe.transcript.status = None
    seen = msgspec.structs.replace(probe.seen, outcome=Outcome.UNREACHABLE, detail=detail, connected_at=None)
    object.__setattr__(probe, "seen", seen)
    (found,) = remedies(probe, [])
    assert says in found.says
    assert not found.likely


def test_no_advice_holds_a_secret_or_a_literal_header() -> None:
    target = msgspec.structs.replace(OPENAI, headers={**OPENAI.headers, "x-tenant": "literal-0123456789"})
    for status in (301, 400, 401, 403, 404, 405, 406, 415, 422, 429):
        probe = refused(status, f"bad {SECRET} literal-0123456789", target, location=f"/x/{SECRET}", allow=SECRET)
        shown = repr([remedies(probe, []), sent(probe), probe.words, probe.headers])
        assert SECRET not in shown
        assert "0123456789" not in shown
        assert "${STAGING_KEY}" in shown


@pytest.mark.parametrize(
    ("status", "words", "headers", "header"),
    [
        (401, '{"error":{"code":"401","message":"missing header: api-key"}}', {}, "api-key"),
        (401, '{"message":"No API key found in request, send apikey"}', {}, "apikey"),
        (401, "Missing x-goog-api-key header", {}, "x-goog-api-key"),
        (
            401,
            '{"message":"Access denied due to missing subscription key. Make sure to include it."}',
            {"www_authenticate": 'AzureApiManagementKey realm="x",name="Ocp-Apim-Subscription-Key",type="header"'},
            "ocp-apim-subscription-key",
        ),
        (
            400,
            '{"error":{"message":"API key not valid. Please pass a valid API key.","code":400}}',
            {},
            "x-goog-api-key",
        ),
        (403, "Method doesn't allow unregistered callers (callers without established identity)", {}, "x-goog-api-key"),
        (401, '{"error":{"message":"x-api-key header is required"}}', {}, "x-api-key"),
        (401, "Unauthorized: cf-aig-authorization is missing", {}, "cf-aig-authorization"),
        (401, "no", {}, "authorization"),
    ],
)
def test_a_key_goes_into_the_header_that_the_server_names(
    status: int, words: str, headers: dict[str, str], header: str
) -> None:
    found = advice(status, words, Target(protocol="openai_chat"), **headers)
    assert lines.applied(Target(protocol="openai_chat"), found.lines).headers.keys() == {header}
    assert "No key was sent" in found.says
    assert not found.likely


def test_a_key_that_an_error_inside_a_200_complains_of_is_asked_for() -> None:
    body = b'data: {"error":{"message":"Incorrect API key provided: sk-...","code":401}}\n\n'
    (found,) = remedies(reread(body, Target(protocol="openai_chat")), [])
    assert "authorization" in found.lines


@pytest.mark.parametrize(
    ("host", "header"),
    [
        ("https://a.openai.azure.com", "api-key"),
        ("https://a.services.ai.azure.com", "api-key"),
        ("https://gate.azure-api.net", "ocp-apim-subscription-key"),
        ("https://generativelanguage.googleapis.com", "x-goog-api-key"),
        ("https://api.anthropic.com", "x-api-key"),
    ],
)
def test_a_key_goes_into_the_header_of_a_known_host(host: str, header: str) -> None:
    probe = refused(401, "Access denied", Target(protocol="openai_chat"))
    site = replace(probe.site, endpoint=Endpoint.of(host))
    assert expected_header(replace(probe, site=site)) == header


def test_a_request_that_must_be_signed_is_said_to_be_one() -> None:
    assert "SigV4" in advice(403, '{"message":"Missing Authentication Token"}').says


OWN = Target(protocol="custom", events=Events(text="t", end_path="done"))


def test_a_stop_reason_that_the_config_does_not_look_at_is_named() -> None:
    (found,) = remedies(reread(b'data: {"t":"Hi"}\n\ndata: {"done":true,"meta":{"finish_reason":"stop"}}\n\n', OWN), [])
    assert "meta.finish_reason" in found.says
    assert found.lines == '[target.events]\nstop_reason = "meta.finish_reason"\n'
    assert not found.likely


def test_an_abort_that_the_config_does_not_look_at_is_worth_asking_again() -> None:
    body = b'data: {"t":"Hi"}\n\ndata: {"done":true,"meta":{"finish_reason":"abort"}}\n\n'
    (found,) = remedies(reread(body, OWN), [])
    assert found.likely
    assert reread(body, lines.applied(OWN, found.lines)).seen.outcome is Outcome.SERVER_ERROR


def test_no_stop_reason_is_missed_where_the_stream_has_none() -> None:
    assert remedies(reread(b'data: {"t":"Hi"}\n\ndata: {"done":true,"finish_reason":null}\n\n', OWN), []) == []
