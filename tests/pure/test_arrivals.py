"""The blob of a stream's arrivals: nothing is lost but what is below a microsecond."""

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import astuple

from streamgauge.harness.drive.reading import body
from streamgauge.harness.native import library
from streamgauge.harness.record import arrivals, packed
from streamgauge.harness.record.arrivals import KINDS, Chunk, Columns, Kind
from streamgauge.harness.record.observation import CONTENT
from tests.support import hostile_blobs


def chunk(at: int, link: int, kind: Kind, characters: int, size: int, lag: int | None = None) -> Chunk:
    """Times in µs: when it arrived, how long it was on the link, and how long in a client library."""
    perceived_at = (at + link) * 1000
    return Chunk(at * 1000, kind, characters, size, perceived_at, None if lag is None else perceived_at + lag * 1000)


PARTS = (
    st.integers(-(10**12), 10**13),
    st.integers(0, 10**10),
    st.sampled_from(KINDS),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
)
LAG = st.none() | st.integers(0, 10**9)
streams = st.lists(st.builds(chunk, *PARTS), max_size=40) | st.lists(st.builds(chunk, *PARTS, LAG), max_size=40)


@given(streams)
def test_a_stream_decodes_to_what_was_encoded(chunks: list[Chunk]) -> None:
    assert arrivals.decode(arrivals.encode(chunks)) == tuple(chunks)


@given(st.lists(streams, max_size=8))
def test_content_of_many_streams_decodes_like_that_of_each_alone(many: list[list[Chunk]]) -> None:
    found = arrivals.content_events([arrivals.encode(chunks) for chunks in many])
    content = [[chunk for chunk in chunks if chunk.kind in CONTENT] for chunks in many]
    assert np.diff(found.starts).tolist() == [len(chunks) for chunks in content]
    assert found.at.tolist() == [chunk.at // 1000 for chunks in content for chunk in chunks]
    assert found.perceived_at.tolist() == [chunk.perceived_at // 1000 for chunks in content for chunk in chunks]
    lags = [-1 if c.handed_at is None else (c.handed_at - c.perceived_at) // 1000 for chunks in content for c in chunks]
    assert found.client_lag.tolist() == lags
    to_read = [chunk.characters if chunk.kind is Kind.TEXT else 0 for chunks in content for chunk in chunks]
    assert found.text.tolist() == to_read


@pytest.mark.parametrize("compiled", [True, False])
def test_of_blobs_with_too_many_events_together_the_first_are_read(
    monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    for module in (arrivals, packed):
        monkeypatch.setattr(module, "MOST_AT_ONCE", 100)
        monkeypatch.setattr(module, "MOST_EVENTS", 40)
    if not compiled:
        monkeypatch.setattr(library, "LIBRARY", None)
    blobs = [
        arrivals.encode([chunk(at, 0, Kind.TEXT, at, 9) for at in range(count)]) for count in (40, 0, 30, 20, 40, 7)
    ]
    found = arrivals.first_content_events(blobs)
    assert [*map(len, np.split(found.at, found.starts[1:-1]))] == [40, 0, 30, 20]
    assert arrivals.first_content_events(blobs[4:]).at.tolist() == [*range(40), *range(7)]
    with pytest.raises(arrivals.DamagedArrivals, match="too many events together"):
        arrivals.content_events(blobs)


def test_memory_is_used_again_only_when_nothing_refers_to_it() -> None:
    """What was read before stays as it is, whichever part of it somebody keeps."""
    random, rooms = Random(1), arrivals.Rooms()
    kept: list[tuple[list[list[int]], list[Any]]] = []
    for _ in range(40):
        blobs = [arrivals.encode(hostile_blobs.stream(random)) for _ in range(3)]
        alone, found = arrivals.content_events(blobs), arrivals.first_content_events(blobs, rooms)
        values = [[column.tolist() for column in astuple(each)] for each in (alone, found)]
        assert values[0] == values[1]
        columns = [*astuple(found)]
        kept.append((values[0], [column[1:][::2] if random.random() < 0.5 else None for column in columns]))
        del alone, found, columns
        kept = kept[-random.choice((1, 2, 5)) :]
        for expected, views in kept:
            assert [None if each is None else each.tolist() for each in views] == [
                None if each is None else values[1:][::2] for each, values in zip(views, expected, strict=True)
            ]
    assert len(rooms._rooms) <= 7


@given(streams.filter(bool), st.data())
def test_a_blob_that_is_cut_short_is_an_error(chunks: list[Chunk], data: st.DataObject) -> None:
    blob = arrivals.encode(chunks)
    cut = blob[: data.draw(st.integers(1, len(blob) - 1))]
    for read in (arrivals.columns, lambda damaged: arrivals.content_events([damaged])):
        with pytest.raises(ValueError, match="arrivals blob"):
            read(cut)


def columns_or_error(read: Callable[[bytes], msgspec.Struct], blob: bytes) -> tuple[np.ndarray, ...] | str:
    try:
        return astuple(read(blob))
    except ValueError as fault:
        return str(fault)


@given(streams.filter(bool), st.integers(0, 10**4), st.integers(1, 255))
@example([Chunk(0, Kind.TEXT, 1, 2, 0)], 2, 0x46)  # zlib's note of how hard it compressed, which nothing reads
def test_a_damaged_blob_is_an_error_or_reads_as_the_whole_one(chunks: list[Chunk], place: int, bits: int) -> None:
    """zlib's checksum covers what comes out: it does not find a change that makes no difference to it."""
    whole = arrivals.encode(chunks)
    damaged = bytearray(whole)
    damaged[place % len(whole)] ^= bits
    for read in (arrivals.columns, lambda blob: arrivals.content_events([blob])):
        found = columns_or_error(read, bytes(damaged))
        if isinstance(found, str):
            assert "arrivals blob" in found
        else:
            assert [column.tolist() for column in found] == [column.tolist() for column in astuple(read(whole))]


def test_times_are_rounded_to_the_microsecond_each_by_itself() -> None:
    chunks = [Chunk(at, Kind.TEXT, 1, 2, at) for at in (1_499, 2_998, 4_497)]
    assert [chunk.at for chunk in arrivals.decode(arrivals.encode(chunks))] == [1_000, 3_000, 4_000]


def test_a_blob_of_another_version_says_so() -> None:
    for read in (arrivals.columns, lambda blob: arrivals.content_events([blob])):
        with pytest.raises(ValueError, match="version 9; this program reads 1"):
            read(b"\x09rest")


def test_two_hundred_tokens_take_little_room() -> None:
    at, chunks = 0, []
    for place in range(200):
        at += 250_000_000 if place == 1 else 20_000_000 + (place * 7_919_333) % 4_000_000  # ± 2 ms, as servers do
        chunks.append(Chunk(at, Kind.TEXT, 1 + place * 7 % 9, 130 + place * 7 % 9, at))
    assert len(arrivals.encode(chunks)) < 700


def test_kinds_are_stored_by_codes_that_never_change() -> None:
    assert KINDS == (Kind.TEXT, Kind.THINKING, Kind.TOOL, Kind.PING, Kind.OTHER)


def test_every_stream_that_can_be_recorded_can_be_read() -> None:
    assert body._MOST_EVENTS <= arrivals.MOST_EVENTS
    zeros = np.zeros(body._MOST_EVENTS, np.int64)
    longest = Columns(zeros, zeros.astype(np.uint8), zeros, zeros, zeros, zeros)
    assert len(arrivals.columns(arrivals.pack(longest)).at) == body._MOST_EVENTS
