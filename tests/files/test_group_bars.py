"""The bars below "who has it worst": what they compare, and when there are none."""

import re
from collections.abc import Sequence
from pathlib import Path

from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.record import observation
from tests.support.report_page import empty, rendered


def bars(path: Path, streams: Sequence[StreamObservation]) -> tuple[str, list[tuple[str, str]]]:
    """The caption, and each bar's name and figure, in the page's order."""
    html, _ = rendered(path, [*streams])
    found = re.search(r'<div class="group-bars"><p>(.*?)</p>(.*?)</div></dl></div>', html)
    if found is None:
        return "", []
    return found[1], re.findall(r"<dt>(.*?)</dt><dd><svg.*?</svg>(.*?)</dd>", found[2])


def of(network: str, ttft: float, pause: float = 0, n: int = 40) -> list[StreamObservation]:
    chunks = [("text", ttft), ("text", ttft + 20 + pause)]
    return [observation(chunks, due=100 * at, network=network) for at in range(n)]


def test_the_first_token_is_compared_where_nothing_worse_happened(tmp_path: Path) -> None:
    caption, rows = bars(tmp_path / "run.db", [*of("wifi", 200, n=200), *of("slow_4g", 500, n=200)])
    assert caption == "P95 TTFT; the line is its 95 % interval"
    assert rows == [("slow_4g", "500 ms"), ("wifi", "200 ms")]


def test_an_interval_without_a_known_end_goes_to_the_edge(tmp_path: Path) -> None:
    html, _ = rendered(tmp_path / "run.db", [*of("wifi", 200, n=200), *of("slow_4g", 500, n=40)])
    assert "; the line is its 95 % interval; to an edge where its end is not known</p>" in html
    assert html.count('H100.0"/></svg>') == 1


def test_every_bar_has_the_limit_for_all_streams_if_it_is_near(tmp_path: Path) -> None:
    streams, mark = [*of("wifi", 200), *of("slow_4g", 500)], '<path class="limit" d="M100.0 0V10"/>'
    near, _ = rendered(tmp_path / "near.db", streams, "p95(ttft) < 600ms", "p95(itl) < 550ms")
    assert near.count(mark) == 2
    assert "; the limit for all streams, 600 ms, is the dotted line</p>" in near
    far, _ = rendered(tmp_path / "far.db", streams, "p95(ttft) < 2s")
    assert "; the limit for all streams, 2 s, is not in the picture</p>" in far


def test_waits_in_mid_answer_come_before_the_first_token(tmp_path: Path) -> None:
    caption, rows = bars(tmp_path / "run.db", [*of("wifi", 200, pause=3_000), *of("slow_4g", 500)])
    assert caption.startswith("P95 of the longest wait in mid-answer")
    assert [name for name, _ in rows] == ["wifi", "slow_4g"]


def test_lost_streams_come_before_everything(tmp_path: Path) -> None:
    failed = [empty(Outcome.REFUSED, network="lte") for _ in range(30)]
    caption, rows = bars(tmp_path / "run.db", [*of("wifi", 200, pause=3_000), *of("lte", 100, n=10), *failed])
    assert caption.startswith("Share of the streams that failed")
    assert rows == [("lte", "75.0 %"), ("wifi", "0 %")]


def test_a_single_group_has_no_bars(tmp_path: Path) -> None:
    assert bars(tmp_path / "run.db", of("wifi", 200)) == ("", [])


def test_only_the_worst_of_many_groups_have_bars(tmp_path: Path) -> None:
    _, rows = bars(tmp_path / "run.db", [one for at in range(9) for one in of(f"link <{at}>", 100 + 50 * at, n=5)])
    assert [name for name, _ in rows] == [f"link &lt;{at}&gt;" for at in (8, 7, 6, 5, 4)]
