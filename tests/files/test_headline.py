"""The sentence below the verdict."""

from pathlib import Path

from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.record.observation import Outcome
from tests.support.record import ttfts
from tests.support.report_page import empty, rendered


def test_a_stream_that_the_end_of_the_run_cut_off_was_still_waiting(tmp_path: Path) -> None:
    waiting = [empty(Outcome.INTERRUPTED, ended=3_000) for _ in range(20)]
    html, judgement = rendered(tmp_path / "run.db", [*ttfts([500.0] * 180), *waiting], "p95(ttft) < 1s")
    assert "(limit 1 s), and of 200 streams, 20 were waiting beyond the limit when the run ended." in html
    assert "; 20 were waiting beyond the limit when the run ended and count as ∞" in judgement.verdicts[0].reason


def test_an_unsettled_rule_is_told_with_its_interval(tmp_path: Path) -> None:
    html, _ = rendered(tmp_path / "run.db", ttfts([500.0] * 100), "error_rate < 1%")
    assert "1 rule inconclusive, none missed: error rate was 0 % (0–3.6; limit 1.0 %).</p>" in html


def test_the_rule_nearest_to_its_limit_is_told_and_a_full_share_is_far_from_it(tmp_path: Path) -> None:
    rules = "p95(ttft) < 1s", "completion_rate > 98%"
    html, judgement = rendered(tmp_path / "run.db", ttfts([500.0] * 400), *rules)
    assert judgement.verdict == "met"
    told = "all 2 rules met. The nearest to its limit: P95 TTFT was 500 ms (limit 1 s)."
    assert f"With an unknown number of users for 10 s, {told}" in html


def test_a_degraded_measurement_is_told_beside_the_verdict(tmp_path: Path) -> None:
    for late, told in ((0, False), (2, True)):
        streams = ttfts([500.0] * 400, reads=100, saturated_reads=late, coalesced_reads=late)
        html, judgement = rendered(tmp_path / f"{late}.db", streams, "p95(ttft) < 1s")
        assert judgement.verdict == "met"
        assert (". The measurement is DEGRADED: our tool may have a part in the figures." in html) is told
        assert (judgement.validity is Validity.DEGRADED) is told
