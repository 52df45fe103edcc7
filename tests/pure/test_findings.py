"""What findings say of simulated runs: each of the fault that causes it, and nothing of runs without a fault."""

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.random import default_rng

from streamgauge.harness.judge.verdict.findings import FINDINGS, Certainty, Collector, chance, collector, find
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.record.path_limits import KNOWN
from streamgauge.harness.record.vitals import Vital
from tests.support import simulated_faults as faults
from tests.support.simulated import SERVER, USERS, Server, Users, asks, evidence, found, streams, vital

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
    "few slots, and a short run under the same load": Case(
        faults.unchanged,
        {"queueing"},
        Server(slots=4, ttft=0.2, itl=0.04),
        Users(at_once=14, ramp=6, think=0.1, seconds=25),
    ),
    "an open door, and a machine that everybody shares": Case(
        faults.unchanged, {"saturation", "throughput_limit"}, Server(slowdown=0.5, ttft=0.05, itl=0.005), CROWD
    ),
    "a slower machine that still has room": Case(
        faults.unchanged, {"saturation"}, Server(slowdown=0.03, ttft=0.2), CROWD
    ),
    "a long queue that is there from the first seconds on": Case(
        faults.unchanged,
        {"queueing"},
        Server(ttft=0.7, slots=12, tokens=(100, 140)),
        Users(at_once=60, ramp=3, think=2.5, seconds=75),
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
    "long stalls of many single streams": Case(faults.stalled(0.3, 8), {"lone_stalls"}, users=Users(at_once=40)),
    "stalls of many lengths": Case(faults.stalled(0.3, 2, up_to=8), {"lone_stalls"}),
    "a tunnel": Case(faults.tunnel, {"link_stalls"}),
    "max_tokens that is too small": Case(faults.cut_short(0.3), {"cut_by_max_tokens"}),
    "the same in OpenAI's word": Case(faults.cut_short(0.3, "length"), {"cut_by_max_tokens"}),
    "the same in Gemini's": Case(faults.cut_short(0.3, "MAX_TOKENS"), {"cut_by_max_tokens"}),
    "answers without content": Case(faults.empty(0.1, "end_turn"), {"empty_answers"}),
    "one worker far away": Case(faults.one_slow_worker, {"worker_differs"}),
    "one worker that fails": Case(faults.one_failing_worker, {"worker_differs"}),
    "one of several addresses that is slow": Case(faults.one_slow_address, {"server_differs"}),
    "one of several addresses that fails": Case(faults.one_failing_address, {"server_differs"}),
    "one slow replica behind a load balancer": Case(faults.one_slow_replica, {"server_differs"}),
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
        assert f"]({finding.source})" in row.split("|")[-2]


def test_the_documentation_has_a_row_for_each_finding_in_their_order() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE[: PAGE.index("## How sure")], re.MULTILINE) == [*FINDINGS]


def test_the_documentation_lists_the_known_limits_of_gateways() -> None:
    *first, last = map(str, KNOWN)
    assert f"({', '.join(first)} or {last} s)" in PAGE


def test_every_finding_has_a_fault_that_causes_it() -> None:
    assert set().union(*(case.findings for case in CASES.values())) == {*FINDINGS}


def test_a_pause_that_some_streams_did_not_share_is_one_of_nearly_all() -> None:
    made = asks(11, users=Users(at_once=30))
    going_on = made[::12]
    faults.paused(30, seconds=1)([ask for ask in made if ask not in going_on])
    assert found(made)["server_paused"].sentence.startswith("Nearly all streams stood still")
    faults.paused(40, seconds=1)(made)
    assert found(made)["server_paused"].sentence.startswith("All streams stood still")


def test_a_pause_of_our_own_process_is_no_pause_of_the_server() -> None:
    made = asks(11, users=Users(at_once=30))
    faults.paused(30, seconds=1)(made)
    assert [*found(made)] == ["server_paused"]
    stops = vital([31], [900])
    quiet = vital(range(60), [0] * 60)
    assert "server_paused" not in found(made, {Vital.LOOP_STOPPED: stops})
    assert "server_paused" in found(made, {Vital.LOOP_STOPPED: quiet})


def test_each_finding_advises_one_cause_and_one_action() -> None:
    for case in CASES.values():
        made = asks(11, case.server, case.users)
        case.change(made)
        for finding in found(made).values():
            cause, action = finding.advice.split(": ", maxsplit=1)
            assert cause[:1].isupper()
            assert action[:1].islower()
            assert len(finding.advice) < 120
            assert not finding.advice.endswith(".")


def test_a_queue_is_called_so_with_how_many_answers_are_under_way() -> None:
    crowd = Users(at_once=60, ramp=3, think=2.5, seconds=75)
    told = found(asks(11, Server(ttft=0.7, slots=12, tokens=(100, 140)), crowd))["queueing"].advice
    assert told.startswith("The server queues, with only about ")
    assert 8 <= int(re.findall(r"about (\d+) answers", told)[0]) <= 12, "12 slots, some with no content yet"


def test_a_wait_is_told_with_the_load_that_it_is_of() -> None:
    """The streams compared are those up to a load and from another one on, and not those at two loads."""
    made = asks(11, Server(slots=12, ttft=0.2), CROWD)
    numbers = found(made)["queueing"].evidence
    few, many = (int(re.findall(r"\d+", number.what)[0]) for number in numbers[:2])
    assert numbers[0].what == f"median wait for the first content with up to {few} streams open"
    assert numbers[1].what == f"wait with {many} or more"
    assert few < many


def test_stalls_of_one_length_are_a_timer() -> None:
    made = asks(11)
    faults.stalled(0.3, 8)(made)
    told = found(made)["lone_stalls"]
    assert re.search(
        r"^A timer seems to hold up single answers for 8\.0\d s on the wire: look for a timeout", told.advice
    )
    assert told.certainty is Certainty.LIKELY
    stalled, of_one_length = told.evidence[0].value, told.evidence[-1].value
    assert stalled - 3 <= of_one_length <= stalled
    assert (": all of them for 8.0" in told.sentence) == (of_one_length == stalled)


def test_stalls_of_many_lengths_are_no_timer() -> None:
    for seed in range(11, 21):
        made = asks(seed)
        faults.stalled(0.3, 2, up_to=8)(made)
        told = found(made)["lone_stalls"]
        assert "timer" not in told.advice
        assert told.certainty is Certainty.POSSIBLE


def test_a_busy_thread_is_the_generator_near_its_limit() -> None:
    busy = vital(range(60), [80] * 60)
    assert [*found(asks(11), {Vital.PYTHON_PERCENT: busy})] == ["generator_near_limit"]


def test_a_generator_that_waits_for_the_cores_of_others_is_not_told_to_use_more_processes() -> None:
    late = vital(range(60), [80] * 60)
    others = {Vital.OTHERS_PERCENT: vital(range(60), [190] * 60), Vital.CPU_WAIT: vital(range(60), [60] * 60)}
    alone, crowded = (
        found(asks(11), {Vital.PYTHON_PERCENT: late, **more})["generator_near_limit"] for more in ({}, others)
    )
    assert alone.advice == f"The load generator is near its limit: {alone.change[0].lower()}{alone.change[1:]}"
    assert "--processes" in alone.change
    assert crowded.change == "End the other work, of which the server is a part, or run on another machine"
    assert crowded.advice.endswith(": end the other work, of which the server is a part, or run on another machine")


def test_long_stalls_of_single_streams_come_before_a_short_pause_of_all() -> None:
    made = asks(11, users=Users(at_once=40))
    faults.stalled(0.3, 8)(made)
    faults.paused(33.3, seconds=0.6)(made)
    assert [finding.id for finding in find(evidence(made), {"longest_stall"})] == ["lone_stalls", "server_paused"]


def test_a_busy_generator_comes_after_what_failed_unless_it_makes_the_run_invalid() -> None:
    made = asks(11)
    faults.refused(0.1, 429)(made)
    seen = evidence(made, {Vital.PYTHON_PERCENT: vital(range(60), [80] * 60)})
    ids = ["rate_limited", "generator_near_limit"]
    assert [finding.id for finding in find(seen)] == ids
    assert [finding.id for finding in find(dataclasses.replace(seen, validity=Validity.INVALID))] == ids[::-1]
    words = {of: find(dataclasses.replace(seen, validity=of)) for of in Validity}
    limits = {of: next(each.sentence for each in told if each.id == ids[1]) for of, told in words.items()}
    assert limits[Validity.VALID] == "It kept up, with little to spare"
    assert limits[Validity.DEGRADED] == limits[Validity.INVALID] == "It did not keep up"


def test_a_label_is_named_that_tells_two_kinds_apart() -> None:
    made = asks(11)
    faults.slow_headers(0.3, 3, model="large")(made)
    told = found(made)["two_kinds"]
    assert told.sentence.endswith("label model “large” tells which")
    assert told.certainty is Certainty.SURE
    for ask in made:
        ask.labels = {}
    assert found(made)["two_kinds"].sentence.endswith("nothing that was recorded tells which")


def test_the_server_that_differs_is_named() -> None:
    made = asks(11)
    faults.one_slow_address(made)
    assert found(made)["server_differs"].sentence.startswith("The server at “10.0.0.2” differs from the others: its")
    for ask in made:
        ask.replica = {"10.0.0.2": "pod-b"}.get(ask.address, "pod-a")
    assert found(made)["server_differs"].sentence.startswith("The replica “pod-b” differs")
    made = asks(11)
    faults.a_replica_for_each_stream(made)
    assert found(made) == {}


def test_the_known_limit_of_a_timeout_is_named() -> None:
    made = asks(11)
    faults.cut_after(60, 0.1)(made)
    assert "60 s without an event, the limit of nginx" in found(made)["idle_cut"].sentence
    made = asks(11)
    faults.cut_after(45, 0.1)(made)
    told = found(made)["idle_cut"]
    assert told.sentence.endswith("45 s without an event")
    assert told.certainty is Certainty.POSSIBLE


def test_a_large_run_is_sampled_evenly() -> None:
    made = asks(11)
    thinned = Collector(60, collector.MOST * 4)
    thinned.take(streams(made))
    assert thinned.ids == [*range(0, len(made), 4)]
    assert len(Collector(10**7, 1).course().open) <= collector.MOST_SLICES


def test_the_tests_of_chance_are_those_of_the_textbooks() -> None:
    """Values of scipy 1.14: mannwhitneyu(…, method="asymptotic"), fisher_exact, binom.sf."""
    one, other = np.array([3.0, 5, 7, 9, 9, 12]), np.array([1.0, 2, 3, 4, 9, 8])
    ranks = chance.rank_sum(one, other)
    assert ranks.p == pytest.approx(0.07298445160059915, rel=1e-6)
    assert ranks.above == pytest.approx(27.5 / 36)
    assert chance.more_often(8, 10, 1, 6) == pytest.approx(0.024475524475, rel=1e-6)
    assert chance.at_least(7, 10, 0.4) == pytest.approx(0.0547618816, rel=1e-6)
    assert chance.rank_sum(np.ones(9), np.ones(9)).p == 1


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
    seeds = range(200 if settings().max_examples >= 100 else 50)  # `make quick` tries a quarter, and none may be wrong
    wrong = {seed: findings for seed in seeds if (findings := plain(seed))}
    assert len(wrong) <= len(seeds) // 100, wrong
