"""The request that a config asks for: the protocol's body with changes, a team's own template, and its credentials."""

from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.config import credentials
from streamgauge.harness.config.load import parse
from streamgauge.harness.config.secrets import Variables, public
from streamgauge.harness.drive.prompts import Prompt, ask, load
from streamgauge.harness.drive.protocols import for_target
from streamgauge.harness.drive.request import RequestFormat
from streamgauge.harness.errors import ConfigError, ScenarioError

HISTORY = Prompt(
    (("user", "Hi"), ("assistant", "Hello"), ("user", "And {prompt} now?")), max_tokens=9, conversation="c-1"
)


def form(toml: str, environ: dict[str, str] | None = None, credential: dict[str, str] | None = None) -> RequestFormat:
    target = parse(toml.encode()).target
    return RequestFormat.of(target, for_target(target), Variables(environ or {}, credential), "u-1")


def body(toml: str, prompt: Prompt | None = None) -> dict[str, Any]:
    return form(toml).json(prompt or ask("Hi"))


OPENAI = "[target]\nprotocol = 'openai_chat'\n"


def test_a_table_of_the_config_is_merged_into_the_body_at_any_depth() -> None:
    found = body(
        OPENAI
        + "[target.body]\ntemperature = 0.5\nmodel = 'other'\nstream_options = { more = { deep = true } }\nstop = ['a']"
    )
    assert (found["temperature"], found["model"], found["stop"]) == (0.5, "other", ["a"])
    assert found["stream_options"] == {"include_usage": True, "more": {"deep": True}}
    assert found["messages"] == [{"role": "user", "content": "Hi"}]


def test_keys_of_the_protocol_can_be_omitted_also_inside_a_table() -> None:
    found = body(OPENAI + "omit = ['max_tokens', 'stream_options.include_usage']\nbody = { max_completion_tokens = 7 }")
    assert found.keys() == {"model", "messages", "stream", "stream_options", "max_completion_tokens"}
    assert found["stream_options"] == {}


def test_an_omitted_key_that_no_request_has_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError) as fault:
        form(OPENAI + "omit = ['max_token']")
    assert str(fault.value) == (
        "target.omit: openai_chat sends no key 'max_token'; "
        "it sends model, max_tokens, messages, stream, tools, stream_options"
    )


def test_a_line_of_a_prompt_file_can_carry_its_own_body(tmp_path: Path) -> None:
    file = tmp_path / "ours.jsonl"
    file.write_text('{"prompt": "Hi", "body": {"temperature": 1, "metadata": {"case": "a"}}}')
    (prompt,) = load(str(file))
    found = body(OPENAI + "body = { temperature = 0, metadata = { team = 'x' } }", prompt)
    assert (found["temperature"], found["metadata"]) == (1, {"team": "x", "case": "a"})
    file.write_text('{"prompt": "Hi", "body": [1]}')
    with pytest.raises(ScenarioError, match=r"ours\.jsonl:1: .*object.*body"):
        load(str(file))


TEMPLATE = """
[target.request]
method = "PUT"
query = { v = "2", who = "{user}" }
[target.request.body]
question = "{prompt}"
history = "{messages}"
limit = "{max_tokens}"
live = "{stream}"
system = "{system}"
note = "for {user} in {conversation}, {{prompt}}"
options = [{ model = "{model}", tools = "{tools}" }, "{system}"]
"""


def test_a_template_keeps_the_types_of_its_places_and_leaves_out_those_without_a_value() -> None:
    found = form("[target]\npath = '/t/{model}/x'\nmodel = 'a/b'\n" + TEMPLATE)
    assert (found.method, found.path_for(HISTORY)) == ("PUT", "/t/a%2Fb/x?v=2&who=u-1")
    assert found.json(HISTORY) == {
        "question": "And {prompt} now?",
        "history": [{"role": role, "content": text} for role, text in HISTORY.messages],
        "limit": 9,
        "live": True,
        "note": "for u-1 in c-1, {prompt}",
        "options": [{"model": "a/b"}],
    }


def test_a_form_is_encoded_as_a_browser_would() -> None:
    found = form("[target.request]\ncontent_type = 'form'\nbody = { q = '{prompt}', n = 3, live = '{stream}' }")
    assert found.content_type == "application/x-www-form-urlencoded"
    assert found.encoded(ask("a & b=ü")) == b"q=a+%26+b%3D%C3%BC&n=3&live=true"


def test_a_get_has_its_question_in_the_query_and_no_body() -> None:
    found = form("[target.request]\nmethod = 'GET'\nquery = { q = '{prompt}', s = '{system}' }")
    assert (found.path_for(ask("a b&c")), found.encoded(ask("a")), found.content_type) == (
        "/v1/messages?q=a+b%26c",
        b"",
        None,
    )


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        (
            "[target.request.body]\na = { b = ['{promt}'] }",
            "target.request.body.a.b.0: no place called {promt}; there are",
        ),
        ("[target]\npath = '/{modle}'", "target.path: no place called {modle}; there are {prompt}, {messages}"),
        ("[target.request]\nquery = { q = '{x}' }", "target.request.query.q: no place called {x}"),
        ("[target.request.body]\na = 'so: {messages}'", "target.request.body.a: {messages} is a list, so it must be"),
        ("[target.request]\nmethod = 'GET'\nbody = { a = 1 }", "target.request.body: a GET has no body"),
        ("[target]\nomit = ['stream']\n[target.request.body]\na = 1", "target.request.body is the whole body"),
        ("[target]\nbody = { a = 1 }\n[target.request.body]\na = 1", "target.request.body is the whole body"),
        ("[target]\nbody = 'x'", "target.body: expected a table, got a text in quotes"),
        ("[target.request]\nbody = 7", "target.request.body: expected a table, got a whole number"),
        (
            "[target.request]\nmethod = 'PATCH'",
            "target.request.method: no method called 'PATCH'; there are POST, PUT, GET",
        ),
        ("[target.request.body]\nq = 'constant'", "[target.request] has neither {prompt} nor {messages}"),
        ("[target.request]\nmethod = 'GET'", "[target.request] has neither {prompt} nor {messages}"),
        ("[target.body]\na = [{ b = nan }]", "target.body.a.0.b: nan cannot be written in JSON"),
        ("[target.request.body]\nq = '{prompt}'\nb = inf", "target.request.body.b: inf cannot be written in JSON"),
        ("[target.credentials]", "[target.credentials]: give either file or variable"),
        ("[target.credentials]\nfile = 'a'\nvariable = 'b'", "[target.credentials]: give either file or variable"),
        ("[target]\nhistory = 'true'", "target.history: no history called 'true'; there are invented, real"),
    ],
)
def test_a_mistake_in_a_request_is_one_line_that_names_its_place(toml: str, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(toml.encode())
    assert str(raised.value).startswith(f"streamgauge.toml: {fault}")
    assert "\n" not in str(raised.value)


def test_variables_are_filled_in_everywhere_and_their_values_are_known_as_secrets() -> None:
    toml = (
        "[target]\npath = '/a?key=${KEY}'\nbody = { user = ['${credential.tenant}'], plain = 'x' }\n"
        "[target.credentials]\nvariable = 'ALL'\n[target.request]\nquery = { t = '${credential.key}' }"
    )
    target = parse(toml.encode()).target
    variables = Variables({"KEY": "key-0001"}, {"key": "secret-1", "tenant": "t-1"})
    found = RequestFormat.of(target, for_target(target), variables, "u")
    assert found.path_for(ask("Hi")) == "/a?key=key-0001&t=secret-1"
    assert found.json(ask("Hi"))["user"] == ["t-1"]
    assert variables.used == {"key-0001", "secret-1", "t-1"}
    assert not {"key-0001", "secret-1", "t-1"} & set(str(public(target)))
    assert public(target)["path"] == "/a?…"


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        ("[target]\nbody = { a = '${NO}' }", "target.body.a: the environment has no variable 'NO'; set it"),
        ("[target]\nbody = { a = '${credential.key}' }", "target.body.a: ${credential.key} needs a table [target.cred"),
        ("[target]\npath = '/${SPACE}'", "target.path: holds a space or a line break"),
    ],
)
def test_a_missing_variable_of_a_request_is_named_with_its_place(toml: str, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        form(toml, {"SPACE": "several words"})
    assert str(raised.value).startswith(fault)


def test_credentials_are_lines_of_keys_or_of_objects(tmp_path: Path) -> None:
    keys = parse(b"[target.credentials]\nvariable = 'KEYS'").target.credentials
    assert credentials.load(keys, {"KEYS": "first key\n\n second-key \n"}) == (
        {"key": "first key"},
        {"key": "second-key"},
    )
    (tmp_path / "keys").write_text('{"key": "first key", "tenant": "t"}\n{"tenant": "u", "key": "second key"}')
    file = parse(f"[target.credentials]\nfile = '{tmp_path}/keys'".encode()).target.credentials
    assert [each["tenant"] for each in credentials.load(file)] == ["t", "u"]
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbffirst key\r\nsecond key\r\n")  # as editors on Windows write it
    assert [each["key"] for each in credentials.load(file)] == ["first key", "second key"]
    assert credentials.load(None) == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "holds no credentials; write one on each line"),
        ("\n \n", "holds no credentials; write one on each line"),
        ('{"key": 7}', 'keys:1: not an object of texts such as {"key": "…"}'),
        ('{"key": "hush"', 'keys:1: not an object of texts such as {"key": "…"}'),
        ("{}", "keys:1: an object without names"),
        ("hush-hush\nhush", "the key of credential 2 has fewer than 8 characters"),
        ('{"key": "hush-hush", "cookie": "hush"}', "the cookie of credential 1 has fewer than 8 characters"),
        ("hush\n# hush", "keys:2: begins with '#'"),
        ('"hush"', "keys:1: begins with '\"'"),
        ('["hush"]', "keys:1: begins with '['"),
        ('{"key": "hush-hush"}\n{"kee": "hush-hush"}', "credential 2 has kee, but the first has key"),
        ('hush-hush\n{"kee": "hush-hush"}', "credential 2 has kee, but the first has key"),
    ],
)
def test_wrong_credentials_are_told_without_quoting_them(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "keys").write_text(text)
    table = parse(f"[target.credentials]\nfile = '{tmp_path}/keys'".encode()).target.credentials
    with pytest.raises(ConfigError) as raised:
        credentials.load(table)
    assert fault in str(raised.value)
    assert "hush" not in str(raised.value)


def test_credentials_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    for toml, fault in (
        (f"file = '{tmp_path}/none'", "none: cannot be read: No such file or directory"),
        (f"file = '{tmp_path}'", "cannot be read: Is a directory"),
        ("variable = 'NO'", "the environment has no variable 'NO'; set it"),
    ):
        table = parse(f"[target.credentials]\n{toml}".encode()).target.credentials
        with pytest.raises(ConfigError, match=fault):
            credentials.load(table, {})
