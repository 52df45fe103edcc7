"""Events → meaning, for each protocol: what counts as content, what ends a stream, what is an error, what is not it."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.config.schema import Events
from streamgauge.harness.drive.protocols import Answer, Malformed, Meaning, Protocol, custom
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.protocol import Choice
from streamgauge.harness.drive.reading.sse import Decoder
from streamgauge.harness.record.arrivals import Kind
from tests.support.formats import ALL, ANTHROPIC, AS_TEXT, MAPPED, OPENAI, PLAIN


def event(data: Any, name: str = "") -> Event:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Event(raw, len(raw), len(raw), name)


def meaning(protocol: Protocol, data: Any, name: str = "") -> Meaning:
    return protocol.meaning_of(event(data, name), Answer())


def answer(protocol: Protocol, *events: Any) -> Answer:
    seen = Answer()
    for data in events:
        protocol.meaning_of(event(data), seen)
    return seen


def delta(**fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


def chunk(finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


CONTENT = [
    (ANTHROPIC, delta(type="text_delta", text="Grüße 😀"), Kind.TEXT, 7),
    (ANTHROPIC, delta(type="thinking_delta", thinking="hm"), Kind.THINKING, 2),
    (ANTHROPIC, delta(type="input_json_delta", partial_json='{"a'), Kind.TOOL, 3),
    (OPENAI, chunk(content="Grüße 😀"), Kind.TEXT, 7),
    (OPENAI, chunk(refusal="No."), Kind.TEXT, 3),
    (OPENAI, chunk(reasoning_content="hm"), Kind.THINKING, 2),
    (OPENAI, chunk(reasoning="hm", content=""), Kind.THINKING, 2),
    (OPENAI, chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"a'}}]), Kind.TOOL, 3),
    (
        OPENAI,
        chunk(tool_calls=[{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}]),
        Kind.TOOL,
        1,
    ),
    (OPENAI, chunk(function_call={"name": "f"}), Kind.TOOL, 1),
    (OPENAI, chunk(content=[{"type": "text", "text": "Hi"}]), Kind.TEXT, 2),
    (OPENAI, chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]), Kind.THINKING, 2),
    (OPENAI, chunk(reasoning_content={"text": "hm"}), Kind.THINKING, 2),
    (OPENAI, chunk(reasoning_details=[{"type": "reasoning.text", "text": "hm", "index": 0}]), Kind.THINKING, 2),
    (OPENAI, chunk(reasoning_details=[{"type": "reasoning.encrypted", "data": "abc"}]), Kind.THINKING, 3),
    (OPENAI, {"choices": [{"text": "Hi", "index": 0, "finish_reason": None}]}, Kind.TEXT, 2),
    (OPENAI, b'{"choices": [{"delta": {"content": "\\ud83d"}}], "usage": NaN}', Kind.TEXT, 1),
    (OPENAI, b'{"choices": [{"delta": {"content": "\\ude00"}}]}', Kind.TEXT, 0),
    (ANTHROPIC, {"type": "content_block_start", "content_block": {"type": "text", "text": "Hi"}}, Kind.TEXT, 2),
    (ANTHROPIC, {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f"}}, Kind.TOOL, 1),
    (
        ANTHROPIC,
        {"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": "abc"}},
        Kind.THINKING,
        3,
    ),
    (PLAIN, "Grüße 😀".encode(), Kind.TEXT, 7),
    (PLAIN, b" ", Kind.TEXT, 1),
    (PLAIN, b'{"an": "object that the model wrote"}', Kind.TEXT, 37),
    (PLAIN, b"{ not json", Kind.TEXT, 10),
    (PLAIN, b'{"event": "birthday"}', Kind.TEXT, 21),
    (MAPPED, {"parts": [{"text": "Grüße 😀"}]}, Kind.TEXT, 7),
    (MAPPED, {"thought": "hm"}, Kind.THINKING, 2),
    (MAPPED, {"call": {"input": '{"a'}}, Kind.TOOL, 3),
    (AS_TEXT, "Grüße 😀".encode(), Kind.TEXT, 7),
    (AS_TEXT, b'{"no": "path leads here"}', Kind.TEXT, 25),
]
NO_CONTENT = [
    (ANTHROPIC, {"type": "message_start", "message": {"type": "message", "role": "assistant", "content": []}}),
    (ANTHROPIC, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    (ANTHROPIC, {"type": "content_block_stop", "index": 0}),
    (ANTHROPIC, {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 3}}),
    (ANTHROPIC, {"type": "an_event_of_next_year", "delta": {"text": "?"}}),
    (ANTHROPIC, delta(type="text_delta", text="")),
    (ANTHROPIC, delta(type="input_json_delta", partial_json="")),
    (ANTHROPIC, delta(type="signature_delta", signature="EqQB")),
    (ANTHROPIC, delta(type="a_delta_of_next_year", text="?")),
    (OPENAI, chunk(role="assistant", content="")),
    (OPENAI, chunk(role="assistant", content=None, refusal=None, tool_calls=None)),
    (OPENAI, chunk(finish_reason="stop")),
    (OPENAI, {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}),
    (OPENAI, {"choices": [], "prompt_filter_results": []}),
    (OPENAI, b""),
    (OPENAI, chunk(tool_calls=[None, {"function": None}, {}])),
    (OPENAI, {"choices": [{"delta": None, "finish_reason": None, "error": None}], "error": None}),
    (ANTHROPIC, b""),
    (ANTHROPIC, delta(type="text_delta", text=7)),
    (PLAIN, b""),
    (PLAIN, {"event": "tool_end", "name": "search", "success": True}),
    (MAPPED, {"parts": []}),
    (MAPPED, {"parts": [{"text": None}], "problem": None, "finished": False}),
    (AS_TEXT, {"n": 12}),
]
ERRORS = [
    (
        ANTHROPIC,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "overloaded_error: Overloaded",
    ),
    (ANTHROPIC, {"type": "error"}, "an error without a message"),
    (
        OPENAI,
        {"error": {"message": "The engine fell over", "type": "server_error"}},
        "server_error: The engine fell over",
    ),
    (OPENAI, {"error": {"message": "out of memory", "code": 500}, "choices": []}, "500: out of memory"),
    (OPENAI, {"error": "boom"}, "boom"),
    (PLAIN, {"error": "Overloaded", "type": "APIError"}, "Overloaded"),
    (PLAIN, {"error": {"why": ["many", "reasons"]}}, "{'why': ['many', 'reasons']}"),
    (MAPPED, {"problem": {"code": 7}}, "7"),
    (AS_TEXT, {"error": True}, "True"),
]
ENDS = [
    (ANTHROPIC, {"type": "message_stop"}, ""),
    (ANTHROPIC, {}, "message_stop"),
    (OPENAI, b"[DONE]", ""),
    (PLAIN, b"[DONE]", ""),
    (PLAIN, {"done": True}, ""),
    (MAPPED, {"finished": True}, ""),
    (AS_TEXT, b"<end>", ""),
    (AS_TEXT, b"", "bye"),
    (AS_TEXT, {"n": 12}, "bye"),
]
MALFORMED = [
    (ANTHROPIC, b'{"type": "content_block_delta"}'),
    (ANTHROPIC, b'{"type": "content_block_delta", "delta": {"type": "text_delta", "text": "\xff"}}'),
    (OPENAI, b"[done]"),
    (OPENAI, b'{"choices": [{"delta": {"content": "\xff"}}]}'),
    (OPENAI, b'{"choices": [{"delta": {"content": "a\0b"}}]}'),
    (PLAIN, b"caf\xe9"),
    (AS_TEXT, b"caf\xe9"),
]


@pytest.mark.parametrize(("protocol", "data", "kind", "characters"), CONTENT)
def test_generated_content_is_counted_in_characters(protocol: Protocol, data: Any, kind: Kind, characters: int) -> None:
    found = meaning(protocol, data)
    assert (found.kind, found.characters, found.error, found.ends) == (kind, characters, None, False)


@pytest.mark.parametrize(("protocol", "data"), NO_CONTENT)
def test_an_event_without_generated_text_is_neither_content_nor_end(protocol: Protocol, data: Any) -> None:
    assert meaning(protocol, data) == Meaning(Kind.OTHER)


def test_plain_sse_distinguishes_thinking_and_tools_by_the_events_name() -> None:
    assert meaning(PLAIN, b"hm, [DONE]?", "thinking") == Meaning(Kind.THINKING, "hm, [DONE]?")
    assert meaning(PLAIN, b'{"error": "is what a thought may be about"}', "thinking").kind is Kind.THINKING
    search = {"name": "search", "input": {}}
    assert meaning(PLAIN, search, "tool_start") == Meaning(Kind.TOOL, json.dumps(search))
    search["event"] = "tool_start"
    assert meaning(PLAIN, search) == Meaning(Kind.TOOL, json.dumps(search))
    assert meaning(PLAIN, {"name": "search", "error": "no tool's failure ends the stream"}, "tool_end").error is None


@pytest.mark.parametrize(("protocol", "data", "sentence"), ERRORS)
def test_an_error_inside_a_200_is_an_error(protocol: Protocol, data: Any, sentence: str) -> None:
    assert meaning(protocol, data).error == sentence


@pytest.mark.parametrize(("protocol", "data", "name"), ENDS)
def test_the_terminal_event_ends_the_stream(protocol: Protocol, data: Any, name: str) -> None:
    assert meaning(protocol, data, name) == Meaning(Kind.OTHER, ends=True)


@pytest.mark.parametrize(("protocol", "data"), MALFORMED)
def test_an_event_that_violates_the_protocol_is_malformed(protocol: Protocol, data: Any) -> None:
    with pytest.raises(Malformed) as caught:
        meaning(protocol, data)
    told = str(caught.value)
    assert told.startswith(f"not {protocol.name}: ")
    assert told.isascii()
    assert told.isprintable()
    assert len(told) < 450


@pytest.mark.parametrize("protocol", ALL)
def test_a_keep_alive_comment_is_a_ping_in_every_protocol(protocol: Protocol) -> None:
    (comment,) = Decoder().feed(b": ping\n")
    assert protocol.meaning_of(comment, Answer()) == Meaning(Kind.PING)


def test_anthropics_ping_event_is_a_ping() -> None:
    assert meaning(ANTHROPIC, {"type": "ping"}, "ping") == Meaning(Kind.PING)
    assert meaning(ANTHROPIC, {}, "ping") == Meaning(Kind.PING)


def test_the_type_in_the_data_takes_precedence_over_the_events_name() -> None:
    assert meaning(ANTHROPIC, delta(type="text_delta", text="a"), "ping").kind is Kind.TEXT


def test_anthropics_usage_is_cumulative_and_the_last_report_holds() -> None:
    usage = {
        "input_tokens": 25,
        "output_tokens": 1,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 0,
    }
    assert answer(
        ANTHROPIC,
        {"type": "message_start", "message": {"usage": usage}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}},
    ) == Answer(25, 15, 100, 0, "end_turn")


def test_openais_usage_comes_in_a_chunk_without_choices() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}
    assert answer(OPENAI, {"choices": [], "usage": usage}) == Answer(9, 4, 8)
    written = usage | {"prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 7}}
    assert answer(OPENAI, {"choices": [], "usage": written}) == Answer(9, 4, 0, 7)
    assert answer(OPENAI, {"choices": [], "usage": None}) == Answer()


def test_plain_sse_reports_usage_with_done() -> None:
    done = {"done": True, "input_tokens": 3, "output_tokens": 5, "stop_reason": "end_turn", "cache_hit": True}
    cached = {"cache_read_tokens": 2, "cache_creation_tokens": 1}
    assert answer(PLAIN, done, b"[DONE]") == Answer(3, 5, stop_reason="end_turn")
    assert answer(PLAIN, done | cached) == Answer(3, 5, 2, 1, "end_turn")


def test_a_mapped_format_reports_usage_and_text_in_one_event() -> None:
    seen = Answer()
    last = {"parts": [{"text": "ok"}], "usage": {"in": 3, "out": 5}, "why": "stop", "finished": True}
    assert MAPPED.meaning_of(event(last), seen) == Meaning(Kind.TEXT, "ok", ends=True)
    assert seen == Answer(3, 5, stop_reason="stop")


@pytest.mark.parametrize("protocol", [OPENAI, PLAIN, MAPPED])
def test_a_servers_text_is_kept_short_and_printable(protocol: Protocol) -> None:
    hostile = "\x1b[31m\u202e" + "boom\r\n" * 10_000
    told = meaning(protocol, {"error": hostile, "problem": hostile}).error
    assert told is not None
    assert told.startswith("[31m boom boom")
    assert told.isprintable()
    assert len(told) <= 300
    reason = answer(ANTHROPIC, {"type": "message_delta", "delta": {"stop_reason": "x\n" * 500}}).stop_reason
    assert reason is not None
    assert reason.isprintable()
    assert len(reason) <= 100


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("opening", [b"[", b'{"error":', b'{"choices":[{"delta":', b'{"x":['])
def test_a_hundred_thousand_open_brackets_do_no_harm(protocol: Protocol, opening: bytes) -> None:
    _survives(protocol, opening * 100_000)


def _survives(protocol: Protocol, data: bytes, name: str = "") -> None:
    seen = Answer()
    for read in (partial(protocol.meaning_of, event(data, name)), partial(protocol.plain, data)):
        try:
            meant = read(seen)
        except Malformed:
            continue
        assert meant.characters >= 0
        assert meant.error is None or len(meant.error) <= 300
    for count in (seen.input_tokens, seen.output_tokens, seen.cache_read_tokens, seen.cache_write_tokens):
        assert count is None or 0 <= count < 2**53


KEYS = st.sampled_from(
    """type delta text thinking partial_json message usage error input_tokens output_tokens stop_reason content choices
    reasoning tool_calls function arguments finish_reason prompt_tokens prompt_tokens_details cached_tokens done event
    parts thought call input problem in out why finished n""".split()  # noqa: SIM905 - a list would fill the screen
)
WORDS = st.sampled_from(["content_block_delta", "text_delta", "message_delta", "error", "message", "[DONE]"])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS, st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=12,
)


@pytest.mark.parametrize("protocol", ALL, ids=["anthropic", "openai", "plain", "mapped", "as_text"])
@given(value=VALUES)
def test_any_json_is_understood_or_malformed(protocol: Protocol, value: Any) -> None:
    _survives(protocol, json.dumps(value).encode())


@pytest.mark.parametrize("protocol", ALL, ids=["anthropic", "openai", "plain", "mapped", "as_text"])
@given(data=st.binary(max_size=40), name=WORDS)
def test_any_bytes_are_understood_or_malformed(protocol: Protocol, data: bytes, name: str) -> None:
    _survives(protocol, data, name)


@pytest.mark.parametrize(
    ("protocol", "body", "reported"),
    [
        (
            ANTHROPIC,
            {
                "type": "message",
                "content": [{"type": "text", "text": "Hello"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 3, "output_tokens": 5},
            },
            Answer(3, 5, stop_reason="end_turn"),
        ),
        (
            OPENAI,
            {
                "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 5},
            },
            Answer(3, 5, stop_reason="stop", choices={"None": Choice(brought=True, ended=True)}),
        ),
        (PLAIN, {"text": "Hello", "input_tokens": 3, "output_tokens": 5}, Answer(3, 5)),
        (MAPPED, {"parts": [{"text": "Hello"}], "usage": {"in": 3, "out": 5}}, Answer(3, 5)),
    ],
)
def test_an_answer_that_was_not_streamed_has_the_same_meaning(
    protocol: Protocol, body: dict[str, Any], reported: Answer
) -> None:
    seen = Answer()
    assert protocol.plain(json.dumps(body).encode(), seen) == Meaning(Kind.TEXT, "Hello", ends=True)
    assert seen == reported


@pytest.mark.parametrize(
    ("events", "terminal"),
    [
        (Events(end_data="<end>"), b"<end>"),
        (Events(end_event="bye"), b"bye"),
        (Events(end_path="choices.0.finished"), b"finished"),
    ],
)
def test_the_terminal_hint_is_in_the_terminal_event(events: Events, terminal: bytes) -> None:
    assert custom(events).terminals == (terminal,)
