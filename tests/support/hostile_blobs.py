"""Arrivals blobs as an attacker or a damaged disk could make them, and what every reader of blobs must do with them."""

import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import numpy as np
from msgspec.structs import asdict

from streamgauge.harness.native import library
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import KINDS, Chunk, DamagedArrivals

_ROOMS = arrivals.Rooms()  # as the judge reads many batches; a new room of 128 MiB for each costs most of the time
_NUMBERS = (0, 1, 2, 127, 128, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_WIDTHS = (0, 1, 2, 3, 6, 7, 8, 9, 255)


def stream(random: Random) -> list[Chunk]:
    """A stream as a server could send it: short or long, on a link or not, through a client library or not."""
    at, chunks = random.randrange(10**10), []
    link, handed = random.random() < 0.5, random.random() < 0.5
    for _ in range(random.choice((1, 2, 3, 20, 100))):
        at += random.choice((0, 1_000, 20_000_000, 5_000_000_000))
        perceived = at + (random.randrange(10**8) if link else 0)
        characters = random.randrange(100)
        late = perceived + random.randrange(10**6) if handed and random.random() < 0.9 else None
        chunks.append(Chunk(at, random.choice(KINDS), characters, characters + 80, perceived, late))
    return chunks


def hostile(blob: bytes, random: Random) -> bytes:
    """One change of a valid blob: of its bytes, or of what is in it, which zlib's checksum would not show."""
    if random.random() < 0.2:
        return bytes(_changed(bytearray(blob), random))
    inside = bytearray(zlib.decompress(blob[1:]))
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        inside = _changed(inside, random)
    after = b"" if random.random() < 0.95 else random.randbytes(9)
    return blob[:1] + _deflated(bytes(inside), random) + after


def _deflated(data: bytes, random: Random) -> bytes:
    """In one of the many ways in which deflate can say the same, some of which zlib would hardly choose."""
    strategy = random.choice((zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED))
    deflate = zlib.compressobj(random.choice((0, 1, 1, 6, 9)), zlib.DEFLATED, random.choice((9, 12, 15)), 5, strategy)
    middle = random.randrange(len(data) + 1) if random.random() < 0.3 else 0
    flush = random.choice((zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_BLOCK, zlib.Z_PARTIAL_FLUSH))
    return deflate.compress(data[:middle]) + deflate.flush(flush) + deflate.compress(data[middle:]) + deflate.flush()


def _changed(data: bytearray, random: Random) -> bytearray:
    place = random.randrange(len(data) + 1)
    match random.randrange(7):
        case 0 if place < len(data):
            data[place] ^= 1 << random.randrange(8)
        case 1:
            del data[place:]
        case 2:
            data[place : place + 4] = (random.choice(_NUMBERS) % 2**32).to_bytes(4, "little")
        case 3:
            data[place : place + 8] = random.choice(_NUMBERS).to_bytes(8, "little")
        case 4:
            data[place : place + 1] = bytes([random.choice(_WIDTHS)])
        case 5:
            data[place:place] = random.randbytes(random.choice((1, 8, 100)))
        case _:
            begin = random.randrange(len(data) + 1)
            data[place:place] = data[begin : begin + random.randrange(40)]
    return data or bytearray(1)


def column(width: int, base: int, deltas: bytes = b"") -> bytes:
    return bytes([width]) + (base % 2**64).to_bytes(8, "little") + deltas


def crafted(count: int, *parts: bytes) -> bytes:
    """A blob that says `count` events, of these parts."""
    inside = (count % 2**32).to_bytes(4, "little") + bytes(8) + b"".join(parts)
    return bytes([1]) + zlib.compress(inside, 9)


def known() -> Iterator[bytes]:
    """Blobs that once ended a process, or asked for more memory than a machine has."""
    gaps, kinds, rest = column(0, 0), column(0, 0), column(0, 1) * 3
    for length in (2**61, 2**62, 2**63 - 1, -(2**63), -1, 0):
        yield crafted(1, gaps, b"\1\0\0\0", kinds, column(0, length), rest)
    wrapping = column(8, 1, bytes(14) + b"\x80\x80")  # two lengths of 2^63 + 1, whose sum in 64 bits is 2
    yield crafted(2, gaps, b"\2\0\0\0", kinds, wrapping, rest)
    for count in (0, 2**18 + 1, 2**31, 2**32 - 1):
        yield crafted(count, gaps, b"\1\0\0\0", kinds, column(0, count), rest)
    yield crafted(2**18, column(0, 2**62), b"\1\0\0\0", kinds, column(0, 2**18), rest)  # times beyond 64 bits
    for bomb in (0, 1, 2**18):
        yield bytes([1]) + _bomb(bomb.to_bytes(4, "little"))
    yield from (b"\1", b"\1\0", bytes([1]) + zlib.compress(b""), bytes([1]) + zlib.compress(b"\1\0"))


def _bomb(head: bytes) -> bytes:
    """Inflates to 256 MiB of zeros after `head`: what one of them deflates to, again and again."""
    deflate, zeros = zlib.compressobj(1), bytes(2**20)
    begin = deflate.compress(head) + deflate.flush(zlib.Z_FULL_FLUSH)
    one = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = zlib.adler32(head)
    for _ in range(2**8):
        checksum = zlib.adler32(zeros, checksum)
    return begin + one * 2**8 + b"\3\0" + checksum.to_bytes(4, "big")


def check(blob: bytes) -> str:
    """Read a blob in every way: a whole result or DamagedArrivals, and the same answer of both readers."""
    try:
        whole = arrivals.columns(blob)
    except DamagedArrivals:
        whole = None
    content = _content([blob])
    if isinstance(content, str):
        assert whole is None
        return "damaged"
    if whole is None:
        return "damaged"  # in a column that only `columns` reads
    count = len(whole.at)
    assert count <= arrivals.MOST_EVENTS
    assert arrivals.event_count(blob) == count
    assert all(len(getattr(whole, name)) == count for name in whole.__struct_fields__)
    chosen = arrivals.is_content(whole.kind)
    assert np.array_equal(whole.at[chosen], content.at)
    assert np.array_equal(whole.perceived_at[chosen], content.perceived_at)
    assert len(arrivals.decode(blob)) == count
    return "read"


def _content(blobs: Sequence[bytes]) -> arrivals.ContentEvents | str:
    """The content of blobs, or why they were refused: C, where it is compiled, finds the same as Python."""
    found = _content_or_fault(blobs)
    with _without_compiled():
        expected = _content_or_fault(blobs)
        counts = _counts_or_fault(blobs)
    assert _counts_or_fault(blobs) == counts
    if isinstance(found, str) or isinstance(expected, str):
        assert found == expected
        return found
    assert all(np.array_equal(column, asdict(expected)[name]) for name, column in asdict(found).items())
    return found


def _content_or_fault(blobs: Sequence[bytes]) -> arrivals.ContentEvents | str:
    try:
        return arrivals.content_events(blobs, _ROOMS)
    except DamagedArrivals as fault:
        return str(fault)


def _counts_or_fault(blobs: Sequence[bytes]) -> Any:
    try:
        return arrivals.event_counts(blobs).tolist()
    except DamagedArrivals as fault:
        return str(fault)


@contextmanager
def _without_compiled() -> Iterator[None]:
    compiled, library.LIBRARY = library.LIBRARY, None
    try:
        yield
    finally:
        library.LIBRARY = compiled


def fuzz(cases: int, seed: int) -> Counter[str]:
    """Change valid blobs in this many ways. Returns how many were read and how many were refused."""
    random, found = Random(seed), Counter[str]()
    valid: Sequence[bytes] = [arrivals.encode(stream(random)) for _ in range(200)]
    assert {check(blob) for blob in valid} == {"read"}
    for _ in range(cases):
        found[check(hostile(random.choice(valid), random))] += 1
    return found


def check_together(blobs: Sequence[bytes]) -> None:
    """Read blobs at once: C and Python find the same in all, or the same fault in one."""
    content = _content(blobs)
    if not isinstance(content, str):
        alone = [arrivals.content_events([blob], _ROOMS) for blob in blobs]
        assert content.at.tolist() == [at for one in alone for at in one.at.tolist()]


def refuse_all(blobs: Iterable[bytes]) -> None:
    for blob in blobs:
        assert check(blob) == "damaged", blob[:100]


def main(cases: int) -> None:
    """In a process of its own: the known blobs, then half the cases with compiled code and half without."""
    refuse_all(known())
    print(fuzz(cases // 2, 1))
    library.LIBRARY = None
    print(fuzz(cases // 2, 2))


if __name__ == "__main__":
    main(int(sys.argv[1]))
