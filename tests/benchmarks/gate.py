"""The regression gate on real runs: 40 short runs of one server, and 12 of a server with 15 % more TTFT.

Random splits of the equal runs give the false-alarm rate; splits with the slower server's runs give the detection rate.
The settings are the defaults: p50(ttft), p95(ttft) and p95(itl) with a margin of 5 %.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.judge.compare.comparison import GateStatus, compare
from streamgauge.harness.judge.compare.gate import Gate, RunFigure
from streamgauge.harness.judge.compare.noise import equal_runs
from streamgauge.harness.judge.compare.run_figures import figures_of_runs
from streamgauge.harness.judge.store import Store

EQUAL, SLOWER = 40, 12
TTFT_MS, CHANGE = 120, 0.15
SECONDS, USERS = 4, 12  # about 280 streams per run
BASELINE, CANDIDATE = 20, Regression().first_runs + Regression().fresh_runs
SPLITS = 1_000
GATE = Gate.of(Regression())
_STREAMGAUGE = [sys.executable, "-c", "from streamgauge.harness.cli import main; main()"]
_SCENARIO = """
from streamgauge.scenario import StreamUser, between, task

class Reader(StreamUser):
    wait_time = between(0, 0.02)

    @task
    def ask(self):
        self.stream()
"""

Runs = Mapping[str, Mapping[str, RunFigure]]


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        equal = record(Path(folder) / "equal.db", EQUAL, TTFT_MS)
        slower = record(Path(folder) / "slower.db", SLOWER, TTFT_MS * (1 + CHANGE))
    return judge(equal, slower)


def record(database: Path, runs: int, ttft_ms: float) -> Runs:
    """The gating metrics of `runs` runs against a server of their own."""
    scenario = database.with_suffix(".py")
    scenario.write_text(_SCENARIO)
    options = ["--port", "0", "--preset", "exact", "--ttft", f"{ttft_ms}ms", "--itl", "4ms", "--spread", "0.3"]
    serve = [sys.executable, "-m", "streamgauge.reference_server", *options, "--tokens", "10"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().rpartition(" ")[2].strip()
        work = ["--users", USERS, "--spawn-rate", 100, "--run-time", f"{SECONDS}s", "--repeat", runs, "--db", database]
        command = [*_STREAMGAUGE, "run", str(scenario), "--host", url, *map(str, work)]
        subprocess.run(command, capture_output=True, cwd=database.parent, check=False)  # 3: there are no rules
        server.terminate()
    with Store.open(database) as store:
        found, faults, _ = figures_of_runs(store, [each.id for each in store.runs()], GATE)
    assert not faults, faults
    return found


def judge(equal: Runs, slower: Runs) -> dict[str, Any]:
    """The share of random splits that are REGRESSED, and the spread of the runs."""
    false = [_verdict(seed, equal, None) for seed in range(SPLITS)]
    found = [_verdict(seed, equal, slower) for seed in range(SPLITS)]
    for name, verdicts in ((f"{len(equal)} equal runs", false), (f"{CHANGE:.0%} slower", found)):
        shares = {status.value: verdicts.count(status) / SPLITS for status in GateStatus if status in verdicts}
        print(f"gate: {name}, {SPLITS:,} splits: {', '.join(f'{one} {share:.1%}' for one, share in shares.items())}")
    runs, faults = equal_runs(equal.values(), GATE.metrics)
    assert runs is not None, faults
    names = [metric.subject.text for metric in runs.metrics]
    return {
        "alarm_rate": false.count(GateStatus.REGRESSED) / SPLITS,
        "detection_rate": found.count(GateStatus.REGRESSED) / SPLITS,
        "spread": dict(zip(names, runs.spread.round(4).tolist(), strict=True)),
        "streams_per_run": round(sum(run["p95(ttft)"].samples for run in equal.values()) / len(equal)),
        "equal": [run["p95(ttft)"].value for run in equal.values()],
        "slower": [run["p95(ttft)"].value for run in slower.values()],
    }


def _verdict(seed: int, equal: Runs, slower: Runs | None) -> GateStatus:
    """The verdict of one split: baseline from equal runs, candidate from other equal runs or slower ones."""
    rng = Random(seed)
    drawn = rng.sample(list(equal), BASELINE + CANDIDATE)
    candidate: Runs = {run: equal[run] for run in drawn[BASELINE:]}
    if slower is not None:
        candidate = {run: slower[run] for run in rng.sample(list(slower), CANDIDATE)}
    return compare("equal", {run: equal[run] for run in drawn[:BASELINE]}, candidate, GATE).status
