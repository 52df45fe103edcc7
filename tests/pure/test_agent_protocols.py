"""What the AI SDK and AG-UI are asked, and the two keys of a table that they needed."""

import pytest

from streamgauge.harness.config.checks import faults
from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Config, Events, Place, Target
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols import PROTOCOLS, custom
from streamgauge.harness.drive.reading.body import decode
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.record.arrivals import KINDS

SAID = Prompt(
    (("user", "Hi"), ("assistant", "Hello!"), ("user", "Why?")),
    system="Be brief.",
    tools=("search",),
    conversation="c1",
)


def test_the_ai_sdk_is_asked_as_its_chat_transport_asks() -> None:
    body = PROTOCOLS["ai_sdk"].request(Target(), SAID, True)
    said = [("system", "Be brief."), *SAID.messages]
    assert body == {
        "id": "c1",
        "messages": [
            {"id": f"msg-{number}", "role": role, "parts": [{"type": "text", "text": text}]}
            for number, (role, text) in enumerate(said, 1)
        ],
        "trigger": "submit-message",
        "tools": [{"name": "search"}],
    }
    assert PROTOCOLS["ai_sdk"].names_conversation


def test_ag_ui_is_asked_with_all_keys_of_a_run_even_without_tools() -> None:
    body = PROTOCOLS["ag_ui"].request(Target(), SAID, True)
    assert {key: body[key] for key in ("threadId", "runId", "state", "context", "forwardedProps")} == {
        "threadId": "c1", "runId": "c1-2", "state": {}, "context": [], "forwardedProps": {},
    }  # fmt: skip
    assert body["messages"][1] == {"id": "msg-2", "role": "user", "content": "Hi"}
    assert body["tools"][0]["name"] == "search"
    alone = PROTOCOLS["ag_ui"].request(Target(), Prompt((("user", "Hi"),), conversation="c1"), True)
    assert (alone["tools"], len(alone["messages"])) == ([], 1)


def kinds(*events: str) -> list[str]:
    whole = Place(at="all", whole=True)
    protocol = custom(Events(text=["piece", whole], tool=Place(at="call", whole=True), end_data="[DONE]"))
    body = "".join(f"data: {event}\n\n" for event in (*events, "[DONE]"))
    return [KINDS[code].value for code in decode(body.encode(), protocol, 1_000).kinds[:-1]]


def test_what_comes_whole_counts_only_if_none_of_its_kind_came_before() -> None:
    assert kinds('{"all":"Hi"}') == ["text"]
    assert kinds('{"piece":"Hi"}', '{"all":"Hi"}') == ["text", "other"]
    assert kinds('{"piece":"Hi"}', '{"call":"f"}', '{"call":"f"}') == ["text", "tool", "other"]
    assert kinds('{"all":"a"}', '{"all":"b"}', '{"all":"c"}') == ["text", "other", "other"]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (
            'error = { at = "e", whole = true }\nend_data = "x"',
            "target.events.error: `whole` is for text,",
        ),
        ('stop_reason = [{ at = "e", whole = true }]\nend_data = "x"', "target.events.stop_reason: `whole` is for"),
    ],
)
def test_whole_is_for_content(lines: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        parse(f'[target]\nprotocol = "custom"\n[target.events]\n{lines}\n'.encode())


def test_a_default_is_for_a_place_that_exists() -> None:
    lines = '[target.request]\ndefaults = { tool = [] }\n[target.request.body]\nq = "{prompt}"\n'
    with pytest.raises(
        ConfigError, match=r"target\.request\.defaults: no place called 'tool'; there are prompt, messages"
    ):
        parse(lines.encode())
    lines = "[target.request]\ndefaults = { tools = [] }\n"
    with pytest.raises(ConfigError, match="defaults shapes what"):
        parse(lines.encode())


def test_the_shipped_tables_are_configs_without_a_fault() -> None:
    assert list(faults(Config(target=Target(protocol="ai_sdk")))) == []
    assert list(faults(Config(target=Target(protocol="ag_ui", end="marker")))) == []
