"""The C of the harness says what its Python says, of whatever comes."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from harness import arrivals, compiled
from harness.arrivals import Columns
from harness.drive import sse
from harness.drive.clients.reading import read
from harness.drive.drain import Slot
from harness.drive.protocols import PROTOCOLS, Answer, Malformed
from harness.observation import Outcome

pytestmark = pytest.mark.skipif(compiled.LIBRARY is None, reason="the package was installed without a compiler")

LARGE = 1 << 20
numbers = some.integers(-(1 << 50), 1 << 50) | some.integers(0, 300)


@contextmanager
def in_python() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "LIBRARY", None)
        yield


def count(sent: bytes) -> tuple[bool, int]:
    """Whether all of this was plain chunks, and how many bytes of the body are among it."""
    slot = Slot()
    return bool(compiled.LIBRARY.sg_count(ctypes.byref(slot), sent, len(sent))), slot.body


@given(some.lists(some.tuples(some.binary(min_size=1, max_size=40), some.sampled_from(["%x", "%X", "00%x"]))))
def test_bytes_of_the_body_are_counted_however_chunks_are_written_and_cut(chunks: list[tuple[bytes, str]]) -> None:
    sent, body = b"", [0]  # of each prefix of what is sent
    for data, form in chunks:
        size = (form % len(data)).encode() + b"\r\n"
        sent += size + data + b"\r\n"
        begin = body[-1]
        body += [begin] * len(size) + [begin + done for done in range(1, len(data) + 1)] + [begin + len(data)] * 2
    assert [count(sent[:length]) for length in range(len(sent) + 1)] == [(True, there) for there in body]


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"5;name=value\r\n", b"x", b"\r\n", b"fffffffffff\r\n", b"-1\r\n"])
def test_what_is_no_plain_chunk_is_left_to_the_parser(end: bytes) -> None:
    assert count(b"3\r\nabc\r\n" + end) == (False, 3)


def test_a_chunk_without_its_end_is_left_to_the_parser() -> None:
    assert count(b"3\r\nabcd\r\n") == (False, 3)


tokens = some.lists(
    some.binary(max_size=6) | some.text(max_size=6).map(str.encode) | some.just(b"\\u00e9\\n\\ud83d\\ude00")
)
seams = some.sampled_from([b"", b": ping\n\n", b"data: {}\n\n", b"event: ping\ndata: {}\n\n", b"\n", b"\0"])


def delta(token: bytes) -> bytes:
    said = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}' % token
    return b"event: content_block_delta\ndata: " + said + b"\n\n"


@given(tokens, some.lists(seams, max_size=3), some.sampled_from([LARGE, 140]))
def test_events_that_are_alike_are_read_as_each_would_be_alone(
    said: list[bytes], between: list[bytes], limit: int
) -> None:
    body = b"".join(delta(token) + seam for token, seam in zip(said, between + [b""] * len(said), strict=False))
    protocol = PROTOCOLS["anthropic_messages"]
    alone: list[tuple[int, int, int]] = []
    fault = False
    for event in sse.Decoder().feed(body):
        try:
            meaning = protocol.understand(event, Answer())
        except Malformed:
            fault = True
        if fault or event.size > limit:
            fault = True
            break
        alone.append((event.size, arrivals.KINDS.index(meaning.kind), meaning.characters))
    with in_python():
        slowly = read(body, protocol, limit)
    quickly = read(body, protocol, limit)
    for seen in (slowly, quickly):
        columns = zip(seen.sizes.tolist(), seen.kind.tolist(), seen.characters.tolist(), strict=True)
        assert list(columns) == alone
        assert (seen.fault is not None) == fault
        assert seen.fault is None or seen.fault[0] is Outcome.MALFORMED


@given(
    some.lists(some.tuples(numbers, some.integers(0, 4), numbers, numbers, numbers, some.integers(-1, 9)), min_size=1)
)
def test_columns_are_packed_to_the_same_bytes(rows: list[tuple[int, ...]]) -> None:
    at, kind, characters, size, perceived_at, client_lag = (
        np.array(column, np.int64) for column in zip(*rows, strict=True)
    )
    columns = Columns(at, kind.astype(np.uint8), characters, size, perceived_at, client_lag)
    with in_python():
        slowly = arrivals.pack(columns)
    assert arrivals.pack(columns) == slowly
    back = arrivals.columns(slowly)
    assert [back.at.tolist(), back.perceived_at.tolist()] == [at.tolist(), perceived_at.tolist()]
