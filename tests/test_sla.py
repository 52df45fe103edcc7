"""A rule's text, and its verdict: met or missed only when the whole interval says so."""

import contextlib
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record import a_run, database, observation, ttfts

from harness.config import Sla, Where
from harness.errors import RuleError
from harness.judge import metrics, sla
from harness.judge.sla import Status, Verdict
from harness.judge.store import Store
from harness.observation import Outcome, StreamObservation


def verdict(tmp_path: Path, rule: str, *observations: StreamObservation, **where: str) -> Verdict:
    parsed = sla.parse(Sla(rule=rule, where=Where(**where)))  # type: ignore[arg-type]
    with Store.open(database(tmp_path / "one.db", observations)) as store:
        return sla.evaluate(parsed, metrics.gauge(store.streams(a_run().id)), seconds=10)


@pytest.mark.parametrize(
    ("text", "aggregation", "name", "op", "limit"),
    [
        ("p95(ttft) < 1.5s", "p95", "ttft", "<", 1500),
        ("p99.9(itl)<=250ms", "p99.9", "itl", "<=", 250),
        ("  mean( e2e )  <  .5 s ", "mean", "e2e", "<", 500),
        ("min(ttft) >= 5ms", "min", "ttft", ">=", 5),
        ("error_rate < 1%", None, "error_rate", "<", 0.01),
        ("error_rate < 0.01", None, "error_rate", "<", 0.01),
        ("completion_rate > 99.5 %", None, "completion_rate", ">", 0.995),
        ("output_tps > 500", None, "output_tps", ">", 500),
        ("p95(stall_count) < 2", "p95", "stall_count", "<", 2),
        ("p95(stall_ratio) < 5%", "p95", "stall_ratio", "<", 0.05),
        ("cache_hit_rate > 80%", None, "cache_hit_rate", ">", 0.8),
    ],
)
def test_a_rule_reads_as_it_is_written(text: str, aggregation: str | None, name: str, op: str, limit: float) -> None:
    rule = sla.parse(Sla(rule=text))
    assert (rule.text, rule.subject.aggregation, rule.subject.name, rule.op) == (text, aggregation, name, op)
    assert rule.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("p95(ttfb) < 800ms", "no metric called 'ttfb'; there are ttft, ttft_text"),
        ("p95() < 800ms", "no metric called ''; there are ttft"),
        ("avg(ttft) < 800ms", "no aggregation called 'avg'; there are p50, p95, p99 or any pNN, mean, min, max"),
        ("p0(ttft) < 800ms", "no aggregation called 'p0'"),
        ("p100(ttft) < 800ms", "no aggregation called 'p100'"),
        ("P95(ttft) < 800ms", "no aggregation called 'P95'"),
        ("ttft < 800ms", "ttft needs an aggregation, as in p95(ttft)"),
        ("p95(error_rate) < 1%", "error_rate is a rate: write it without p95( )"),
        ("errors < 1%", "no rate called 'errors'; there are error_rate, completion_rate"),
        ("p95(ttft) == 800ms", "no operator '=='; there are <, <=, >, >="),
        ("p95(ttft) < 800", "the limit has no unit; there are ms, s"),
        ("p95(ttft) < 2 minutes", "no unit 'minutes' for ttft; there are ms, s"),
        ("p95(ttft) < 5%", "no unit '%' for ttft; there are ms, s"),
        ("p95(ttft) < soon", "'soon' is no limit"),
        ("p95(ttft) < -5ms", "'-5ms' is no limit"),
        ("p95(ttft) < nan", "'nan' is no limit"),
        ("error_rate < 5", "error_rate is never above 100 %; did you mean 5%?"),
        ("error_rate < 1ms", "no unit 'ms' for error_rate; write 1% or 0.01"),
        ("output_tps > 500 tps", "it is in tokens/s, write the plain number"),
        ("p95(ttft)", "is no rule; write one as in"),
        ("p95(ttft) < 1s < 2s", "is no rule; write one as in"),
        ("", "is no rule; write one as in"),
    ],
)
def test_a_mistake_in_a_rule_is_one_line_that_says_what_exists(text: str, told: str) -> None:
    with pytest.raises(RuleError, match=re.escape(told)) as raised:
        sla.parse(Sla(rule=text))
    assert "\n" not in str(raised.value)
    assert repr(text) in str(raised.value)


@given(st.text(alphabet="p95(ttferor_a)<>=!% .ms\n", max_size=30))
def test_no_text_does_worse_than_a_rule_error(text: str) -> None:
    with contextlib.suppress(RuleError):
        sla.parse(Sla(rule=text))


def test_a_rule_is_met_when_the_whole_interval_keeps_the_limit(tmp_path: Path) -> None:
    found = verdict(tmp_path, "p95(ttft) < 500ms", *ttfts(range(100, 400)))
    assert (found.status, found.observed, found.limit, found.n, found.unit) == (Status.MET, 384, 500, 300, "ms")
    assert (found.low, found.high) == (376, 392)
    assert found.needed is None


def test_a_rule_is_missed_when_the_whole_interval_is_beyond_the_limit(tmp_path: Path) -> None:
    assert verdict(tmp_path, "p95(ttft) < 370ms", *ttfts(range(100, 400))).status is Status.MISSED


def test_an_interval_across_the_limit_is_inconclusive_and_says_what_would_settle_it(tmp_path: Path) -> None:
    found = verdict(tmp_path, "p95(ttft) < 386ms", *ttfts(range(100, 400)))
    assert found.status is Status.INCONCLUSIVE
    assert found.needed is not None
    assert found.needed > 300
    assert f"about {found.needed:,} streams would settle it" in found.reason


def test_too_few_samples_are_inconclusive_however_good_they_are(tmp_path: Path) -> None:
    found = verdict(tmp_path, "p95(ttft) < 10s", *ttfts(range(100, 171)))
    assert (found.status, found.high, found.n, found.needed) == (Status.INCONCLUSIVE, None, 71, 72)
    assert verdict(tmp_path / "2", "p95(ttft) < 10s", *ttfts(range(100, 173))).status is Status.MET


def test_few_samples_can_still_miss(tmp_path: Path) -> None:
    assert verdict(tmp_path, "p95(ttft) < 10ms", *ttfts(range(100, 120))).status is Status.MISSED


def test_nothing_observed_is_inconclusive(tmp_path: Path) -> None:
    for number, rule in enumerate(["p95(ttft) < 1s", "max(ttft) < 1s", "error_rate < 1%", "output_tps > 1"]):
        found = verdict(tmp_path / str(number), rule)
        assert (found.status, found.observed, found.n) == (Status.INCONCLUSIVE, None, 0)


def test_an_empty_selection_is_inconclusive_and_names_what_there_is(tmp_path: Path) -> None:
    found = verdict(tmp_path, "error_rate < 1%", *ttfts([1, 2], network="3g"), *ttfts([3]), network="slow_4g")
    assert found.status is Status.INCONCLUSIVE
    assert found.reason == "no stream has network 'slow_4g'; there are 3g, none"


def test_keys_that_exist_but_never_together_are_an_empty_selection(tmp_path: Path) -> None:
    streams = [*ttfts([1], network="3g", user="A"), *ttfts([2], network="4g", user="B")]
    found = verdict(tmp_path, "p95(ttft) < 1s", *streams, network="3g", user="B")
    assert found.status is Status.INCONCLUSIVE
    assert found.reason == "no stream has all of what `where` asks for"


def test_a_rule_judges_only_the_streams_it_speaks_of(tmp_path: Path) -> None:
    streams = [*ttfts([100] * 80, network="none"), *ttfts([5_000] * 80, network="3g")]
    assert verdict(tmp_path / "a", "p95(ttft) < 1s", *streams, network="none").status is Status.MET
    assert verdict(tmp_path / "b", "p95(ttft) < 1s", *streams, network="3g").status is Status.MISSED


def test_failing_fast_does_not_keep_a_latency_rule(tmp_path: Path) -> None:
    refused = [observation([], outcome=Outcome.REFUSED, ended=2) for _ in range(60)]
    found = verdict(tmp_path, "p95(ttft) < 1s", *ttfts([100] * 240), *refused)
    assert (found.status, found.observed, found.failed, found.n) == (Status.MISSED, math.inf, 60, 300)
    assert found.reason.endswith("60 never came and count as ∞")


def test_a_few_failures_beyond_the_quantile_do_not_miss_it(tmp_path: Path) -> None:
    refused = [observation([], outcome=Outcome.REFUSED, ended=2)]
    found = verdict(tmp_path, "p95(ttft) < 1s", *ttfts([100] * 299), *refused)
    assert (found.status, found.observed, found.failed) == (Status.MET, 100, 1)


def test_one_failure_makes_a_mean_or_a_maximum_infinite(tmp_path: Path) -> None:
    streams = [*ttfts([100] * 50), observation([], outcome=Outcome.RESET, ended=2)]
    for number, rule in enumerate(["mean(ttft) < 1s", "max(ttft) < 1s"]):
        found = verdict(tmp_path / str(number), rule, *streams)
        assert (found.status, found.observed) == (Status.MISSED, math.inf)


def test_a_maximum_is_a_fact_that_needs_no_interval(tmp_path: Path) -> None:
    found = verdict(tmp_path, "max(ttft) <= 300ms", *ttfts([100, 200, 300]))
    assert (found.status, found.observed, found.low, found.high) == (Status.MET, 300, None, None)
    assert found.reason == "300 ms is a fact of this run, over 3 streams"
    assert verdict(tmp_path / "2", "max(ttft) < 300ms", *ttfts([100, 200, 300])).status is Status.MISSED


def test_a_mean_is_judged_by_its_interval(tmp_path: Path) -> None:
    streams = ttfts([100, 200, 300] * 20)
    assert verdict(tmp_path / "1", "mean(ttft) < 300ms", *streams).status is Status.MET
    assert verdict(tmp_path / "2", "mean(ttft) < 201ms", *streams).status is Status.INCONCLUSIVE
    assert verdict(tmp_path / "3", "mean(ttft) < 100ms", *streams).status is Status.MISSED


def test_a_ratio_is_judged_by_its_interval(tmp_path: Path) -> None:
    good = ttfts([100] * 300)
    found = verdict(tmp_path / "1", "error_rate < 1%", *good)
    assert (found.status, found.observed, found.n, found.needed) == (Status.INCONCLUSIVE, 0, 300, 368)
    assert verdict(tmp_path / "2", "error_rate < 1%", *good, *good).status is Status.MET
    refused = [observation([], outcome=Outcome.REFUSED)] * 30
    assert verdict(tmp_path / "3", "error_rate < 1%", *good, *refused).status is Status.MISSED
    assert verdict(tmp_path / "4", "completion_rate > 99%", *good, *refused).status is Status.MISSED


def test_no_number_of_streams_can_show_that_nothing_ever_fails(tmp_path: Path) -> None:
    found = verdict(tmp_path, "error_rate <= 0%", *ttfts([100] * 300))
    assert (found.status, found.needed) == (Status.INCONCLUSIVE, None)


def test_many_gaps_of_few_streams_are_few_samples(tmp_path: Path) -> None:
    # 10 streams of 200 equal gaps, each with its own pace: 2,000 gaps, but ten things that were seen.
    few = [observation([("text", pace * step) for step in range(201)]) for pace in range(10, 20)]
    found = verdict(tmp_path, "p95(itl) < 25ms", *few)
    assert (found.status, found.n, found.high) == (Status.INCONCLUSIVE, 2_000, None)
    assert found.needed is not None
    assert found.needed > 2_000


def test_gaps_of_many_streams_settle_a_rule(tmp_path: Path) -> None:
    many = [observation([("text", (10 + pace % 10) * step) for step in range(30)]) for pace in range(150)]
    assert verdict(tmp_path, "p95(itl) < 25ms", *many).status is Status.MET


def test_a_throughput_is_a_fact(tmp_path: Path) -> None:
    found = verdict(tmp_path, "output_tps > 3", *ttfts([100, 200], output_tokens=20))
    assert (found.status, found.observed, found.unit) == (Status.MET, 4, "tokens/s")
