"""Which streams are bad for a search of the capacity, by every kind of rule."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from streamgauge.harness.capacity.path import Order, Purpose
from streamgauge.harness.capacity.per_stream import Judging
from streamgauge.harness.capacity.rows import Rows, in_order, settling
from streamgauge.harness.capacity.sequential import Outcome as End
from streamgauge.harness.capacity.visiting import as_bad_once_sent
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Good, Reader, Sla, Where
from streamgauge.harness.errors import RuleError
from streamgauge.harness.judge.store import Store, Streams
from streamgauge.harness.judge.verdict.rules import parse_all
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.record import MS, database, new_store, observation, ttfts


def read(path: Path, observations: Sequence[StreamObservation]) -> Streams:
    with Store.open(database(path / "run.db", observations)) as store:
        return in_order(list(store.streams("run-1")))


def judging(*rules: str | Sla, reader: Reader | None = None) -> Judging:
    return Judging(parse_all([Sla(rule=rule) if isinstance(rule, str) else rule for rule in rules]), reader or Reader())


def bad(path: Path, observations: Sequence[StreamObservation], *rules: str | Sla) -> list[bool]:
    """By stream, by the widest limit."""
    found = judging(*rules)
    widest = max(range(len(found.limits)), key=lambda place: found.limits[place].share)
    flags: list[bool] = found.batch(read(path, observations)).bad[widest].tolist()
    return flags


def test_a_stream_beyond_a_percentiles_limit_is_bad_and_so_is_one_that_failed(tmp_path: Path) -> None:
    seen = [*ttfts([100, 900, 1600]), observation(outcome=Outcome.RESET)]
    assert bad(tmp_path, seen, "p95(ttft) < 900ms") == [False, True, True, True]
    assert bad(tmp_path / "equal", seen, "p95(ttft) <= 900ms") == [False, False, True, True]


def test_of_a_pooled_metric_the_streams_own_percentile_counts(tmp_path: Path) -> None:
    smooth = [("text", 100 + 20 * place) for place in range(40)]
    one_gap = [*smooth[:-1], ("text", smooth[-1][1] + 500)]  # one gap in 39 is less than 5 %
    three_gaps = [("text", 100 + 20 * place + 500 * max(0, place - 36)) for place in range(40)]
    seen = [observation(smooth), observation(one_gap), observation(three_gaps), observation([("text", 100)])]
    assert bad(tmp_path, seen, "p95(itl) < 200ms") == [False, False, True, False]


def test_rules_that_allow_different_shares_are_limits_of_their_own(tmp_path: Path) -> None:
    found = judging("p95(ttft) < 1s", "error_rate < 1%", "p99(ttft) < 3s", "completion_rate > 95%")
    assert sorted((round(limit.share, 6), len(limit.rules)) for limit in found.limits) == [(0.01, 2), (0.05, 4)]
    batch = found.batch(read(tmp_path, [*ttfts([100, 2000, 4000]), observation(outcome=Outcome.REFUSED)]))
    by_share = {round(limit.share, 6): batch.bad[place].tolist() for place, limit in enumerate(found.limits)}
    assert by_share == {0.01: [False, False, True, True], 0.05: [False, True, True, True]}


def test_people_who_left_count_only_as_far_as_they_have_seen(tmp_path: Path) -> None:
    found = judging("p95(ttft) < 1s")
    seen = [
        observation([("text", 100)], outcome=Outcome.CANCELLED),
        observation([("text", 1500)], outcome=Outcome.CANCELLED),
        observation([], outcome=Outcome.CANCELLED, ended=300),
        observation([], outcome=Outcome.CANCELLED, ended=1300),
        observation([], outcome=Outcome.INTERRUPTED, ended=1300),
    ]
    batch = found.batch(read(tmp_path, seen))
    assert batch.counted[0].tolist() == [True, True, False, True, False]
    assert batch.bad[0].tolist() == [False, True, False, True, False]


def test_a_rule_about_some_streams_is_a_limit_of_its_own(tmp_path: Path) -> None:
    found = judging("p95(ttft) < 1s", Sla(rule="p95(ttft) < 2s", where=Where(network="slow_4g")))
    seen = [*ttfts([1500]), *ttfts([1500, 2500], network="slow_4g")]
    batch = found.batch(read(tmp_path, seen))
    assert sorted(batch.counted.sum(axis=1).tolist()) == [2, 3]
    assert sorted(batch.bad.sum(axis=1).tolist()) == [1, 3]


def test_goodput_is_asked_by_the_limits_of_a_good_stream(tmp_path: Path) -> None:
    reader = Reader(good=Good(ttft=Duration.parse("1s")))
    batch = judging("goodput > 95%", reader=reader).batch(read(tmp_path, ttfts([500, 1500])))
    assert batch.bad[0].tolist() == [False, True]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("mean(ttft) < 1s", "says nothing of one stream"),
        ("max(ttft) < 1s", "says nothing of one stream"),
        ("output_tps > 500", "there are rules with a percentile, such as p95(ttft) < 1.5s, and error_rate"),
        ("error_rate > 1%", "says nothing of one stream"),
        ("error_rate < 0%", "allows fewer than 1 in 10,000"),
        ("error_rate <= 100%", "lets all streams break it"),
        ("completion_rate > 0%", "lets all streams break it"),
        ("goodput > 95%", "write [reader] good into the config"),
    ],
)
def test_a_rule_that_says_nothing_of_one_stream_is_refused(rule: str, why: str) -> None:
    with pytest.raises(RuleError, match=why.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[")):
        judging(rule)


def test_a_rule_that_only_warns_is_left_out_and_one_that_fails_is_needed() -> None:
    warns = Sla(rule="mean(ttft) < 1s", severity="warn")
    assert [limit.rules for limit in judging("p95(ttft) < 1s", warns).limits] == [("p95(ttft) < 1s",)]
    with pytest.raises(RuleError, match="needs a rule"):
        judging(warns)


def test_a_rule_without_figures_is_not_taken_for_kept(tmp_path: Path) -> None:
    """A server that tells no token counts has no tpot."""
    found = judging("p95(tpot) < 50ms", "p95(ttft) < 1s")
    found.batch(read(tmp_path, ttfts([100] * 8)))
    assert found.silent() == "'p95(tpot) < 50ms': 8 of 8 streams have no figure for it"


def test_a_stream_that_waited_only_for_the_generator_is_not_bad_once_it_was_sent(tmp_path: Path) -> None:
    late = observation([("text", 1600)], sent_at=700 * MS)
    lost = observation(outcome=Outcome.UNREACHABLE)  # a late generator may be why
    streams = read(tmp_path, [late, observation([("text", 1600)], sent_at=2 * MS), lost])
    found = judging("p95(ttft) < 1s", "p95(itl) < 1ms", "error_rate < 5%").waits_since_sent(streams)
    assert found is not None
    limits, batch = found
    assert (len(limits), batch.bad.tolist()) == (1, [[False, True]])
    assert judging("p95(itl) < 1ms").waits_since_sent(streams) is None


@pytest.mark.parametrize(
    ("sent", "bad", "outcome", "as_bad"),
    [
        (1500, 200, End.MISSED, False),  # all of the wait was the generator's
        (20, 200, End.MISSED, True),
        (20, 12, End.UNDECIDED, True),
        (20, 12, End.MISSED, False),  # only undecided without the generator's part
        (1500, 12, End.UNDECIDED, False),
    ],
)
def test_a_late_generator_changed_an_outcome_only_if_it_is_better_without_its_part(
    sent: int, bad: int, outcome: End, as_bad: bool, tmp_path: Path
) -> None:
    seen = [
        observation([("text", 1600 if place % (200 // bad) == 0 else 300)], due=place, sent_at=(place + sent) * MS)
        for place in range(200)
    ]
    found = as_bad_once_sent(judging("p95(ttft) < 1s"), read(tmp_path, seen), Order(4, Purpose.BISECT), outcome)
    assert found is as_bad


def test_streams_are_given_out_only_when_all_before_them_have_ended(tmp_path: Path) -> None:
    """The second stream is slow. Without waiting for it, only fast streams would be judged."""
    path = database(tmp_path / "run.db", [])
    seen = [observation(due=10 * place, sequence=place + 1) for place in range(4)]
    with new_store(path) as store:
        rows = Rows(store, "run-1")
        store.append("run-1", [seen[0], *seen[2:]])
        rows.read()
        first = rows.take(0)
        assert first is not None
        assert first.number["sequence"].tolist() == [1]
        store.append("run-1", [seen[1]])
        rows.read()
        rest = rows.take(0)
        assert rest is not None
        assert rest.number["sequence"].tolist() == [2, 3, 4]
        assert rows.take(0) is None


def test_a_level_settles_for_the_time_of_an_answer(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "run.db", [observation(due=50, ended=2000, sequence=1)])) as store:
        rows = Rows(store, "run-1")
        rows.read()
        assert rows.answer_time(0, 4) is None, "one stream of four users"
        took = rows.answer_time(0, 1)
    assert took == 2000 * MS
    assert settling(took, after_trouble=False) == 2000 * MS
    assert settling(took, after_trouble=True) == 4000 * MS
    assert settling(np.inf, after_trouble=True) <= 60_000 * MS
