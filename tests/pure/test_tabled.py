"""Shipped protocols that are tables: what they send, and what the keys that they are made of mean."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Events, Place, Target
from streamgauge.harness.config.secrets import Variables
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols import PROTOCOLS, Answer, Meaning, custom, for_target
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.tabled import TABLES
from streamgauge.harness.drive.request import RequestFormat
from streamgauge.harness.errors import ConfigError, ScenarioError
from streamgauge.harness.record.arrivals import Kind
from tests.support.corpus import Stream, streams
from tests.support.reading import read

FILES = Path(__file__).parents[2] / "harness/drive/protocols/tables"
STREAMS = [stream for stream in streams() if stream.target.protocol in TABLES]
CONVERSATION = Prompt(
    (("user", "Hi"), ("assistant", "Yes?"), ("user", "{prompt}?")),
    system="Be brief.",
    max_tokens=9,
    tools=("look_20260101",),
    conversation="c-1",
)


def asked(toml: str, prompt: Prompt) -> tuple[str, dict[str, Any]]:
    """The path and the body of a question."""
    target = parse(f"[target]\n{toml}".encode()).target
    form = RequestFormat.of(target, for_target(target), Variables({}), "u-1")
    return form.path_for(prompt), form.json(prompt)


def meaning(events: Events, data: Any) -> tuple[Meaning, Answer]:
    answer = Answer()
    body = msgspec.json.encode(data)
    return custom(events).meaning_of(Event(body, len(body), len(body)), answer), answer


def test_every_table_has_its_file_and_the_other_way_round() -> None:
    assert sorted(TABLES) == sorted(file.stem for file in FILES.iterdir())
    assert all(PROTOCOLS[name].name == name for name in TABLES)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_copy_of_the_file_in_a_config_reads_the_same(stream: Stream) -> None:
    lines = tomllib.loads((FILES / f"{stream.target.protocol}.toml").read_text())["target"]
    copied = Stream(stream.name, {**stream.table, "target": {**stream.table["target"], **lines}}, stream.body)
    complete = "unfinished" not in stream.sent
    own, theirs = (read(each, stream.body, complete=complete) for each in (stream, copied))
    named = theirs._replace(detail=theirs.detail.replace("not custom", f"not {stream.target.protocol}"))
    assert named == own


def test_ollama_is_asked_as_its_api_wants_it() -> None:
    path, body = asked('protocol = "ollama"\nmodel = "llama3:8b"', CONVERSATION)
    assert path == "/api/chat"
    assert body == {
        "model": "llama3:8b",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "{prompt}?"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "look", "description": "", "parameters": {"type": "object", "properties": {}}},
            }
        ],
        "stream": True,
        "options": {"num_predict": 9},
    }


def test_gemini_is_asked_as_its_api_wants_it() -> None:
    path, body = asked('protocol = "gemini"\nmodel = "gemini-3-flash"', CONVERSATION)
    assert path == "/v1beta/models/gemini-3-flash:streamGenerateContent?alt=sse"
    assert body == {
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "Yes?"}]},
            {"role": "user", "parts": [{"text": "{prompt}?"}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [{"functionDeclarations": [{"name": "look"}]}],
        "generationConfig": {"maxOutputTokens": 9},
    }


def test_what_a_question_does_not_have_is_not_sent() -> None:
    plain = Prompt((("user", "Hi"),))
    assert asked('protocol = "gemini"', plain)[1].keys() == {"contents", "generationConfig"}
    assert asked('protocol = "ollama"', plain)[1].keys() == {"model", "messages", "stream", "options"}


def test_an_answer_in_one_piece_is_asked_for_at_a_path_of_its_own() -> None:
    whole = Prompt((("user", "Hi"),), streamed=False)
    assert asked('protocol = "gemini"\nmodel = "m"', whole)[0] == "/v1beta/models/m:generateContent"
    assert asked('protocol = "gemini"\npath = "/v9/{model}:stream"\nmodel = "a/b"', whole)[0] == "/v9/a%2Fb:stream"
    assert asked('protocol = "gemini"\nmodel = "models/m"', whole)[0] == "/v1beta/models/m:generateContent"
    lines = 'protocol = "gemini"\npath = "/v9/s"\nwhole_path = "/v9/w"'
    assert (asked(lines, whole)[0], asked(lines, CONVERSATION)[0]) == ("/v9/w", "/v9/s")
    assert asked('protocol = "ollama"', whole)[1]["stream"] is False


def test_a_shipped_table_is_changed_like_every_other_protocol() -> None:
    lines = 'protocol = "ollama"\nomit = ["options.num_predict"]\nbody = { think = true, options = { seed = 1 } }'
    body = asked(lines, CONVERSATION)[1]
    assert (body["think"], body["options"]) == (True, {"seed": 1})
    assert for_target(Target(protocol="gemini", end="close")).end == "close"


def test_messages_and_tools_have_the_shape_that_the_config_says() -> None:
    lines = """
protocol = "openai_chat"
[target.request]
message = { id = "m{number}", role = "{role}", parts = [{ type = "text", text = "{text}" }] }
roles = { assistant = "bot", system = "rules" }
tool = { named = "{tool}" }
[target.request.body]
id = "{conversation}-{turn}"
messages = "{all_messages}"
since = "{messages}"
offered = "{tools}"
"""
    _, body = asked(lines, CONVERSATION)
    assert [(each["id"], each["role"]) for each in body["messages"]] == [
        ("m1", "rules"), ("m2", "user"), ("m3", "bot"), ("m4", "user"),
    ]  # fmt: skip
    assert body["messages"][3]["parts"] == [{"type": "text", "text": "{prompt}?"}]
    assert (len(body["since"]), body["offered"], body["id"]) == (3, [{"named": "look"}], "c-1-2")


PARTS = [{"text": "Hm", "thought": True}, {"text": "Hel"}, {"text": "lo"}, {"call": {"name": "f"}}]


def test_each_looks_into_the_items_of_a_list_one_by_one() -> None:
    text = Place(each="parts", at="text", where={"thought": False})
    thinking = Place(each="parts", at="text", where={"thought": True})
    tool = Place(each="parts", at="call")
    events = Events(text=text, thinking=thinking, tool=tool, end_data=".")
    assert meaning(events, {"parts": PARTS})[0] == Meaning(Kind.TEXT, "Hello")
    assert meaning(events, {"parts": PARTS[:1]})[0] == Meaning(Kind.THINKING, "Hm")
    assert meaning(events, {"parts": PARTS[3:]})[0] == Meaning(Kind.TOOL, '[{"name":"f"}]')
    nothings: list[Any] = [[{"text": ""}], [], {}, "x", None, [None, 1]]
    for nothing in nothings:
        assert meaning(events, {"parts": nothing})[0].kind is Kind.OTHER


@pytest.mark.parametrize(
    ("places", "data", "tokens"),
    [
        (Place(sum=["u.a", "u.b"]), {"u": {"a": 3, "b": 4}}, 7),
        (Place(sum=["u.a", "u.b"]), {"u": {"a": 3}}, 3),
        (Place(sum=["u.a", "u.b"]), {"u": {"a": 0, "b": 0}}, 0),
        (Place(sum=["u.a", "u.b"]), {"u": {}}, None),
        (Place(sum=["u.a", "u.b"]), {"u": {"a": "x", "b": 1}}, None),
        (Place(each="u", at="out"), {"u": [{"out": 3}, {"out": 4}, {}]}, 7),
        ("u.*.out", {"u": [{"out": 3}, {"out": 4}]}, 7),
    ],
)
def test_counts_in_several_places_are_added_up(places: Any, data: Any, tokens: int | None) -> None:
    assert meaning(Events(text="t", output_tokens=places, end_data="."), data)[1].output_tokens == tokens


def test_one_of_several_values_is_enough() -> None:
    events = Events(text=Place(at="d", where={"type": ["a", "b"]}), end=Place(where={"type": ["end", "stop"]}))
    assert [meaning(events, {"type": kind, "d": "x"})[0].characters for kind in ("a", "b", "c", None)] == [1, 1, 0, 0]
    assert [meaning(events, {"type": kind})[0].ends for kind in ("end", "stop", "a")] == [True, True, False]
    assert custom(events).terminals == (b"end", b"stop")


def test_a_true_value_that_ends_a_stream_is_seen_however_json_spaces_it() -> None:
    terminals = custom(Events(text="t", end=Place(where={"done": True}))).terminals
    for written in (b'{"t": "", "done": true}', b'{"t":"","done":true}'):
        assert any(marker in written for marker in terminals)
    assert not any(marker in b'{"t":"done","done":false}' for marker in terminals)


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        ('[target]\nprotocol = "ollama"\n[target.events]\ntext = "t"', "[target.events] goes with"),
        ('[target]\nprotocol = "olama"', "no protocol called 'olama'; there are anthropic_messages, "),
        ('[target]\nwhole_path = "x"', "target.whole_path: 'x' does not begin with a slash"),
        ('[target.request]\nmessage = { a = "{text}" }', "target.request.message shapes"),
        ('[target.request]\nbody = { a = "{messages}" }\nmessage = { a = "{txt}" }', "target.request.message.a: no "),
        ('[target.request]\nbody = { a = "{messages}" }\nmessage = { a = "x" }', "target.request.message has no "),
        ('[target.request]\nbody = { a = "{messages}" }\nroles = { bot = "x" }', "target.request.roles: no role"),
        ('[target]\nprotocol="custom"\n[target.events]\ntext={sum=["a"]}\nend="e"', "target.events.text: `sum`"),
    ],
)
def test_a_mistake_in_these_keys_is_named(toml: str, fault: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse(toml.encode())
    assert fault in str(found.value)


def test_an_end_by_stop_reason_needs_a_protocol_that_has_them() -> None:
    with pytest.raises(ScenarioError, match="plain_sse has no stop reasons"):
        for_target(Target(protocol="plain_sse", end="finish_reason"))
