"""Compressed bodies are read as they come, like a browser's, within bounds."""

import contextlib
import gzip
import zlib

import brotli  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.drive.wire.inflate import Damaged, inflater

EVENTS = [b"data: token %d\n\n" % number for number in range(20)]


def flushed(encoding: str) -> list[bytes]:
    """Each event compressed and flushed, as a server does that streams to browsers."""
    if encoding == "br":
        packer = brotli.Compressor()
        return [packer.process(event) + packer.flush() for event in EVENTS]
    bits = {"gzip": 31, "deflate": 15, "raw deflate": -15}[encoding]
    stream = zlib.compressobj(wbits=bits)
    return [stream.compress(event) + stream.flush(zlib.Z_SYNC_FLUSH) for event in EVENTS]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate", "br"])
def test_each_event_is_there_with_the_bytes_that_complete_it(encoding: str) -> None:
    reader = inflater(encoding.removeprefix("raw "))
    assert reader is not None
    assert [reader.feed(piece, 1_000) for piece in flushed(encoding)] == EVENTS


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
@given(data=st.data())
def test_what_is_read_does_not_depend_on_how_the_bytes_were_cut(encoding: str, data: st.DataObject) -> None:
    body = b"".join(flushed(encoding))
    reader, cuts = inflater(encoding), sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=20)))
    assert reader is not None
    found = [reader.feed(body[a:b], 10_000) for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert b"".join(found) == b"".join(EVENTS)


def test_a_gzip_member_for_each_event_is_read() -> None:
    reader = inflater("x-gzip")
    assert reader is not None
    assert reader.feed(b"".join(map(gzip.compress, EVENTS)), 1_000) == b"".join(EVENTS)


def test_many_empty_members_end_the_stream_before_they_cost_much() -> None:
    reader = inflater("gzip")
    assert reader is not None
    read = gzip.compress(b"") * 500
    for _ in range(100):
        assert reader.feed(read, 1_000) == b""
    with pytest.raises(Damaged, match="in more than 50,000 parts"):
        reader.feed(read, 1_000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_bomb_is_unpacked_only_as_far_as_there_is_room(encoding: str) -> None:
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}[encoding](bytes(3_000_000))
    reader = inflater(encoding)
    assert reader is not None
    assert 10_001 <= len(reader.feed(packed, 10_001)) < 1_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
@given(body=st.binary(min_size=1, max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(encoding: str, body: bytes) -> None:
    reader = inflater(encoding)
    assert reader is not None
    with contextlib.suppress(Damaged):  # nothing else may be raised
        assert len(reader.feed(body, 1_000)) <= 1_000


@pytest.mark.parametrize("value", ["", "identity", " identity , identity"])
def test_a_plain_body_needs_no_unpacking(value: str) -> None:
    assert inflater(value) is None


@pytest.mark.parametrize("value", ["zstd", "gzip, br", "gzip, zstd"])
def test_an_unknown_encoding_is_a_key_error(value: str) -> None:
    with pytest.raises(KeyError):
        inflater(value)
