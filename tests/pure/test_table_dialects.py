"""The dialects whose protocols are tables: what they write is what is read, and how they read a question."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from streamgauge.harness.drive.protocols import PROTOCOLS, Answer, Meaning, Protocol
from streamgauge.harness.drive.reading.framing import decoder
from streamgauge.harness.record.arrivals import Kind
from streamgauge.reference_server.dialects.gemini import GeminiQuestion
from streamgauge.reference_server.dialects.ollama import OllamaQuestion
from streamgauge.reference_server.dialects.question import Question
from streamgauge.reference_server.model.answer import AnswerEnd
from streamgauge.reference_server.model.steps import Step, ToolCall
from tests.support.dialects import ANSWER, END, stream

ASKED: dict[str, dict[str, Any]] = {
    "ollama": {"model": "m", "messages": [{"role": "user", "content": "Why?"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]},
}
OLLAMA, GEMINI = OllamaQuestion.model_validate(ASKED["ollama"]), GeminiQuestion.model_validate(ASKED["gemini"])
each_dialect = pytest.mark.parametrize(
    ("question", "protocol"), [(OLLAMA, PROTOCOLS["ollama"]), (GEMINI, PROTOCOLS["gemini"])], ids=["ollama", "gemini"]
)
CALL = ToolCall("c1", "weather", {"city": "Höfn", "days": {}}, client_side=True)
OTHER_CALL = ToolCall("c2", "maps", {}, client_side=True)
THOUGHT = [Step("thinking", "Hm,\n"), Step("thinking", " so.")]
TEXT = [Step("text", "Grüße"), Step("text", "\n\n"), Step("text", ' {"a": 1} 😀')]


def called(call: ToolCall) -> list[Step]:
    document = json.dumps(call.input, ensure_ascii=False)
    return [Step("tool_input", document[at : at + 3], call) for at in range(0, len(document), 3)]


def read(protocol: Protocol, body: bytes) -> tuple[list[Meaning], Answer]:
    answer = Answer()
    return [protocol.meaning_of(event, answer) for event in decoder(protocol.framing).feed(body)], answer


def content(meanings: Sequence[Meaning]) -> list[tuple[Kind, str]]:
    return [(meaning.kind, meaning.text) for meaning in meanings if meaning.text]


@each_dialect
def test_thoughts_and_text_are_read_as_they_were_generated(question: Question, protocol: Protocol) -> None:
    meanings, answer = read(protocol, stream(question.writer(ANSWER), THOUGHT + TEXT))
    assert content(meanings) == [
        *((Kind.THINKING, step.text) for step in THOUGHT),
        *((Kind.TEXT, step.text) for step in TEXT),
    ]
    assert not any(meaning.error for meaning in meanings)
    assert meanings[-1].ends == (protocol.end is None)
    assert (answer.input_tokens, answer.output_tokens) == (3000, 7)
    assert answer.stop_reason in {"stop", "STOP"}
    assert answer.cache_read_tokens == (1200 if protocol.name == "gemini" else None)


@each_dialect
def test_each_tool_call_comes_whole_with_its_last_token(question: Question, protocol: Protocol) -> None:
    writer = question.writer(ANSWER)
    *before, last = called(CALL)
    assert b"".join(map(writer.write, before)) == b""
    meanings, _ = read(protocol, writer.write(last) + b"".join(map(writer.write, called(OTHER_CALL))))
    assert [meaning.kind for meaning in meanings] == [Kind.TOOL, Kind.TOOL]
    assert ["weather" in meaning.text and "Höfn" in meaning.text for meaning in meanings] == [True, False]


@each_dialect
def test_a_whole_answer_has_all_of_it(question: Question, protocol: Protocol) -> None:
    answer = Answer()
    meaning = protocol.plain(question.writer(ANSWER).whole(THOUGHT + TEXT, END), answer)
    assert meaning == Meaning(Kind.TEXT, "".join(step.text for step in TEXT), ends=True)
    assert (answer.input_tokens, answer.output_tokens) == (3000, 7)
    call = protocol.plain(question.writer(ANSWER).whole(called(CALL), AnswerEnd("tool_use", 9)), Answer())
    assert call.kind is Kind.TOOL
    assert "weather" in call.text


@each_dialect
def test_an_error_in_the_stream_is_read_as_one(question: Question, protocol: Protocol) -> None:
    writer = question.writer(ANSWER)
    meanings, _ = read(protocol, b"".join(map(writer.write, TEXT)) + writer.error(529, "no room\nleft"))
    assert len(content(meanings)) == len(TEXT)
    assert "no room left" in str(meanings[-1].error)


@each_dialect
def test_a_limit_that_is_reached_is_told(question: Question, protocol: Protocol) -> None:
    meanings, answer = read(protocol, stream(question.writer(ANSWER), [], AnswerEnd("max_tokens", 0)))
    assert content(meanings) == []
    assert answer.stop_reason in {"length", "MAX_TOKENS"}


def test_ollama_only_loads_a_model_that_is_asked_nothing() -> None:
    question = OllamaQuestion.model_validate({"model": "m"})
    assert question.model_input().limit == 0
    _, answer = read(PROTOCOLS["ollama"], stream(question.writer(ANSWER), [], AnswerEnd("max_tokens", 0)))
    assert answer.stop_reason == "load"


ANY_STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.sampled_from(["thinking", "text"]), st.text(min_size=1, max_size=3)),
        st.builds(Step, st.just("tool_input"), st.text(min_size=1, max_size=3), st.sampled_from([CALL, OTHER_CALL])),
        st.sampled_from([Step("tool_start", "", CALL), Step("tool_end", "", CALL), Step("signature", "x")]),
    ),
    max_size=12,
)


@each_dialect
@given(ANY_STEPS)
def test_any_steps_are_written_as_events_that_are_read(
    question: Question, protocol: Protocol, steps: list[Step]
) -> None:
    meanings, answer = read(protocol, stream(question.writer(ANSWER), steps))
    said = [step.text for step in steps if step.kind == "text"]
    assert [meaning.text for meaning in meanings if meaning.kind is Kind.TEXT] == said
    assert not any(meaning.error for meaning in meanings)
    assert answer.output_tokens == 7
    assert answer.oddities == {}


# Questions


TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Snow?"},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {"a": 1}}}]},
    {"role": "tool", "tool_name": "weather", "content": "yes"},
]
CONTENTS = [
    {"parts": [{"text": "Snow?"}]},
    {"role": "model", "parts": [{"text": "Hm", "thought": True}, {"functionCall": {"name": "weather", "args": {}}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"is": "yes"}}}]},
]
DECLARED = {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"type": {"type": "STRING"}}}}


def test_ollamas_question_is_read() -> None:
    asked = OllamaQuestion.model_validate(
        {
            "model": "m",
            "messages": TURNS,
            "think": True,
            "tools": [{"type": "function", "function": {"name": "weather"}}],
            "options": {"num_predict": 9, "stop": ["a", "b", "c", "d", "e"], "seed": 1},
        }
    )
    given_ = asked.model_input()
    assert (given_.limit, given_.thinking, given_.tool_results) == (9, True, 1)
    assert given_.stop_sequences == ["a", "b", "c", "d", "e"]
    assert [tool.name for tool in given_.tools] == ["weather"]
    assert "Be brief." in given_.prompt
    assert "Snow?" in given_.prompt


def test_geminis_question_is_read() -> None:
    asked = GeminiQuestion.model_validate(
        {
            "contents": CONTENTS,
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "tools": [{"functionDeclarations": [DECLARED]}],
            "generationConfig": {
                "maxOutputTokens": 9, "stopSequences": ["a"], "thinkingConfig": {"includeThoughts": True},
            },
        }
    )  # fmt: skip
    given_ = asked.model_input()
    assert (given_.limit, given_.thinking, given_.tool_results) == (9, True, 1)
    assert given_.stop_sequences == ["a"]
    assert given_.tools[0].input.keys() <= {"type"}
    assert "Be brief.\nSnow?" in given_.prompt
    assert "Hm" not in given_.prompt, "the model does not read its thoughts again"


@pytest.mark.parametrize(
    ("dialect", "fields", "place"),
    [
        (OllamaQuestion, {"messages": [{"role": "ghost", "content": "?"}]}, "messages.0.role"),
        (OllamaQuestion, {"model": ""}, "model"),
        (OllamaQuestion, {"tools": [{"type": "function", "function": {"name": "no blank"}}]}, "tools.0.function.name"),
        (GeminiQuestion, {"contents": []}, "contents"),
        (GeminiQuestion, {"contents": [{"role": "assistant", "parts": [{"text": "?"}]}]}, "contents.0.role"),
        (GeminiQuestion, {"contents": [{"parts": []}]}, "contents.0.parts"),
        (GeminiQuestion, {"generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens"),
    ],
)
def test_a_bad_question_is_refused_with_the_place_of_the_fault(
    dialect: type[Question], fields: dict[str, Any], place: str
) -> None:
    name = "ollama" if dialect is OllamaQuestion else "gemini"
    with pytest.raises(ValidationError) as refused:
        dialect.model_validate(ASKED[name] | fields)
    assert ".".join(map(str, refused.value.errors()[0]["loc"])) == place


def test_a_result_without_its_call_is_refused() -> None:
    for question in (
        OllamaQuestion.model_validate({"model": "m", "messages": [TURNS[1], TURNS[3]]}),
        GeminiQuestion.model_validate({"contents": [CONTENTS[2]]}),
    ):
        with pytest.raises(PydanticCustomError, match="the result of weather belongs to no call before it"):
            question.model_input()
