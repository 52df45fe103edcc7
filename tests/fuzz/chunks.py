"""Chunked transfer coding: what C counts of a body is what Python's HTTP parser finds in the same bytes."""

import ctypes
from random import Random

import httptools

from streamgauge.harness.drive.wire.compiled import Inbox
from streamgauge.harness.drive.wire.response import Response
from streamgauge.harness.native import library
from tests.fuzz.inputs import exact, mutated

_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_STRANGE = (
    b"\r", b"\n", b"\r\n", b"\n\r", b"\r\n\r\n", b"0", b"0" * 40, b"-1", b"+5", b"0x", b" ", b"\t", b";", b";x=y",
    b"f" * 17, b"\0", b"\xff", b"x", b"_",
)  # fmt: skip
_FORMS = (
    b"%x", b"%x", b"%x", b"%X", b"00%x", b"%x ", b"%x\t ", b" %x", b"+%x", b"-%x", b"0x%x", b"%xh", b"%x;x=y",
    b'%x;x="y;z"', b"%x ;x = y", b"%x;", b"%x;" + b"x" * 40,
)  # fmt: skip
_LINE_ENDS = (b"\r\n",) * 20 + (b"\n", b"\r", b"\n\r", b"", b" \r\n", b"\r\r\n")
_ENDS = (
    b"", b"0\r\n\r\n", b"000\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"0;x\r\n\r\n", b"0\r\n", b"0\n\n", b"0\r\n\n",
    b"0\r\nx: y\n\n", b"0\r\nx: y\r\n z\r\n\r\n", b"0\r\nx y\r\n\r\n",
    b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"0" * 70 + b"\r\n\r\n",
    b"0\r\n" + b"x: y\r\n" * 600 + b"\r\n",
)  # fmt: skip


def written(random: Random) -> bytes:
    """A body of a few chunks, with or without its end."""
    chunks = []
    for _ in range(random.randint(0, 4)):
        data = random.randbytes(random.choice((1, 2, 9, 10, 15, 16, 17, 300)))
        size = len(data) + random.choice((0,) * 20 + (1, -1))
        form = random.choice(_FORMS) % size
        chunks.append(form + random.choice(_LINE_ENDS) + data + random.choice(_LINE_ENDS))
    return mutated(random, b"".join(chunks) + random.choice(_ENDS), _STRANGE)


def ordinary(random: Random) -> bytes:
    """A whole body without anything strange."""
    parts = [random.randbytes(random.randint(1, 300)) for _ in range(random.randint(1, 9))]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


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
