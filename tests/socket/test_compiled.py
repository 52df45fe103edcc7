"""The C of the harness gives the same results as its Python, whatever the server sends."""

import ctypes
import gc
import socket
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import gevent
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from streamgauge.harness.drive.protocols import PROTOCOLS, Answer, Malformed
from streamgauge.harness.drive.reading import sse
from streamgauge.harness.drive.reading.body import DecodedBody, decode
from streamgauge.harness.drive.reading.timing import Times, timed
from streamgauge.harness.drive.wire.compiled import Inbox, ReadingThread
from streamgauge.harness.drive.wire.exchange import Piece
from streamgauge.harness.drive.wire.loop import Loop
from streamgauge.harness.drive.wire.reads import Read, Reads
from streamgauge.harness.errors import InstallError
from streamgauge.harness.native import layout, library
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Columns
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome
from tests.support.command import PATIENCE

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(library.LIBRARY is None, reason="the package was installed without a compiler"),
]

LARGE = 1 << 20
numbers = some.integers(-(1 << 40), 1 << 40) | some.integers(0, 300)
counts = some.integers(0, 1 << 20) | some.integers(0, 300)


@contextmanager
def in_python() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "LIBRARY", None)
        yield


def count(sent: bytes) -> tuple[bool, int]:
    """Whether all of this was ordinary chunks, and how many bytes of the body are among it."""
    inbox = Inbox()
    return bool(library.LIBRARY.sg_count(ctypes.byref(inbox), sent, len(sent))), inbox.body


chunked = some.lists(some.tuples(some.binary(min_size=1, max_size=40), some.sampled_from(["%x", "%X", "00%x"])))


def written(chunks: list[tuple[bytes, str]]) -> tuple[bytes, list[int]]:
    """What is sent, and of each prefix of it, how many bytes of the body are among it."""
    sent, body = b"", [0]
    for data, form in chunks:
        size = (form % len(data)).encode() + b"\r\n"
        sent += size + data + b"\r\n"
        begin = body[-1]
        body += [begin] * len(size) + [begin + done for done in range(1, len(data) + 1)] + [begin + len(data)] * 2
    return sent, body


@given(chunked)
def test_body_bytes_are_counted_however_chunks_are_written_and_cut(chunks: list[tuple[bytes, str]]) -> None:
    sent, body = written(chunks)
    assert [count(sent[:length]) for length in range(len(sent) + 1)] == [(True, there) for there in body]


@contextmanager
def watched(**state: int) -> Iterator[tuple[ReadingThread, Inbox, socket.socket]]:
    """An inbox in this state whose socket is read, and the socket at the other end."""
    near, far = socket.socketpair()
    with near, far:
        thread = ReadingThread(library.LIBRARY)
        inbox = thread.inbox(near.fileno(), (b"never",))
        for name, value in state.items():
            setattr(inbox, name, value)
        thread.watch(inbox)
        try:
            yield thread, inbox, far
        finally:
            thread.unwatch(inbox)


def taken(thread: ReadingThread, inbox: Inbox) -> Piece:
    """What was there when it was reported."""
    assert thread.reported() == [inbox.descriptor]
    with thread:
        piece = inbox.take()
        thread.resume(inbox)
    return piece


def until(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.001)


def stripped(pieces: list[bytes]) -> tuple[bytes, bytes, list[int], bool]:
    """Of a stream whose first chunk is about to begin: the body, the rest, where reads end, and whether it is torn."""
    body, rest, reads = b"", b"", Reads()
    with watched(counted=1, stripped=1, body=0, state=layout.SIZE, chunk_left=0) as (thread, inbox, far):
        for sent in pieces:
            far.sendall(sent)
            piece = taken(thread, inbox)
            body, rest = body + piece.body, rest + piece.data
            reads.extend(piece.reads)
        return body, rest, reads.columns()[0].tolist(), bool(inbox.torn)


@given(chunked, some.lists(some.integers(0, 400)))
def test_chunk_framing_is_removed_however_chunks_are_cut(chunks: list[tuple[bytes, str]], cuts: list[int]) -> None:
    sent, body = written(chunks)
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    pieces = [sent[begin:end] for begin, end in pairwise(places)]
    lengths = [body[place] for place in places]
    ends = [after for before, after in pairwise(lengths) if after > before]
    assert stripped([*pieces, b"0\r\n\r\n"]) == (
        b"".join(data for data, _ in chunks),
        b"0\r\n\r\n",
        [*ends, body[-1]],
        False,
    )


@given(some.lists(some.integers(0, 12)))
def test_a_line_that_is_no_chunk_size_is_left_to_the_parser_as_a_whole(cuts: list[int]) -> None:
    sent = b"3\r\nabc\r\n1f;x=y"
    places = sorted({0, len(sent), *cuts})
    assert stripped([sent[begin:end] for begin, end in pairwise(places)])[:2] == (b"abc", b"1f;x=y")


IN_A_CHUNK = {"counted": 1, "report_all": 0, "state": layout.DATA, "chunk_left": 1 << 20}


def test_no_more_is_read_than_is_allowed_and_a_small_allowance_is_reported() -> None:
    with watched(**IN_A_CHUNK, allowance=3_000) as (thread, inbox, far):
        far.sendall(bytes(1_000))
        until(lambda: inbox.length == 1_000)
        far.sendall(bytes(3_000))
        assert thread.reported() == [inbox.descriptor]
        assert (inbox.length, inbox.allowance) == (3_000, 0)
        with thread:
            inbox.allowance = 10_000
            thread.resume(inbox)  # nothing else would report what is left in the kernel
        until(lambda: inbox.length == 4_000)


def test_a_usual_head_waits_with_what_follows_it_for_the_end_of_the_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nx: never\r\n\r\n"
    with watched(unattended=1) as (thread, inbox, far):
        far.sendall(head)
        until(lambda: inbox.length == len(head))
        far.sendall(b"3\r\none\r\n2")
        until(lambda: inbox.count == 1)
        far.sendall(b"\r\nup\r\n0\r\n\r\n")
        assert thread.reported() == [inbox.descriptor]  # neither the head nor the first chunk was
        with thread:
            first, rest = inbox.take_head(), inbox.take()
        assert (first.data, first.reads[0].seen, first.size) == (head, first.seen, len(head))
        assert first.seen < rest.reads[0].seen < rest.seen
        assert (rest.body, rest.data, rest.reads.ends(), rest.size) == (b"oneup", b"0\r\n\r\n", [3, 5], 20)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n",
        b"HTTP/1.1 429 Too Many Requests\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n" + 100 * b"x: y\r\n" + b"\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_any_other_head_is_left_to_the_parser_at_once(head: bytes) -> None:
    with watched(unattended=1) as (thread, inbox, far):
        far.sendall(head)
        piece = taken(thread, inbox)
        assert (inbox.head.end, piece.data, piece.reads.ends()) == (0, head, [len(head)])


def test_uncounted_reads_go_on_and_each_says_where_its_data_ends() -> None:
    with watched(counted=0) as (thread, inbox, far):
        far.sendall(b"one")
        assert thread.reported() == [inbox.descriptor]
        far.sendall(b"two")
        until(lambda: inbox.length == 6)
        assert [inbox.reads[number].end for number in range(inbox.count)] == [3, 6]


def test_a_read_in_which_c_loses_count_is_the_last_until_the_inbox_is_taken() -> None:
    with watched(**{**IN_A_CHUNK, "state": layout.SIZE, "chunk_left": 0}) as (thread, inbox, far):
        far.sendall(b"5;name=value\r\n")
        assert thread.reported() == [inbox.descriptor]
        far.sendall(b"12345\r\n")
        time.sleep(0.05)
        assert inbox.length == 14
        with thread:
            thread.resume(inbox)
        until(lambda: inbox.length == 21)


def test_a_reported_stream_is_still_read_while_there_is_room() -> None:
    with watched(**{**IN_A_CHUNK, "report_all": 1}) as (thread, inbox, far):
        far.sendall(b"one")
        assert thread.reported() == [inbox.descriptor]
        far.sendall(b"two")
        until(lambda: inbox.length == 6)


def test_an_unwatched_or_full_inbox_is_not_read() -> None:
    with watched(**IN_A_CHUNK) as (thread, inbox, far):
        with thread:
            far.sendall(b"held")
            time.sleep(0.05)
            assert inbox.length == 0
        until(lambda: inbox.length == 4)
        thread.unwatch(inbox)
        far.sendall(b"left")
        time.sleep(0.05)
        assert inbox.length == 4
        thread.watch(inbox)
        until(lambda: inbox.length == 8)


def test_data_that_one_read_leaves_in_the_kernel_is_read_without_new_arrivals() -> None:
    with watched() as (thread, inbox, far):
        far.sendall(bytes(100_000))
        far.close()  # the end came with the data, and nothing else reports it
        came, ended = 0, False
        while not ended:
            piece = taken(thread, inbox)
            came, ended = came + len(piece.data), piece.ended
        assert came == 100_000


def test_a_reader_ends_with_its_owner() -> None:
    before = _threads()
    thread = ReadingThread(library.LIBRARY)
    (own,) = _threads() - before  # those of other tests may be about to end
    del thread
    until(lambda: own not in _threads())


def test_a_closed_loop_leaves_no_thread_and_no_descriptor() -> None:
    hub = gevent.get_hub()  # which has descriptors of its own
    gc.collect()  # closes what other tests left, whose numbers the loop could get
    threads, descriptors = _threads(), _descriptors()
    made = Loop(hub.loop)
    (thread,), own = _threads() - threads, _descriptors() - descriptors
    assert sorted(what.partition(":[")[0] for _, what in own) == ["anon_inode"] * 4 + ["pipe"] * 2
    made.close()
    assert not own & _descriptors()
    until(lambda: thread not in _threads())


def _descriptors() -> set[tuple[str, str]]:
    """Those that are open: the number of each, and what it is."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one by which they are listed
            found.add((each.name, str(each.readlink())))
    return found


def _threads() -> set[str]:
    return {each.name for each in Path("/proc/self/task").iterdir()}


def test_the_codes_of_kinds_are_those_that_are_stored() -> None:
    assert (arrivals.KINDS[layout.TEXT], arrivals.KINDS[layout.TOOL]) == (arrivals.Kind.TEXT, arrivals.Kind.TOOL)
    assert set(range(layout.TOOL + 1)) == set(arrivals.CONTENT_CODES)


@pytest.mark.parametrize("number", ["READS", "read.stamp", "inbox"])
def test_a_library_of_another_version_is_refused(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = layout.numbers()
    monkeypatch.setattr(layout, "numbers", lambda: {**numbers, number: numbers[number] + 8})
    with pytest.raises(InstallError, match="install the package again"):
        library.load()


def test_a_chunk_that_does_not_end_where_it_said_is_torn() -> None:
    assert stripped([b"3\r\nabcd\r\n"])[3]


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"5;name=value\r\n", b"x", b"\r\n", b"fffffffffff\r\n", b"-1\r\n"])
def test_an_unusual_chunk_is_left_to_the_parser(end: bytes) -> None:
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


@example([b"a", b"b", b"c", b"d"], [b"", b": ping\n\n", b"\n"], LARGE)  # the third event is as long as its bytes
@given(tokens, some.lists(seams, max_size=3), some.sampled_from([LARGE, 140]))
def test_events_matched_by_a_pattern_are_decoded_like_single_events(
    said: list[bytes], between: list[bytes], limit: int
) -> None:
    body = b"".join(delta(token) + seam for token, seam in zip(said, between + [b""] * len(said), strict=False))
    protocol = PROTOCOLS["anthropic_messages"]
    alone: list[tuple[int, int, int]] = []
    fault = False
    for event in sse.Decoder().feed(body):
        try:
            meaning = protocol.meaning_of(event, Answer())
        except Malformed:
            fault = True
        if fault or event.size > limit:
            fault = True
            break
        alone.append((event.size, arrivals.KINDS.index(meaning.kind), meaning.characters))
    with in_python():
        slowly = decode(body, protocol, limit)
    quickly = decode(body, protocol, limit)
    for seen in (slowly, quickly):
        columns = zip(seen.sizes, seen.kinds, seen.characters, strict=True)
        assert list(columns) == alone
        assert (seen.fault is not None) == fault
        assert seen.fault is None or seen.fault[0] is Outcome.MALFORMED


@given(some.lists(some.tuples(numbers, some.integers(0, 4), counts, counts, numbers, some.integers(-1, 9)), min_size=1))
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


near = some.integers(0, 5_000_000)  # ns; some reads are late, and some are not
events = some.tuples(some.integers(1, 9), some.integers(0, 4), some.integers(0, 9))  # size, kind, characters


@given(
    some.lists(some.tuples(some.lists(events, max_size=4), near, near, some.booleans())),
    some.lists(near, max_size=4),
    some.none() | some.lists(near, max_size=30),
    some.booleans(),
    some.none() | some.integers(0, 100_000_000),
)
def test_compiled_code_and_numpy_compute_the_same_times(
    came: list[tuple[list[tuple[int, int, int]], int, int, bool]],
    holds: list[int],
    handed: list[int] | None,
    on_a_link: bool,
    until: int | None,
) -> None:
    clock, reads, now, end = RunClock(1_000, 10**18), [], 10**6, 0
    found = [event for held, *_ in came for event in held]
    for held, wait, lag, stamped in came:
        now, end = now + wait, end + sum(size for size, _, _ in held)
        reads.append(Read(end, now + clock.offset if stamped else 0, now + lag))
        now += lag
    sizes, kinds, characters = zip(*found, strict=True) if found else [()] * 3
    decoded = DecodedBody(array("q", sizes), bytes(kinds), array("q", characters), Answer(), ended=True, fault=None)
    times = Times(clock, Reads.of(*reads), array("q", sorted(holds)), None if handed is None else sorted(handed))
    if on_a_link:
        times.shown = times.arrived() + 70_000_000
    with in_python():
        slowly = timed(times, decoded, until)
    assert timed(times, decoded, until) == slowly
