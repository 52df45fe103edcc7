"""How the reference server's dialects read a question, and what they refuse."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from streamgauge.reference_server.dialects.anthropic_messages import MessagesQuestion
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.openai_responses import ResponsesQuestion
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.dialects.question import Question
from streamgauge.reference_server.model.answer import AnswerEnd
from streamgauge.reference_server.model.script import write_script
from streamgauge.reference_server.model.settings import ModelSettings
from tests.support.dialects import ANSWER, ASKED, DIALECTS, END, read, stream


def test_tool_results_before_the_last_question_do_not_count() -> None:
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}
    done = [*ASKED["messages"], use, result, {"role": "assistant", "content": "So."}]
    again = [*done, {"role": "user", "content": "And?"}]
    assert MessagesQuestion.model_validate(ASKED | {"messages": done}).model_input().tool_results == 1
    assert MessagesQuestion.model_validate(ASKED | {"messages": again}).model_input().tool_results == 0


# The input of the model
MARK = {"cache_control": {"type": "ephemeral"}}
WEATHER = {
    "name": "weather",
    "description": "The weather",
    "input_schema": {"type": "object", "properties": {"city": {"enum": ["Höfn"]}}},
}


def ask(**fields: Any) -> Any:
    return MessagesQuestion.model_validate(ASKED | fields).model_input()


def test_the_prompt_is_cached_up_to_each_mark_in_the_order_tools_system_messages() -> None:
    asked = ask(
        tools=[WEATHER | MARK],
        system=[{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind.", **MARK}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Why?", **MARK}, {"type": "text", "text": "How?"}]}
        ],
    )
    tools, system, question = asked.cache_prefixes
    assert "weather" in tools
    assert system == f"{tools}\nBe brief.\nBe kind."
    assert question == f"{system}\nWhy?"
    assert asked.prompt == f"{question}\nHow?"


def test_a_cache_mark_on_the_request_marks_the_whole_prompt() -> None:
    assert ask(**MARK).cache_prefixes == ["Why?"]


def test_tools_with_a_schema_are_the_clients_and_those_with_a_type_the_servers() -> None:
    theirs, ours = ask(tools=[WEATHER, {"type": "gauge_level_20261101", "name": "gauge_level"}]).tools
    assert (theirs.name, theirs.client_side, theirs.input) == ("weather", True, {"city": "Höfn"})
    assert (ours.name, ours.client_side, ours.input.keys()) == ("gauge_level", False, {"station"})


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "auto"}, ["weather", "maps"]),
        ({"type": "any"}, ["weather", "maps"]),
        ({"type": "tool", "name": "maps"}, ["maps"]),
        ({"type": "none"}, []),
    ],
)
def test_anthropics_tool_choice_is_followed(choice: dict[str, str], names: list[str]) -> None:
    asked = ask(tools=[WEATHER, WEATHER | {"name": "maps"}], tool_choice=choice)
    assert [tool.name for tool in asked.tools] == names


def test_openais_tool_choice_is_followed() -> None:
    offered = [{"type": "function", "function": {"name": name}} for name in ("weather", "maps")]
    for choice, names in [
        ("required", ["weather", "maps"]),
        ("none", []),
        ({"type": "function", "function": {"name": "maps"}}, ["maps"]),
    ]:
        asked = ChatQuestion.model_validate(ASKED | {"tools": offered, "tool_choice": choice}).model_input()
        assert [tool.name for tool in asked.tools] == names


def test_thinking_and_stop_sequences_are_read_from_every_dialect() -> None:
    for asked in (
        ask(thinking={"type": "enabled", "budget_tokens": 1024}, stop_sequences=["\n\n"]),
        ChatQuestion.model_validate(ASKED | {"reasoning_effort": "low", "stop": "\n\n"}).model_input(),
        PlainQuestion.model_validate(ASKED | {"thinking": True, "stop": ["\n\n"]}).model_input(),
    ):
        assert asked.thinking
        assert asked.stop_sequences == ["\n\n"]


# What is refused
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "n", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]}
HELLO = {"role": "user", "content": "Hi"}
CHAT_USE = {
    "role": "assistant",
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "n", "arguments": "{}"}}],
}
CHAT_RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "x"}


def talk(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def user(*blocks: Any) -> dict[str, Any]:
    return talk({"role": "user", "content": list(blocks)})


UNSIGNED = {"role": "assistant", "content": [{"type": "thinking", "thinking": "a", "signature": "b"}]}
BAD_MARK = {"cache_control": {"type": "forever"}}
TYPED = {"type": "crystal_1", "name": "crystal"}
REFUSED: dict[type[Question], list[tuple[dict[str, Any], str]]] = {
    MessagesQuestion: [
        (user({"type": "text"}), "messages.0.content.0.text.text: Field required"),
        (user({"type": "text", "text": ""}), "messages.0.content.0.text.text: String should have at least 1"),
        (user({"type": "hologram"}), "messages.0.content.0: there is no content of this type"),
        (user({}), "messages.0.content.0: there is no content of this type"),
        (user({"type": []}), "messages.0.content.0: there is no content of this type"),
        (user("Hi"), "messages.0.content.0: there is no content of this type"),
        (user(), "messages.0: all messages must have non-empty content"),
        (talk({"role": "user", "content": ""}), "messages.0: all messages must have non-empty content"),
        (talk({"role": "assistant", "content": "Hi"}), 'messages: first message must use the "user" role'),
        (talk(HELLO, RESULT), "unexpected `tool_use_id` found in `tool_result` blocks: toolu_1"),
        (talk(HELLO, USE, HELLO), "`tool_use` ids were found without `tool_result` blocks"),
        (talk(HELLO, USE, RESULT, USE, HELLO), "`tool_use` ids were found without `tool_result` blocks"),
        (talk(HELLO, USE), "`tool_use` ids were found without `tool_result` blocks"),
        (talk(HELLO, USE | {"role": "user"}), "messages.1.content.0: `tool_use` blocks may not be in `user` messages"),
        (user(*[{"type": "text", "text": "a", **MARK}] * 5), "A maximum of 4 blocks with cache_control"),
        (user({"type": "text", "text": "a", **BAD_MARK}), "messages.0.content.0.text.cache_control.type: Input"),
        ({"tools": [{"name": "n"}]}, "tools.0: input_schema: a JSON Schema of type 'object' is required"),
        ({"tools": [WEATHER | {"name": "n o"}]}, "tools.0.name: String should match"),
        ({"tools": [TYPED]}, "tools.0: no tool called 'crystal' of type 'crystal_1'; there are gauge_level"),
        ({"tools": [WEATHER, WEATHER]}, "tools: Tool names must be unique."),
        ({"tool_choice": {"type": "any"}}, "tool_choice may only be specified while providing tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "maps"}}, "Tool 'maps' not found"),
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.budget_tokens: Input should be greater"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, "`max_tokens` must be greater than"),
        (
            {"thinking": {"type": "adaptive"}, "tools": [WEATHER], "tool_choice": {"type": "any"}},
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        ({"stop_sequences": [""]}, "stop_sequences.0: String should have at least 1 character"),
        ({"temperature": 2}, "temperature: Input should be less than or equal to 1"),
    ],
    ChatQuestion: [
        (talk(HELLO, CHAT_RESULT), "messages.1: messages with role 'tool' must be a response to"),
        (talk(HELLO, CHAT_USE, HELLO), "did not have response messages: call_1"),
        ({"tool_choice": {"type": "function", "function": {"name": "n"}}}, "Tool choice 'n' not found"),
        ({"stream_options": {"include_usage": True}}, "'stream_options' parameter is only allowed when"),
        ({"n": 2}, "n: Input should be less than or equal to 1"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ],
    PlainQuestion: [
        ({"tools": ["gauge_level", "rod"]}, "tools: no tool called 'rod'; there are gauge_level, "),
    ],
}


@pytest.mark.parametrize(
    ("dialect", "fields", "complaint"), [(dialect, *row) for dialect, rows in REFUSED.items() for row in rows]
)
def test_a_question_that_a_real_server_refuses_is_refused_with_the_place_of_the_fault(
    dialect: type[Question], fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        dialect.model_validate(ASKED | fields)
    first = refused.value.errors()[0]
    place = ".".join(map(str, first["loc"]))
    assert complaint in (f"{place}: {first['msg']}" if place else first["msg"])


def test_a_thought_that_the_model_did_not_write_is_refused() -> None:
    question = MessagesQuestion.model_validate(ASKED | talk(HELLO, UNSIGNED, HELLO))
    with pytest.raises(PydanticCustomError, match=r"messages\.1\.content\.0: Invalid `signature` in `thinking` block"):
        question.model_input()


STRANGE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.just(10**30), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "text", "content", "name", "input", "items"]), inner, max_size=4),
    ),
    max_leaves=6,
)


def bodies(strange: Any) -> list[tuple[type[Question], dict[str, Any]]]:
    """Bodies that are well-formed except for one strange value, once in each place that is validated."""
    use: Any = USE["content"][0]
    result: Any = RESULT["content"][0]
    schema = {"type": "object", "properties": {"a": strange}}
    called = {"id": "c", "type": "function", "function": strange}
    return [
        *((MessagesQuestion, {field: strange}) for field in MessagesQuestion.model_fields),
        *((ChatQuestion, {field: strange}) for field in ChatQuestion.model_fields),
        *((PlainQuestion, {field: strange}) for field in PlainQuestion.model_fields),
        *((ResponsesQuestion, {field: strange}) for field in ResponsesQuestion.model_fields),
        (ResponsesQuestion, {"input": [strange]}),
        (ResponsesQuestion, {"input": [{"role": "user", "content": strange}]}),
        (ResponsesQuestion, {"input": [{"role": "user", "content": [{"type": "input_text", "text": strange}]}]}),
        (ResponsesQuestion, {"tools": [{"type": "function", "name": "n", "parameters": schema}]}),
        (MessagesQuestion, talk({"role": "user", "content": strange})),
        (MessagesQuestion, user(strange)),
        (MessagesQuestion, user({"type": "document", "source": {"type": "text", "data": strange}})),
        (
            MessagesQuestion,
            talk(HELLO, USE, {"role": "user", "content": [result | {"content": strange}]}),
        ),
        (MessagesQuestion, talk(HELLO, {"role": "assistant", "content": [use | {"input": strange}]})),
        (MessagesQuestion, {"tools": [WEATHER | {"input_schema": schema}]}),
        (ChatQuestion, talk({"role": "user", "content": strange})),
        (ChatQuestion, talk(HELLO, {"role": "assistant", "tool_calls": [called]})),
        (ChatQuestion, {"tools": [{"type": "function", "function": {"name": "n", "parameters": schema}}]}),
        (PlainQuestion, talk({"role": "user", "content": strange})),
    ]


@settings(max_examples=min(40, settings().max_examples))
@given(STRANGE)
def test_any_question_is_refused_or_answered(strange: Any) -> None:
    for dialect, fields in bodies(strange):
        try:
            question = dialect.model_validate_json(json.dumps(ASKED | {"input": "Why?"} | fields))
        except ValidationError:
            continue
        script = write_script(ModelSettings(tokens=(12, 12)), question.model_input())
        written = stream(question.writer(ANSWER), script.steps, AnswerEnd(script.stop_reason, len(script.steps)))
        protocol = next(protocol for known, protocol in DIALECTS if type(known) is dialect)
        assert read(protocol, written)[0][-1].ends
        json.loads(question.writer(ANSWER).whole(script.steps, END))
