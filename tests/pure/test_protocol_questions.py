"""What each protocol asks: the question's body, its marks, tools and limits, and where the target's protocol goes."""

import re
from pathlib import Path
from typing import get_args

import pytest

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Events, ProtocolName, Target
from streamgauge.harness.drive.prompts import Prompt, ask
from streamgauge.harness.drive.protocols import PROTOCOLS, Answer, Meaning, Protocol, for_target
from streamgauge.harness.drive.reading.sse import Decoder
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.record.arrivals import Kind
from tests.support.formats import ALL, ANTHROPIC, OPENAI, PLAIN, RESPONSES


def test_a_question_carries_model_limit_history_and_system() -> None:
    target = Target(model="m", max_tokens=50)
    history = (("user", "Hi"), ("assistant", "Hello!"), ("user", "Grüße?"))
    prompt = Prompt(history, system="Be brief.", max_tokens=7)
    turns = [{"role": role, "content": text} for role, text in history]
    common = {"model": "m", "max_tokens": 7, "stream": True}
    assert ANTHROPIC.request(target, prompt, True) == {
        **common,
        "messages": turns,
        "system": "Be brief.",
    }
    assert OPENAI.request(target, prompt, True) == {
        **common,
        "messages": [{"role": "system", "content": "Be brief."}, *turns],
        "stream_options": {"include_usage": True},
    }
    assert RESPONSES.request(target, prompt, True) == {
        "model": "m",
        "max_output_tokens": 7,
        "stream": True,
        "input": turns,
        "instructions": "Be brief.",
        "store": False,
    }
    assert PLAIN.request(target, prompt, True) == {
        **common,
        "messages": turns,
        "system": "Be brief.",
    }


def test_a_system_prompt_can_be_marked_for_the_prompt_cache_where_the_protocol_has_such_marks() -> None:
    prompt = Prompt((("user", "Hi"),), system="Be brief.", cached=True)
    bodies = [protocol.request(Target(), prompt, True) for protocol in (ANTHROPIC, OPENAI, PLAIN)]
    assert bodies[0]["system"] == [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert bodies[1]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert bodies[2]["system"] == "Be brief."


def test_of_a_conversation_the_last_two_questions_are_marked() -> None:
    """The one before, to find in the cache what it left there, and the newest, to leave more."""
    said = (("user", "One"), ("assistant", "1"), ("user", "Two"), ("assistant", "2"), ("user", "Three"))
    for turns, marked in ((said, [2, 4]), (said[:3], [0, 2]), (said[:1], [0])):
        body = ANTHROPIC.request(Target(), Prompt(turns, goes_on=True), True)
        contents = [message["content"] for message in body["messages"]]
        assert [place for place, content in enumerate(contents) if not isinstance(content, str)] == marked
        assert contents[-1] == [{"type": "text", "text": turns[-1][1], "cache_control": {"type": "ephemeral"}}]


def test_a_servers_tools_are_offered_by_their_names_as_each_protocol_has_it() -> None:
    prompt = Prompt((("user", "Hi"),), tools=("web_search_20260209", "convert"))
    bodies = [protocol.request(Target(), prompt, True) for protocol in (ANTHROPIC, OPENAI, PLAIN)]
    assert bodies[0]["tools"] == [
        {"type": "web_search_20260209", "name": "web_search"},
        {"type": "convert", "name": "convert"},
    ]
    assert bodies[1]["tools"] == [
        {"type": "function", "function": {"name": "web_search"}},
        {"type": "function", "function": {"name": "convert"}},
    ]
    assert bodies[2]["tools"] == ["web_search", "convert"]
    assert [tool["name"] for tool in RESPONSES.request(Target(), prompt, True)["tools"]] == ["web_search", "convert"]


@pytest.mark.parametrize("protocol", ALL)
def test_a_question_without_a_limit_of_its_own_takes_the_targets(protocol: Protocol) -> None:
    body = protocol.request(Target(max_tokens=50), ask("Hi"), False)
    assert (body["max_tokens"], body["stream"]) == (50, False)
    assert "system" not in body


def test_the_config_names_the_protocols_that_exist() -> None:
    assert (*PROTOCOLS, "custom") == get_args(ProtocolName)
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())


def test_a_target_has_its_protocol_at_its_path() -> None:
    assert for_target(Target()) is ANTHROPIC
    assert for_target(Target(protocol="openai_chat", path="/v2/chat")).path == "/v2/chat"
    assert for_target(Target(protocol="custom", events=Events(end_data="."))).terminals == (b".",)
    with pytest.raises(ScenarioError, match="no protocol called 'grpc'; there are anthropic_messages, "):
        for_target(Target(protocol="grpc"))  # type: ignore[arg-type]


def test_the_format_that_the_docs_map_is_read_as_they_say() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/protocols.md").read_text(encoding="utf-8")
    stream = re.findall(r"```\n(data: .*?)```", page, re.DOTALL)[0]
    settings = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[1]
    protocol, seen = for_target(parse(settings.encode()).target), Answer()
    meanings = [protocol.meaning_of(event, seen) for event in Decoder().feed(stream.encode())]
    assert meanings == [Meaning(Kind.TEXT, "Hel"), Meaning(Kind.TEXT, "lo"), Meaning(Kind.OTHER, ends=True)]
    assert seen == Answer(12, 2, stop_reason="stop")
