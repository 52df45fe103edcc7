"""The page of a real run: whole in one file, true to the judgement, and deaf to what a server says."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly
import pytest
from msgspec import structs

from streamgauge.harness.config import Reader, Sla, Where
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.outputs import save, terminal
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.wording import visible
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Chunk, Kind
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reports import page
from streamgauge.reports.counters import MOST_POINTS
from streamgauge.reports.material import MOST_BINS, gather
from streamgauge.reports.panel import Table
from streamgauge.reports.panels import PANELS
from tests.support.record import MS, database, observation, ttfts

HOSTILE = '<script>alert(1)</script>"></script>{{7*7}}\u202egnp.exe<img src=x onerror=alert(2)>'


class Page(HTMLParser):
    """What a browser would see: tables, scripts, attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}  # by caption; the head's row first where there is one
        self.scripts: list[str] = []
        self.figures: list[Any] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside: list[str] = []
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"script", "style", "caption", "td", "th"}:
            self._inside.append(tag)
        if tag == "script":
            self.scripts.append("")
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in {"td", "th"}:
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()
        if tag == "script" and self.tags[-1] == ("script", {"type": "application/json"}):
            self.figures.append(json.loads(self.scripts.pop()))
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        inside = self._inside[-1] if self._inside else ""
        if inside == "script":
            self.scripts[-1] += data
        elif inside != "style":
            self.text += data
        if inside in {"td", "th"}:
            self._rows[-1][-1] += data.strip()
        if inside == "caption":
            self._caption += data

    def row(self, caption: str, first: str) -> list[str]:
        return next(row for row in self.tables[caption] if row[0] == first)


def rendered(path: Path, streams: list[StreamObservation], *rules: str | Sla, **fields: Any) -> tuple[str, Judgement]:
    slas = [Sla(rule=rule) if isinstance(rule, str) else rule for rule in rules]
    with Store.open(database(path, streams, rules=slas, **fields)) as store:
        material = gather(store)
    return page.render(material), material.judgement


def empty(outcome: Outcome, **fields: Any) -> StreamObservation:
    """A stream that ended without an answer."""
    return observation([], outcome=outcome, **{"ended": 5, **fields})


def mixed() -> list[StreamObservation]:
    """400 streams of two user classes on two networks, some of which fail."""
    streams = [
        observation(
            [("text", 200 + at % 97 + 20 * chunk) for chunk in range(6)],
            due=at * 20,
            user="Reader" if at % 3 else "Commuter",
            network="none" if at % 2 else "slow_4g",
            link=0 if at % 2 else 150,
            reads=6,
            send_lag=40_000,
            read_lag_max=90_000,
            output_tokens=6,
        )
        for at in range(390)
    ]
    said = "HTTP 529: overloaded"
    return streams + [empty(Outcome.REFUSED, due=at * 700, detail=said, http_status=529) for at in range(10)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Judgement]:
    rules = ("p95(ttft) < 1s", "error_rate < 1%", Sla(rule="p99(itl) < 5s", where=Where(network="slow_4g")))
    return rendered(tmp_path_factory.mktemp("report") / "run.db", mixed(), *rules)


def test_a_page_is_one_small_file_that_asks_for_nothing(report: tuple[str, Judgement]) -> None:
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
    assert report[0].count(ours) == 1
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
    assert "error_rate" in html[heading : html.index("<table")]


def test_tables_hold_the_figures_of_the_judgement(report: tuple[str, Judgement]) -> None:
    html, judgement = report
    seen = Page(html)
    ttft = judgement.metrics["ttft"]
    caption = "TTFT of what was observed"
    whole = seen.row(caption, "all")
    assert whole[1:3] == [figure(ttft.quantiles["p50"], "ms"), figure(ttft.quantiles["p95"], "ms")]
    assert whole[5:7] == ["390", "10"]
    for part in judgement.parts:
        assert figure(part.metrics["ttft"].quantiles["p99"], "ms") == seen.row(caption, f"{part.key} {part.value}")[4]
    assert seen.row("Rates", "error rate")[1:4] == ["2.5 %", "1.2–4.5", "10 / 400"]
    assert seen.row("Outcomes", "refused")[1] == "10"
    assert seen.row("What failed", "refused") == ["refused", "529", "10", "HTTP 529: overloaded"]
    wire = judgement.metrics["ttft_wire"].quantiles["p95"]
    assert figure(wire, "ms") in seen.row("TTFT by network, as the person got it and as the server sent it", "all")


def test_every_rule_has_its_row_the_missed_ones_first(report: tuple[str, Judgement]) -> None:
    html, judgement = report
    head, *rows = Page(html).tables["Rules"]
    assert rows[0][:2] == ["missed", "error_rate < 1%"]
    for verdict in judgement.verdicts:
        row = dict(zip(head, next(row for row in rows if row[1] == verdict.rule), strict=True))
        assert row["Observed"] == figure(verdict.observed, verdict.unit)
        assert row["n"] == f"{verdict.n:,}"
        assert row["Streams"] == ("network slow_4g" if verdict.where.network else "all streams")


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
    assert len(seen.scripts) == 2
    assert not [tag for tag, given in seen.tags if tag == "img" or any(name.startswith("on") for name in given)]
    assert "\u202e" not in html
    assert "49" not in seen.row("Labels", visible(HOSTILE))[1]
    assert visible(HOSTILE) in seen.text
    drawn = json.dumps(seen.figures)  # plotly.js reads text as markup: it must come to it escaped
    assert "<script" not in drawn
    assert "&lt;script" in drawn


def test_what_never_came_is_called_so(tmp_path: Path) -> None:
    failing = [empty(Outcome.RESET) for _ in range(60)]
    html, _ = rendered(tmp_path / "run.db", [*ttfts(range(100, 140)), *failing], "p95(ttft) < 1s")
    seen = Page(html)
    assert seen.row("TTFT of what was observed", "all")[-1] == "never"
    assert seen.row("Rules", "missed")[3] == "never"
    assert "NaN" not in html.replace(page.BUNDLE.read_text("utf-8"), "")
    assert "Infinity" not in json.dumps(seen.figures)


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


def test_over_time_follows_streams_gaps_and_users(tmp_path: Path) -> None:
    early = [observation([("text", 100), ("text", 130)], due=at) for at in range(0, 1_000, 5)]
    late = [observation([("text", 400), ("text", 900)], due=8_000 + at) for at in range(0, 1_000, 5)]
    lost = [empty(Outcome.RESET, due=8_500)]
    path = database(tmp_path / "run.db", early + late + lost)
    with Store.open(path) as store:
        samples = [("one", 500 * MS, "users", 3), ("two", 600 * MS, "users", 4), ("one", 8_000 * MS, "users", 10)]
        store.append("run-1", [], samples)
        timeline = gather(store).timeline
    assert timeline.width == 1
    assert timeline.ttft.n == [200, 0, 0, 0, 0, 0, 0, 0, 200, 0]
    assert timeline.ttft.p50[0] == pytest.approx(100, rel=0.005)  # what the buckets promise
    assert timeline.ttft.p95[8] == pytest.approx(400, rel=0.005)
    assert timeline.ttft.p95[1] is None
    assert timeline.itl.n[8:] == [20, 180]  # a gap belongs to the time that it ended
    assert timeline.itl.p95[9] == pytest.approx(500, rel=0.005)
    assert timeline.failed == {"reset": [0, 0, 0, 0, 0, 0, 0, 0, 1, 0]}
    assert timeline.users == [7, 7, 7, 7, 7, 7, 7, 7, 14, 14]


def paused(pause: float, **fields: Any) -> StreamObservation:
    """Two texts of 4 characters (167 ms of reading), the second of them `pause` ms after the first has been read."""
    return observation([("text", 100), ("text", 100 + 4e3 / 24 + pause)], **fields)


def test_smoothness_tells_how_often_and_how_long_readers_wait_and_where(tmp_path: Path) -> None:
    smooth = [paused(-10, due=at, network="wifi") for at in range(90)]
    stalled = [paused(1_000, due=at, network="commute") for at in range(10)]
    html, _ = rendered(tmp_path / "run.db", [*smooth, *stalled, empty(Outcome.CANCELLED)])
    seen = Page(html)
    whole = seen.row("Waits in the middle of an answer", "all")
    assert whole[1:6] == ["100", "10", "10.0 %", "4.9–17.6", "0.10"]
    assert seen.row("Waits in the middle of an answer", "network wifi")[3] == "0 %"
    assert seen.row("Waits in the middle of an answer", "network commute")[6:8] == ["1,000 ms", "1,000 ms"]
    assert "In 10.0 % of the answers the reader ran out of text" in seen.text
    assert "The reader takes 24 characters a second" in seen.text


def test_a_reader_at_another_speed_has_another_page(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "run.db", [paused(200)])) as store:
        slow, quick = (page.render(gather(store, reader=Reader(characters_per_second=speed))) for speed in (24, 110))
    assert Page(slow).row("Waits in the middle of an answer", "all")[2] == "0"
    assert Page(quick).row("Waits in the middle of an answer", "all")[2] == "1"


def test_ttft_is_told_apart_by_prompt_cache_where_there_was_a_hit(tmp_path: Path) -> None:
    caption = "TTFT of what was observed"
    cold = ttfts(range(400, 500), cache_read_tokens=0)
    warm = ttfts(range(100, 200), cache_read_tokens=900)
    seen = Page(rendered(tmp_path / "warm.db", [*cold, *warm, *ttfts([7])])[0])
    assert seen.row(caption, "cache hit")[1:3] == ["149 ms", "194 ms"]
    assert seen.row(caption, "cache miss")[1:3] == ["449 ms", "494 ms"]
    assert seen.row(caption, "cache miss")[-1] == "100", "what was not reported is neither"
    assert "cache miss" not in {row[0] for row in Page(rendered(tmp_path / "cold.db", cold)[0]).tables[caption]}


def test_what_the_server_did_for_nobody_is_shown_where_its_counters_were_read(tmp_path: Path) -> None:
    caption = "After people had gone"
    streams = [*ttfts([100] * 10, output_tokens=3), *ttfts([100] * 5, outcome=Outcome.CANCELLED)]
    path = database(tmp_path / "run.db", streams)
    with Store.open(path) as store:
        assert caption not in Page(page.render(gather(store))).tables
        readings = [(0.0, 0.0, 0.0), (2.0, 60.0, 1.0), (6.0, 90.0, 1.0)]  # seconds, generated, active
        for at, generated, active in readings:
            moment = int(at * 1e9)
            samples = [("one", moment, "server_generated", generated), ("one", moment, "server_active", active)]
            store.append("run-1", [], samples)
        seen = Page(page.render(gather(store)))
    assert seen.row(caption, "Tokens received by all streams")[1] == "45 tokens"
    assert seen.row(caption, "Tokens generated for nobody")[1] == "45 tokens"
    assert seen.row(caption, "Their share of all")[1] == "50.0 %"
    assert seen.row(caption, "Until the server was idle again")[1] == "never"
    assert "5 streams ended before the answer was complete; 45 tokens (50.0 % of all) were generated" in seen.text
    course = "The server’s counters over time: 2 rows"
    assert seen.row(course, "2.0 s") == ["2.0 s", "1", "0", "2", "30.0 tokens/s", "22.5 tokens/s"]
    assert seen.row(course, "6.0 s") == ["6.0 s", "1", "0", "0", "7.50 tokens/s", "0 tokens/s"]
    drawn = {trace.get("name"): trace["y"] for figure in seen.figures for trace in figure["data"]}
    assert drawn["generated by the server"] == [0, 1, 1]
    assert drawn["left in a second"] == [2.5, 0]


def test_a_day_of_readings_is_drawn_in_few_points_which_come_to_the_same_sums(tmp_path: Path) -> None:
    streams = [
        observation([("text", 100), ("text", 900)], due=at * 1e3, outcome=Outcome.CANCELLED) for at in range(1, 2_000)
    ]
    with Store.open(database(tmp_path / "run.db", streams)) as store:
        for name, slope in (("server_generated", 7.0), ("server_active", 0.0)):
            store.append("run-1", [], [("target", at * 1_000_000_000, name, slope * at) for at in range(2_003)])
        counters = gather(store).counters
    assert counters is not None
    assert counters.generated is not None
    assert 150 < len(counters.at) <= MOST_POINTS
    assert counters.at[-1] == 2_002
    spans = [later - at for at, later in itertools.pairwise(counters.at)]
    assert np.dot(spans, counters.generated[1:]) == pytest.approx(7.0 * sum(spans))
    assert np.dot(spans, counters.chunks[1:]) == pytest.approx(2 * 1_999, abs=2 * spans[0])
    assert np.dot(spans, counters.disconnected[1:]) == pytest.approx(1_999, abs=spans[0])


def test_a_long_run_has_no_more_points_than_a_chart_can_show(tmp_path: Path) -> None:
    streams = [empty(Outcome.RESET, due=at) for at in range(0, 9_000_000, 1_000)]
    path = tmp_path / "run.db"
    with Store.open(database(path, streams)) as store:
        store.finish_run("run-1", ended_ns=9_000_000 * MS, status="finished")
        timeline = gather(store).timeline
    assert len(timeline.starts) <= MOST_BINS
    assert sum(timeline.streams) == 9_000


def through_a_library(lag: float, due: float, client: str = "anthropic") -> StreamObservation:
    """Three chunks at 100, 150 and 200 ms, the second and third of which the application has `lag` ms later."""
    chunks = [Chunk(int((due + at) * MS), Kind.TEXT, 4, 90, int((due + at) * MS)) for at in (100, 150, 200)]
    handed = [
        structs.replace(chunk, handed_at=int(chunk.perceived_at + more * MS))
        for chunk, more in zip(chunks, (0, lag, lag), strict=True)
    ]
    moments = [("text", 100), ("text", 150), ("text", 200)]
    return observation(moments, due=due, client=client, arrivals=arrivals.encode(handed))


def test_what_a_client_library_added_is_told_beside_what_arrived(tmp_path: Path) -> None:
    streams = [through_a_library(30, at) for at in range(0, 400, 4)]
    html, judgement = rendered(tmp_path / "run.db", [*streams, *ttfts(range(100, 200))])
    seen = Page(html)
    assert seen.row("Added to each chunk, by client", "anthropic")[1:3] == ["30.0 ms", "30.0 ms"]
    assert seen.row("Added to each chunk, by client", "anthropic")[-1] == "300"
    assert judgement.metrics["client_overhead"].n == 300
    itl = seen.row("ITL by client, as it arrived and as it was handed over", "anthropic")
    assert itl[2] == "50.0 ms"
    assert itl[5] == "80.0 ms", "the first comes at once, the second late"
    ttft = seen.row("TTFT by client, as it arrived and as it was handed over", "anthropic")
    assert ttft[1] == "100 ms"
    assert ttft[4] == "100 ms"
    assert ttft[-1] == "0 ms"
    assert len(seen.tables["Added to each chunk, by client"]) == 2, "the wire client has no library"


def test_a_run_on_the_wire_alone_says_that_no_library_was_in_between(report: tuple[str, Judgement]) -> None:
    seen = Page(report[0])
    assert "The wire client hands everything over as it arrives" in seen.text
    assert "Added to each chunk, by client" not in seen.tables


def test_a_certificate_that_nobody_looked_at_is_said_first_of_all(tmp_path: Path) -> None:
    shown = {"config": {"verify": False}, "host": "https://staging.example"}
    html, judgement = rendered(tmp_path / "one.db", ttfts(range(100, 200)), **shown)
    assert "not verified (verify = false)" in html[: html.index("<table")]
    assert "not verified (verify = false)" in " ".join(terminal.text(judgement).split())
    assert Page(html).row("Config, without secrets", "verify") == ["verify", "no"]
    _, plain = rendered(tmp_path / "two.db", ttfts(range(100, 200)), **{**shown, "host": "http://staging.example"})
    assert plain.reasons == [], "there is no certificate on plain HTTP"


def test_a_page_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    save("<p>one</p>", tmp_path / "new" / "page.html")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["page.html"]
    (tmp_path / "taken").mkdir()
    with pytest.raises(StoreError, match="taken: cannot be written"):
        save("<p>one</p>", tmp_path / "taken")
    assert {file.name for file in tmp_path.iterdir()} == {"new", "taken"}
