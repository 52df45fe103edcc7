"""What findings say of simulated runs: each of the fault that causes it, and nothing of runs without a fault."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from numpy.random import default_rng

from streamgauge.harness.judge.verdict.findings import FINDINGS
from tests.support import simulated_faults as faults
from tests.support.simulated import SERVER, USERS, Server, Users, asks, found

PAGE = (Path(__file__).parents[2] / "docs/reference/findings.md").read_text()


@dataclass(frozen=True)
class Case:
    change: faults.Change
    findings: set[str]
    server: Server = SERVER
    users: Users = USERS


CROWD = Users(at_once=60, ramp=50, think=0.5)
CASES = {
    "slots, and more users than they serve": Case(
        faults.unchanged, {"queueing", "throughput_limit"}, Server(slots=12, ttft=0.2), CROWD
    ),
    "an open door, and a machine that everybody shares": Case(
        faults.unchanged, {"saturation", "throughput_limit"}, Server(slowdown=0.5, ttft=0.05, itl=0.005), CROWD
    ),
    "a slower machine that still has room": Case(
        faults.unchanged, {"saturation"}, Server(slowdown=0.03, ttft=0.2), CROWD
    ),
    "slow headers for some": Case(faults.slow_headers(0.3, 3), {"two_kinds"}),
    "slow headers for one label": Case(faults.slow_headers(0.3, 3, model="large"), {"two_kinds"}),
    "a new connection for each stream": Case(faults.connecting_each_time, {"cold_connections"}),
    "a new connection for many": Case(faults.connecting_often, {"cold_connections"}),
    "prompts that are not cached": Case(faults.uncached(0.4), {"cache_misses"}),
    "a proxy that holds answers to their end": Case(faults.held_to_the_end, {"buffered"}),
    "writes of eight events": Case(faults.in_writes_of(8), {"buffered"}),
    "a proxy that flushes on a timer": Case(faults.on_a_timer(0.2), {"buffered"}),
    **{
        f"a proxy that cuts after {seconds} s of silence": Case(faults.cut_after(seconds, 0.1), {"idle_cut"})
        for seconds in (29, 30, 45, 55, 60, 100, 240, 300)
    },
    "a proxy that cuts each answer after 15 s": Case(faults.cut_at_age(15), {"idle_cut"}),
    "HTTP 429": Case(faults.refused(0.1, 429), {"rate_limited"}),
    "HTTP 503": Case(faults.refused(0.1, 503), {"overloaded"}),
    "HTTP 529": Case(faults.refused(0.1, 529), {"overloaded"}),
    "a blocked event loop": Case(faults.paused(20, 40, seconds=1), {"server_paused"}),
    "a single pause": Case(faults.paused(33.3, seconds=0.6), {"server_paused"}, users=Users(at_once=30)),
    "stalls of single streams": Case(faults.stalled(0.3, 2), {"lone_stalls"}),
    "a tunnel": Case(faults.tunnel, {"link_stalls"}),
    "max_tokens that is too small": Case(faults.cut_short(0.3), {"cut_by_max_tokens"}),
    "the same in OpenAI's word": Case(faults.cut_short(0.3, "length"), {"cut_by_max_tokens"}),
    "the same in Gemini's": Case(faults.cut_short(0.3, "MAX_TOKENS"), {"cut_by_max_tokens"}),
    "answers without content": Case(faults.empty(0.1, "end_turn"), {"empty_answers"}),
    "one worker far away": Case(faults.one_slow_worker, {"worker_differs"}),
    "one worker that fails": Case(faults.one_failing_worker, {"worker_differs"}),
    "reads that came late": Case(faults.read_late, {"generator_near_limit"}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_fault_has_its_finding_and_no_other(case: Case) -> None:
    made = asks(11, case.server, case.users)
    case.change(made)
    told = found(made)
    assert {*told} == case.findings
    for name, finding in told.items():
        assert name == finding.id
        assert finding.evidence
        assert all(math.isfinite(number.value) for number in finding.evidence)
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"]({finding.source}) |" in row


def test_the_documentation_has_a_row_for_each_finding_in_their_order() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE[: PAGE.index("## How sure")], re.MULTILINE) == [*FINDINGS]


def test_every_finding_has_a_fault_that_causes_it() -> None:
    assert set().union(*(case.findings for case in CASES.values())) == {*FINDINGS}


def plain(seed: int) -> set[str]:
    """The findings of a run in which nothing is wrong; the load, the users and the server differ from run to run."""
    draw = default_rng(seed)
    server = Server(
        ttft=float(draw.uniform(0.1, 1)),
        itl=float(draw.uniform(0.005, 0.04)),
        spread=float(draw.uniform(0.05, 0.5)),
        slowdown=float(draw.choice([0.0, 0.002])),
        moods=float(draw.choice([0.0, 0.3])),
    )
    users = Users(int(draw.integers(4, 20)), float(draw.uniform(0, 50)), float(draw.uniform(0.2, 3)), 45)
    made = asks(seed, server, users)
    for ask in made:
        ask.labels = {"phase": "late" if ask.due > 20 else "early", "shard": str(draw.integers(3))}
        ask.cached = int(draw.integers(2)) * 500
    return {*found(made)}


def test_plain_runs_have_no_findings_in_99_of_100_cases() -> None:
    wrong = {seed: findings for seed in range(200) if (findings := plain(seed))}
    assert len(wrong) <= 2, wrong
