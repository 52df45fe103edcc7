"""NDJSON: a JSON document on each line, read as events."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.config.schema import Events, Place
from streamgauge.harness.drive.protocols import custom
from streamgauge.harness.drive.reading.body import decode
from streamgauge.harness.drive.reading.ndjson import Decoder

OLLAMA = custom(
    Events(
        framing="ndjson",
        text="message.content",
        thinking="message.thinking",
        error="error",
        output_tokens="eval_count",
        stop_reason="done_reason",
        end=Place(at="done"),
    )
)
ANSWER = (
    b'{"message": {"role": "assistant", "thinking": "hm"}, "done": false}\n'
    b'{"message": {"role": "assistant", "content": "Hi"}, "done": false}\n'
    b'{"message": {"role": "assistant", "content": " there"}, "done": false}\r\n\n'
    b'{"message": {"role": "assistant", "content": " you"}, "done": false}\n'
    b'{"message": {"content": ""}, "done": true, "done_reason": "stop", "eval_count": 4}'
)
LINES = st.lists(st.sampled_from([b"{}", b'{"a": "b"}', b"", b"  ", b"x\r", b"\xff"]), max_size=12).map(b"\n".join)


def test_an_answer_is_read_line_by_line_and_its_last_line_needs_no_end() -> None:
    found = decode(ANSWER, OLLAMA, 1_000)
    assert list(found.characters) == [2, 2, 6, 4, 0]
    assert (found.ended, found.fault) == (True, None)
    assert (found.answer.output_tokens, found.answer.stop_reason) == (4, "stop")
    assert sum(found.sizes) == len(ANSWER)


def test_an_error_ends_the_answer_with_the_servers_words() -> None:
    found = decode(b'{"message": {"content": "Hi"}}\n{"error": "model runner has stopped"}\n', OLLAMA, 1_000)
    assert found.fault is not None
    assert found.fault[1] == "model runner has stopped"


def test_a_line_that_is_cut_off_is_no_fault_and_no_content() -> None:
    found = decode(ANSWER[:100], OLLAMA, 1_000)
    assert (list(found.characters), found.ended, found.fault) == ([2], False, None)


def test_a_line_without_an_end_is_bounded() -> None:
    found = decode(b'{"message": {"content": "' + 2_000 * b"x", OLLAMA, 1_000)
    assert found.fault is not None
    assert "1,000 bytes" in found.fault[1]


@given(LINES, st.lists(st.integers(0, 60)))
def test_events_do_not_depend_on_how_the_bytes_were_cut(body: bytes, cuts: list[int]) -> None:
    whole, cut = Decoder(), Decoder()
    places = [0, *sorted(min(place, len(body)) for place in cuts), len(body)]
    in_pieces = [event for a, b in pairwise(places) for event in cut.feed(body[a:b])]
    assert in_pieces + cut.finish() == whole.feed(body) + whole.finish()
