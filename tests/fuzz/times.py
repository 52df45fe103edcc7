"""The times of a stream and its packed columns: the same with C and without."""

import zlib
from array import array
from random import Random

import pytest

from streamgauge.harness.drive.protocols import Answer
from streamgauge.harness.drive.reading.body import DecodedBody
from streamgauge.harness.drive.reading.timing import Times, timed
from streamgauge.harness.drive.wire.reads import Read, Reads
from streamgauge.harness.native import library
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.clock import RunClock
from tests.fuzz.inputs import exact

_WAITS = (0, 1, 499, 500, 1_000, 499_999, 500_001, 20_000_000, 5_000_000_000)  # ns
_WITHOUT_NUMPY = 0.9  # share of the cases that only the sanitizers watch: numpy takes twenty times as long as C
_NUMBERS = (0, 1, -1, 255, 256, 65_535, 65_536, 1 << 31, -(1 << 31), 1 << 50, -(1 << 50))


def case(random: Random) -> None:
    clock, reads, now, end = RunClock(1_000, 10**18), [], 10**6, 0
    sizes, kinds, characters = array("q"), bytearray(), array("q")
    for _ in range(random.randint(0, 6)):
        for _ in range(random.choice((0, 1, 1, 2, 3))):
            sizes.append(random.randint(1, 90))
            kinds.append(random.randint(0, 4))
            characters.append(random.randint(0, 9))
            end += sizes[-1]
        now += random.choice(_WAITS)
        lag = random.choice(_WAITS)
        reads.append(Read(end, now + clock.offset if random.random() < 0.8 else 0, now + lag))
        now += lag
    decoded = DecodedBody(sizes, bytes(kinds), characters, Answer(), ended=True, fault=None)
    moments = sorted(random.randint(10**6, now) for _ in range(random.randint(0, 8)))
    holds = array("q", moments[: random.randint(0, 3)])
    times = Times(clock, Reads.of(*reads), holds, moments if random.random() < 0.3 else None)
    if random.random() < 0.3:
        times.shown = times.arrived() + random.choice(_WAITS)
    until = random.choice((None, random.randint(0, now)))
    quickly = timed(times, decoded, until)
    if random.random() < _WITHOUT_NUMPY:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "LIBRARY", None)
        slowly = timed(times, decoded, until)
    assert quickly == slowly, (times, decoded, until)


def columns_case(random: Random) -> None:
    count = random.randint(1, 12)
    kinds = bytes(random.choice((0, random.randint(0, 4))) for _ in range(count))
    rows = array("q", [random.choice(_NUMBERS) + random.randint(0, 3) for _ in range(4 * count)])
    rows.extend(random.choice((arrivals.NOT_HANDED, random.randint(-1, 9))) for _ in range(count))
    quickly = arrivals.pack_rows(kinds, rows[:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "LIBRARY", None)
        slowly = arrivals.pack_rows(kinds, rows)  # removes the last row if no event was handed on
    assert quickly == slowly, (kinds, rows)
    packed = zlib.decompress(slowly[1:])
    room, copy = exact(bytes(len(packed))), exact(rows.tobytes())
    assert library.LIBRARY.sg_pack(exact(kinds), copy, len(rows) // count, count, room) == len(packed)
    assert room.raw == packed, (kinds, rows)
