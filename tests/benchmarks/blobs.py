"""A million hostile arrivals blobs: each is read whole or refused. The tests run 20,000 of them."""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tests.support.hostile_blobs import fuzz, known, refuse_all

CASES = 1_000_000
_SLICE = 10_000


def run() -> dict[str, Any]:
    refuse_all(known())
    found: Counter[str] = Counter()
    with ProcessPoolExecutor() as processes:
        for part in processes.map(fuzz, [_SLICE] * (CASES // _SLICE), range(100, 100 + CASES // _SLICE)):
            found += part
    return {"cases": found.total(), "read whole": found["read"], "refused": found["damaged"]}
