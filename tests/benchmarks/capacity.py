"""Searches for the capacity of a reference server whose knee is known, with answers of about 2 s.

The server answers 40 streams at a time and queues the others, so users above 40 wait for their first token. How long is
computed by simulating the queue: that gives the number of users with which 5 % of the streams break the rule.
"""

import heapq
import json
import math
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

SEARCHES, AT_ONCE = 10, 2
SLOTS, TOKENS = 40, (30, 50)
TTFT_MS, ITL_MS, SPREAD = 100.0, 22.0, 0.2  # of an idle server; a full one takes twice as long
LIMIT_MS = 500.0
_CONFIG = f"""
[target]
max_tokens = 400
[[sla]]
rule = "p95(ttft) < {LIMIT_MS:.0f}ms"
[[sla]]
rule = "p95(itl) < 200ms"
"""
_STREAMGAUGE = [sys.executable, "-c", "from streamgauge.harness.cli import main; main()"]


def run() -> dict[str, Any]:
    true = knee()
    print(f"capacity: the true knee is {true:.1f}", flush=True)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = list(threads.map(partial(told, true), range(1, SEARCHES + 1)))
    return {
        "true_knee": round(true, 1),
        "searches": len(found),
        "within_10_percent": sum(near(each, true) for each in found),
        "proven_at_most_3_percent_above": sum(is_safe(each, true) for each in found),
        "longest_seconds": max(each["seconds"] for each in found),
        "proven": [each["proven"] for each in found],
        "knees": [each["knee"] for each in found],
        "generator": [each["gave_way"] for each in found].count("generator"),
    }


def told(true: float, seed: int) -> dict[str, Any]:
    """Search, and print a line on it."""
    found = search(seed)
    at = "no knee named" if found["knee"] is None else "knee {at} ({low} to {high})".format(**found["knee"])
    verdicts = (
        "within 10 %" if near(found, true) else "not within 10 %",
        "safe" if is_safe(found, true) else "proven too much",
    )
    gave_way = f"{found['gave_way'] or 'nothing'} gave way"
    words = [f"proven {found['proven']}", at, *verdicts, gave_way, f"{found['seconds']:.0f} s"]
    print(f"capacity, seed {seed}: {', '.join(words)}, {found['stopped'] or 'complete'}", flush=True)
    return found


def near(found: dict[str, Any], true: float) -> bool:
    return found["knee"] is not None and abs(found["knee"]["at"] / true - 1) < 0.10


def is_safe(found: dict[str, Any], true: float) -> bool:
    return (found["proven"] or 0) <= 1.03 * true


def search(seed: int) -> dict[str, Any]:
    """What one search found, against a server of its own."""
    options = {
        "port": 0, "capacity": SLOTS, "ttft": f"{TTFT_MS}ms", "itl": f"{ITL_MS}ms", "tokens": "{}-{}".format(*TOKENS),
        "spread": SPREAD, "pauses": 0, "prefill": "0ms", "seed": seed,
    }  # fmt: skip
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    serve = [sys.executable, "-m", "streamgauge.reference_server", *words]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        url = server.stdout.readline().rpartition(" ")[2].strip()
        (Path(folder) / "streamgauge.toml").write_text(_CONFIG)
        command = [*_STREAMGAUGE, "capacity", url, "--seed", str(seed), "--max-minutes", "20", "--json", "found.json"]
        ended = subprocess.run(command, capture_output=True, cwd=folder, check=False, text=True)
        server.terminate()
        document = Path(folder) / "found.json"
        assert document.exists(), ended.stdout + ended.stderr
        found: dict[str, Any] = json.loads(document.read_text())
        return found


def knee() -> float:
    """The load with which 5 % of the streams have a TTFT beyond the limit, between two numbers of users."""
    shares = {users: _late(users) for users in range(SLOTS, 2 * SLOTS)}
    above = min(users for users, share in shares.items() if share > 0.05)
    low, high = (math.log(max(shares[users], 1e-4)) for users in (above - 1, above))
    return above - 1 + (math.log(0.05) - low) / (high - low)


def _late(users: int, streams: int = 20_000) -> float:
    """The share of late streams if each of so many users asks again at once."""
    rng, order = np.random.default_rng(1), Random(1)
    sigma = math.sqrt(math.log1p(SPREAD**2))

    def drawn(mean: float, count: int) -> Any:
        return 2 * rng.lognormal(math.log(mean) - sigma**2 / 2, sigma, count)

    free = [0.0] * SLOTS  # when each slot is free again
    asks = [order.uniform(0, 2000) for _ in range(users)]  # when each user asks, ms
    heapq.heapify(asks)
    late = 0
    for number in range(streams + 4_000):
        asked = heapq.heappop(asks)
        begins = max(asked, heapq.heappop(free))
        first = float(drawn(TTFT_MS, 1)[0])
        ends = begins + first + float(drawn(ITL_MS, order.randint(*TOKENS) - 1).sum())
        heapq.heappush(free, ends)
        heapq.heappush(asks, ends)
        late += number >= 4_000 and begins + first - asked > LIMIT_MS
    return late / streams
