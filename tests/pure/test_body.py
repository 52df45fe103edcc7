"""The decoding of a whole body: how much is done between two breaks, and that it takes linear time."""

from itertools import chain

import pytest

from streamgauge.harness.drive.protocols import PROTOCOLS
from streamgauge.harness.drive.reading import body, sse
from streamgauge.harness.drive.reading.body import decode
from streamgauge.harness.drive.reading.progress import Progress

PROTOCOL = PROTOCOLS["openai_chat"]
CHUNK = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n'
UNITS = [b"\n", b"\n\r\n", b":\n", b":\n\n", b"id\n\n", b"x\n", CHUNK % b"word", CHUNK % b"word" + b":\n\n"]


@pytest.mark.parametrize("unit", UNITS)
def test_a_long_body_is_decoded_with_breaks_whatever_it_consists_of(unit: bytes) -> None:
    breaks = []
    size = 2_000_000 if unit == CHUNK % b"word" else 200_000  # such events are matched by the thousand
    decode(unit * (size // len(unit)), PROTOCOL, 1 << 20, lambda: breaks.append(1))
    assert len(breaks) >= 5


def test_a_short_body_is_decoded_without_a_break() -> None:
    breaks: list[int] = []
    decode(CHUNK % b"word" * 20, PROTOCOL, 1 << 20, lambda: breaks.append(1))
    assert breaks == []


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("count", [2, 9, 10, 11, 12, 13, 60])
def test_events_around_a_run_of_blank_lines_are_the_same_however_it_is_cut(blank: bytes, count: int) -> None:
    sent = b"id: 7" + blank + b"data: a" + count * blank + b"data: b" + 2 * blank
    whole, cut = sse.Decoder(), sse.Decoder()
    found = whole.feed(sent)
    assert [(event.data, event.id) for event in found] == [(b"a", "7"), (b"b", "7")]
    assert found == list(chain.from_iterable(cut.feed(sent[at : at + 1]) for at in range(len(sent))))
    assert whole.unfinished == cut.unfinished == 0


def test_blank_lines_are_skipped_in_one_step() -> None:
    decoder = sse.Decoder()
    decoder.feed(b"\n" * 50_000_000 + b"data: x\n\n")  # takes 30 s if each line is looked at


def test_only_the_last_strings_of_a_short_event_are_tried_as_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(body, "_holds", lambda pattern, *_: tried.append(pattern))
    event = b'data: {"choices":[{"delta":{"content":"x"}}],"a":[' + b'{"b":"c"},' * 300 + b"{}]}\n\n"
    decode(event * 30, PROTOCOL, 1 << 20)
    assert 0 < len(tried) <= 16 * 16


def test_progress_is_made_in_parts_with_a_break_after_each() -> None:
    breaks: list[int] = []
    progress = Progress(PROTOCOL, bytearray(b":\n" * 20_000), None, lambda: breaks.append(1))
    progress.update()
    assert len(breaks) == 9
    assert not progress.advance()
