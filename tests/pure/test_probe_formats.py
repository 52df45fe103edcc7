"""A stream of a known format is recognised, and the lines that `try` proposes for it read it to its end."""

import json
from typing import Any

import pytest

from streamgauge.harness.config.schema import Target
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.asking import Probe, reread
from streamgauge.harness.probe.formats import FORMATS, looks_like
from streamgauge.harness.probe.guess import guess
from streamgauge.harness.probe.samples import Sample
from streamgauge.harness.record.observation import Outcome

WIDEST = 80  # columns of a line in a terminal of 80


def sse(*events: Any, done: bool = False) -> bytes:
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return b"".join(f"data: {text}\n\n".encode() for text in [*texts, *(["[DONE]"] if done else [])])


def ndjson(*events: Any) -> bytes:
    return b"".join(f"{json.dumps(event)}\n".encode() for event in events)


def chat(**choice: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]}


def typed(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


STREAMS: dict[str, bytes] = {
    "OpenAI Responses": sse(
        typed("response.created", response={"id": "r", "error": None}),
        typed("response.output_text.delta", delta="Hel", sequence_number=4),
        typed("response.output_text.delta", delta="lo", sequence_number=5),
        typed("response.output_text.done", text="Hello"),
        typed("response.completed", response={
            "status": "completed", "error": None, "incomplete_details": None,
            "usage": {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 0}},
        }),
    ),
    "Anthropic Messages": sse(
        typed("message_start", message={"usage": {"input_tokens": 9}}),
        typed("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        typed("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"}),
        typed("content_block_delta", index=0, delta={"type": "text_delta", "text": "lo"}),
        typed("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}),
        typed("message_stop"),
    ),
    "OpenAI completions (the legacy API)": sse(
        {"object": "text_completion", "choices": [{"text": "Hel", "finish_reason": None}]},
        {"object": "text_completion", "choices": [{"text": "lo", "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
        done=True,
    ),
    "OpenAI chat completions": sse(
        chat(delta={"role": "assistant", "content": ""}),
        chat(delta={"content": "Hel"}),
        chat(delta={"content": "lo"}, finish_reason="stop"),
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
        done=True,
    ),
    "Gemini": sse(
        {"candidates": [{"content": {"parts": [{"text": "Hel"}]}}], "usageMetadata": {"promptTokenCount": 9}},
        {
            "candidates": [{"content": {"parts": [{"text": "lo"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2},
        },
    ),
    "AG-UI": sse(
        typed("RUN_STARTED", threadId="t", runId="r"),
        typed("TEXT_MESSAGE_START", messageId="m", role="assistant"),
        typed("TEXT_MESSAGE_CONTENT", messageId="m", delta="Hel"),
        typed("TEXT_MESSAGE_CONTENT", messageId="m", delta="lo"),
        typed("TEXT_MESSAGE_END", messageId="m"),
        typed("RUN_FINISHED", threadId="t", runId="r", usage=[{"inputTokens": 9, "outputTokens": 2}]),
    ),
    "the AI SDK's UI message stream": sse(
        typed("start", messageId="m"),
        typed("text-start", id="0"),
        typed("text-delta", id="0", delta="Hel"),
        typed("text-delta", id="0", delta="lo"),
        typed("text-end", id="0"),
        typed("finish"),
        done=True,
    ),
    "Cohere": sse(
        typed("message-start", id="m", delta={"message": {"role": "assistant"}}),
        typed("content-delta", index=0, delta={"message": {"content": {"text": "Hel"}}}),
        typed("content-delta", index=0, delta={"message": {"content": {"text": "lo"}}}),
        typed("message-end", delta={
            "finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 9, "output_tokens": 2}},
        }),
    ),
    "Ollama (a JSON document on each line)": ndjson(
        {"model": "m", "message": {"role": "assistant", "content": "Hel"}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": "lo"}, "done": False},
        {
            "model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
            "prompt_eval_count": 9, "eval_count": 2,
        },
    ),
    "Text Generation Inference": sse(
        {"index": 1, "token": {"id": 1, "text": "Hel", "special": False}, "generated_text": None, "details": None},
        {
            "index": 2, "token": {"id": 2, "text": "lo", "special": False}, "generated_text": "Hello",
            "details": {"finish_reason": "eos_token", "generated_tokens": 2},
        },
    ),
    "llama.cpp's own /completion": sse(
        {"index": 0, "content": "Hel", "tokens": [1], "stop": False},
        {"index": 0, "content": "lo", "tokens": [2], "stop": False},
        {"index": 0, "content": "", "stop": True, "tokens_evaluated": 9, "tokens_predicted": 2},
    ),
    "Cloudflare Workers AI": sse({"response": "Hel", "p": "ab"}, {"response": "lo", "p": "c"}, done=True),
    "text in server-sent events": sse("Hel", "lo", done=True),
}  # fmt: skip


def read(body: bytes, text: str) -> Probe:
    return reread(body, lines.applied(Target(), text))


def test_every_format_that_is_read_has_a_stream_here() -> None:
    assert [each.name for each in FORMATS if each.lines and not each.lacks] == list(STREAMS)


@pytest.mark.parametrize("name", STREAMS)
def test_the_proposed_lines_read_a_stream_of_their_format(name: str) -> None:
    body = STREAMS[name]
    found = looks_like(Sample(body, {}))
    assert found is not None
    assert found.name == name
    seen = read(body, found.lines).seen
    assert (seen.outcome, seen.detail) == (Outcome.COMPLETED, "")
    assert (seen.content_chunks, seen.characters) == (2, 5)
    assert seen.output_tokens in {2, None}
    assert max(map(len, found.lines.splitlines())) <= WIDEST


@pytest.mark.parametrize("name", STREAMS)
def test_half_a_stream_is_not_complete_by_the_proposed_lines(name: str) -> None:
    found = looks_like(Sample(STREAMS[name], {}))
    assert found is not None
    end = STREAMS[name].rindex(b"lo")
    cut = STREAMS[name][: STREAMS[name].rindex(b"\n", 0, end) + 1]
    assert read(cut, found.lines).seen.outcome is Outcome.TRUNCATED


def test_geminis_array_is_told_from_its_events() -> None:
    part = {"candidates": [{"content": {"parts": [{"text": "Hel"}]}}]}
    for body in (json.dumps([part, part]), json.dumps([part], indent=1), json.dumps([part, part])[:-9]):
        found = looks_like(Sample(body.encode(), {}))
        assert found is not None
        assert (found.protocol, found.lacks) == ("gemini", "alt=sse")


@pytest.mark.parametrize("name", ["Amazon's binary event stream", "the AI SDK's old data stream"])
def test_a_format_that_is_not_read_is_named_without_lines(name: str) -> None:
    found = next(each for each in FORMATS if each.name == name)
    assert found.lines == ""
    assert found.why_not
    bodies = {"the AI SDK's old data stream": b'0:"Hel"\n0:"lo"\nd:{"finishReason":"stop"}\n'}
    sample = Sample(bodies.get(name, b"\0\0\0\x83"), {"content-type": "application/vnd.amazon.eventstream"})
    sample = Sample(sample.body, {}) if name in bodies else sample
    assert looks_like(sample) is found


@pytest.mark.parametrize(
    "body", [b"", b"<html></html>", b"{}", b"data: {}\n\n", b"\xff\xfe\0", b"[1]\n[2]\n", b"{" * 500]
)
def test_what_looks_like_nothing_is_nothing(body: bytes) -> None:
    assert looks_like(Sample(body, {})) is None
    assert guess(Sample(body, {})) is None


GUESSED = [
    ndjson({"id": "x1y2z3w4", "out": [{"delta": "Hel"}]}, {"id": "q1y2z3w4", "out": [{"delta": "lo"}]}, {"done": True}),
    sse({"kind": "chunk", "d": {"text": "Hel"}}, {"kind": "chunk", "d": {"text": "lo"}}, {"kind": "bye", "n": 2}),
    sse({"kind": "a", "words": "Hel"}, {"kind": "a", "words": "lo"}) + b'event: over\ndata: {"kind": "b"}\n\n',
    sse({"t": "Hel"}, {"t": "lo"}, {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}, done=True),
    sse({"answer": "Hel"}, {"answer": "lo"}) + b'event: finished\ndata: {"reason": "stop"}\n\n',
    sse({"answer": "Hel"}, {"answer": "lo"}),
    b'event: token\ndata: "Hel"\n\nevent: token\ndata: "lo"\n\nevent: stats\ndata: {"out":3}\n\nevent: bye\n\n',
    b'event: metadata\ndata: {"run_id":"r"}\n\nevent: messages\ndata: [{"content":"Hel"},{"node":"a"}]\n\n'
    b'event: messages\ndata: [{"content":"lo"},{"node":"a"}]\n\nevent: end\n\n',
]


@pytest.mark.parametrize(
    "body",
    GUESSED,
    ids=[
        "a true value",
        "a kind",
        "a kind and a name",
        "data",
        "a name",
        "the response's end",
        "named texts",
        "LangGraph",
    ],
)
def test_a_guess_reads_the_stream_that_it_was_made_from(body: bytes) -> None:
    text = guess(Sample(body, {}))
    assert text is not None
    seen = read(body, text).seen
    assert (seen.outcome, seen.detail, seen.content_chunks, seen.characters) == (Outcome.COMPLETED, "", 2, 5)


def test_a_key_of_thousands_of_digits_is_no_place_in_a_list() -> None:
    event: dict[str, Any] = {"z": {"9" * 5_000: True}}
    text = guess(Sample(sse({"t": "Hel", "z": [1]}, {"t": "lo", "z": [1]}, event), {}))
    assert text is not None
    assert 'text = "t"' in text


def test_only_the_first_two_hundred_values_of_an_event_are_looked_at() -> None:
    def found(number: int) -> bool:
        events = [{"a": [[0] * 100, [0] * (number - 100)], "t": part} for part in ("Hel", "lo")]
        return guess(Sample(sse(*events), {})) is not None

    assert [found(199), found(200)] == [True, False]


def test_lines_replace_what_they_set_and_keep_the_rest() -> None:
    before = Target(protocol="openai_chat", headers={"x-a": "1"}, body={"top_p": 1}, omit=("stream_options",))
    after = lines.applied(
        before, lines.target(omit=["stream_options", "max_tokens"], body={"max_completion_tokens": 4})
    )
    assert after.headers == {"x-a": "1"}
    assert after.body == {"top_p": 1, "max_completion_tokens": 4}
    assert after.omit == ("stream_options", "max_tokens")
    assert lines.applied(after, lines.target(protocol="anthropic_messages")).protocol == "anthropic_messages"


@pytest.mark.parametrize("value", ['a"b', "a\\b", "é\n\x7f", "${KEY}", True, 1.5, ["a", {"b": 1}], {"a b": {"c": "d"}}])
def test_a_value_is_read_again_as_it_was(value: Any) -> None:
    import tomllib  # noqa: PLC0415 - the standard library's reader, to check our writer

    assert tomllib.loads(f"key = {lines.value(value)}")["key"] == value
