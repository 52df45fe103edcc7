"""What the reference server's dialects write is what the harness's protocols read; what they refuse, and why."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from streamgauge.harness.drive.protocols import PROTOCOLS, Meaning, Protocol
from streamgauge.harness.drive.protocols import Answer as Reported
from streamgauge.harness.drive.reading import sse
from streamgauge.harness.record.arrivals import Kind
from streamgauge.reference_server.dialects import Answer, End, Question, Writer
from streamgauge.reference_server.dialects.anthropic_messages import MessagesQuestion
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.model import Shape, Step, ToolCall, plan

ASKED: dict[str, Any] = {"model": "m", "max_tokens": 5000, "messages": [{"role": "user", "content": "Why?"}]}
ANTHROPIC = MessagesQuestion.model_validate({**ASKED, "stream": True})
OPENAI = ChatQuestion.model_validate({**ASKED, "stream": True, "stream_options": {"include_usage": True}})
PLAIN = PlainQuestion.model_validate(ASKED)
DIALECTS: list[tuple[Question, Protocol]] = [
    (ANTHROPIC, PROTOCOLS["anthropic_messages"]),
    (OPENAI, PROTOCOLS["openai_chat"]),
    (PLAIN, PROTOCOLS["plain_sse"]),
]
every_dialect = pytest.mark.parametrize(("question", "protocol"), DIALECTS, ids=["anthropic", "openai", "plain"])

ANSWER = Answer("a1", 1_795_424_400, input_tokens=3000, cache_read=1200, cache_write=800)
END = End("end_turn", output_tokens=7, thinking_tokens=2)

OURS = ToolCall("s1", "gauge_level", {"station": "Höfn"})
RAN = ToolCall("s1", "gauge_level", {"station": "Höfn"}, result="1.42 m", seconds=0.02)
THEIRS = ToolCall("c1", "weather", {"city": "Höfn"}, client_side=True)

THOUGHT = [Step("thinking", "Hm,\n"), Step("thinking", " so.")]
TEXT = [Step("text", "Grüße"), Step("text", "\n\n"), Step("text", ' {"a": 1} 😀')]
INPUT = [Step("tool_input", '{"ci'), Step("tool_input", 'ty":"Höfn"}')]


def called(call: ToolCall) -> list[Step]:
    return [Step("tool_input", step.text, call) for step in INPUT]


RUN = [*called(OURS), Step("tool_start", "", OURS), Step("tool_end", "", RAN)]


def stream(writer: Writer, steps: Sequence[Step], end: End = END) -> bytes:
    return writer.opening() + b"".join(map(writer.write, steps)) + writer.closing(end)


def read(protocol: Protocol, body: bytes) -> tuple[list[Meaning], Reported]:
    reported = Reported()
    return [protocol.understand(event, reported) for event in sse.Decoder().feed(body)], reported


def content(meanings: list[Meaning]) -> list[tuple[Kind, int]]:
    return [(meaning.kind, meaning.characters) for meaning in meanings if meaning.characters]


def expected(steps: Sequence[Step]) -> list[tuple[Kind, int]]:
    kinds = {"text": Kind.TEXT, "thinking": Kind.THINKING, "tool_input": Kind.TOOL}
    return [(kinds[step.kind], len(step.text)) for step in steps if step.kind in kinds]


def json_events(body: bytes) -> list[Any]:
    return [json.loads(event.data) for event in sse.Decoder().feed(body) if event.data != b"[DONE]"]


# What is written is what is read


@every_dialect
def test_thoughts_and_text_are_read_as_they_were_generated(question: Question, protocol: Protocol) -> None:
    meanings, _ = read(protocol, stream(question.writer(ANSWER), THOUGHT + TEXT))
    assert content(meanings) == expected(THOUGHT + TEXT)
    assert not any(meaning.error for meaning in meanings)
    assert meanings[-1].ends


@pytest.mark.parametrize(("question", "protocol"), DIALECTS[:2], ids=["anthropic", "openai"])
def test_the_input_of_a_clients_tool_is_content(question: Question, protocol: Protocol) -> None:
    steps = TEXT + called(THEIRS)
    meanings, reported = read(protocol, stream(question.writer(ANSWER), steps, End("tool_use", 5)))
    assert content(meanings) == expected(steps)
    assert reported.stop_reason in {"tool_use", "tool_calls"}


def test_the_input_of_a_tool_of_the_server_is_content_in_pieces_or_as_a_whole() -> None:
    steps = TEXT + RUN + TEXT
    meanings, _ = read(PROTOCOLS["anthropic_messages"], stream(ANTHROPIC.writer(ANSWER), steps))
    assert content(meanings) == expected(steps)
    meanings, _ = read(PROTOCOLS["plain_sse"], stream(PLAIN.writer(ANSWER), steps))
    told = [(kind, size) for kind, size in content(meanings) if kind is not Kind.TOOL]
    assert told == expected(TEXT + TEXT)
    assert [meaning.kind for meaning in meanings].count(Kind.TOOL) == 1


def test_a_carriage_return_of_a_real_model_is_a_line_break_in_plain_sse() -> None:
    written = PLAIN.writer(ANSWER).write(Step("text", "a\r\nb\rc"))
    assert written == b"data: a\ndata: b\ndata: c\n\n"


@every_dialect
def test_usage_is_reported_as_the_protocol_counts(question: Question, protocol: Protocol) -> None:
    _, reported = read(protocol, stream(question.writer(ANSWER), TEXT))
    _, whole = read_whole(question, protocol)
    uncached = 1000 if protocol.name == "anthropic_messages" else 3000
    for counted in (reported, whole):
        assert (counted.input_tokens, counted.output_tokens) == (uncached, 7)
        assert (counted.cache_read_tokens, counted.cache_write_tokens) == (1200, 800)
    assert reported.stop_reason == whole.stop_reason


def read_whole(question: Question, protocol: Protocol) -> tuple[Meaning, Reported]:
    reported = Reported()
    return protocol.plain(question.writer(ANSWER).whole(THOUGHT + TEXT, END), reported), reported


@every_dialect
def test_a_whole_answer_has_the_text_of_the_stream(question: Question, protocol: Protocol) -> None:
    meaning, _ = read_whole(question, protocol)
    assert meaning == Meaning(Kind.TEXT, sum(len(step.text) for step in TEXT), ends=True)


@every_dialect
def test_an_error_in_the_middle_is_read_as_one(question: Question, protocol: Protocol) -> None:
    writer = question.writer(ANSWER)
    begun = writer.opening() + b"".join(map(writer.write, TEXT))
    meanings, _ = read(protocol, begun + writer.error(529, "no room\nleft"))
    assert "no room left" in str(meanings[-1].error)
    assert content(meanings) == expected(TEXT)


@every_dialect
def test_an_answer_that_ends_before_its_first_token_is_complete(question: Question, protocol: Protocol) -> None:
    meanings, reported = read(protocol, stream(question.writer(ANSWER), [], End("max_tokens", 0)))
    assert content(meanings) == []
    assert meanings[-1].ends
    assert reported.stop_reason in {"max_tokens", "length"}


# Anthropic's content blocks

CALLS = [THEIRS, ToolCall("c2", "weather", {}, client_side=True), OURS]
ANY_STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.sampled_from(["thinking", "text"]), st.text(min_size=1, max_size=3)),
        st.builds(Step, st.just("tool_input"), st.text(min_size=1, max_size=3), st.sampled_from(CALLS)),
        st.sampled_from([Step("tool_start", "", OURS), Step("tool_end", "", RAN)]),
    ),
    max_size=12,
)


@given(ANY_STEPS)
def test_blocks_open_and_close_one_after_the_other_and_hold_only_their_own_deltas(steps: list[Step]) -> None:
    belongs = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}
    opened: str | None = None
    index = -1
    told = ""
    for event in json_events(stream(ANTHROPIC.writer(ANSWER), steps))[2:-2]:
        if event["type"] == "content_block_start":
            assert opened is None
            index += 1
            opened = event["content_block"]["type"].removeprefix("server_")
        assert event["index"] == index
        if event["type"] == "content_block_delta":
            assert opened is not None
            kind = event["delta"].pop("type")
            assert kind in {belongs.get(opened), "signature_delta" if opened == "thinking" else None}
            told += "" if kind == "signature_delta" else "".join(event["delta"].values())
        if event["type"] == "content_block_stop":
            assert opened is not None
            opened = None
    assert opened is None
    assert told == "".join(step.text for step in steps)


def test_a_tool_of_the_server_is_a_native_use_and_a_native_result() -> None:
    events = json_events(stream(ANTHROPIC.writer(ANSWER), RUN))
    use, result = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert use == {"type": "server_tool_use", "id": "srvtoolu_s1", "name": "gauge_level", "input": {}}
    assert result == {
        "type": "gauge_level_tool_result",
        "tool_use_id": "srvtoolu_s1",
        "content": {"type": "gauge_level_result", "text": "1.42 m"},
    }


def test_a_tool_that_failed_is_told_as_the_apis_own_tools_tell_it() -> None:
    failed = ToolCall("s1", "gauge_level", {}, result="no gauge", failed=True)
    events = json_events(ANTHROPIC.writer(ANSWER).write(Step("tool_end", "", failed)))
    assert events[0]["content_block"]["content"] == {
        "type": "gauge_level_tool_result_error",
        "error_code": "unavailable",
        "error_message": "no gauge",
    }


def test_plain_tool_events_have_names_and_tell_all_about_the_run() -> None:
    events = sse.Decoder().feed(stream(PLAIN.writer(ANSWER), RUN))
    start, end = events[:2]
    assert (start.name, end.name) == ("tool_start", "tool_end")
    assert json.loads(start.data) == {"id": "s1", "name": "gauge_level", "input": {"station": "Höfn"}}
    ended = {"id": "s1", "name": "gauge_level", "result": "1.42 m", "failed": False, "seconds": 0.02}
    assert json.loads(end.data) == ended


# A whole answer, and the next question that brings it back


def test_a_whole_anthropic_answer_can_be_sent_back_as_it_came() -> None:
    message = json.loads(ANTHROPIC.writer(ANSWER).whole(THOUGHT + TEXT + RUN + TEXT + called(THEIRS), END))
    kinds = ["thinking", "text", "server_tool_use", "gauge_level_tool_result", "text", "tool_use"]
    assert [block["type"] for block in message["content"]] == kinds
    result = {
        "type": "tool_result",
        "tool_use_id": "toolu_c1",
        "content": [{"type": "text", "text": "snow"}],
        "is_error": True,
    }
    turns = [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": [result]}]
    ask = MessagesQuestion.model_validate(ASKED | {"messages": ASKED["messages"] + turns}).ask()
    assert ask.tool_results == 1
    assert ask.prompt.splitlines()[-1] == "snow"


def test_a_whole_openai_answer_can_be_sent_back_as_it_came() -> None:
    message = json.loads(OPENAI.writer(ANSWER).whole(THOUGHT + TEXT + called(THEIRS), END))["choices"][0]["message"]
    assert message["reasoning_content"] == "Hm,\n so."
    result = {"role": "tool", "tool_call_id": "call_c1", "content": "snow"}
    ask = ChatQuestion.model_validate(ASKED | {"messages": [*ASKED["messages"], message, result]}).ask()
    assert ask.tool_results == 1
    assert ask.prompt.splitlines()[-2:] == ['{"city":"Höfn"}', "snow"]


def test_tool_results_before_the_persons_last_question_do_not_count() -> None:
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}
    done = [*ASKED["messages"], use, result, {"role": "assistant", "content": "So."}]
    again = [*done, {"role": "user", "content": "And?"}]
    assert MessagesQuestion.model_validate(ASKED | {"messages": done}).ask().tool_results == 1
    assert MessagesQuestion.model_validate(ASKED | {"messages": again}).ask().tool_results == 0


# What the model is asked

MARK = {"cache_control": {"type": "ephemeral"}}
WEATHER = {
    "name": "weather",
    "description": "The weather",
    "input_schema": {"type": "object", "properties": {"city": {"enum": ["Höfn"]}}},
}


def ask(**fields: Any) -> Any:
    return MessagesQuestion.model_validate(ASKED | fields).ask()


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


def test_a_mark_on_the_request_is_one_on_the_whole_prompt() -> None:
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
def test_the_choice_of_a_tool_is_followed(choice: dict[str, str], names: list[str]) -> None:
    asked = ask(tools=[WEATHER, WEATHER | {"name": "maps"}], tool_choice=choice)
    assert [tool.name for tool in asked.tools] == names


def test_openais_choice_of_a_tool_is_followed() -> None:
    offered = [{"type": "function", "function": {"name": name}} for name in ("weather", "maps")]
    for choice, names in [
        ("required", ["weather", "maps"]),
        ("none", []),
        ({"type": "function", "function": {"name": "maps"}}, ["maps"]),
    ]:
        asked = ChatQuestion.model_validate(ASKED | {"tools": offered, "tool_choice": choice}).ask()
        assert [tool.name for tool in asked.tools] == names


def test_every_dialect_asks_for_thinking_and_stop_sequences_in_its_own_words() -> None:
    for asked in (
        ask(thinking={"type": "enabled", "budget_tokens": 1024}, stop_sequences=["\n\n"]),
        ChatQuestion.model_validate(ASKED | {"reasoning_effort": "low", "stop": "\n\n"}).ask(),
        PlainQuestion.model_validate(ASKED | {"thinking": True, "stop": ["\n\n"]}).ask(),
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
def test_what_a_real_server_would_refuse_is_refused_with_its_place(
    dialect: type[Question], fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        dialect.model_validate(ASKED | fields)
    first = refused.value.errors()[0]
    place = ".".join(map(str, first["loc"]))
    assert complaint in (f"{place}: {first['msg']}" if place else first["msg"])


def test_a_thought_that_the_model_never_had_is_refused_when_the_model_is_asked() -> None:
    question = MessagesQuestion.model_validate(ASKED | talk(HELLO, UNSIGNED, HELLO))
    with pytest.raises(PydanticCustomError, match=r"messages\.1\.content\.0: Invalid `signature` in `thinking` block"):
        question.ask()


STRANGE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.just(10**30), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "text", "content", "name", "input", "items"]), inner, max_size=4),
    ),
    max_leaves=6,
)


def bodies(strange: Any) -> list[tuple[type[Question], dict[str, Any]]]:
    """Bodies that are well-formed but for one strange thing, which is in turn in every place that has a shape."""
    use: Any = USE["content"][0]
    result: Any = RESULT["content"][0]
    schema = {"type": "object", "properties": {"a": strange}}
    called = {"id": "c", "type": "function", "function": strange}
    return [
        *((MessagesQuestion, {field: strange}) for field in MessagesQuestion.model_fields),
        *((ChatQuestion, {field: strange}) for field in ChatQuestion.model_fields),
        *((PlainQuestion, {field: strange}) for field in PlainQuestion.model_fields),
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


@settings(max_examples=40)
@given(STRANGE)
def test_whatever_is_asked_is_refused_or_answered(strange: Any) -> None:
    for dialect, fields in bodies(strange):
        try:
            question = dialect.model_validate_json(json.dumps(ASKED | fields))
        except ValidationError:
            continue
        turn = plan(Shape(tokens=(12, 12)), question.ask())
        written = stream(question.writer(ANSWER), turn.steps, End(turn.stop_reason, len(turn.steps)))
        protocol = next(protocol for known, protocol in DIALECTS if type(known) is dialect)
        assert read(protocol, written)[0][-1].ends
        json.loads(question.writer(ANSWER).whole(turn.steps, END))
