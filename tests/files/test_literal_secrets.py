"""Secrets that a config holds as they are: sent, stored nowhere, shown nowhere, and advised against."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamgauge.harness.config import literals, secrets
from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Request, Target
from streamgauge.harness.errors import ConfigError
from tests.support.command import REPOSITORY

CONFIG = b"""
[target.headers]
x-api-key = "literal-in-header"
x-tenant = "acme"
[target.body]
api_key = "hush"
max_tokens = 5
prompt_cache_key = "greetings"
stop_token = "<end>"
user = "u-1"
[target.body.auth]
user = "somebody-else"
pin = 1234
[target.body.metadata]
accessToken = "literal-in-table"
env = "${HOME}"
"""
OWN = b"""
[target.request]
body = { question = "{prompt}", password = "letmein-now", token = "${TOKEN}", key = "{user}" }
query = { apikey = "in-the-query", page = "1" }
"""
SECRET = {
    "target.headers.x-api-key": "literal-in-header",
    "target.body.api_key": "hush",
    "target.body.auth.user": "somebody-else",
    "target.body.metadata.accessToken": "literal-in-table",
    "target.request.body.password": "letmein-now",
    "target.request.query.apikey": "in-the-query",
}


def target() -> Target:
    """Both of what a config could have one of."""
    return msgspec.structs.replace(parse(CONFIG).target, request=parse(OWN).target.request)


def test_they_are_known_by_the_names_of_their_keys() -> None:
    assert literals.found(target()) == SECRET


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("api_key", True), ("apiKey", True), ("X-API-Key", True), ("apikey", True), ("token", True),
        ("access_token", True),
        ("client_secret", True), ("Authorization", True), ("password", True), ("db_password_2", True), ("key", True),
        ("max_tokens", False), ("prompt_cache_key", False), ("eos_token", False), ("author", False), ("design", False),
        ("keyword", False), ("monkey", False), ("session", False), ("tokens", False), ("model", False),
    ],
)  # fmt: skip
def test_a_name_says_whether_it_is_that_of_a_secret(name: str, secret: bool) -> None:
    body: dict[str, Any] = {"a": [{name: "value"}]}
    assert (literals.found(Target(body=body)) == {f"target.body.a.0.{name}": "value"}) is secret


def test_a_path_may_hold_one_behind_its_question_mark() -> None:
    path = "/v1/chat?api_key=s3cret-in-a-path&version=2&token=${TOKEN}"
    assert literals.found(Target(path=path)) == {"target.path?api_key": "s3cret-in-a-path"}


def test_they_are_not_in_what_is_stored_and_what_goes_to_workers() -> None:
    stored = msgspec.json.encode(secrets.public(target())).decode()
    sent = msgspec.json.encode(secrets.for_workers(target()), enc_hook=str).decode()
    for value in SECRET.values():
        assert value not in stored
        assert value not in sent
    assert "greetings" in stored
    assert '"pin":1234' in stored


def test_a_worker_takes_its_own_or_is_refused() -> None:
    sent = secrets.for_workers(target())
    assert secrets.with_own_keys(sent, target) == msgspec.structs.replace(target(), metrics=None)
    with pytest.raises(ConfigError, match="keys that a config holds literally are not sent to workers"):
        secrets.with_own_keys(sent, lambda: msgspec.structs.replace(target(), body={}, request=None))


def test_they_are_blotted_out_where_a_server_repeats_them() -> None:
    blotted = secrets.known_here(target(), {"HOME": "/home/me"}).blotted
    assert blotted("no access with literal-in-table") == "no access with …"


def test_the_advice_names_the_place_and_never_the_value() -> None:
    told = secrets.advice(Target(body={"api_key": "hush"}))
    assert told == "target.body.api_key: holds a secret literally; write ${NAME} there, and set NAME in the environment"
    assert secrets.advice(Target(body={"api_key": "${KEY}"}, request=Request(body={"key": "{user}"}))) == ""


def test_the_shipped_configs_hold_none() -> None:
    for path in (REPOSITORY / "streamgauge.toml", REPOSITORY / "src/streamgauge/demo.toml"):
        assert secrets.advice(parse(Path(path).read_bytes()).target) == ""
