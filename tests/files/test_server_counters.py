"""Wasted tokens and the time to stop, from samples of the server's own counters."""

import math
from pathlib import Path

import pytest

from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.errors import RuleError
from streamgauge.harness.judge.measure.rates import Figure
from streamgauge.harness.judge.outputs import json
from streamgauge.harness.judge.verdict.judgement import Judgement, judge
from streamgauge.harness.judge.verdict.rules import parse, parse_all
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.record import MS, a_run, new_store, observation

Sample = tuple[float, float]  # seconds, value


def judged(
    path: Path,
    streams: list[StreamObservation],
    *rules: str,
    generated: list[Sample] | None = None,
    active: list[Sample] | None = None,
) -> Judgement:
    named = {"server_generated": generated or [], "server_active": active or []}
    with new_store(path / "one.db") as store:
        store.start_run(a_run())
        samples = [("local", int(at * 1e9), name, value) for name, values in named.items() for at, value in values]
        store.append("run-1", streams, samples)
        store.finish_run("run-1", ended_ns=10_000 * MS, status="finished")
        return judge(store, rules=parse_all(Sla(rule=rule) for rule in rules))


def texts(n: int) -> list[tuple[str, float]]:
    return [("text", 100 + 20 * at) for at in range(n)]


def complete(tokens: int = 10) -> StreamObservation:
    return observation(texts(10), output_tokens=tokens)


def left(chunks: int, **fields: object) -> StreamObservation:
    return observation(texts(chunks), **{"outcome": Outcome.CANCELLED, **fields})  # type: ignore[arg-type]


def test_wasted_tokens_are_those_generated_and_not_received(tmp_path: Path) -> None:
    streams = [complete(), complete(), left(3), left(5), left(0)]
    found = judged(tmp_path, streams, generated=[(0, 1_000), (1, 1_020), (5, 1_060)])
    assert found.rates["wasted_tokens"] == Figure(60 - 20 - 8, 3)


def test_a_chunk_of_a_cancelled_stream_counts_as_many_tokens_as_others_do(tmp_path: Path) -> None:
    streams = [complete(30), left(4, output_tokens=1)]  # reported at its start: not what it received
    assert judged(tmp_path, streams, generated=[(0, 0), (5, 50)]).rates["wasted_tokens"].value == 50 - 30 - 12


def test_a_counter_that_was_reset_goes_on_from_0(tmp_path: Path) -> None:
    found = judged(tmp_path, [left(3)], generated=[(0, 900), (1, 910), (2, 5), (3, 25)])
    assert found.rates["wasted_tokens"].value == 10 + 5 + 20 - 3


def test_a_counter_with_fewer_tokens_than_were_received_is_not_used(tmp_path: Path) -> None:
    half = judged(tmp_path, [complete(), complete(), left(2)], "wasted_tokens < 5", generated=[(0, 0), (5, 11)])
    assert half.rates["wasted_tokens"] == Figure(None, 1)
    assert half.verdict == "inconclusive"


def test_the_waste_is_never_negative(tmp_path: Path) -> None:
    hundred = [complete() for _ in range(100)]
    found = judged(tmp_path, [*hundred, left(2)], generated=[(0, 0), (5, 1_001)])
    assert found.rates["wasted_tokens"].value == 0, "one token was on its way to the counter"


@pytest.mark.parametrize("generated", [None, [(3.0, 50.0)]])
def test_without_samples_there_is_no_figure(tmp_path: Path, generated: list[Sample] | None) -> None:
    found = judged(tmp_path, [complete(), left(2)], generated=generated)
    assert found.rates["wasted_tokens"] == found.rates["time_to_stop"] == Figure(None, 0)


def test_without_cancelled_streams_there_is_no_waste_and_no_time_to_stop(tmp_path: Path) -> None:
    found = judged(tmp_path, [complete()], generated=[(0, 0), (5, 70)], active=[(0, 0), (5, 0)])
    assert found.rates["wasted_tokens"] == found.rates["time_to_stop"] == Figure(None, 0)


def test_the_time_to_stop_goes_from_the_last_stream_s_end_to_the_first_idle_sample(tmp_path: Path) -> None:
    streams = [left(2, ended=3_000), complete()]
    found = judged(tmp_path, streams, active=[(0, 0), (1, 2), (2, 0), (3, 1), (4, 1), (5, 0), (6, 0)])
    assert found.rates["time_to_stop"] == Figure(2_000, 1)


def test_a_server_that_is_never_idle_again_takes_an_infinite_time_to_stop(tmp_path: Path) -> None:
    found = judged(tmp_path, [left(2, ended=3_000)], "time_to_stop < 5s", active=[(0, 0), (4, 1), (9, 1)])
    assert found.rates["time_to_stop"] == Figure(math.inf, 1)
    assert found.verdict == "missed"
    assert json.document(found)["metrics"]["time_to_stop"] == {"unit": "ms", "value": None, "n": 1}


def test_idle_is_as_busy_as_before_the_first_stream(tmp_path: Path) -> None:
    stream = observation(texts(2), due=1_000, outcome=Outcome.CANCELLED, ended=1_000)
    found = judged(tmp_path, [stream], active=[(0, 9), (0.5, 4), (1.5, 6), (2.5, 5), (3, 4), (4, 0)])
    assert found.rates["time_to_stop"].value == 1_000


def test_a_counter_that_stands_still_overrules_a_stale_gauge(tmp_path: Path) -> None:
    streams = [left(2, ended=3_000)]
    active = [(0.0, 0.0), *((at, 7.0) for at in range(1, 10))]
    counted = [(0.0, 0.0), (1.0, 9.0), (2.0, 20.0), (3.0, 30.0), (4.0, 35.0), *((at, 36.0) for at in range(5, 10))]
    stands = judged(tmp_path / "stands", streams, generated=counted, active=active)
    assert stands.rates["time_to_stop"] == Figure(2_000, 1)
    late = judged(tmp_path / "late", streams, generated=[*counted[:-2], (8.0, 40.0), (9.0, 40.0)], active=active)
    assert late.rates["time_to_stop"] == Figure(math.inf, 1)


def test_a_gauge_that_was_stale_before_the_run_is_not_an_idle_level(tmp_path: Path) -> None:
    stream = observation(texts(2), due=2_000, outcome=Outcome.CANCELLED, ended=1_000)
    active = [(0.0, 50.0), (1.0, 50.0), (2.5, 8.0), (3.0, 8.0), (4.0, 4.0), (5.0, 0.0)]
    for before, stopped in (
        (100.0, 2_000),
        (90.0, 0),
    ):  # the counter stands still; it grows: the server has another client
        counted = [(0.0, before), (1.0, 100.0), (2.5, 120.0), (3.0, 130.0), (4.0, 140.0), (5.0, 140.0)]
        found = judged(tmp_path / str(stopped), [stream], generated=counted, active=active)
        assert found.rates["time_to_stop"] == Figure(stopped, 1)


def test_samples_that_end_soon_after_the_streams_do_not_say_when_the_server_stopped(tmp_path: Path) -> None:
    for last in (2, 4):  # seconds; the stream ends at 3
        found = judged(tmp_path / str(last), [left(2, ended=3_000)], active=[(0, 0), (1, 1), (last, 1)])
        assert found.rates["time_to_stop"] == Figure(None, 0)


def test_a_rule_about_a_figure_of_the_whole_run_can_have_no_where() -> None:
    with pytest.raises(RuleError, match=r"time_to_stop is known only for the whole run; remove `where`"):
        parse(Sla(rule="time_to_stop < 2s", where=Where(user="Leaver")))
    assert parse(Sla(rule="time_to_stop < 2s")).limit == 2_000
    assert parse(Sla(rule="wasted_tokens < 500")).limit == 500
