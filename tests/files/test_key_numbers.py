"""The key numbers at the top of a run's page: of all streams, or of a part that its reader chose."""

import re
from pathlib import Path

from streamgauge.harness.record.observation import Outcome
from tests.support.record import observation, ttfts
from tests.support.report_page import Page, empty, rendered


def test_a_key_number_has_the_verdict_of_its_rule_and_the_streams_are_counted(tmp_path: Path) -> None:
    streams = [*ttfts([500.0] * 180), *(empty(Outcome.REFUSED) for _ in range(20)), empty(Outcome.INTERRUPTED)]
    html, _ = rendered(tmp_path / "run.db", streams, "p95(ttft) < 1s", "p99(longest_stall) < 2s")
    numbers = html[html.index('<dl class="facts">') : html.index('<p class="counted">')]
    assert [*re.findall(r'class="mark (\w+)".*?</span> ([^<]+)<', numbers)] == [
        ("missed", "limit 1 s"), ("missed", "limit 2 s")
    ]  # fmt: skip
    assert "<b>20 never came</b><span>500 ms for those that came (500–500, 180 streams)" in numbers
    assert "201 streams: 180 completed, 20 failed, 1 still running when the run ended." in html


def test_a_long_stall_says_that_it_is_what_a_reader_waits(tmp_path: Path) -> None:
    slow = [observation([("text", 200.0), ("text", 3_200.0)], due=10.0 * at) for at in range(100)]
    html, _ = rendered(tmp_path / "slow.db", slow)
    assert "as a reader waits: shorter than on the wire" in html
    html, _ = rendered(tmp_path / "quick.db", ttfts([500.0] * 100))
    assert "as a reader waits" not in html


def test_a_key_number_beyond_its_limit_stays_the_figure_when_streams_failed_too(tmp_path: Path) -> None:
    streams = [*ttfts([1_500.0] * 180), *(empty(Outcome.REFUSED) for _ in range(20))]
    html, _ = rendered(tmp_path / "late.db", streams, "p95(ttft) < 1s")
    assert "<b>1.5 s</b>" in html
    waiting = [empty(Outcome.INTERRUPTED, ended=3_000) for _ in range(20)]
    html, _ = rendered(tmp_path / "waiting.db", [*ttfts([500.0] * 180), *waiting], "p95(ttft) < 1s")
    assert "<b>20 never came in time</b><span>500 ms for those that came" in html
    html, _ = rendered(tmp_path / "none.db", streams[180:], "p95(ttft) < 1s")
    assert "<b>20 never came</b><span>of 20 streams</span>" in html


def test_a_key_number_is_the_one_that_its_rule_judged(tmp_path: Path) -> None:
    """A few failures make the P95 higher, and do not make it infinite."""
    streams = [*ttfts([500.0] * 190), *ttfts([3_000.0] * 7), *(empty(Outcome.REFUSED) for _ in range(8))]
    html, judgement = rendered(tmp_path / "run.db", streams, "p95(ttft) < 1s")
    assert (judgement.verdicts[0].observed, judgement.verdicts[0].plain) == (3_000, 500)
    assert "<b>3 s</b><span>8 never came, and count in it; 500 ms for those that came (" in html


def test_a_chosen_part_counts_the_streams_that_never_came_as_the_rule_does(tmp_path: Path) -> None:
    streams = [
        *ttfts([500.0] * 100, network="wifi"), *(empty(Outcome.REFUSED, network="wifi") for _ in range(20)),
        *ttfts([500.0] * 95, network="3g"), *(empty(Outcome.REFUSED, network="3g") for _ in range(2)),
        *ttfts([700.0] * 4, network="3g"),
        *ttfts([1_500.0] * 50, network="slow_4g"), *(empty(Outcome.REFUSED, network="slow_4g") for _ in range(20)),
    ]  # fmt: skip

    def tiles(*rules: str) -> dict[str, str]:
        html, _ = rendered(tmp_path / f"{len(rules)}.db", streams, *rules)
        shown = re.findall(r'data-told="Only network (\w+): .*?<dd>(.*?)</dd>', html, re.DOTALL)
        return {name: re.sub("<[^>]+>", " ", tile) for name, tile in shown}

    judged = tiles("p95(ttft) < 1s")
    assert judged["wifi"].split()[:3] == ["20", "never", "came"]
    assert "500 ms for those that came" in judged["wifi"]
    assert judged["3g"].split()[:5] == ["700", "ms", "2", "never", "came,"]
    assert judged["slow_4g"].split()[:2] == ["1.5", "s"], "beyond its limit by itself"
    assert tiles()["wifi"].split()[:2] == ["500", "ms"], "no rule asks for it"
    streams = [*streams, *(empty(Outcome.CANCELLED, network="left") for _ in range(9))]
    assert tiles("p95(ttft) < 1s", "p95(itl) < 1s")["left"].split()[:5] == ["9", "never", "came", "in", "time"]


def test_a_key_number_without_a_verdict_says_why_and_an_open_interval_says_so(tmp_path: Path) -> None:
    html, judgement = rendered(tmp_path / "run.db", ttfts([500.0] * 40), "p95(ttft) < 1s", "error_rate < 1%")
    assert judgement.metrics["ttft"].intervals.p95.high is None
    seen = Page(html)
    assert "interval: too few streams to tell, 40 streams" in seen.text
    assert (
        "limit 1 s: 40 streams are too few for this interval; about 72 streams like these would settle it" in seen.text
    )
    assert "limit 1.0 %: the interval crosses it; about 368 streams like these would settle it" in seen.text
    assert [row[4] for row in seen.tables["Rules"][1:]] == ["too few streams to tell", "0–8.8"]
    assert "–?" not in seen.text
