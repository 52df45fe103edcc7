"""Events matched by a pattern: C finds those that Python finds, and stops at the same byte."""

import ctypes
from random import Random

import pytest

from streamgauge.harness.drive.protocols import PROTOCOLS
from streamgauge.harness.drive.reading.body import decode
from streamgauge.harness.native import library
from tests.fuzz.inputs import exact, mutated

_LIMITS = (1 << 20, 140, 110)
_TOKENS = (b"word", b"x", "é".encode(), "€uro".encode(), "😀".encode(), b"\\n", b'\\"', b"", b"y" * 40)
_STRANGE = (b'"', b"\\", b"\n", b"\0", b"\x1f", b"\x7f", b"\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf0\x9f", b"\xff")
_BEFORE = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"'
_AFTER = b'"}}\n\n'
_PATTERNS = ((_BEFORE, _AFTER), (b"a:", b";"), (b"", b'"'))


def _body(random: Random, before: bytes, after: bytes) -> bytes:
    events = [before + random.choice(_TOKENS) * random.choice((1, 1, 2)) + after for _ in range(random.randint(0, 6))]
    return mutated(random, b"".join(events), _STRANGE)


def _reference(body: bytes, before: bytes, after: bytes, largest: int) -> tuple[int, list[tuple[int, int]]]:
    """Where matching stops, and size and characters of each event: by the description of `sg_match`."""
    at, found = 0, []
    while body.startswith(before, at):
        begin = end = at + len(before)
        while end < len(body) and body[end] not in b'"\\' and body[end] >= 0x20:
            end += 1
        try:
            characters = len(body[begin:end].decode())
        except UnicodeDecodeError:
            break
        size = end + len(after) - at
        if not characters or size > largest or not body.startswith(after, end):
            break
        found.append((size, characters))
        at += size
    return at, found


def case(random: Random) -> None:
    before, after = random.choice(_PATTERNS)
    body, largest, room = _body(random, before, after), random.choice(_LIMITS), 8
    sizes, characters, begin = (ctypes.c_int64 * room)(), (ctypes.c_int64 * room)(), ctypes.c_int64(0)
    strings = (exact(before), len(before), exact(after), len(after))
    count = library.LIBRARY.sg_match(exact(body), len(body), begin, *strings, largest, room, sizes, characters)
    stopped, events = _reference(body, before, after, largest)
    assert list(zip(sizes[:count], characters[:count], strict=True)) == events[:room], body
    assert len(events) > room or begin.value == stopped, body
    if before == _BEFORE:
        _same_columns(body, largest)


def _same_columns(body: bytes, largest: int) -> None:
    """The whole decoder, with C and without."""
    protocol = PROTOCOLS["anthropic_messages"]
    quickly = decode(body, protocol, largest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "LIBRARY", None)
        slowly = decode(body, protocol, largest)
    assert quickly == slowly, body
