"""The pages of runs that are unlike others: without streams, rules or figures, or not to be trusted."""

from pathlib import Path

import pytest

from streamgauge.harness.judge.outputs import terminal
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.record import observation, ttfts
from tests.support.report_page import Page, empty, rendered

ODD = {
    "no streams": [],
    "all refused": [empty(Outcome.REFUSED, http_status=401) for _ in range(30)],
    "only people who left": [empty(Outcome.CANCELLED) for _ in range(30)],
    "only what the run cut off": [empty(Outcome.INTERRUPTED) for _ in range(30)],
    "one stream": ttfts([250]),
    "one token": [observation([("text", 90)])],
    "a first token at once": [observation([("text", 0)])],
    "times beyond the run": [empty(Outcome.TIMED_OUT, ended=9e9, due=at, detail="x" * 9_000) for at in (0, 5e7)],
    "60 user classes with long names": [
        one for at in range(60) for one in ttfts([100 + at], user=f"User{at}" + "x" * 300, network=f"net{at}")
    ],
}


@pytest.mark.parametrize("streams", list(ODD.values()), ids=list(ODD))
def test_an_odd_run_has_its_page(tmp_path: Path, streams: list[StreamObservation]) -> None:
    html, judgement = rendered(tmp_path / "run.db", streams, "p95(ttft) < 1s", "p99(itl) < 1s", "error_rate < 1%")
    seen = Page(html)
    assert len(seen.tables["Rules"]) == 4
    assert judgement.verdict in seen.text
    assert len(html.encode()) < 2_000_000


def test_a_run_without_rules_says_that_nothing_was_judged(tmp_path: Path) -> None:
    html, _ = rendered(tmp_path / "run.db", ttfts(range(100, 200)))
    assert "No SLA rules were given" in html
    assert "Rules" not in Page(html).tables


def test_a_run_that_cannot_be_trusted_says_why_beside_the_verdict(tmp_path: Path) -> None:
    html, _ = rendered(tmp_path / "run.db", ttfts(range(100, 200)), "p95(ttft) < 1s", notes=["worker-1 was lost"])
    assert "Worker-1 was lost." in html[: html.index("<table")]
    assert Page(html).row("The run", "Measurement") == ["Measurement", "degraded"]


def test_an_unverified_certificate_is_reported_at_the_top(tmp_path: Path) -> None:
    shown = {"config": {"verify": False}, "host": "https://staging.example"}
    html, judgement = rendered(tmp_path / "one.db", ttfts(range(100, 200)), **shown)
    assert "not verified (verify = false)" in html[: html.index("<table")]
    assert "not verified (verify = false)" in " ".join(terminal.text(judgement).split())
    assert Page(html).row("Config, without secrets", "verify") == ["verify", "no"]
    _, plain = rendered(tmp_path / "two.db", ttfts(range(100, 200)), **{**shown, "host": "http://staging.example"})
    assert plain.reasons == [], "there is no certificate on plain HTTP"
