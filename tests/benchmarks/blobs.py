"""A million hostile arrivals blobs, half with C and half without: read whole or refused. The tests run 20,000."""

import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from streamgauge.harness.native import library
from tests.support.hostile_blobs import fuzz, known, refuse_all

CASES = 1_000_000
_SLICE = 5_000
_SECONDS = 600.0  # of two cores; then the line says how far it came


def run() -> dict[str, Any]:
    refuse_all(known())
    found, began, left_out = Counter[str](), time.monotonic(), 0
    with ProcessPoolExecutor() as processes:
        for part in processes.map(_slice, range(100, 100 + CASES // _SLICE), [began + _SECONDS] * (CASES // _SLICE)):
            found += part
            left_out += 0 if part else _SLICE
    short = {"not reached in that time": left_out} if left_out else {}
    return {
        "cases": found.total(), "seconds": round(time.monotonic() - began), "read whole": found["read"],
        "refused": found["damaged"], **short,
    }  # fmt: skip


def _slice(seed: int, until: float) -> Counter[str]:
    """AssertionError where two readers differ; nothing after `until`, of the monotonic clock."""
    if time.monotonic() > until:
        return Counter()
    if seed % 2:
        library.LIBRARY = None
    else:
        library.LIBRARY = library.load()
    return fuzz(_SLICE, seed)
