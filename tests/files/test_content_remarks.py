"""What a run says of its answers: empty ones, those that came at once, and what was odd without making them fail."""

import json
from pathlib import Path

import pytest

from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.outputs import json as json_output
from streamgauge.harness.judge.outputs import junit, markdown, terminal
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement, RunVerdict
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.record.observation import FAILURES, Outcome, StreamObservation
from streamgauge.reports.material import gather
from streamgauge.reports.page import render
from tests.support.record import database, judged, observation, ttfts
from tests.support.report_page import Page

ODD = "a token count that is not a whole number"
EMPTY = "the answer ended as it should, but brought nothing (stop reason 'stop', 3 output tokens)"


def empty(due: float = 0) -> StreamObservation:
    return observation([], due=due, ended=80, outcome=Outcome.EMPTY, detail=EMPTY, stop_reason="stop", output_tokens=3)


def with_odd(odd: int, of: int) -> list[StreamObservation]:
    return [*ttfts([100] * odd, oddities={ODD: 2}), *ttfts([100] * (of - odd))]


def everywhere(judgement: Judgement) -> dict[str, str]:
    return {
        "terminal": terminal.text(judgement, width=500),
        "json": json_output.render(judgement),
        "markdown": markdown.render(judgement).replace("\\", ""),
    }


def test_a_run_of_empty_answers_misses_its_error_rate_and_says_what_to_check(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", [empty() for _ in range(50)], "error_rate < 1%")
    assert result.verdict is RunVerdict.MISSED
    assert result.reasons == [
        "no stream had content: 50 of 50 answers ended as they should and brought nothing; check the model, "
        "max_tokens, and where the target's protocol looks for text"
    ]
    for name, text in everywhere(result).items():
        assert "no stream had content" in text, name
        assert "empty_rate" in text, name


@pytest.mark.parametrize("outcome", [Outcome.EMPTY, Outcome.TRUNCATED])
def test_a_run_without_any_content_names_the_key_of_the_config_that_says_where_text_is(
    tmp_path: Path, outcome: Outcome
) -> None:
    streams = [observation((), outcome=outcome) for _ in range(50)]
    result = judged(tmp_path / "one.db", streams, config={"protocol": "custom"})
    assert result.reasons[0].startswith("no stream had content: ")
    assert result.reasons[0].endswith("check the model, max_tokens, and target.events.text")


@pytest.mark.parametrize("outcome", sorted(FAILURES))
def test_a_run_in_which_many_streams_failed_is_not_met_unless_a_rule_says_how_many_may(
    tmp_path: Path, outcome: Outcome
) -> None:
    streams = [*(observation((), outcome=outcome) for _ in range(30)), *ttfts([100] * 70)]
    result = judged(tmp_path / "one.db", streams, "p50(ttft) < 1s")
    assert [verdict.status for verdict in result.verdicts] == ["met"]
    assert result.verdict is RunVerdict.INCONCLUSIVE
    assert result.reason == "30 of 100 streams failed, and no rule says how many may: add one, such as error_rate < 1%"
    only_warns = Sla(rule="p50(ttft) < 1s", severity="warn")
    assert judged(tmp_path / "two.db", streams, only_warns).verdict is RunVerdict.INCONCLUSIVE
    assert judged(tmp_path / "three.db", streams, "p50(ttft) < 1s", "error_rate < 50%").verdict is RunVerdict.MET
    few = [*streams[:5], *ttfts([100] * 95)]
    assert judged(tmp_path / "four.db", few, "p50(ttft) < 1s").verdict is RunVerdict.MET


@pytest.mark.parametrize("rate", ["empty_rate", "timeout_rate", "truncation_rate"])
def test_a_rule_about_one_kind_of_failure_does_not_say_how_many_streams_may_fail(tmp_path: Path, rate: str) -> None:
    streams = [observation((), outcome=Outcome.REFUSED) for _ in range(400)]
    result = judged(tmp_path / "one.db", streams, f"{rate} < 1%")
    assert [verdict.status for verdict in result.verdicts] == ["met"]
    assert result.verdict is RunVerdict.INCONCLUSIVE
    assert result.reason.startswith("400 of 400 streams failed, and no rule says how many may")


@pytest.mark.parametrize(
    ("rate", "outcome"),
    [("empty_rate", Outcome.EMPTY), ("timeout_rate", Outcome.TIMED_OUT), ("truncation_rate", Outcome.TRUNCATED)],
)
def test_a_rule_about_one_kind_of_failure_says_how_many_of_that_kind_may_fail(
    tmp_path: Path, rate: str, outcome: Outcome
) -> None:
    streams = [*(observation((), outcome=outcome) for _ in range(30)), *ttfts([100] * 370)]
    assert judged(tmp_path / "one.db", streams, "p50(ttft) < 1s", f"{rate} < 20%").verdict is RunVerdict.MET
    refused = [observation((), outcome=Outcome.REFUSED) for _ in range(30)]
    result = judged(tmp_path / "two.db", [*streams, *refused], "p50(ttft) < 1s", f"{rate} < 20%")
    assert result.reason.startswith("30 of 430 streams failed, and no rule says how many may")


def test_an_empty_answer_is_never_within_a_limit(tmp_path: Path) -> None:
    """Half of the answers are empty, at once: nothing may look faster for it."""
    streams = [each for _ in range(50) for each in (empty(), *ttfts([900]))]
    config = {"reader": {"good": {"ttft": "5s"}}}
    result = judged(tmp_path / "one.db", streams, "p95(ttft) < 1s", "p95(e2e) < 5s", "goodput > 40%", config=config)
    assert (result.metrics["ttft"].gated.p95, result.metrics["ttft"].failed) == (float("inf"), 50)
    assert [verdict.status for verdict in result.verdicts[:2]] == ["missed", "missed"]
    shares = {name: result.rates[name].value for name in ("error_rate", "empty_rate", "completion_rate", "goodput")}
    assert shares == {"error_rate": 0.5, "empty_rate": 0.5, "completion_rate": 0.5, "goodput": 0.5}
    assert result.reasons == [], "some streams had content"


def test_an_empty_answer_is_shown_with_its_stop_reason_and_tokens(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", [empty()])
    with Store.open(path) as store:
        (failure,) = store.failures("run-1", 5)
        page = render(gather(store, "run-1"))
    assert (failure.outcome, failure.detail) == ("empty", EMPTY)
    assert "brought nothing (stop reason" in page


def test_oddities_are_remarks_and_change_no_verdict(tmp_path: Path) -> None:
    plain = judged(tmp_path / "plain.db", with_odd(0, 100), "p50(ttft) < 1s")
    odd = judged(tmp_path / "odd.db", with_odd(12, 100), "p50(ttft) < 1s")
    assert odd.reasons == [f"12 of 100 streams: {ODD}"]
    assert (odd.validity, odd.verdict, odd.reason) == (Validity.VALID, plain.verdict, plain.reason)
    for name, text in everywhere(odd).items():
        assert f"12 of 100 streams: {ODD}" in text, name
    assert json.loads(json_output.render(odd))["oddities"] == {ODD: 12}
    with Store.open(tmp_path / "odd.db") as store:
        assert f"12 of 100 streams: {ODD}" in render(gather(store, "run-1"))


def test_the_most_frequent_oddities_come_first_and_no_more_than_twenty(tmp_path: Path) -> None:
    streams = [observation(oddities={f"oddity {kind:02}": 1 for kind in range(1 + place)}) for place in range(30)]
    reasons = judged(tmp_path / "one.db", streams).reasons
    assert len(reasons) == 20
    assert reasons[0] == "30 of 30 streams: oddity 00"


def test_a_file_without_oddities_is_read_as_before_and_takes_them(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", [observation()])
    with Store.create(path) as store:
        store.append("run-1", [observation(oddities={ODD: 1})])
        (streams,) = store.streams("run-1")
    assert [*streams.text["oddities"]] == ["", json.dumps({ODD: 1})]


def test_a_ci_system_is_told_of_the_empty_answers(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", [empty() for _ in range(400)], "empty_rate < 1%")
    assert result.totals.outcomes == {Outcome.EMPTY: 400}
    assert "empty_rate" in junit.render(result)
    assert "no stream had content" in junit.render(result)


# Not streamed

COURSE = ("p95(itl) < 1s", "p95(itl_wire) < 1s", "p95(tpot) < 1s", "p95(stall_ratio) < 5%", "max(longest_stall) < 1s")


def buffered(streams: int) -> list[StreamObservation]:
    return [observation([("text", 900)] * 50, output_tokens=50) for _ in range(streams)]


def streamed(streams: int) -> list[StreamObservation]:
    return [observation([("text", 100 + 10 * place) for place in range(50)], output_tokens=50) for _ in range(streams)]


def test_rules_on_the_course_of_answers_that_were_not_streamed_are_inconclusive(tmp_path: Path) -> None:
    config = {"reader": {"good": {"ttft": "5s", "tpot": "1s"}}}
    result = judged(tmp_path / "one.db", buffered(100), *COURSE, "goodput > 90%", config=config)
    assert {verdict.status for verdict in result.verdicts} == {RuleStatus.INCONCLUSIVE}
    assert {verdict.reason for verdict in result.verdicts} == {
        "all chunks of 100 streams arrived in one read each: the answer was not streamed"
    }
    assert result.reasons == [
        "100 of 100 streams brought the whole answer at once: "
        "it was not streamed, and is left out of ITL, TPOT and stalls"
    ]
    for name, text in everywhere(result).items():
        assert "it was not streamed" in text, name


def test_their_other_rules_are_judged(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", buffered(100), "p95(ttft) < 1s", "p95(e2e) < 1s")
    assert result.verdict is RunVerdict.MET


@pytest.mark.parametrize(("at_once", "status"), [(20, RuleStatus.MET), (190, RuleStatus.INCONCLUSIVE)])
def test_most_answers_must_have_been_streamed_for_such_a_rule_to_be_met(
    tmp_path: Path, at_once: int, status: RuleStatus
) -> None:
    streams = [*buffered(at_once), *streamed(100)]
    result = judged(tmp_path / "one.db", streams, "p95(tpot) < 1s", "p95(stall_ratio) < 5%")
    assert [verdict.status for verdict in result.verdicts] == [status, status]
    assert result.reasons[0].startswith(f"{at_once} of {at_once + 100} streams brought the whole answer at once")


def test_a_slow_minority_is_missed_although_most_came_at_once(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", [*buffered(190), *streamed(100)], "p95(tpot) < 5ms")
    assert result.verdicts[0].status is RuleStatus.MISSED


def test_the_share_of_gaps_that_is_left_out_is_told(tmp_path: Path) -> None:
    """Two reads of 50 chunks: 98 of 99 gaps are in no figure."""
    halves = observation([("text", 100)] * 50 + [("text", 1_090)] * 50, output_tokens=100, reads=2, coalesced_reads=2)
    result = judged(tmp_path / "one.db", [halves] * 10)
    assert (result.coalesced, result.totals.gaps) == (980, 990)
    assert result.reasons == [
        "100 % of reads held several chunks that arrived together: the server or a proxy sends them that way; "
        "99.0 % of the gaps between chunks are left out of ITL for it"
    ]
    shown = everywhere(result)
    for name in ("terminal", "markdown"):
        assert "980 of 990 gaps are left out of ITL: the chunks came together" in shown[name], name
    with Store.open(tmp_path / "one.db") as store:
        assert "980 gaps (99.0 %) are left out of ITL" in Page(render(gather(store, "run-1"))).text
