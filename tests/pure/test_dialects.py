"""The harness's protocols read exactly what the reference server's dialects write."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.drive.protocols import PROTOCOLS, Meaning, Protocol
from streamgauge.harness.drive.protocols import Answer as Reported
from streamgauge.harness.drive.reading import sse
from streamgauge.harness.drive.reading.body import decode
from streamgauge.harness.drive.reading.ending import Received, ending
from streamgauge.harness.record.arrivals import Kind
from streamgauge.harness.record.observation import Outcome
from streamgauge.reference_server.dialects.anthropic_messages import MessagesQuestion
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.question import Question
from streamgauge.reference_server.model.answer import AnswerEnd
from streamgauge.reference_server.model.steps import Step, ToolCall
from tests.support.dialects import ANSWER, ANTHROPIC, ASKED, DIALECTS, END, OPENAI, PLAIN, read, stream

NAMES = [protocol.name for _, protocol in DIALECTS]
every_dialect = pytest.mark.parametrize(("question", "protocol"), DIALECTS, ids=NAMES)
OURS = ToolCall("s1", "gauge_level", {"station": "Höfn"})
RAN = ToolCall("s1", "gauge_level", {"station": "Höfn"}, result="1.42 m", seconds=0.02)
THEIRS = ToolCall("c1", "weather", {"city": "Höfn"}, client_side=True)
THOUGHT = [Step("thinking", "Hm,\n"), Step("thinking", " so.")]
TEXT = [Step("text", "Grüße"), Step("text", "\n\n"), Step("text", ' {"a": 1} 😀')]
INPUT = [Step("tool_input", '{"ci'), Step("tool_input", 'ty":"Höfn"}')]


def called(call: ToolCall) -> list[Step]:
    return [Step("tool_input", step.text, call) for step in INPUT]


RUN = [*called(OURS), Step("tool_start", "", OURS), Step("tool_end", "", RAN)]


def content(meanings: list[Meaning]) -> list[tuple[Kind, int]]:
    return [(meaning.kind, meaning.characters) for meaning in meanings if meaning.characters]


def expected(steps: Sequence[Step]) -> list[tuple[Kind, int]]:
    """The content of these steps; a tool's name, which comes before its input, is content, too."""
    kinds = {"text": Kind.TEXT, "thinking": Kind.THINKING, "tool_input": Kind.TOOL}
    found, call = [], None
    for step in steps:
        if step.kind == "tool_input" and step.tool is not None and step.tool is not call:
            call = step.tool
            found.append((Kind.TOOL, len(call.name)))
        if step.kind in kinds:
            found.append((kinds[step.kind], len(step.text)))
    return found


def json_events(body: bytes) -> list[Any]:
    return [json.loads(event.data) for event in sse.Decoder().feed(body) if event.data != b"[DONE]"]


# What is written is what is read


@every_dialect
def test_thoughts_and_text_are_read_as_they_were_generated(question: Question, protocol: Protocol) -> None:
    meanings, _ = read(protocol, stream(question.writer(ANSWER), THOUGHT + TEXT))
    assert content(meanings) == expected(THOUGHT + TEXT)
    assert not any(meaning.error for meaning in meanings)
    assert meanings[-1].ends


@every_dialect
def test_the_input_of_a_clients_tool_is_content(question: Question, protocol: Protocol) -> None:
    if protocol.name == "plain_sse":
        pytest.skip("its tools are the server's")
    steps = TEXT + called(THEIRS)
    meanings, reported = read(protocol, stream(question.writer(ANSWER), steps, AnswerEnd("tool_use", 5)))
    assert content(meanings) == expected(steps)
    assert reported.stop_reason in {"tool_use", "tool_calls", "completed", "tool-calls", "success"}


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
    uncached = 3000 if protocol.cached_in_input else 1000  # what a cost takes the cached tokens out of, or adds them to
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
    assert meaning == Meaning(Kind.TEXT, "".join(step.text for step in TEXT), ends=True)


@every_dialect
def test_an_error_event_is_read_as_an_error(question: Question, protocol: Protocol) -> None:
    writer = question.writer(ANSWER)
    begun = writer.opening() + b"".join(map(writer.write, TEXT))
    meanings, _ = read(protocol, begun + writer.error(529, "no room\nleft"))
    assert "no room left" in str(meanings[-1].error)
    assert content(meanings) == expected(TEXT)


@every_dialect
def test_an_answer_that_ends_before_its_first_token_is_complete(question: Question, protocol: Protocol) -> None:
    meanings, reported = read(protocol, stream(question.writer(ANSWER), [], AnswerEnd("max_tokens", 0)))
    assert content(meanings) == []
    assert meanings[-1].ends
    assert reported.stop_reason in {"max_tokens", "length", "max_output_tokens", "success"}


@pytest.mark.parametrize(("question", "protocol"), DIALECTS[-2:], ids=NAMES[-2:])
def test_a_generation_that_the_server_stopped_is_no_success_where_the_dialect_says_so(
    question: Question, protocol: Protocol
) -> None:
    body = stream(question.writer(ANSWER), TEXT, AnswerEnd("cancelled", 3))
    outcome, detail = ending(Received(200, {}, body, True, None), decode(body, protocol, 10_000), protocol)
    assert outcome is Outcome.SERVER_ERROR
    assert "cancelled" in detail


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


def test_a_tool_of_the_server_appears_as_the_protocols_own_blocks() -> None:
    events = json_events(stream(ANTHROPIC.writer(ANSWER), RUN))
    use, result = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert use == {"type": "server_tool_use", "id": "srvtoolu_s1", "name": "gauge_level", "input": {}}
    assert result == {
        "type": "gauge_level_tool_result",
        "tool_use_id": "srvtoolu_s1",
        "content": {"type": "gauge_level_result", "text": "1.42 m"},
    }


def test_a_failed_tool_appears_like_a_failed_tool_of_the_api() -> None:
    failed = ToolCall("s1", "gauge_level", {}, result="no gauge", failed=True)
    events = json_events(ANTHROPIC.writer(ANSWER).write(Step("tool_end", "", failed)))
    assert events[0]["content_block"]["content"] == {
        "type": "gauge_level_tool_result_error",
        "error_code": "unavailable",
        "error_message": "no gauge",
    }


def test_plain_tool_events_have_names_and_all_facts_of_the_run() -> None:
    events = sse.Decoder().feed(stream(PLAIN.writer(ANSWER), RUN))
    start, end = events[:2]
    assert (start.name, end.name) == ("tool_start", "tool_end")
    assert json.loads(start.data) == {"id": "s1", "name": "gauge_level", "input": {"station": "Höfn"}}
    ended = {"id": "s1", "name": "gauge_level", "result": "1.42 m", "failed": False, "seconds": 0.02}
    assert json.loads(end.data) == ended


# A whole answer, and the next question that brings it back


def test_a_whole_anthropic_answer_can_be_sent_back_unchanged() -> None:
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
    ask = MessagesQuestion.model_validate(ASKED | {"messages": ASKED["messages"] + turns}).model_input()
    assert ask.tool_results == 1
    assert ask.prompt.splitlines()[-1] == "snow"


def test_a_whole_openai_answer_can_be_sent_back_unchanged() -> None:
    message = json.loads(OPENAI.writer(ANSWER).whole(THOUGHT + TEXT + called(THEIRS), END))["choices"][0]["message"]
    assert message["reasoning_content"] == "Hm,\n so."
    result = {"role": "tool", "tool_call_id": "call_c1", "content": "snow"}
    ask = ChatQuestion.model_validate(ASKED | {"messages": [*ASKED["messages"], message, result]}).model_input()
    assert ask.tool_results == 1
    assert ask.prompt.splitlines()[-2:] == ['{"city":"Höfn"}', "snow"]
