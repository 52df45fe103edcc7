"""Each metric on streams whose figures can be computed by hand, and what a failed stream does to it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Good, Reader, Where
from streamgauge.harness.judge.measure.clusters import ClusterSample
from streamgauge.harness.judge.measure.distribution import Distribution
from streamgauge.harness.judge.measure.measurements import Measurements, measure
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.rates import RATES, Figure
from streamgauge.harness.judge.measure.tally import Tally
from streamgauge.harness.judge.store import Store
from streamgauge.harness.record.observation import FAILURES, Outcome, StreamObservation
from tests.support.record import a_run, database, observation, ttfts


def measured(
    tmp_path: Path, *observations: StreamObservation, labels: Sequence[str] = (), batch: int = 5_000
) -> Measurements:
    with Store.open(database(tmp_path / "one.db", observations)) as store:
        return measure(store.streams(a_run().id, batch=batch), labels)


def samples(tmp_path: Path, name: str, *observations: StreamObservation) -> Distribution:
    return measured(tmp_path, *observations).distribution(name)


def plain(found: Distribution) -> list[float]:
    return np.repeat(found.values, found.counts).tolist()


def gated(found: Distribution, limit: float | None = None) -> list[float]:
    return np.repeat(*found.gated(limit)).tolist()


def test_a_ping_is_not_a_first_token(tmp_path: Path) -> None:
    assert plain(samples(tmp_path, "ttft", observation([("ping", 10), ("other", 20), ("text", 400)]))) == [400]


def test_thinking_is_a_first_token_but_no_first_text(tmp_path: Path) -> None:
    found = measured(tmp_path, observation([("thinking", 100), ("text", 900)]))
    assert plain(found.distribution("ttft")) == [100]
    assert plain(found.distribution("ttft_text")) == [900]


def test_ttft_counts_from_the_due_time_and_ttft_wire_from_the_request(tmp_path: Path) -> None:
    late = observation([("text", 500)], due=1_000, sent_at=1_300_000_000, link=50)
    found = measured(tmp_path, late)
    assert plain(found.distribution("ttft")) == [550]
    assert plain(found.distribution("ttft_wire")) == [200]


def test_a_gap_between_content_chunks_counts_even_if_a_ping_arrived_in_it(tmp_path: Path) -> None:
    stalled = observation([("text", 100), ("ping", 110), ("text", 130), ("text", 1_630), ("other", 1_700)])
    assert plain(samples(tmp_path, "itl", stalled)) == [30, 1_500]


def test_gaps_do_not_reach_from_one_stream_into_the_next(tmp_path: Path) -> None:
    two = [observation([("text", 1), ("text", 11)], due=due) for due in (0, 500)]
    assert plain(samples(tmp_path, "itl", *two)) == [10, 10]


def test_itl_is_measured_after_the_link_and_itl_wire_before_it(tmp_path: Path) -> None:
    found = measured(tmp_path, observation([("text", 10), ("text", 20), ("text", 30)], link=[0, 40, 35]))
    assert plain(found.distribution("itl")) == [5, 50]
    assert plain(found.distribution("itl_wire")) == [10, 10]


def test_itl_and_itl_wire_part_where_the_first_stream_was_on_a_link(tmp_path: Path) -> None:
    chunks = [("text", 10), ("text", 20)]
    before, on_link, after = (observation(chunks, due=due, link=[0, late]) for due, late in enumerate((0, 40, 0)))
    found = measured(tmp_path, before, on_link, after, batch=1)
    assert plain(found.distribution("itl")) == [10, 10, 50]
    assert plain(found.distribution("itl_wire")) == [10, 10, 10]
    alike = measured(tmp_path / "alike", before, after, batch=1)
    assert plain(alike.distribution("itl")) == plain(alike.distribution("itl_wire")) == [10, 10]


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.INTERRUPTED])
def test_chunks_on_the_link_when_their_person_left_end_no_gap(tmp_path: Path, outcome: Outcome) -> None:
    chunks = [("text", 10), ("text", 20), ("text", 30), ("text", 1_000)]
    left, stayed = observation(chunks, outcome=outcome, ended=120, link=100), observation(chunks, link=100)
    found = measured(tmp_path, observation([("text", 5)]), left, stayed)
    assert plain(found.distribution("itl")) == [10, 10, 10, 970]
    assert plain(found.distribution("itl_wire")) == [10, 10, 10, 10, 970, 970]
    assert plain(found.distribution("stall_time")) == [0, 490], "12 characters take half a second to read"


def test_tpot_is_per_reported_token_not_per_chunk(tmp_path: Path) -> None:
    packed = observation([("text", 100), ("text", 200)], output_tokens=11)
    one = observation([("text", 100)], output_tokens=1)
    unreported = observation()
    assert plain(samples(tmp_path, "tpot", packed, one, unreported)) == [10]


def test_only_a_completed_stream_has_an_end_to_end_time(tmp_path: Path) -> None:
    done = observation([("text", 100), ("text", 300), ("other", 310)])
    left = observation(outcome=Outcome.CANCELLED)
    found = measured(tmp_path, done, left)
    assert plain(found.distribution("e2e")) == [300]
    assert plain(found.distribution("duration")) == [310]
    assert found.distribution("e2e").missing == 1
    assert gated(found.distribution("e2e"), 1_000) == [300]


@pytest.mark.parametrize("name", ["ttft", "ttft_text", "ttft_wire", "e2e", "duration", "tpot"])
@pytest.mark.parametrize("outcome", sorted(FAILURES))
def test_a_failure_is_infinitely_late_even_when_it_was_quick(tmp_path: Path, name: str, outcome: Outcome) -> None:
    good = observation(output_tokens=3)
    broken = observation(outcome=outcome, output_tokens=3)
    unsent = observation([], outcome=outcome, sent_at=None)
    found = samples(tmp_path, name, good, broken, unsent)
    assert gated(found) == [found.values[0], math.inf, math.inf]


def test_the_plain_samples_keep_a_failed_stream_s_first_token(tmp_path: Path) -> None:
    found = samples(tmp_path, "ttft", observation([("text", 100)], outcome=Outcome.TRUNCATED), *ttfts([200]))
    assert plain(found) == [100, 200]
    assert gated(found) == [200, math.inf]


def test_a_person_who_left_after_the_first_token_has_a_ttft(tmp_path: Path) -> None:
    assert gated(samples(tmp_path, "ttft", observation([("text", 250)], outcome=Outcome.CANCELLED))) == [250]


def test_a_person_who_left_before_the_first_token_counts_as_infinitely_late(tmp_path: Path) -> None:
    found = samples(tmp_path, "ttft", observation([], outcome=Outcome.CANCELLED, ended=800))
    assert plain(found) == []
    assert found.missing == 1
    assert gated(found) == [math.inf]


def test_a_stream_that_the_run_cut_off_counts_only_if_it_had_waited_for_the_limit(tmp_path: Path) -> None:
    found = samples(tmp_path, "ttft", observation([], outcome=Outcome.INTERRUPTED, ended=800))
    assert gated(found, 500) == [math.inf]
    assert gated(found, 800) == [math.inf]
    assert gated(found, 1_000) == []
    assert gated(found) == []


def test_a_stream_that_broke_has_one_gap_that_never_ended(tmp_path: Path) -> None:
    broken = observation([("text", 100), ("text", 120)], outcome=Outcome.RESET)
    silent = observation([], outcome=Outcome.TIMED_OUT, ended=30_000)
    assert gated(samples(tmp_path, "itl", broken, silent)) == [20, math.inf]


def test_connecting_to_an_unreachable_server_takes_infinitely_long(tmp_path: Path) -> None:
    reachable = observation(connected_at=3_000_000)
    reused = observation()
    unreachable = observation([], outcome=Outcome.UNREACHABLE, sent_at=None, ended=5)
    found = samples(tmp_path, "connect", reachable, reused, unreachable)
    assert plain(found) == [3]
    assert gated(found) == [3, math.inf]


def test_lags_of_the_instrument_are_reported_as_recorded(tmp_path: Path) -> None:
    found = measured(tmp_path, observation(send_lag=2_000_000, read_lag_max=500_000), observation())
    assert plain(found.distribution("send_lag")) == [2]
    assert plain(found.distribution("read_lag")) == [0.5]
    assert found.distribution("read_lag").missing == 1


def test_a_cancel_is_neither_an_error_nor_a_completion(tmp_path: Path) -> None:
    found = measured(
        tmp_path,
        *[observation() for _ in range(6)],
        observation(outcome=Outcome.TRUNCATED),
        observation(outcome=Outcome.TIMED_OUT),
        *[observation(outcome=Outcome.CANCELLED) for _ in range(2)],
        *[observation(outcome=Outcome.INTERRUPTED) for _ in range(5)],
    ).totals()
    assert RATES["error_rate"].over(found, 1) == Figure(0.2, 10, 2)
    assert RATES["completion_rate"].over(found, 1) == Figure(0.75, 8, 6)
    assert RATES["truncation_rate"].over(found, 1) == Figure(0.1, 10, 1)
    assert RATES["timeout_rate"].over(found, 1) == Figure(0.1, 10, 1)


def test_throughput_is_per_second_of_the_run(tmp_path: Path) -> None:
    done = observation([("text", 100), ("text", 2_000)], output_tokens=40)
    found = measured(tmp_path, done, done, observation([], outcome=Outcome.REFUSED, ended=0)).totals()
    assert RATES["output_tps"].over(found, 10) == Figure(8, 2)
    assert RATES["stream_rate"].over(found, 10) == Figure(0.2, 2)
    assert RATES["concurrency"].over(found, 10) == Figure(0.4, 3)


def test_a_cache_hit_is_a_stream_that_reported_tokens_from_the_cache(tmp_path: Path) -> None:
    reported = [observation(cache_read_tokens=tokens) for tokens in (0, 0, 0, 700, 1_200)]
    found = measured(tmp_path, *reported, observation(), observation([], outcome=Outcome.REFUSED))
    assert RATES["cache_hit_rate"].over(found.totals(), 1) == Figure(0.4, 5, 2)
    assert plain(found.distribution("cache_read_tokens")) == [0, 0, 0, 700, 1_200]
    assert found.distribution("cache_read_tokens").missing == 2


def test_only_resumed_streams_have_the_metrics_of_a_resumption(tmp_path: Path) -> None:
    resumed = observation(resumed_from="41", resume_gap=850_000_000, resume_lost=2, resume_duplicated=0)
    untold = observation(resumed_from="x", resume_gap=900_000_000)
    found = measured(tmp_path, resumed, untold, observation())
    assert plain(found.distribution("resume_gap")) == [850, 900]
    assert plain(found.distribution("resume_lost")) == [2]
    assert plain(found.distribution("resume_duplicated")) == [0]
    assert found.distribution("resume_lost").missing == 2


def goodput(tmp_path: Path, good: Good, *observations: StreamObservation) -> Figure:
    with Store.open(database(tmp_path / "one.db", observations)) as store:
        totals = measure(store.streams(a_run().id), reader=Reader(good=good)).totals()
    return RATES["goodput"].over(totals, 10)


def test_goodput_is_the_share_of_answers_within_every_limit(tmp_path: Path) -> None:
    quick, slow = ttfts([100] * 6, output_tokens=3), ttfts([900] * 2, output_tokens=3)
    refused = [observation([], outcome=Outcome.REFUSED, ended=2)]
    ttft = Good(ttft=Duration.parse("500ms"))
    assert goodput(tmp_path / "1", ttft, *quick, *slow, *refused) == Figure(6 / 9, 9, 6)
    assert goodput(tmp_path / "2", Good(ttft=Duration.parse("1s")), *quick, *slow) == Figure(1, 8, 8)
    tpot = Good(ttft=Duration.parse("1s"), tpot=Duration.parse("19ms"))  # the streams have a token every 20 ms
    assert goodput(tmp_path / "3", tpot, *quick).value == 0
    e2e = Good(e2e=Duration.parse("500ms"))
    assert goodput(tmp_path / "4", e2e, *quick, *slow) == Figure(6 / 8, 8, 6)
    stalled = observation([("text", 100), ("text", 3_000)])
    stall = Good(longest_stall=Duration.parse("1s"))
    assert goodput(tmp_path / "5", stall, *quick, stalled) == Figure(6 / 7, 7, 6)


def test_goodput_leaves_out_streams_that_cannot_be_judged(tmp_path: Path) -> None:
    left = [observation([("text", 100)], outcome=Outcome.CANCELLED), observation(outcome=Outcome.INTERRUPTED)]
    gave_up = observation([], outcome=Outcome.CANCELLED, ended=3_000)
    ttft = Good(ttft=Duration.parse("500ms"))
    assert goodput(tmp_path / "1", ttft, *left, *ttfts([100])) == Figure(1, 1, 1)
    assert goodput(tmp_path / "2", ttft, gave_up, *ttfts([100])) == Figure(0.5, 2, 1), (
        "a person who left before any content had waited too long"
    )
    tpot = Good(tpot=Duration.parse("1s"))
    assert goodput(tmp_path / "3", tpot, *ttfts([100])) == Figure(None, 0, 0), "no usage was reported"
    assert goodput(tmp_path / "4", Good(), *ttfts([100])) == Figure(None, 0, 0), (
        "without limits nobody can tell what is good"
    )


def test_a_rate_of_nothing_observed_is_none(tmp_path: Path) -> None:
    nothing = measured(tmp_path).totals()
    assert {name: rate.over(nothing, 10).value for name, rate in RATES.items()} == dict.fromkeys(RATES)
    unreported = measured(tmp_path / "unreported", observation()).totals()
    assert RATES["output_tps"].over(unreported, 10).value is None


def test_a_selection_takes_the_streams_that_match_every_key(tmp_path: Path) -> None:
    found = measured(
        tmp_path,
        *ttfts([100], network="slow_4g", labels={"build": "a", "trace": "1"}),
        *ttfts([200], network="slow_4g", labels={"build": "b", "trace": "2"}),
        *ttfts([300], network="none", labels={"build": "a"}),
        *ttfts([400]),
        labels=["build"],
    )
    assert plain(found.distribution("ttft", Where(network="slow_4g"))) == [100, 200]
    assert plain(found.distribution("ttft", Where(label={"build": "a"}))) == [100, 300]
    assert plain(found.distribution("ttft", Where(network="slow_4g", label={"build": "a"}))) == [100]
    assert plain(found.distribution("ttft", Where(network="3g"))) == []
    assert found.values("network") == ["none", "slow_4g"]
    assert found.values("label.build") == ["a", "b"]


def test_whole_answers_are_in_metrics_of_streaming_only_if_selected(tmp_path: Path) -> None:
    asked_whole: dict[str, Any] = {"answer": "whole", "send_lag": 7_000_000}
    found = measured(
        tmp_path,
        *ttfts([100, 110], send_lag=1_000_000),
        observation([("text", 900)], **asked_whole),
        observation([], outcome=Outcome.REFUSED, **asked_whole),
    )
    assert plain(found.distribution("ttft")) == [100, 110]
    assert gated(found.distribution("ttft")) == [100, 110], (
        "the failure of a whole answer is not one of the streamed answers"
    )
    assert gated(found.distribution("ttft", Where(answer="whole"))) == [900, math.inf]
    assert plain(found.distribution("itl", Where(answer="whole"))) == []
    assert plain(found.distribution("send_lag")) == [1, 1, 7, 7], (
        "send_lag is about the generator, which sent both kinds"
    )
    assert RATES["error_rate"].over(found.totals(), 10) == Figure(0.25, 4, 1)
    assert found.values("answer") == ["streamed", "whole"]


def test_a_selection_can_ask_for_cache_hits_or_misses(tmp_path: Path) -> None:
    cold, warm = ttfts([400], cache_read_tokens=0), ttfts([100], cache_read_tokens=900)
    found = measured(tmp_path, *cold, *warm, *ttfts([7]))
    assert plain(found.distribution("ttft", Where(cache="hit"))) == [100]
    assert plain(found.distribution("ttft", Where(cache="miss"))) == [400]
    assert found.values("cache") == ["hit", "miss"]


def test_a_gap_in_which_a_tool_ran_is_a_tool_pause_and_no_itl(tmp_path: Path) -> None:
    twice = [("text", 100), ("tool", 120), ("tool", 140), ("other", 150), ("other", 600), ("text", 640), ("text", 660)]
    found = measured(
        tmp_path, observation([*twice, ("tool", 680), ("thinking", 1_000), ("text", 1_020)]), *ttfts([100])
    )
    assert plain(found.distribution("itl")) == [20] * 7
    assert plain(found.distribution("tool_pause")) == [320, 500]
    assert plain(found.distribution("itl_wire")) == [20] * 7
    assert found.distribution("e2e").values[-1] == 1_020, "the end-to-end time includes the tool runs"


def test_a_tool_call_at_the_end_of_an_answer_is_no_tool_pause(tmp_path: Path) -> None:
    found = measured(tmp_path, observation([("text", 100), ("tool", 120), ("tool", 140), ("other", 200)]))
    assert plain(found.distribution("itl")) == [20, 20]
    assert plain(found.distribution("tool_pause")) == []


def test_neither_the_size_of_batches_nor_that_of_tallies_changes_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [observation([("text", 100 + i), ("text", 120 + i % 7), ("text", 400 + i % 90)], due=i) for i in range(300)]
    whole = measured(tmp_path / "a", *many)
    monkeypatch.setattr(Tally, "PENDING", 50)
    monkeypatch.setattr(Tally, "TABLE", 100_000)  # µs: some gaps lie in the table, some beyond
    parts = measured(tmp_path / "b", *many, batch=7)
    for name in METRICS:
        assert plain(parts.distribution(name)) == plain(whole.distribution(name))


def test_the_cluster_sample_keeps_all_samples_of_some_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClusterSample, "LIMIT", 400)
    found = samples(tmp_path, "itl", *[observation([("text", at) for at in range(0, 220, 20)]) for _ in range(200)])
    values, counts = found.clusters
    assert found.n == 2_000
    assert 100 < len(values) <= 400
    assert set(counts) == {10}
    assert counts.sum() == len(values)
