"""What lets an inconclusive run be judged comes first, and is one sentence in every output."""

import dataclasses
import json
from pathlib import Path

import pytest

from streamgauge.harness.judge.outputs import json as json_output
from streamgauge.harness.judge.outputs import markdown, terminal
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import judge
from streamgauge.harness.judge.verdict.undecided import what_would_decide
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.reports import page
from streamgauge.reports.material import gather
from tests.support.record import MS, a_run, judged, new_store, ttfts
from tests.support.report_page import Page


def cut_short(n: int) -> list[StreamObservation]:
    return ttfts([500.0] * n, stop_reason="max_tokens")


@pytest.mark.parametrize(
    ("n", "rules", "told"),
    [
        (100, ["error_rate < 1%"], "run the same load for about 40 s: that would settle the inconclusive rule"),
        (350, ["error_rate < 1%"], "run the same load for about 20 s: that would settle the inconclusive rule"),
        (2, ["error_rate < 1%"], "run the same load for about 31 min: that would settle the inconclusive rule"),
        (
            100,
            ["error_rate < 1%", "completion_rate > 98%"],
            "run the same load for about 40 s: that would settle both inconclusive rules",
        ),
        (100, [], "give the run rules to be judged by, as [[sla]] in streamgauge.toml: "),
    ],
)
def test_what_makes_a_run_judgeable_comes_before_the_findings(
    tmp_path: Path, n: int, rules: list[str], told: str
) -> None:
    """The run took 10 s. A time is rounded up, so that it never has fewer streams than the rule says it needs."""
    path = tmp_path / "run.db"
    judgement = judged(path, cut_short(n), *rules)
    assert judgement.verdict == "inconclusive"
    assert judgement.next_step.startswith(told)
    assert json.loads(json_output.render(judgement))["next_step"] == judgement.next_step
    shown = terminal.text(judgement, 1_000)
    assert f"try next: {judgement.next_step}\nfindings: " in shown
    text = markdown.text(judgement.next_step)
    assert f"Try next: {text}.\n\nFindings: " in markdown.render(judgement)
    with Store.open(path) as store:
        seen = Page(page.render(dataclasses.replace(gather(store), judgement=judgement)))
    first, _, rest = seen.text.partition(judgement.next_step[1:])
    assert "cuts answers off at max_tokens" not in first
    assert n < 10 or "cuts answers off at max_tokens" in rest


def test_a_rule_that_more_streams_would_not_settle_is_not_counted(tmp_path: Path) -> None:
    nothing, few = (
        judged(tmp_path / f"{at}.db", ttfts([500.0] * 100), rule).verdicts
        for at, rule in enumerate(["p95(resume_gap) < 1s", "error_rate < 1%"])
    )
    assert what_would_decide(nothing, 10, 0) == ""
    assert what_would_decide([*nothing, *few], 10, 5) == (
        "run the same load for about 50 s: that would settle 1 of the 2 inconclusive rules"
    )


def test_nothing_is_undecided_where_rules_were_met_or_missed(tmp_path: Path) -> None:
    for limit in ("1s", "100ms"):
        judgement = judged(tmp_path / f"{limit}.db", cut_short(400), f"p95(ttft) < {limit}")
        assert "inconclusive rule" not in judgement.next_step
        assert "try next: run the same load" not in terminal.text(judgement)


def test_an_interrupted_run_is_to_run_to_its_end(tmp_path: Path) -> None:
    with new_store(tmp_path / "run.db") as store:
        run = a_run()
        store.start_run(run)
        store.append(run.id, cut_short(100))
        store.finish_run(run.id, ended_ns=10_000 * MS, status="interrupted")
        told = judge(store).next_step
    assert told == "let it run to its end: an interrupted run is not judged"
    assert judged(tmp_path / "no.db", cut_short(100), instrument={"mistakes": ["a mistake"]}).next_step == ""
