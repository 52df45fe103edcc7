"""What is odd in other people's streams and does not condemn them, and the shapes in which they tell errors."""

from typing import Any

import pytest

from streamgauge.harness.drive.protocols import PROTOCOLS, Answer, Meaning, Protocol
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.reading.body import decode
from streamgauge.harness.drive.reading.ending import Received, ending
from streamgauge.harness.record.arrivals import Kind
from streamgauge.harness.record.observation import Outcome
from tests.pure.test_protocols import answer, event, meaning
from tests.support.formats import ALL, ANTHROPIC, MAPPED, OPENAI, PLAIN

UNKNOWN = [
    (ANTHROPIC, b"<html>"),
    (ANTHROPIC, b"[]"),
    (ANTHROPIC, b"{}"),
    (OPENAI, b"{}"),
    (OPENAI, {"type": "message_stop"}),
    (OPENAI, {"choices": {"0": {}}}),
    (OPENAI, b"[]"),
    (MAPPED, b"text without json"),
    (MAPPED, b'{"parts": '),
    (MAPPED, {"parts": [{"text": 7}]}),
]
ODD_COUNTS = [-1, 10**30, 1.5, "12", [], True]


@pytest.mark.parametrize(("protocol", "data"), UNKNOWN)
def test_an_event_that_the_protocol_does_not_know_is_no_fault_and_remembered(protocol: Protocol, data: Any) -> None:
    """An official SDK skips it; without any content, it is the hint that the protocol is another."""
    seen = Answer()
    assert protocol.meaning_of(event(data), seen) == Meaning(Kind.OTHER)
    assert seen.unknown is not None
    assert seen.oddities == {"an event that the protocol does not know": 1}


@pytest.mark.parametrize("count", ODD_COUNTS)
@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        (ANTHROPIC, lambda count: {"type": "message_delta", "usage": {"output_tokens": count}}),
        (OPENAI, lambda count: {"choices": [], "usage": {"completion_tokens": count}}),
        (PLAIN, lambda count: {"done": True, "output_tokens": count}),
        (MAPPED, lambda count: {"usage": {"out": count}}),
    ],
)
def test_a_count_that_is_no_whole_number_never_condemns_a_stream(protocol: Protocol, data: Any, count: Any) -> None:
    seen = Answer()
    assert protocol.meaning_of(event(data(count)), seen).error is None
    assert (seen.output_tokens, seen.oddities) == (None, {"a token count that is not a whole number": 1})


@pytest.mark.parametrize("counts", [[-5, 10], [True, 10], [1.5, 10**400], ["12", 3]])
def test_counts_of_which_one_is_none_are_not_added_up(counts: list[Any]) -> None:
    """-5 and 10 are no 5 tokens."""
    seen = Answer()
    entries = [{"inputTokens": count} for count in counts]
    assert PROTOCOLS["ag_ui"].meaning_of(event({"type": "RUN_FINISHED", "usage": entries}), seen).error is None
    assert (seen.input_tokens, seen.oddities) == (None, {"a token count that is not a whole number": 1})


@pytest.mark.parametrize("argument", [b'"\\ud83d"', b"1" + b"0" * 400, b"NaN", b"[" * 400 + b"]" * 400])
def test_a_whole_call_may_have_any_json_as_its_input(argument: bytes) -> None:
    """Half a character, which servers send that cut a text in the middle, and numbers of any size."""
    line = b'{"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": %b}}}]}}' % argument
    meant = PROTOCOLS["ollama"].meaning_of(event(line), Answer())
    assert (meant.kind, meant.visible, meant.error) == (Kind.TOOL, True, None)
    assert meant.characters > len('[{"function":{"name":"f","arguments":')


def test_values_nested_as_deeply_as_the_reader_takes_never_raise() -> None:
    """Python's own limit is met in writing such a value, a few levels before or after it is met in reading it."""
    lines = ('{"error": {"details": %s}}', '{"message": {"tool_calls": [{"a": %s}]}}', '{"done_reason": {"type": %s}}')
    for depth in range(1, 1_100, 3):
        for line in lines:
            data = (line % ("[" * depth + "]" * depth)).encode()
            read = decode(data + b"\n", PROTOCOLS["ollama"], 1_000_000)
            assert read.fault or read.kinds, depth


def test_counts_that_are_null_or_floats_of_whole_numbers_are_fine() -> None:
    seen = answer(OPENAI, {"choices": [], "usage": {"prompt_tokens": 9.0, "completion_tokens": None}})
    assert seen == Answer(input_tokens=9)


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [{"delta": {}, "finish_reason": "stop", "usage": {"completion_tokens": 4}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}], "x_groq": {"id": "r", "usage": {"completion_tokens": 4}}},
        {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": 4}},
    ],
)
def test_usage_is_found_where_providers_put_it(chunk: dict[str, Any]) -> None:
    found = answer(OPENAI, chunk)
    assert (found.output_tokens, found.stop_reason, found.oddities) == (4, "stop", {})


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"out of memory", "error", "out of memory"),
        ({"message": "out of memory", "code": 7}, "error", "7: out of memory"),
        ({"error": {"message": "out of memory"}}, "error", "out of memory"),
    ],
)
def test_an_event_named_error_is_an_error_in_every_protocol(
    protocol: Protocol, data: Any, name: str, words: str
) -> None:
    assert words in str(meaning(protocol, data, name).error)


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        (ANTHROPIC, {"error": {"message": "out of memory"}}),
        (OPENAI, {"object": "error", "message": "out of memory", "code": 500}),
        (OPENAI, {"type": "error", "message": "out of memory"}),
        (OPENAI, {"choices": [{"delta": {}, "finish_reason": "error", "error": {"message": "out of memory"}}]}),
        (MAPPED, {"error": "out of memory"}),
    ],
)
def test_an_error_is_understood_in_every_shape(protocol: Protocol, data: Any) -> None:
    assert "out of memory" in str(meaning(protocol, data).error)


def test_damage_in_a_part_that_is_not_needed_is_read_over() -> None:
    data = b'{"other":"\x80","choices":[{"delta":{"content":"Hi"}}],"usage":{"prompt_tokens":1}}'
    found = OPENAI.meaning_of(Event(data, len(data), len(data)), Answer())
    assert found.text == "Hi"


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("odd", [[], {}, 1.5, True, None])
def test_a_type_that_is_no_text_makes_nothing_raise(protocol: Protocol, odd: Any) -> None:
    """A list and a table have no hash, so they cannot be looked up in a set."""
    for data in (
        {"type": odd, "object": odd, "status": odd, "code": odd},
        {"type": "content_block_start", "content_block": {"type": odd, "text": odd, "name": odd}},
        {"choices": [{"delta": {"content": [{"type": odd}], "tool_calls": [odd]}, "finish_reason": odd}]},
    ):
        seen = Answer()
        meaning_of = protocol.meaning_of(event(data), seen)
        body = event(data).data
        decoded = decode(body, protocol, 1_000)
        outcome, _ = ending(Received(200, {"content-type": "application/json"}, body, True, None), decoded, protocol)
        assert meaning_of.ends is False
        assert outcome is not Outcome.COMPLETED
