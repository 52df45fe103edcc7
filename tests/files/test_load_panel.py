"""The panel of load and latency: groups by open streams, the standstill of all answers, and the parts of TTFT."""

import re
from pathlib import Path
from typing import Any

from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.record import MS, observation
from tests.support.report_page import Page, rendered


def answer(due: float, ttft: float, pause: float = 0, **fields: Any) -> StreamObservation:
    """Ten chunks, 100 ms apart, with a pause in the middle."""
    at = [ttft + 100 * place + (pause if place >= 5 else 0) for place in range(10)]
    return observation([("text", ms) for ms in at], due=due, **fields)


def test_ttft_is_shown_by_the_number_of_open_streams(tmp_path: Path) -> None:
    alone = [observation([("text", 60), ("text", 80)], due=100 * place) for place in range(50)]
    crowded = [answer(6_000 + 10 * place, 800) for place in range(100)]
    html, _ = rendered(tmp_path / "run.db", [*alone, *crowded], "p95(ttft) < 1s")
    seen = Page(html)
    head, *rows = seen.tables["By open streams, when the stream was due"]
    assert head[:3] == ["Open streams", "Streams", "TTFT P50"]
    assert rows[0][:3] == ["1", "50", "60.0 ms"]
    assert rows[-1][2] == "800 ms"
    assert sum(int(row[1]) for row in rows) == 150
    drawn = [trace["name"] for figure in seen.figures for trace in figure["data"] if "name" in trace]
    assert "limit of P95" in drawn


def test_without_a_change_of_load_the_page_says_so(tmp_path: Path) -> None:
    html, _ = rendered(
        tmp_path / "run.db", [observation([("text", 60), ("text", 80)], due=100 * place) for place in range(50)]
    )
    assert "The number of open streams hardly varied" in Page(html).text


def test_a_pause_of_all_answers_is_told_and_one_of_a_few_is_not(tmp_path: Path) -> None:
    together = [answer(10 * place, 200, pause=2_000) for place in range(20)]
    html, _ = rendered(tmp_path / "together.db", together)
    assert re.search(r"For 2\.1\d? s, more than half of the answers under way got nothing\.", Page(html).text)
    alone = [answer(10 * place, 200, pause=2_000 if place < 4 else 0) for place in range(20)]
    html, _ = rendered(tmp_path / "alone.db", alone)
    assert "of the answers under way got nothing" not in Page(html).text


def test_the_parts_of_ttft_add_up(tmp_path: Path) -> None:
    moments = {"connected_at": 40 * MS, "sent_at": 40 * MS}
    streams = [answer(0, 240, network="slow_4g", link=60, **moments) for _ in range(30)]
    html, _ = rendered(tmp_path / "run.db", streams)
    row = Page(html).row("Parts of the mean TTFT by network", "slow_4g")
    assert row[1:] == ["30", "40.0 ms", "200 ms", "60.0 ms"]


def test_the_shape_of_answers_and_how_they_ended(tmp_path: Path) -> None:
    streams = [answer(10 * place, 200, output_tokens=30, stop_reason="max_tokens") for place in range(30)]
    cut = [answer(10 * place, 200, outcome=Outcome.TRUNCATED) for place in range(5)]
    seen = Page(rendered(tmp_path / "run.db", [*streams, *cut])[0])
    assert seen.row("The shape of complete answers", "Tokens in a chunk")[1:] == ["3", "3"]
    assert seen.row("How complete answers ended", "max_tokens")[1:] == ["30", "100 %"]
