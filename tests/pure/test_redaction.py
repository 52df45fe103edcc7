"""Secrets in text from outside: blotted out in every encoding that a server is likely to make."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.config.schema import Target
from streamgauge.harness.config.secrets import Variables, filled_headers, filled_metrics, known_here
from streamgauge.harness.drive.reading.transcript import sentence, word
from streamgauge.harness.drive.site import check
from streamgauge.harness.errors import ConfigError

KEY = "sk-Ant/api03+AbC=dEf&99xyz<Q>1"
REDACTION = Redaction([f"Bearer {KEY}"])
MADE_BY_SERVERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "lower case": str.lower,
    "upper case": str.upper,
    "JSON with escaped slashes": lambda key: json.dumps(key).replace("/", "\\/"),
    "JSON with code points": lambda key: "".join(f"\\u{ord(char):04x}" for char in key),
    "JSON in JSON": lambda key: json.dumps(json.dumps(f'"{key}"')),
    "JSON with escaped punctuation": lambda key: key.replace("/", "\\u002f").replace("+", "\\u002B"),
    "Python's bytes": lambda key: repr(key.encode()),
    "URL": lambda key: quote(key, safe=""),
    "URL in lower case": lambda key: quote(key, safe="").lower(),
    "URL of a URL": lambda key: quote(quote(key, safe=""), safe=""),
    "HTML": html.escape,
    "HTML with numbers": lambda key: "".join(f"&#{ord(char)};" for char in key),
    "HTML with hex numbers": lambda key: "".join(f"&#x{ord(char):x};" for char in key),
    "base64": lambda key: base64.b64encode(key.encode()).decode()[4:],
    "base64 of a header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of a pair": lambda key: base64.urlsafe_b64encode(f"\0\0\0\0:{key}".encode()).decode()[8:],
    "hex": lambda key: key.encode().hex().upper(),
    "with spaces": " ".join,
    "over lines": lambda key: "\r\n ".join((key[:9], key[9:])),
    "with hidden characters": "\u200b\x00".join,
    "over two events": lambda key: f'{{"m":"{key[:14]}"}}\n\ndata: {{"m":"{key[14:]}"}}',
    "its beginning": lambda key: key[:12],
    "its end": lambda key: key[-12:],
}


@pytest.mark.parametrize("name", MADE_BY_SERVERS)
def test_a_secret_is_blotted_out_as_servers_write_it(name: str) -> None:
    text = f"the key {MADE_BY_SERVERS[name](KEY)} is wrong"
    shown = sentence(text, REDACTION)
    assert "…" in shown
    bare = "".join(filter(str.isalnum, shown.replace("u002f", "").lower()))
    known = "".join(filter(str.isalnum, MADE_BY_SERVERS[name](KEY).lower()))
    left = [known[place : place + 8] for place in range(len(known) - 7) if known[place : place + 8] in bare]
    assert not [part for part in left if part not in "datam"], shown
    assert shown.endswith("is wrong")


@given(st.text(), st.sampled_from(sorted(MADE_BY_SERVERS)), st.text())
def test_any_text_around_a_secret_leaves_it_hidden(before: str, name: str, after: str) -> None:
    shown = REDACTION.blotted(f"{before} {MADE_BY_SERVERS[name](KEY)} {after}")
    assert KEY[:12] not in shown
    assert KEY[-12:] not in shown


@given(st.text(alphabet="abc \\%&#;xu0012f\n…", max_size=80))
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert REDACTION.blotted(text) == text


def test_a_secret_at_the_cut_of_a_detail_is_blotted_out() -> None:
    for place in range(250, 320):
        shown = sentence("x" * place + f" {KEY}", REDACTION)
        assert "sk-Ant" not in shown
    for size in range(4, 12):  # the protocol had cut the message before
        assert "sk-A" not in sentence("y" * 280 + " " + KEY[:size], REDACTION)
    assert "sk-A" not in str(word("z" * 70 + KEY, REDACTION))


def test_name_and_password_of_basic_authentication_are_blotted_out() -> None:
    header = "Basic " + base64.b64encode(b"monitoring:correct horse").decode()
    for text in (header, "password 'correct horse'", "monitoring:correct%20horse", header.lower()):
        assert "horse" not in Redaction([header]).blotted(f"HTTP 401: {text}")


def test_no_secrets_mask_nothing() -> None:
    assert Redaction([]).blotted("HTTP 401: anything") == "HTTP 401: anything"
    assert Redaction(["", "short"]).blotted("a short one") == "a short one"


@pytest.mark.parametrize("value", ["Bearer $KEY", "$KEY"])
def test_a_variable_without_braces_is_a_mistake_and_not_a_key(value: str) -> None:
    with pytest.raises(ConfigError, match=r"target.headers.authorization: write \$\{KEY\} with braces"):
        filled_headers(Target(headers={"authorization": value}), Variables({"KEY": "hunter22"}))


@pytest.mark.parametrize("value", ["Bearer pa$KEY", "$1$abc", "Bearer ${KEY}"])
def test_a_dollar_in_a_value_is_no_variable(value: str) -> None:
    assert filled_headers(Target(headers={"x": value}), Variables({"KEY": "hunter22"}))


def test_a_key_that_is_too_short_to_be_recognised_is_refused() -> None:
    target = Target(headers={"x-api-key": "${KEY}", "x-stage": "${STAGE}"})
    with pytest.raises(ConfigError, match=r"target\.headers\.x-api-key: KEY has fewer than 8 characters"):
        filled_headers(target, Variables({"KEY": "hunter2", "STAGE": "dev"}))
    assert filled_headers(target, Variables({"KEY": "hunter22", "STAGE": "dev"}))["x-stage"] == "dev"
    for nothing in ("", "   ", "\t"):  # as GitHub gives the secrets of a repository to a fork
        with pytest.raises(ConfigError, match=r"target\.headers\.x-api-key: KEY is empty: set it"):
            filled_headers(target, Variables({"KEY": nothing, "STAGE": "dev"}))


@pytest.mark.parametrize(
    "toml",
    [
        "headers = { x-gateway = '${V}' }",  # whatever the header's name
        "headers = { authorization = 'Bearer ${V}' }",
        "headers = { authorization = 'Bearer ${V}${V}' }",  # each could be repeated alone
        "body = { user = { nested = ['${V}'] } }",
        "path = '/v1/chat?k=${V}'",
        "path = '/${V}/chat'",
        "[target.request]\nquery = { k = '${V}' }",
        "[target.request]\nbody = { prompt = '{prompt}', k = '${V}' }",
        "headers = { x-gateway = '${credential.code}' }\n[target.credentials]\nvariable = 'DEALT'",
        "headers = { x-gateway = '${credential.cookie}' }\n[target.credentials]\nvariable = 'COOKIES'",
        "[target.metrics]\nurl = 'http://me:${V}@host/metrics'",
        "[target.metrics]\nurl = '/metrics'\nheaders = { x-gateway = '${V}' }",
    ],
)
@pytest.mark.parametrize("value", ["x", "abcdefg", "a b c d e f g", "%61%62%63", "\\\\\\\\\\\\\\\\\\"])
def test_a_secret_that_could_not_be_recognised_is_refused_wherever_it_stands(
    toml: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("V", value)
    monkeypatch.setenv("DEALT", json.dumps({"code": value}))
    monkeypatch.setenv("COOKIES", json.dumps({"cookie": value}))
    with pytest.raises(ConfigError, match="has fewer than 8 characters") as raised:
        _filled(toml)
    assert len(value) == 1 or value not in str(raised.value)


def _filled(toml: str) -> None:
    target = parse(f"[target]\n{toml}".encode()).target
    check(target)
    filled_metrics(target)


@pytest.mark.parametrize("value", ["Bearer abc", "Basic " + base64.b64encode(b"monitoring:abc").decode()])
def test_a_short_key_does_not_become_long_by_its_scheme_or_its_encoding(value: str) -> None:
    with pytest.raises(ConfigError, match=r"authorization: the key or password in it has fewer than 8 characters"):
        filled_headers(Target(headers={"authorization": "${AUTH}"}), Variables({"AUTH": value}))
    assert filled_headers(Target(headers={"authorization": value}), Variables({}))  # said to be no secret


def test_variables_whose_names_say_that_they_are_no_secrets_may_be_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEALT", '{"key": "sk-12345678", "tenant": "a"}')
    monkeypatch.setenv("EU_REGION", "eu")
    dealt = "x-tenant = '${credential.tenant}', authorization = 'Bearer ${credential.key}', x-region = '${EU_REGION}'"
    check(parse(f"[target]\nheaders = {{ {dealt} }}\n[target.credentials]\nvariable = 'DEALT'".encode()).target)
    with pytest.raises(ConfigError, match="fewer than 8"):  # a place for a key needs one
        filled_headers(Target(headers={"x-api-key": "${EU_REGION}"}), Variables())


def test_a_machine_without_all_variables_blots_out_those_that_it_has() -> None:
    target = Target(
        headers={"authorization": "Bearer ${GAUGE_KEY}", "x-tenant": "${ELSEWHERE}", "x-api-key": "literal-key-1"}
    )
    known = known_here(target, {"GAUGE_KEY": "sk-7f3a91c2d8e4"})
    assert known.blotted("sk-7F3A91C2D8E4, literal-key-1") == "…, …"
    assert known.blotted("${GAUGE_KEY} and ${ELSEWHERE} stay") == "${GAUGE_KEY} and ${ELSEWHERE} stay"


@pytest.mark.parametrize("key", ["İstanbul", "İİİİİİİİ", "пароль-секрет", "密钥密钥密钥密钥", "straßeSTRASSE"])
def test_a_key_whose_letters_change_their_number_in_lower_case_is_recognised(key: str) -> None:
    for text in (key, key.lower(), f'{{"error": "no such key: {key}"}}'):
        blotted = Redaction([key]).blotted(text)
        assert "…" in blotted
        assert key.lower()[:8] not in blotted.lower()
