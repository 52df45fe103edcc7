"""A rule's text, and its verdict: met or missed only when the whole interval says so."""

import contextlib
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.errors import RuleError
from streamgauge.harness.judge.verdict import rules
from streamgauge.harness.judge.verdict.judgement import judge
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.record import a_run, judged, new_store, observation, ttfts


def verdict(tmp_path: Path, rule: str | Sla, *observations: StreamObservation, **where: str) -> Verdict:
    """The verdict of one rule on these streams, in a run of 10 s."""
    given = rule if isinstance(rule, Sla) else Sla(rule=rule, where=Where(**where))  # type: ignore[arg-type]
    return judged(tmp_path / "one.db", observations, given).verdicts[0]


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
    rule = rules.parse(Sla(rule=text))
    assert (rule.written.rule, rule.subject.aggregation, rule.subject.name, rule.op) == (text, aggregation, name, op)
    assert rule.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p95(ttfb) < 800ms", "no metric called 'ttfb'; there are ttft, ttft_text"),
        ("p95() < 800ms", "no metric called ''; there are ttft"),
        ("avg(ttft) < 800ms", "no aggregation called 'avg'; there are p50, p95, p99 or any pNN, mean, min, max"),
        ("p0(ttft) < 800ms", "no aggregation called 'p0'"),
        ("p100(ttft) < 800ms", "no aggregation called 'p100'"),
        ("p99.999999999999999(ttft) < 1s", "no aggregation called 'p99.999999999999999'"),
        (f"p0.{'0' * 323}1(ttft) < 1s", "no aggregation called 'p0.000"),
        ("P95(ttft) < 800ms", "no aggregation called 'P95'"),
        ("ttft < 800ms", "ttft needs an aggregation, as in p95(ttft)"),
        ("p95(error_rate) < 1%", "error_rate is a rate: write it without p95( )"),
        ("errors < 1%", "no rate called 'errors'; there are error_rate, completion_rate"),
        ("p95(ttft) == 800ms", "no operator '=='; there are <, <=, >, >="),
        ("p95(ttft) < 800", "the limit has no unit; there are ms, s"),
        ("p95(ttft) < 2 minutes", "no unit 'minutes' for ttft; there are ms, s"),
        ("p95(ttft) < 5%", "no unit '%' for ttft; there are ms, s"),
        ("p95(ttft) < soon", "'soon' is not a limit"),
        ("p95(ttft) < -5ms", "'-5ms' is not a limit"),
        ("p95(ttft) < nan", "'nan' is not a limit"),
        ("error_rate < 5", "error_rate is never above 100 %; did you mean 5%?"),
        ("error_rate < 101%", "'error_rate < 101%': error_rate is never above 100 %"),
        ("error_rate < 1ms", "no unit 'ms' for error_rate; write 1% or 0.01"),
        ("output_tps > 500 tps", "it is in tokens/s, so write a plain number"),
        ("p95(ttft)", "is not a rule; write it like"),
        ("p95(ttft) < 1s < 2s", "is not a rule; write it like"),
        ("", "is not a rule; write it like"),
    ],
)
def test_a_mistake_in_a_rule_is_one_line_that_says_what_exists(text: str, expected: str) -> None:
    with pytest.raises(RuleError, match=re.escape(expected)) as raised:
        rules.parse(Sla(rule=text))
    assert "\n" not in str(raised.value)
    assert repr(text) in str(raised.value)


@given(st.text(alphabet="p95(ttferor_a)<>=!% .ms\n", max_size=30))
def test_any_text_is_a_rule_or_a_rule_error(text: str) -> None:
    with contextlib.suppress(RuleError):
        rules.parse(Sla(rule=text))


def test_a_rule_is_met_when_the_whole_interval_keeps_the_limit(tmp_path: Path) -> None:
    found = verdict(tmp_path, "p95(ttft) < 500ms", *ttfts(range(100, 400)))
    assert (found.status, found.observed, found.limit, found.n, found.unit) == (RuleStatus.MET, 384, 500, 300, "ms")
    assert (found.low, found.high) == (376, 392)
    assert found.needed is None


def test_a_rule_is_missed_when_the_whole_interval_is_beyond_the_limit(tmp_path: Path) -> None:
    assert verdict(tmp_path, "p95(ttft) < 370ms", *ttfts(range(100, 400))).status is RuleStatus.MISSED


def test_an_interval_across_the_limit_is_inconclusive_and_says_what_would_settle_it(tmp_path: Path) -> None:
    found = verdict(tmp_path, "p95(ttft) < 386ms", *ttfts(range(100, 400)))
    assert found.status is RuleStatus.INCONCLUSIVE
    assert found.needed is not None
    assert found.needed > 300
    assert f"about {found.needed:,} streams like these would settle it" in found.reason


def test_too_few_samples_are_inconclusive_however_good_they_are(tmp_path: Path) -> None:
    found = verdict(tmp_path, "p95(ttft) < 10s", *ttfts(range(100, 171)))
    assert (found.status, found.high, found.n, found.needed) == (RuleStatus.INCONCLUSIVE, None, 71, 72)
    assert verdict(tmp_path / "2", "p95(ttft) < 10s", *ttfts(range(100, 173))).status is RuleStatus.MET


def test_few_samples_can_still_miss(tmp_path: Path) -> None:
    assert verdict(tmp_path, "p95(ttft) < 10ms", *ttfts(range(100, 120))).status is RuleStatus.MISSED


def test_nothing_observed_is_inconclusive(tmp_path: Path) -> None:
    for number, rule in enumerate(["p95(ttft) < 1s", "max(ttft) < 1s", "error_rate < 1%", "output_tps > 1"]):
        found = verdict(tmp_path / str(number), rule)
        assert (found.status, found.observed, found.n) == (RuleStatus.INCONCLUSIVE, None, 0)
        assert found.reason == "the run has no stream"


def test_an_empty_selection_is_inconclusive_and_lists_the_values_that_exist(tmp_path: Path) -> None:
    found = verdict(tmp_path, "error_rate < 1%", *ttfts([1, 2], network="3g"), *ttfts([3]), network="slow_4g")
    assert found.status is RuleStatus.INCONCLUSIVE
    assert found.reason == "no stream has network 'slow_4g'; there are 3g, none"


def test_keys_that_no_stream_has_together_are_an_empty_selection(tmp_path: Path) -> None:
    streams = [*ttfts([1], network="3g", user="A"), *ttfts([2], network="4g", user="B")]
    found = verdict(tmp_path, "p95(ttft) < 1s", *streams, network="3g", user="B")
    assert found.status is RuleStatus.INCONCLUSIVE
    assert found.reason == "no stream matches all keys of `where` at once"


def test_a_rule_judges_only_the_streams_that_it_selects(tmp_path: Path) -> None:
    streams = [*ttfts([100] * 80, network="none"), *ttfts([5_000] * 80, network="3g")]
    assert verdict(tmp_path / "a", "p95(ttft) < 1s", *streams, network="none").status is RuleStatus.MET
    assert verdict(tmp_path / "b", "p95(ttft) < 1s", *streams, network="3g").status is RuleStatus.MISSED


def test_failing_fast_does_not_keep_a_latency_rule(tmp_path: Path) -> None:
    refused = [observation([], outcome=Outcome.REFUSED, ended=2) for _ in range(60)]
    found = verdict(tmp_path, "p95(ttft) < 1s", *ttfts([100] * 240), *refused)
    assert (found.status, found.observed, found.failed, found.n) == (RuleStatus.MISSED, math.inf, 60, 300)
    assert found.reason.endswith("60 never came and count as ∞: without them 100 ms")


def test_fewer_failures_than_the_quantile_allows_do_not_miss_a_rule(tmp_path: Path) -> None:
    refused = [observation([], outcome=Outcome.REFUSED, ended=2)]
    found = verdict(tmp_path, "p95(ttft) < 1s", *ttfts([100] * 299), *refused)
    assert (found.status, found.observed, found.failed) == (RuleStatus.MET, 100, 1)


def test_a_verdict_has_the_figure_with_and_without_failures(tmp_path: Path) -> None:
    refused = [observation([], outcome=Outcome.REFUSED, ended=2)] * 60
    found = verdict(tmp_path, "p95(ttft) < 1s", *ttfts([100] * 240), *refused)
    assert (found.observed, found.plain) == (math.inf, 100)
    assert verdict(tmp_path / "2", "error_rate < 1%", *refused).plain is None


def test_one_failure_makes_a_mean_or_a_maximum_infinite(tmp_path: Path) -> None:
    streams = [*ttfts([100] * 50), observation([], outcome=Outcome.RESET, ended=2)]
    for number, rule in enumerate(["mean(ttft) < 1s", "max(ttft) < 1s"]):
        found = verdict(tmp_path / str(number), rule, *streams)
        assert (found.status, found.observed) == (RuleStatus.MISSED, math.inf)


def test_a_maximum_has_no_interval(tmp_path: Path) -> None:
    found = verdict(tmp_path, "max(ttft) <= 300ms", *ttfts([100, 200, 300]))
    assert (found.status, found.observed, found.low, found.high) == (RuleStatus.MET, 300, None, None)
    assert found.reason == "300 ms is a fact of this run, over 3 streams"
    assert verdict(tmp_path / "2", "max(ttft) < 300ms", *ttfts([100, 200, 300])).status is RuleStatus.MISSED


def test_a_mean_is_judged_by_its_interval(tmp_path: Path) -> None:
    streams = ttfts([100, 200, 300] * 20)
    assert verdict(tmp_path / "1", "mean(ttft) < 300ms", *streams).status is RuleStatus.MET
    assert verdict(tmp_path / "2", "mean(ttft) < 201ms", *streams).status is RuleStatus.INCONCLUSIVE
    assert verdict(tmp_path / "3", "mean(ttft) < 100ms", *streams).status is RuleStatus.MISSED


def test_a_ratio_is_judged_by_its_interval(tmp_path: Path) -> None:
    good = ttfts([100] * 300)
    found = verdict(tmp_path / "1", "error_rate < 1%", *good)
    assert (found.status, found.observed, found.n, found.needed) == (RuleStatus.INCONCLUSIVE, 0, 300, 368)
    assert verdict(tmp_path / "2", "error_rate < 1%", *good, *good).status is RuleStatus.MET
    refused = [observation([], outcome=Outcome.REFUSED)] * 30
    assert verdict(tmp_path / "3", "error_rate < 1%", *good, *refused).status is RuleStatus.MISSED
    assert verdict(tmp_path / "4", "completion_rate > 99%", *good, *refused).status is RuleStatus.MISSED


def test_no_number_of_streams_can_show_that_nothing_ever_fails(tmp_path: Path) -> None:
    found = verdict(tmp_path, "error_rate <= 0%", *ttfts([100] * 300))
    assert (found.status, found.needed) == (RuleStatus.INCONCLUSIVE, None)


def test_many_gaps_of_few_streams_are_few_samples(tmp_path: Path) -> None:
    # 10 streams of 200 equal gaps, each stream with its own gap: 2,000 samples, of which ten are independent.
    few = [observation([("text", pace * step) for step in range(201)]) for pace in range(10, 20)]
    found = verdict(tmp_path, "p95(itl) < 25ms", *few)
    assert (found.status, found.n, found.high) == (RuleStatus.INCONCLUSIVE, 2_000, None)
    assert found.needed is not None
    assert found.needed > 2_000


def test_gaps_of_many_streams_settle_a_rule(tmp_path: Path) -> None:
    many = [observation([("text", (10 + pace % 10) * step) for step in range(30)]) for pace in range(150)]
    assert verdict(tmp_path, "p95(itl) < 25ms", *many).status is RuleStatus.MET


def test_a_throughput_has_no_interval(tmp_path: Path) -> None:
    found = verdict(tmp_path, "output_tps > 3", *ttfts([100, 200], output_tokens=20))
    assert (found.status, found.observed, found.unit) == (RuleStatus.MET, 4, "tokens/s")


# options of a rule


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rule": "wasted_tokens < 9", "where": Where(user="Reader")}, "known only for the whole run; remove `where`"),
        ({"rule": "wasted_tokens < 9", "lasting": Duration.parse("9s")}, "only for the whole run; remove `for`"),
        ({"rule": "time_to_stop < 9s", "abort": True}, "only for the whole run; remove `abort`"),
        ({"min_samples": -1}, "min_samples: -1 is negative"),
        ({"lasting": Duration.parse("0s")}, "for: must be longer than 0"),
        (
            {"abort": True, "severity": "warn"},
            'a rule with severity = "warn" cannot abort a run; remove `abort` or `severity`',
        ),
        ({"grace": Duration.parse("9s")}, "grace needs abort = true"),
    ],
)
def test_options_that_contradict_each_other_are_an_error_in_one_line(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(RuleError, match=re.escape(expected)):
        rules.parse(Sla(**{"rule": "p95(ttft) < 1s", **options}))


def test_fewer_samples_than_a_rule_asks_for_are_not_judged(tmp_path: Path) -> None:
    for number, rule in enumerate(["max(ttft) < 1s", "max(ttft) < 1ms", "stream_rate > 1"]):
        found = verdict(tmp_path / str(number), Sla(rule=rule, min_samples=50), *ttfts([100] * 49))
        assert (found.status, found.n, found.needed) == (RuleStatus.INCONCLUSIVE, 49, 50)
        assert found.reason == "49 streams, and the rule asks for 50 (min_samples)"
    assert (
        verdict(tmp_path / "9", Sla(rule="max(ttft) < 1s", min_samples=49), *ttfts([100] * 49)).status is RuleStatus.MET
    )


def lasting(tmp_path: Path, rule: str, *ttft_ms: float, every: float = 20, seconds: str = "5s") -> Verdict:
    """The verdict of a rule with `for` on a run of 10 s, in which a stream is due every 20 ms, with these TTFTs."""
    streams = [
        observation([("text", ttft), ("text", ttft + 20)], due=number * every) for number, ttft in enumerate(ttft_ms)
    ]
    return verdict(tmp_path, Sla(rule=rule, lasting=Duration.parse(seconds)), *streams)


def test_a_rule_with_for_is_missed_if_a_whole_window_misses_it(tmp_path: Path) -> None:
    found = lasting(tmp_path, "p95(ttft) < 1s", *[100] * 150, *[2_000] * 300, *[100] * 50)  # slow from 3 s to 9 s
    assert (found.status, found.observed, found.n) == (RuleStatus.MISSED, 2_000, 250)
    assert found.rule == "p95(ttft) < 1s for 5s", "one without it is another rule"
    assert found.reason == "missed all the time from 3 s to 8 s: the whole interval is beyond the limit of 1 s"


def test_a_short_spell_does_not_miss_a_rule_with_for(tmp_path: Path) -> None:
    spell = [*[100] * 150, *[2_000] * 100, *[100] * 250]  # 2 s of 10
    assert lasting(tmp_path / "1", "max(ttft) < 1s", *spell).status is RuleStatus.MET
    found = lasting(tmp_path / "2", "p95(ttft) < 1s", *spell)
    assert (found.status, found.observed) == (RuleStatus.MET, 2_000)
    assert found.reason == "it never stayed beyond the limit of 1 s for 5s"
    assert verdict(tmp_path / "3", "p95(ttft) < 1s", *ttfts(spell)).status is RuleStatus.MISSED


def test_a_rule_with_for_can_be_about_a_rate(tmp_path: Path) -> None:
    refused = [observation([], outcome=Outcome.REFUSED, due=4_000 + at * 20, ended=2) for at in range(300)]
    good = [observation(due=at * 20) for at in range(500)]
    rule = Sla(rule="error_rate < 5%", lasting=Duration.parse("5s"))
    found = verdict(tmp_path / "1", rule, *good, *refused)
    assert (found.status, found.observed, found.n) == (RuleStatus.MISSED, 0.5, 500)
    assert verdict(tmp_path / "2", rule, *good, *refused[:100]).status is RuleStatus.MET
    few = Sla(rule="stream_rate > 40", lasting=Duration.parse("5s"))
    found = verdict(tmp_path / "3", few, *good[:200], *good[200::2])
    assert (found.status, found.observed) == (RuleStatus.MISSED, 25)


def test_a_run_shorter_than_a_rule_s_for_is_inconclusive(tmp_path: Path) -> None:
    found = lasting(tmp_path, "p95(ttft) < 1s", *[100] * 500, seconds="11s")
    assert (found.status, found.needed) == (RuleStatus.INCONCLUSIVE, None)
    assert found.reason == "the run took 10 s: too short for a rule that must last 11s"


def test_a_time_in_which_no_stream_was_due_makes_a_rule_with_for_inconclusive(tmp_path: Path) -> None:
    # All users wait from 2 s on, so no stream is due until the server answers again.
    streams = [observation(due=at * 20) for at in range(100)]
    streams += [observation([("text", 6_500)], due=2_000 + at) for at in range(50)]
    streams += [observation(due=8_600 + at * 20) for at in range(60)]
    found = verdict(tmp_path, Sla(rule="p95(ttft) < 1s", lasting=Duration.parse("5s")), *streams)
    assert (found.status, found.needed) == (RuleStatus.INCONCLUSIVE, None)
    assert found.reason == "from 2 s to 7 s: it was missed, but for a part of that time no stream was due"


def test_too_few_samples_cannot_meet_a_rule_with_for(tmp_path: Path) -> None:
    found = lasting(tmp_path, "p95(ttft) < 1s", *[100] * 60, every=160)
    assert (found.status, found.n) == (RuleStatus.INCONCLUSIVE, 60)
    assert lasting(tmp_path / "2", "p95(ttft) < 1s", *[100] * 80, every=120).status is RuleStatus.MET


def test_an_inconclusive_window_is_not_to_be_settled_by_a_longer_run(tmp_path: Path) -> None:
    """A longer run has more windows, but none of them has more streams."""
    path, rule = tmp_path / "one.db", Sla(rule="p95(ttft) < 1s", lasting=Duration.parse("5s"))
    six_percent = [each for _ in range(10) for each in (*[100] * 47, *[2_000] * 3)]
    streams = [observation([("text", ttft)], due=at * 20) for at, ttft in enumerate(six_percent)]
    run = judged(path, streams, rule)
    (found,) = run.verdicts
    assert (found.status, found.needed) == (RuleStatus.INCONCLUSIVE, None)
    assert found.reason == "from 0 s to 5 s: the interval crosses the limit of 1 s"
    assert "run the same load" not in run.next_step


@pytest.mark.parametrize(("n", "status"), [(2, "inconclusive"), (5, "inconclusive"), (6, "met"), (100, "met")])
def test_few_equal_samples_show_no_mean(tmp_path: Path, n: int, status: str) -> None:
    """The fewest that do are as many as an interval of the median needs."""
    found = verdict(tmp_path / "mean", "mean(stall_count) < 1", *ttfts([100] * n))
    assert (found.status, found.observed) == (status, 0)
    median = verdict(tmp_path / "median", "p50(stall_count) < 1", *ttfts([100] * n))
    assert median.status == status


def test_a_long_run_of_few_streams_has_few_windows(tmp_path: Path) -> None:
    """A window of 1 ms begins every 0.2 ms: a run that took 292 years, as a damaged row says, has 5·10¹³ of them."""
    rule = Sla(rule="max(ttft) < 1s", lasting=Duration.parse("1ms"))
    with new_store(tmp_path / "one.db") as store:
        store.start_run(a_run())
        store.append("run-1", [*ttfts([100] * 10), *ttfts([2_000] * 10, due=5_000)])
        store.finish_run("run-1", ended_ns=2**63 - 1, status="finished")
        (found,) = judge(store, rules=rules.parse_all([rule])).verdicts
    assert found.status is RuleStatus.INCONCLUSIVE
    assert found.reason == "from 5 s to 5 s: it was missed, but for a part of that time no stream was due"


def test_rules_with_windows_of_several_lengths_and_selections_share_a_run(tmp_path: Path) -> None:
    slow = [observation([("text", 2_000)], due=at * 20, network="3g") for at in range(500)]
    fast = [observation(due=at * 20, labels={"build": "b"}) for at in range(500)]
    written = [
        Sla(rule="p50(ttft) < 1s", where=where, lasting=Duration.parse(seconds))
        for where in (Where(network="3g"), Where(network="none"), Where(label={"build": "b"}), Where(network="edge"))
        for seconds in ("2s", "5s")
    ]
    found = judged(tmp_path / "one.db", [*slow, *fast], *written).verdicts
    expected = [RuleStatus.MISSED, RuleStatus.MET, RuleStatus.MET, RuleStatus.INCONCLUSIVE]
    assert [one.status for one in found] == [status for status in expected for _ in range(2)]
    assert "no stream has network 'edge'" in found[-1].reason
