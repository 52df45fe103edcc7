"""Bytes → events: the standard's text as an independent oracle, and every way to cut the bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.reading.sse import Decoder

BOM = b"\xef\xbb\xbf"


class Standard:
    """The parsing rules of the WHATWG standard, sentence by sentence, a byte at a time: slow, but simple.

    With the two additions of ours that are marked.
    """

    def __init__(self, body: bytes) -> None:
        self.reported: list[tuple[bytes, str, str | None, int, bool]] = []
        self.last_id: str | None = None
        self.retry: int | None = None
        self.id: str | None = None
        self.data, self.type = b"", b""
        at, line = 0, b""
        if body[:3] == BOM:
            at = 3
        while at < len(body):
            byte = body[at : at + 1]
            at += 1
            if byte not in (b"\r", b"\n"):
                line += byte
                continue
            self.line(line, at)
            line = b""
            if byte == b"\r" and body[at : at + 1] == b"\n":
                at += 1

    def line(self, line: bytes, end: int) -> None:
        if line == b"":
            self.dispatch(end)
        elif line[0:1] == b":":
            self.reported.append((self.without_space(line[1:]), "", self.last_id, end, True))
        elif b":" in line:
            colon = line.index(b":")
            self.field(line[:colon], self.without_space(line[colon + 1 :]))
        else:
            self.field(line, b"")

    @staticmethod
    def without_space(value: bytes) -> bytes:
        return value[1:] if value[0:1] == b" " else value

    def field(self, name: bytes, value: bytes) -> None:
        if name == b"event":
            self.type = value
        elif name == b"data":
            self.data += value + b"\n"
        elif name == b"error":  # ours: llama.cpp's field for errors
            self.type = b"error"
            self.data += value + b"\n"
        elif name == b"id":
            if 0 not in value:
                self.id = value.decode("utf-8", "replace")
        elif name == b"retry" and value != b"" and all(48 <= byte <= 57 for byte in value):
            self.retry = int(value)

    def dispatch(self, end: int) -> None:
        self.last_id = self.id
        if self.data != b"" or self.type.decode("utf-8", "replace"):  # ours: a name alone is an event, too
            self.reported.append((self.data[:-1], self.type.decode("utf-8", "replace"), self.id, end, False))
        self.data, self.type = b"", b""


PIECES = st.sampled_from(
    [
        b"data: hello\n\n",
        b'event: content_block_delta\ndata: {"a":1}\n\n',
        b"data",
        b"data:",
        b"data: ",
        b"event: ping",
        b"error: out of memory",
        b"event:",
        b"id: 7",
        b"id",
        b"id: a\0b",
        b"retry: 3000",
        b"retry: 3s",
        b": keep-alive\n",
        b":",
        b" ",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b"\r\n\r\n",
        BOM,
        "é😀".encode(),
        "😀".encode()[:2],
        b"\xff",
        b"\0",
        b"\x0b\x0c\x1c\x85",  # line ends to str.splitlines, none here
    ]
)
BODIES = st.one_of(st.lists(PIECES, max_size=30).map(b"".join), st.binary(max_size=60))


def fed(*pieces: bytes) -> list[Event]:
    decoder = Decoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


def data_of(body: bytes) -> list[bytes]:
    return [event.data for event in fed(body)]


@given(BODIES)
def test_the_events_are_those_of_the_standard(body: bytes) -> None:
    decoder, standard = Decoder(), Standard(body)
    reported = [(event.data, event.name, event.id, event.end, event.comment) for event in decoder.feed(body)]
    assert reported == standard.reported
    assert (decoder.last_id, decoder.retry) == (standard.last_id, standard.retry)


@given(BODIES, st.lists(st.integers(0, 200)))
def test_events_do_not_depend_on_how_the_bytes_were_cut(body: bytes, cuts: list[int]) -> None:
    whole, cut = Decoder(), Decoder()
    places = [0, *sorted(min(place, len(body)) for place in cuts), len(body)]
    assert [event for a, b in pairwise(places) for event in cut.feed(body[a:b])] == whole.feed(body)
    assert (cut.unfinished, cut.last_id, cut.retry) == (whole.unfinished, whole.last_id, whole.retry)


@given(BODIES)
def test_fed_a_byte_at_a_time_each_event_is_reported_with_the_byte_that_completes_it(body: bytes) -> None:
    decoder = Decoder()
    for at in range(len(body)):
        for event in decoder.feed(body[at : at + 1]):
            assert event.end == at + 1


@given(BODIES)
def test_sizes_add_up_to_the_last_end(body: bytes) -> None:
    events = fed(body)
    assert sum(event.size for event in events) == (events[-1].end if events else 0)


def test_the_examples_of_the_standard() -> None:
    assert data_of(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [b"YHOO\n+2\n10"]
    assert data_of(b"data\n\ndata\ndata\n\ndata:") == [b"", b"\n"]
    assert data_of(b"data:test\n\ndata: test\n\n") == [b"test", b"test"]
    example = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    first, second, third = (event for event in fed(example) if not event.comment)
    assert (first.data, first.id) == (b"first event", "1")
    assert (second.data, second.id) == (b"second event", "")
    assert (third.data, third.id) == (b" third event", "")


def test_a_cr_completes_an_event_without_waiting_for_a_line_feed() -> None:
    decoder = Decoder()
    assert [event.end for event in decoder.feed(b"data: a\r\n\r")] == [10]
    assert decoder.feed(b"\n") == []
    assert [(event.data, event.end) for event in decoder.feed(b"data: b\r\n\r\n")] == [(b"b", 21)]


def test_a_byte_order_mark_is_dropped_once_and_counts_in_the_offsets() -> None:
    assert [(event.data, event.end) for event in fed(BOM[:1], BOM[1:] + b"data: a\n\n")] == [(b"a", 12)]
    assert data_of(BOM + BOM + b"data: a\n\n") == []  # the second one belongs to the field's name


def test_a_comment_is_reported_even_inside_an_event() -> None:
    events = fed(b"data: a\n: still here\ndata: b\n\n")
    assert [(event.data, event.comment) for event in events] == [(b"still here", True), (b"a\nb", False)]


def test_an_event_without_data_and_name_is_not_reported_but_its_id_and_retry_hold() -> None:
    decoder = Decoder()
    assert decoder.feed(b"id: 9\nretry: 250\n\n") == []
    assert (decoder.last_id, decoder.retry) == ("9", 250)
    (event,) = decoder.feed(b"data: x\n\n")
    assert (event.name, event.id, event.size) == ("", "9", 27)


def test_an_id_is_in_force_only_once_its_event_is_complete() -> None:
    decoder = Decoder()
    decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert decoder.last_id == "1"


def test_an_unfinished_event_is_not_reported_and_its_bytes_are_counted() -> None:
    decoder = Decoder()
    assert [event.data for event in decoder.feed(b"data: a\n\ndata: b\ndata: c")] == [b"a"]
    assert decoder.unfinished == len(b"data: bdata: c")
    decoder.feed(b"\n\n")
    assert decoder.unfinished == 0


@pytest.mark.parametrize("value", [b"-1", b"1.5", b"", b" ", "٣".encode(), b"9" * 5000])
def test_an_invalid_retry_field_is_ignored(value: bytes) -> None:
    decoder = Decoder()
    decoder.feed(b"retry: " + value + b"\n\n")
    assert decoder.retry is None


def test_a_large_event_may_come_a_byte_at_a_time() -> None:
    """In linear time: in quadratic time this would copy tens of gigabytes."""
    decoder, data = Decoder(), b"x" * 300_000
    assert [event for byte in b"data: " + data + b"\n" for event in decoder.feed(bytes([byte]))] == []
    assert [event.data for event in decoder.feed(b"\n")] == [data]
