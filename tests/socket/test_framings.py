"""HTTP/1.1 as servers write it and as they should not: both socket readers and httpx's parser, h11, agree."""

from random import Random

import h11
import pytest

from streamgauge.harness.drive.wire.compiled import PolledSet, ReadingThread
from streamgauge.harness.native import library
from streamgauge.harness.record.observation import Outcome
from tests.fuzz import framing

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(library.LIBRARY is None, reason="the package was installed without a compiler"),
]

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
GOOD = b"5\r\nhello\r\n0\r\n\r\n"
HEADS = b"HTTP/1.1 200 OK\r\n%s\r\ntransfer-encoding: chunked\r\n\r\n" + GOOD
READ = {
    "chunks": CHUNKED + GOOD,
    "zeros": CHUNKED + b"0000000000005\r\nhello\r\n00\r\n\r\n",
    "spaces after a size": CHUNKED + b"5 \t\r\nhello\r\n0 \r\n\r\n",
    "an extension": CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n',
    "trailers": CHUNKED + b"5\r\nhello\r\n0\r\nx: y\r\nz:\r\n\r\n",
    "a head with LF": b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n" + GOOD,
    "a folded value": HEADS % b"x: y\r\n z\r\n\tw",
    "a value that begins on the next line": b"HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n chunked\r\n\r\n" + GOOD,
    "a status without words": b"HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n" + GOOD,
    "control characters in a value": HEADS % b"x: \x01\x7f\xff",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
}
REFUSED = {
    "LF after data": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "LF after a size": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "LF after an extension": CHUNKED + b"5;a=b\nhello\r\n0\r\n\r\n",
    "LF everywhere": b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\nhello\n0\n\n!",
    "CR after a size": CHUNKED + b"5\rhello\r\n0\r\n\r\n",
    "CR after data": CHUNKED + b"5\r\nhello\r0\r\n\r\n",
    "nothing after data": CHUNKED + b"5\r\nhello0\r\n\r\n",
    "a byte too much": CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
    "a byte too few": CHUNKED + b"5\r\nhell\r\n0\r\n\r\n",
    "a space before a size": CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    "a sign": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a negative size": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "0x": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "an underscore": CHUNKED + b"1_0\r\nhellohellohelloo\r\n0\r\n\r\n",
    "no size": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "a size beyond 64 bits": CHUNKED + b"f" * 21 + b"\r\nhello\r\n0\r\n\r\n",
    "a trailer without a colon": CHUNKED + b"5\r\nhello\r\n0\r\nx y\r\n\r\n",
    "NUL in a value": HEADS % b"x: a\0b",
    "a space before the colon": HEADS % b"x : y",
    "CR in a value": HEADS % b"x: a\rb",
    "a name without a value": HEADS % b"x",
    "another protocol": b"ICY 200 OK\r\n\r\nhello",
}


def by_h11(sent: bytes) -> bytes | None:
    """What httpx would read; None if it would refuse it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "here")]))
    client.send(h11.EndOfMessage())
    body = b""
    try:
        client.receive_data(sent)
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                client.receive_data(b"")
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
    except h11.RemoteProtocolError:
        return None
    return body


def read(sent: bytes) -> framing.Made:
    """By both readers, whole and byte by byte."""
    framing.same([bytes([byte]) for byte in sent], (), PolledSet)
    return framing.same([sent], (b"never",), ReadingThread)


@pytest.mark.parametrize("sent", READ.values(), ids=READ)
def test_what_httpx_reads_both_readers_read(sent: bytes) -> None:
    assert by_h11(sent) == b"hello"
    assert read(sent)[1:2] == (b"hello",)
    assert read(sent).outcome is None


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_what_httpx_refuses_both_readers_refuse(sent: bytes) -> None:
    assert by_h11(sent) is None
    assert read(sent).outcome is Outcome.MALFORMED


def test_both_readers_agree_on_a_thousand_damaged_answers() -> None:
    """`make bench` compares a million."""
    for number in range(1_000):
        framing.case(Random(f"agree/{number}"))


def test_where_a_chunk_does_not_end_as_it_says_both_readers_stop() -> None:
    """The LF after 17 bytes stands where a CR belongs."""
    head = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
    body = b"11\r\n\xf0\xda\xff*\x87v\xad\xab\xe8\x053\r\n0\r\n\r\n"
    for place in range(len(body)):
        made = framing.same([head + body[:place], body[place:]][not place :], (b"never",), ReadingThread)
        assert made.outcome is Outcome.MALFORMED
