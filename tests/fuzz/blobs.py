"""Hostile arrivals blobs: each is read whole or refused, with C and without."""

from collections.abc import Sequence
from functools import cache
from random import Random

import pytest

from streamgauge.harness.native import library
from streamgauge.harness.record import arrivals
from tests.support import hostile_blobs


@cache
def _valid() -> Sequence[bytes]:
    random = Random("valid blobs")
    return [arrivals.encode(hostile_blobs.stream(random)) for _ in range(200)]


def case(random: Random) -> None:
    blob = hostile_blobs.hostile(random.choice(_valid()), random)
    with pytest.MonkeyPatch.context() as patch:
        if random.random() < 0.5:
            patch.setattr(library, "LIBRARY", None)
        hostile_blobs.check(blob)
    if random.random() < 0.2:
        hostile_blobs.check_together([*random.sample(_valid(), 3), b"", random.choice((blob, random.choice(_valid())))])
