"""Rules with `abort`: when a run that goes on has missed one."""

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Reader, Sla
from streamgauge.harness.judge.measure.windows import Windows
from streamgauge.harness.judge.store import Store, Streams
from streamgauge.harness.judge.verdict import rules
from streamgauge.harness.judge.verdict.abort import AbortRules
from streamgauge.harness.judge.verdict.judgement import judge
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.record import MS, a_run, new_store, observation

SECOND = 1_000 * MS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """With a run that goes on."""
    with new_store(tmp_path / "one.db") as opened:
        opened.start_run(a_run())
        yield opened


def abort_rules(rule: str, grace: str = "5s", lasting: str | None = None) -> AbortRules:
    given = Sla(
        rule=rule, abort=True, grace=Duration.parse(grace), lasting=None if lasting is None else Duration.parse(lasting)
    )
    return AbortRules([rules.parse(given), rules.parse(Sla(rule="max(ttft) < 1ms"))], Reader())


def good(seconds: Sequence[float]) -> list[StreamObservation]:
    """Streams due at these seconds that take 2 s each."""
    return [observation([("text", 100), ("text", 2_000)], due=at * 1_000) for at in seconds]


def refused(seconds: Sequence[float]) -> list[StreamObservation]:
    return [observation([], outcome=Outcome.REFUSED, due=at * 1_000, ended=1) for at in seconds]


def test_a_rule_that_is_missed_ends_the_run_but_not_within_its_grace(store: Store) -> None:
    store.append("run-1", refused([at / 10 for at in range(30)]))
    watched = abort_rules("error_rate < 20%")
    assert watched.check(store, "run-1", 4 * SECOND) is None
    missed = watched.check(store, "run-1", 5 * SECOND)
    assert missed is not None
    assert (missed.rule, missed.observed, missed.n) == ("error_rate < 20%", 1, 30)


def test_rules_without_abort_end_nothing(store: Store) -> None:
    store.append("run-1", good(range(20)))
    assert abort_rules("error_rate < 20%").check(store, "run-1", 30 * SECOND) is None


def test_failures_are_not_judged_before_the_answers_that_were_asked_for_with_them(store: Store) -> None:
    # One in four fails at once, which the rule allows; the answers of the last 2 s have not ended.
    answers = good([at / 40 for at in range(320)])
    ended = [seen for seen in answers if seen.ended_at <= 8 * SECOND]
    store.append("run-1", [*ended, *refused([at / 13 for at in range(104)])])
    watched = abort_rules("error_rate < 27%")
    assert watched.check(store, "run-1", 8 * SECOND) is None
    store.append("run-1", answers[len(ended) :])
    assert watched.check(store, "run-1", 10 * SECOND) is None
    store.append("run-1", refused([10 + at / 100 for at in range(200)]))
    assert watched.check(store, "run-1", 12 * SECOND) is None, "the other streams that were due then have not ended"
    assert watched.check(store, "run-1", 14 * SECOND) is not None


def test_a_check_needs_more_certainty_than_a_verdict(store: Store) -> None:
    streams = [*good([at / 10 for at in range(88)]), *refused([at / 10 for at in range(18)])]
    store.append("run-1", streams)
    assert abort_rules("error_rate < 10%").check(store, "run-1", 20 * SECOND) is None
    (verdict,) = judge(store, rules=[rules.parse(Sla(rule="error_rate < 10%"))]).verdicts
    assert verdict.status is RuleStatus.MISSED


def test_a_rule_with_for_must_last_here_too(store: Store) -> None:
    slow = [observation([("text", 900)], due=at * 20) for at in range(1_000)]  # for 20 s
    store.append("run-1", slow[:150])
    watched = abort_rules("p95(ttft) < 500ms", lasting="5s")
    assert watched.check(store, "run-1", 6 * SECOND) is None
    store.append("run-1", slow[150:])
    missed = watched.check(store, "run-1", 22 * SECOND)
    assert missed is not None
    assert missed.reason == "missed all the time from 0 s to 5 s: the whole interval is beyond the limit of 500 ms"


def read(store: Store, seconds: Sequence[float]) -> Streams:
    """Streams due at these seconds, after they were stored."""
    before = store.count("run-1")
    store.append("run-1", good(seconds))
    (batch,) = store.streams("run-1", after=before)
    return batch


def starts(windows: Windows, until: float) -> list[float]:
    return [window.start for window in windows.until(until)]


def test_a_stream_that_is_counted_late_opens_its_settled_windows_again(store: Store) -> None:
    windows = Windows(5 * SECOND, [], Reader(), {"ttft"})
    windows.take(read(store, range(20)))
    assert starts(windows, 10) == [0, 1, 2, 3, 4, 5]
    windows.settle(10)
    assert starts(windows, 12) == [6, 7]
    windows.take(read(store, [1.5, 8]))
    assert starts(windows, 12) == [0, 1, 4, 5, 6, 7]
    windows.settle(12)
    assert starts(windows, 8) == []
    assert starts(windows, 40) == list(range(8, 20))


def test_windows_begin_at_the_end_of_the_warm_up(store: Store) -> None:
    windows = Windows(5 * SECOND, [], Reader(), {"ttft"}, begins=3)
    windows.take(read(store, [0, 1, 2, 4, 20]))
    assert starts(windows, 10) == [3, 4]


def test_a_check_does_not_touch_the_windows_that_are_settled(store: Store) -> None:
    """A check is made each second, in the process that reads the streams, and a run may go on for days."""
    windows = Windows(1 * SECOND, [], Reader(), {"ttft"})
    windows.take(read(store, [at / 5 for at in range(1_500)]))
    windows.settle(290)
    tracemalloc.start()
    try:
        assert starts(windows, 290) == []
        windows.settle(290)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20_000, "bytes; a set of all 1,450 windows takes over 100,000"
