"""The page of a run: one file, with the figures of the judgement, and safe against text from a server."""

import json
import re
from pathlib import Path

import plotly
import pytest

from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.outputs import save
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.wording import visible
from streamgauge.harness.record.observation import Outcome
from streamgauge.reports import page
from streamgauge.reports.html import ascii_script
from streamgauge.reports.material import gather
from streamgauge.reports.panel import Table
from streamgauge.reports.panels import PANELS
from tests.support.record import database, observation, ttfts
from tests.support.report_page import Page, empty, mixed, rendered

HOSTILE = '<script>alert(1)</script>"></script>{{7*7}}\u202egnp.exe<img src=x onerror=alert(2)>'


def test_a_page_is_one_small_file_that_makes_no_requests(report: tuple[str, Judgement]) -> None:
    html, _ = report
    seen = Page(html)
    assert len(html.encode()) < 2_000_000
    for tag, given in seen.tags:
        assert tag not in {"link", "img", "iframe", "base", "object"}
        for name in ("src", "href", "action", "data"):
            assert (given.get(name) or "#").startswith("#")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_the_page_allows_its_own_scripts_and_no_others(report: tuple[str, Judgement]) -> None:
    seen = Page(report[0])
    policy = next(given["content"] or "" for tag, given in seen.tags if "http-equiv" in given)
    assert "default-src 'none'" in policy
    assert re.findall(r"'sha256-[^']*'", policy) == [page._hash(script) for script in seen.scripts]
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_plotly_js_is_inlined_once_and_is_of_plotlys_own_version(report: tuple[str, Judgement]) -> None:
    def version(script: str) -> str:
        found = re.search(r"plotly\.js (?:\(basic - minified\) )?v(\S+)", script[:200])
        assert found is not None
        return found[1]

    theirs = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    ours = page.BUNDLE.read_text("utf-8")
    assert version(ours) == version(theirs.read_text("utf-8")[:200])
    assert report[0].count(ascii_script(ours)) == 1
    assert (page.BUNDLE.parent / "LICENSE").read_text("utf-8").startswith("MIT License")


def test_figures_use_only_what_the_basic_bundle_draws(report: tuple[str, Judgement]) -> None:
    figures = Page(report[0]).figures
    assert len(figures) >= 8
    assert {trace["type"] for figure in figures for trace in figure["data"]} == {"scatter", "bar"}


def test_every_panel_with_a_chart_has_a_table(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "run.db", mixed())) as store:
        material = gather(store)
    panels = [panel for draw in PANELS if (panel := draw(material)) is not None]
    assert all(panel.tables for panel in panels if panel.charts)
    tables: list[Table] = [table for panel in panels for table in panel.tables]
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert len({panel.name for panel in panels}) == len(panels)


def test_the_verdict_comes_first_as_a_word(report: tuple[str, Judgement]) -> None:
    html, judgement = report
    assert judgement.verdict == "missed"
    heading = html.index("<h1")
    assert "<span>missed</span>" in html[heading : html.index("</h1>")]
    assert "SLA missed: error rate was 2.5 % (limit 1.0 %)" in html[heading : html.index("<table")]


def test_a_figure_without_end_is_told_by_what_failed(tmp_path: Path) -> None:
    streams = [*ttfts([500.0] * 200), *(empty(Outcome.REFUSED) for _ in range(40))]
    html, _ = rendered(tmp_path / "cause.db", streams, "p95(ttft) < 100ms", "error_rate < 1%")
    assert (
        "SLA missed: error rate was 16.7 % (limit 1.0 %); P95 TTFT was 500 ms for those that came (limit 100 ms), "
        "and of 240 streams, 40 never came." in html
    )
    html, _ = rendered(tmp_path / "alone.db", streams, "p95(ttft) < 100ms", "completion_rate > 50%")
    told = "SLA missed: P95 TTFT was 500 ms for those that came (limit 100 ms), and of 240 streams, 40 never came"
    assert f"{told}; completion rate is MET." in html
    html, _ = rendered(tmp_path / "none.db", streams[200:], "p95(ttft) < 100ms")
    assert "SLA missed: P95 TTFT: of 40 streams, 40 never came (limit 100 ms)." in html


def test_the_headline_names_each_missed_rule_and_what_was_not_tested(tmp_path: Path) -> None:
    rules = [Sla(rule=f"p{q}(ttft) < 100ms") for q in (50, 60, 70, 80, 90)]
    nowhere = Sla(rule="p95(ttft) < 4s", where=Where(network="slow_4g"))
    html, _ = rendered(tmp_path / "run.db", ttfts([500.0] * 200), *rules, nowhere)
    named = "; ".join(f"P{q} TTFT was 500 ms (limit 100 ms)" for q in (50, 60, 70, 80))
    not_tested = "Not tested, since no stream belongs to it: P95 TTFT of network slow_4g."
    assert f"SLA missed: {named}; and 1 other rule. {not_tested}" in html


def test_the_headline_counts_of_all_streams_as_the_line_below_the_figures_does(tmp_path: Path) -> None:
    """Streams that had not waited for the limit when the run ended are not judged, and are in the run all the same."""
    late = [empty(Outcome.INTERRUPTED, due=1_000, ended=3_000) for _ in range(20)]
    young = [empty(Outcome.INTERRUPTED, due=3_500, ended=500) for _ in range(5)]
    html, judgement = rendered(tmp_path / "run.db", [*ttfts([500.0] * 180), *late, *young], "p95(ttft) < 1s")
    assert judgement.verdicts[0].n == 200
    assert "and of 205 streams, 20 were waiting beyond the limit when the run ended." in html
    assert "205 streams: 180 completed, 25 still running when the run ended." in html


def test_tokens_of_streams_that_broke_off_are_told_as_a_part(tmp_path: Path) -> None:
    whole = ttfts([500.0] * 30, output_tokens=3)
    broken = ttfts([500.0] * 10, outcome=Outcome.RESET, output_tokens=1)
    html, _ = rendered(tmp_path / "run.db", [*whole, *broken])
    assert "Output tps counts 10 streams that did not complete with what the server had reported by then" in html
    assert "1, as far as told before it broke off" in html
    assert Page(html).row("The shape of complete answers", "Output tokens")[1:] == ["3", "3"]
    assert "Output tps counts" not in rendered(tmp_path / "whole.db", whole)[0]


def test_a_point_above_a_limit_that_is_kept_is_explained(tmp_path: Path) -> None:
    """Three late streams in one second are its P95, and not the run's."""
    streams = [each for second in range(10) for each in ttfts([500.0] * 30, due=1_000 * second)]
    late = ttfts([2_000.0] * 3, due=4_000)
    html, judgement = rendered(tmp_path / "run.db", [*streams, *late], "p95(ttft) < 1s")
    assert judgement.verdict == "met"
    told = "above the limit, each the P95 of the 33 streams of 1 s, where a few slow ones are enough; the limit is"
    assert told in html
    assert "for the P95 of all 303 streams." in html
    assert "above the limit, each" not in rendered(tmp_path / "even.db", streams, "p95(ttft) < 1s")[0]
    assert "above the limit, each" not in rendered(tmp_path / "missed.db", streams, "p95(ttft) < 100ms")[0]


def test_streams_without_a_first_token_are_told_by_what_became_of_them(tmp_path: Path) -> None:
    without = [empty(Outcome.CANCELLED)] * 12 + [empty(Outcome.INTERRUPTED)] * 8 + [empty(Outcome.RESET)] * 5
    html, _ = rendered(tmp_path / "run.db", [*ttfts([500.0] * 100), *without])
    assert (
        "25 streams had no first token: 12 left before it, 8 still waiting when the run ended, 5 failed, or brought "
        "none." in html
    )


def test_streams_that_a_rule_counts_beyond_those_of_the_table_are_told(tmp_path: Path) -> None:
    waiting = [empty(Outcome.INTERRUPTED, ended=3_000) for _ in range(7)]
    html, _ = rendered(tmp_path / "run.db", [*ttfts([500.0] * 100), *waiting], "p95(ttft) < 1s", "p95(ttft) < 5s")
    assert "p95(ttft) &lt; 1s counts 7 streams more as never: beyond its limit, and still waiting" in html
    assert "p95(ttft) &lt; 5s counts" not in html


def test_people_who_left_before_the_first_token_gave_up_and_are_no_failures(tmp_path: Path) -> None:
    streams = [*ttfts([500.0] * 180), *(empty(Outcome.CANCELLED) for _ in range(30)), empty(Outcome.REFUSED)]
    html, judgement = rendered(tmp_path / "run.db", streams, "p95(ttft) < 1s", "error_rate < 50%")
    told = "1 never came and 30 gave up waiting before the first token"
    assert f"; {told} and count as ∞" in judgement.verdicts[0].reason
    assert f"for those that came (limit 1 s), and of 211 streams, {told}" in html


def test_people_who_left_before_the_first_token_are_told_apart(tmp_path: Path) -> None:
    left = [observation([("text", 500)], outcome=Outcome.CANCELLED) for _ in range(7)]
    html, _ = rendered(tmp_path / "run.db", [*ttfts([500.0] * 180), *left, *[empty(Outcome.CANCELLED)] * 5])
    assert html.count("192 streams: 180 completed, 12 left on purpose (5 before the first token).") == 2
    assert "; 0 of 192 that ended<" in html
    assert "; 180 of 180 whose person stayed; 12 who left are not in it<" in html


def test_a_rule_missed_only_by_streams_that_failed_is_told_apart(tmp_path: Path) -> None:
    streams = [*ttfts([500.0] * 180), *(empty(Outcome.REFUSED) for _ in range(20))]
    html, _ = rendered(tmp_path / "run.db", streams, "p95(ttft) < 1s", "error_rate < 1%", "p95(itl) < 1s")
    told = "error rate was 10.0 % (limit 1.0 %); also missed, only by the streams that never came: P95 TTFT; "
    assert f"SLA missed: {told}P95 ITL is MET." in html


def test_the_end_of_a_run_in_which_only_the_quickest_had_a_first_token_is_shaded(tmp_path: Path) -> None:
    """Without this, the line of a long queue would fall, as if the server recovered."""
    streams = [*(one for at in range(10) for one in ttfts([500.0 - 400 * (at > 6)] * 4, due=1_000 * at))]
    ends = [empty(Outcome.INTERRUPTED, due=1_000 * at) for at in (7, 8, 9) for _ in range(12)]
    html, _ = rendered(tmp_path / "run.db", [*streams, *ends], "p95(ttft) < 450ms")
    assert html.count('<rect class="hole"') == 1
    assert "36 of all 48 streams due then had no first token yet when the run ended" in html
    figure = html[html.index('<figure class="picture">') : html.index("</figure>")]
    assert "<figcaption>How long did the first token take over time?</figcaption>" in figure
    assert '<span class="key hole">most had none yet when the run ended</span>' in figure
    assert '<span class="key limit">limit of P95: 450 ms</span>' in figure
    assert "The charts leave out the TTFT of the last 3 s: 36 of all 48" in Page(html).text
    assert "and lowest at 0:07" not in html
    html, _ = rendered(tmp_path / "few.db", [*streams, *ends[::12]])
    assert '<rect class="hole"' not in html
    assert "and lowest at 0:07" in html


def test_the_end_of_a_run_in_which_nobody_had_a_first_token_has_no_empty_figures(tmp_path: Path) -> None:
    ends = [empty(Outcome.INTERRUPTED, due=1_000 * at) for at in (7, 8, 9) for _ in range(12)]
    answered = [one for at in range(7) for one in ttfts([500.0] * 4, due=1_000 * at)]
    html, _ = rendered(tmp_path / "run.db", [*answered, *ends])
    told = "none of the 36 streams due then had a first token yet when the run ended"
    assert f"The last 3 s have no TTFT: {told}." in Page(html).text
    (table,) = [rows for caption, rows in Page(html).tables.items() if caption.startswith("Over time, by 1 s")]
    first_tokens = [row[5:7] for row in table[1:]]
    assert [cells == ["none yet", "none yet"] for cells in first_tokens] == [False] * 7 + [True] * 3


def test_a_hole_in_the_course_is_shaded(tmp_path: Path) -> None:
    def course(*seconds: int) -> str:
        streams = [each for second in seconds for each in ttfts([500.0] * 30, due=1_000 * second)]
        return rendered(tmp_path / f"{len(seconds)}.db", streams)[0]

    assert course(0, 1, 7, 8, 9).count('<rect class="hole"') == 1
    assert '<rect class="hole"' not in course(*range(10))


def test_the_first_screen_draws_what_the_run_missed(tmp_path: Path) -> None:
    streams = [*ttfts([500.0] * 180), *(empty(Outcome.REFUSED) for _ in range(20))]
    failing, _ = rendered(tmp_path / "failing.db", streams, "p95(ttft) < 1s", "error_rate < 1%")
    assert 'aria-label="When did streams fail? Share of those that were due, over time: at most 10.0 %"' in failing
    assert 'data-switched="picture"' not in failing[: failing.index('<div class="below">')], "it is of all streams"
    late, _ = rendered(tmp_path / "late.db", streams, "p95(ttft) < 100ms")
    assert 'aria-label="TTFT over time, P50 and P95' in late
    stalled = [[("text", 250), *(("text", 300 + 50 * at + 3_000 * (at > 4)) for at in range(30))]] * 40
    stalling = [observation(chunks, due=200 * at) for at, chunks in enumerate(stalled)]
    still, judgement = rendered(tmp_path / "still.db", stalling, "p50(longest_stall) < 500ms", "p95(ttft) < 1s")
    assert judgement.findings[0].id == "lone_stalls"
    assert 'aria-label="When did answers stand still?' in still


def test_a_page_begins_with_what_was_tested_and_when(tmp_path: Path) -> None:
    ran = {"scenario": "chat", "host": "https://staging.example", "started_at": "2026-11-28T12:04:12+00:00"}
    html, _ = rendered(tmp_path / "run.db", ttfts([500.0] * 40), "p95(ttft) < 1s", **ran)
    told = "chat against https://staging.example, 28 Nov 2026, 12:04:12 UTC, with an unknown number of users for 10 s"
    assert f"report · {told}" in html[: html.index("<h1>")]


def test_a_page_never_takes_the_place_of_a_database(tmp_path: Path) -> None:
    path = database(tmp_path / "run.db", ttfts([100.0] * 3))
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is a database, and would be lost: name another file"):
        save("<html>", path)
    assert path.read_bytes() == before


def test_tables_hold_the_figures_of_the_judgement(report: tuple[str, Judgement]) -> None:
    html, judgement = report
    seen = Page(html)
    ttft = judgement.metrics["ttft"]
    caption = "TTFT of what was observed"
    whole = seen.row(caption, "all")
    assert whole[1:3] == [figure(ttft.quantiles.p50, "ms"), figure(ttft.quantiles.p95, "ms")]
    assert whole[5:8] == [figure(value, "ms") for value in (ttft.min, ttft.mean, ttft.max)]
    assert whole[8:10] == ["390", "10"]
    for part in judgement.parts:
        assert figure(part.metrics["ttft"].quantiles.p99, "ms") == seen.row(caption, f"{part.key} {part.value}")[4]
    assert seen.row("Rates", "error rate")[1:4] == ["2.5 %", "1.2–4.5", "10 / 400"]
    assert seen.row("Outcomes", "refused")[1] == "10"
    assert seen.row("What failed", "refused") == ["refused", "529", "10", "HTTP 529: overloaded"]
    wire = judgement.metrics["ttft_wire"].quantiles.p95
    assert figure(wire, "ms") in seen.row("TTFT by network, as the person got it and as the server sent it", "all")


def test_the_same_failures_are_the_same_share_everywhere(tmp_path: Path) -> None:
    gone = [empty(Outcome.REFUSED, http_status=429)] * 20 + [empty(Outcome.CANCELLED, ended=9_000)] * 80
    running = [empty(Outcome.INTERRUPTED, ended=100)] * 40
    html, judgement = rendered(tmp_path / "run.db", [*ttfts([500.0] * 100), *gone, *running], "error_rate < 1%")
    seen = Page(html)
    assert seen.row("Rates", "error rate")[1:4] == ["10.0 %", "6.2–15.0", "20 / 200"]
    assert seen.row("Outcomes", "refused")[1:3] == ["20", "10.0 %"]
    assert seen.row("Outcomes", "completed")[1:3] == ["100", "50.0 %"]
    assert seen.row("Outcomes", "interrupted")[1:3] == ["40", "–"]
    assert seen.row("Rates", "completion rate")[3] == "100 / 120"
    assert "of the 200 streams that ended, without the 40 still running when the run did; the completion rate" in html
    assert "is of the 120 of them whose person stayed" in html
    assert judgement.totals.ended == 200


def test_every_rule_has_its_row_the_missed_ones_first(report: tuple[str, Judgement]) -> None:
    html, judgement = report
    head, *rows = Page(html).tables["Rules"]
    assert rows[0][:2] == ["missed", "error_rate < 1%"]
    for verdict in judgement.verdicts:
        of = ", of network slow_4g" if verdict.where.network else ""
        row = dict(zip(head, next(row for row in rows if row[1] == f"{verdict.rule}{of}"), strict=True))
        assert row["Observed"] == figure(verdict.observed, verdict.unit)
        assert row["n"] == f"{verdict.n:,}"


def test_text_from_servers_and_configs_stays_text(tmp_path: Path) -> None:
    refused = empty(Outcome.REFUSED, detail=HOSTILE, http_status=500)
    streams = [refused, *ttfts(range(100, 200), user=HOSTILE, network=HOSTILE)]
    html, _ = rendered(
        tmp_path / "run.db",
        streams,
        Sla(rule="p95(ttft) < 1s", where=Where(user=HOSTILE)),
        scenario=HOSTILE,
        host=HOSTILE,
        labels={HOSTILE: HOSTILE},
        config={"model": HOSTILE},
        notes=[HOSTILE],
    )
    seen = Page(html)
    assert len(seen.scripts) == 4
    assert not [tag for tag, given in seen.tags if tag == "img" or any(name.startswith("on") for name in given)]
    assert "\u202e" not in html
    assert "49" not in seen.row("Labels", visible(HOSTILE))[1]
    assert visible(HOSTILE) in seen.text
    drawn = json.dumps(seen.figures)  # plotly.js reads text as markup: it must come to it escaped
    assert "<script" not in drawn
    assert "&lt;script" in drawn


def test_an_infinite_figure_reads_never(tmp_path: Path) -> None:
    failing = [empty(Outcome.RESET) for _ in range(60)]
    html, _ = rendered(tmp_path / "run.db", [*ttfts(range(100, 140)), *failing], "p95(ttft) < 1s")
    seen = Page(html)
    assert seen.row("TTFT of what was observed", "all")[-1] == "never"
    assert seen.row("Rules", "missed")[2].startswith("never (13")
    assert "NaN" not in seen.text
    assert "Infinity" not in json.dumps(seen.figures)


def test_a_page_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    save("<p>one</p>", tmp_path / "page.html")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    (tmp_path / "taken").mkdir()
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        save("<p>one</p>", tmp_path / "new" / "page.html")
    with pytest.raises(StoreError, match="taken: cannot be written"):
        save("<p>one</p>", tmp_path / "taken")
    assert {file.name for file in tmp_path.iterdir()} == {"page.html", "taken"}
