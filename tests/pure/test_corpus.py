"""The corpus of other people's streams without a socket: read as each file says, and then changed in every way.

However a server's bytes are cut, dropped, doubled, swapped or damaged: nothing raises, nothing that brought no content
is COMPLETED, and neither is anything that ended early.
"""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.config.load import parse
from streamgauge.harness.drive.protocols import for_target
from streamgauge.harness.drive.protocols.protocol import COUNTS
from streamgauge.harness.drive.wire.response import Response
from streamgauge.harness.native import library
from streamgauge.harness.record.arrivals import Kind
from tests.support.corpus import Stream, streams
from tests.support.reading import broken, expected, lacking, read, read_slowly

# The body of the others is not what the file has: it is compressed, or has HTTP around it.
STREAMS = [stream for stream in streams() if stream.framing != "raw" and "content-encoding" not in stream.headers]
SMALL = [stream for stream in STREAMS if len(stream.body) < 4_000]  # Hypothesis shows what it found
VALUE = re.compile(rb':\s*("(?:[^"\\]|\\.)*"|[\w.-]+|\[\]|\{\})')  # of a key, in JSON
ODD = [b"[]", b"{}", b"1.5", b"null", b"true", b'"x"', b"-1", b"[[]]", b'{"a": {}}', b'""', b"[null]"]
COMPLETED = [stream for stream in STREAMS if stream.reading["outcome"] == "completed"]


def test_there_are_enough_streams_of_each_kind() -> None:
    everything = streams()
    assert len(everything) >= 290
    for kind in ("A", "A2", "B", "C", "E", "F", "G", "H", "I", "J", "M", "N", "S", "frame"):
        assert sum(kind in stream.table["kinds"] for stream in everything) >= 3, kind


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_each_stream_is_read_as_its_file_says(stream: Stream) -> None:
    found = read(stream, stream.body, complete="unfinished" not in stream.sent, why=broken(stream))
    wanted = expected(stream)
    facts = {"outcome": found.outcome, "characters": found.characters, "oddities": found.answer.oddities}
    facts |= {kind.value: found.kinds.get(kind, 0) for kind in (Kind.TEXT, Kind.THINKING, Kind.TOOL)}
    facts |= {fact: getattr(found.answer, fact) for fact in ("stop_reason", *COUNTS)}
    assert facts == {fact: wanted[fact] for fact in facts}, found.detail
    assert lacking(wanted["detail"], found.detail) == [], found.detail


PAGE = (Path(__file__).parents[2] / "docs/how-to/own-format.md").read_text()
TABLES = dict(re.findall(r"^### ([^\n]+)\n(?:(?!^#).)*?^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
IN_CORPUS = {
    "LangGraph's server": "langgraph",
    "Data that is a JSON string": "team",
    "Text as data, asked by GET, without a terminal event": "get_until_closed",
    "Raw text": "text",
}


def test_every_format_of_the_page_has_streams_in_the_corpus() -> None:
    assert list(TABLES) == list(IN_CORPUS)


@pytest.mark.parametrize("name", IN_CORPUS)
def test_the_tables_of_the_page_are_those_that_read_the_corpus(name: str) -> None:
    target = parse(TABLES[name].encode()).target
    theirs = [stream.target for stream in STREAMS if stream.name.startswith(f"custom/{IN_CORPUS[name]}")]
    assert theirs
    assert all((each.events, each.end) == (target.events, target.end) for each in theirs)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Stream, bytes]:
    """A stream, and its body with some events dropped, doubled, swapped, damaged or replaced by another stream's."""
    stream = draw(st.sampled_from(SMALL))
    parts = stream.parts()
    for _ in range(draw(st.integers(0, 3))):
        parts = [part for part in parts if part]
        if not parts:
            break
        at, other = draw(st.integers(0, len(parts) - 1)), draw(st.integers(0, len(parts) - 1))
        match draw(st.sampled_from(["drop", "double", "swap", "flip", "cut", "odd", "foreign"])):
            case "drop":
                del parts[at]
            case "double":
                parts.insert(at, parts[other])
            case "swap":
                parts[at], parts[other] = parts[other], parts[at]
            case "flip":
                place = draw(st.integers(0, len(parts[at]) - 1))
                byte = draw(st.sampled_from(b'"{}[]:,\\\n\r 0e\xff'))
                parts[at] = parts[at][:place] + bytes([byte]) + parts[at][place + 1 :]
            case "cut":
                parts[at] = parts[at][: draw(st.integers(0, len(parts[at]) - 1))]
            case "odd":
                odd = draw(st.sampled_from(ODD))
                places = list(VALUE.finditer(parts[at]))
                if places:
                    begin, end = draw(st.sampled_from(places)).span(1)
                    parts[at] = parts[at][:begin] + odd + parts[at][end:]
            case "foreign":
                parts.insert(at, draw(st.sampled_from(draw(st.sampled_from(SMALL)).parts() or [b"\n"])))
    return stream, b"".join(parts)


@given(damaged(), st.booleans(), st.lists(st.integers(0, 3_000), max_size=6))
def test_a_damaged_stream_is_read_alike_in_every_way_and_never_completed_without_content(
    damage: tuple[Stream, bytes], complete: bool, cuts: list[int]
) -> None:
    stream, body = damage
    fast = read(stream, body, complete=complete)
    places = [0, *sorted(min(place, len(body)) for place in cuts), len(body)]
    assert fast == read_slowly(stream, [body[a:b] for a, b in pairwise(places)], complete=complete)
    assert fast.outcome != "completed" or fast.kinds
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "LIBRARY", None)
        assert fast == read(stream, body, complete=complete)


def test_a_count_in_an_event_like_an_earlier_one_is_the_last_count() -> None:
    """Found by the test above: the third event is the first one again, and what is like it was not looked into."""
    (stream,) = (stream for stream in STREAMS if stream.name == "gemini/without_reason")
    first, second = stream.parts()
    body = second + first + second
    assert read(stream, body, complete=False).answer.output_tokens == 2
    assert read(stream, body, complete=False) == read_slowly(stream, [body], complete=False)


@given(st.sampled_from(COMPLETED), st.floats(0, 1, exclude_max=True))
def test_a_stream_that_is_cut_before_its_end_is_not_completed(stream: Stream, share: float) -> None:
    whole = read(stream, stream.body, complete=True)
    end = len(stream.body) if whole.ended is None else whole.ended
    if for_target(stream.target).framing == "ndjson":
        end = len(stream.body[:end].rstrip())  # the last line needs no line end
    cut = stream.body[: int(share * end)]
    assert read(stream, cut, complete=False).outcome != "completed"
    if whole.ended is not None and stream.target.end != "close":
        assert read(stream, cut, complete=True).outcome != "completed"


@given(st.sampled_from([stream for stream in streams() if stream.framing != "close"]), st.lists(st.integers(0, 3_000)))
def test_the_http_body_does_not_depend_on_how_the_bytes_are_cut(stream: Stream, cuts: list[int]) -> None:
    sent = b"".join(stream.wire())
    places = [0, *sorted(min(place, len(sent)) for place in cuts), len(sent)]
    assert http_body([sent]) == http_body([sent[a:b] for a, b in pairwise(places)])


@given(st.sampled_from([stream for stream in streams() if stream.framing in {"chunked", "raw"}]), st.floats(0, 1))
def test_an_http_message_that_is_cut_before_its_end_is_not_complete(stream: Stream, share: float) -> None:
    sent = b"".join(stream.wire())
    body, complete, _ = http_body([sent[: int(share * (len(sent) - 1))]])
    assert not complete
    assert http_body([sent])[0].startswith(body)


def http_body(pieces: list[bytes]) -> tuple[bytes, bool, bool]:
    """The body that comes of these reads, whether the message is complete, and whether it is HTTP."""
    response, good = Response(), True
    try:
        for piece in pieces:
            response.feed(piece)
    except Exception:  # noqa: BLE001 - httptools has several
        good = False
    return bytes(response.body), response.complete, good
