"""Searches for the capacity of a reference server whose knee is known, because its queue can be simulated.

`capacity` searches a number of users, with answers of about 2 s; `capacity_rate` a rate, with answers of about 0.5 s.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks import queueing
from tests.benchmarks.queueing import Server

AT_ONCE = 2  # searches
OUT = Path("out/bench")  # what each found, for the levels of one that is far off
_OF_USERS = Server(slots=40, tokens=(30, 50), ttft_ms=100.0, itl_ms=22.0, limit_ms=500.0)
_OF_RATE = Server(slots=20, tokens=(15, 25), ttft_ms=50.0, itl_ms=10.0, limit_ms=500.0)
_CONFIG = """
[target]
max_tokens = 400
[[sla]]
rule = "p95(ttft) < {:.0f}ms"
[[sla]]
rule = "p95(itl) < 200ms"
"""
_STREAMGAUGE = [sys.executable, "-c", "from streamgauge.harness.cli import main; main()"]


class Told(NamedTuple):
    """What one search found, in users or in streams per second."""

    proven: float | None
    knee: dict[str, float] | None
    gave_way: str | None
    stopped: str | None
    seconds: float

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Told":
        numbers = found["per_second"] or found
        return cls(numbers["proven"], numbers["knee"], found["gave_way"], found["stopped"], found["seconds"])

    def near(self, true: float) -> bool:
        return self.knee is not None and abs(self.knee["at"] / true - 1) < 0.10

    def is_safe(self, true: float) -> bool:
        return (self.proven or 0) <= 1.03 * true

    def line(self, true: float) -> str:
        at = "no knee named" if self.knee is None else "knee {at} ({low} to {high})".format(**self.knee)
        near = "within 10 %" if self.near(true) else "not within 10 %"
        safe = "safe" if self.is_safe(true) else "proven too much"
        ended = f"{self.gave_way or 'nothing'} gave way, {self.seconds:.0f} s, {self.stopped or 'complete'}"
        return f"proven {self.proven}, {at}, {near}, {safe}, {ended}"


def run() -> dict[str, Any]:
    return _searches("capacity", 10, _OF_USERS, queueing.knee_of_users(_OF_USERS), ())


def run_rate() -> dict[str, Any]:
    print(f"capacity_rate: the server sustains {queueing.most_per_second(_OF_RATE):.1f} streams per second", flush=True)
    return _searches("capacity_rate", 4, _OF_RATE, queueing.knee_of_rate(_OF_RATE), ("--open",))


def _searches(name: str, count: int, server: Server, true: float, words: Sequence[str]) -> dict[str, Any]:
    print(f"{name}: the true knee is {true:.1f}", flush=True)

    def told(seed: int) -> Told:
        document = search(seed, server, words)
        (OUT / f"{name}-{seed}.json").write_text(json.dumps(document, indent=2) + "\n")
        found = Told.of(document)
        print(f"{name}, seed {seed}: {found.line(true)}", flush=True)
        return found

    with ThreadPoolExecutor(AT_ONCE) as threads:
        all_told = list(threads.map(told, range(1, count + 1)))
    return {
        "true_knee": round(true, 1),
        "searches": count,
        "within_10_percent": sum(each.near(true) for each in all_told),
        "proven_at_most_3_percent_above": sum(each.is_safe(true) for each in all_told),
        "longest_seconds": max(each.seconds for each in all_told),
        "proven": [each.proven for each in all_told],
        "knees": [each.knee for each in all_told],
        "generator": [each.gave_way for each in all_told].count("generator"),
    }


def search(seed: int, server: Server, words: Sequence[str]) -> dict[str, Any]:
    """What one search found, against a server of its own."""
    options = {
        "port": 0, "capacity": server.slots, "ttft": f"{server.ttft_ms}ms", "itl": f"{server.itl_ms}ms",
        "tokens": "{}-{}".format(*server.tokens), "spread": queueing.SPREAD, "pauses": 0, "prefill": "0ms",
        "seed": seed,
    }  # fmt: skip
    serve = [sys.executable, "-m", "streamgauge.reference_server"]
    serve += [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as serving,
    ):
        assert serving.stdout is not None
        url = serving.stdout.readline().rpartition(" ")[2].strip()
        (Path(folder) / "streamgauge.toml").write_text(_CONFIG.format(server.limit_ms))
        command = [*_STREAMGAUGE, "capacity", url, "--seed", str(seed), "--max-minutes", "20", "--json", "found.json"]
        ended = subprocess.run([*command, *words], capture_output=True, cwd=folder, check=False, text=True)
        serving.terminate()
        document = Path(folder) / "found.json"
        assert document.exists(), ended.stdout + ended.stderr
        found: dict[str, Any] = json.loads(document.read_text())
        return found
