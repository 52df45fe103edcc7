"""Chunked transfer coding: what C counts of a body is what Python's HTTP parser finds in the same bytes."""

import ctypes
from random import Random

import httptools

from streamgauge.harness.drive.wire.compiled import Inbox
from streamgauge.harness.drive.wire.response import Response
from streamgauge.harness.native import library
from tests.fuzz.inputs import exact, mutated

_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_STRANGE = (b"\r", b"\n", b"\r\n", b"0", b"0" * 40, b"-1", b"+5", b" ", b"\t", b";x=y", b"f" * 17, b"\0", b"\xff", b"x")


def written(random: Random) -> bytes:
    """A body of a few chunks, with or without its end."""
    chunks = []
    for _ in range(random.randint(0, 4)):
        data = random.randbytes(random.choice((1, 2, 9, 10, 15, 16, 17, 300)))
        form = random.choice((b"%x", b"%x", b"%X", b"00%x", b"%x;x=y", b"%x "))
        chunks.append(form % len(data) + b"\r\n" + data + b"\r\n")
    end = random.choice((b"", b"0\r\n\r\n", b"000\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"0;x\r\n\r\n"))
    return mutated(random, b"".join(chunks) + end, _STRANGE)


def case(random: Random) -> None:
    sent, inbox, response = written(random), Inbox(), Response()
    counted = library.LIBRARY.sg_count(ctypes.byref(inbox), exact(sent), len(sent))
    failed = False
    try:
        response.feed(_HEAD + sent)
    except httptools.HttpParserError:
        failed = True
    found = len(response.body)
    response.close()
    if counted:
        assert not failed, sent
        assert not response.complete, sent
        assert found == inbox.body, sent
    else:
        assert inbox.body <= found, sent  # C stopped at something unusual, and left the rest to the parser
