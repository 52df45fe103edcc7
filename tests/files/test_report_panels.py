"""The panels of the page, each with its figures."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from streamgauge.harness.config.schema import Reader
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Chunk, Kind
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reports import page
from streamgauge.reports.counters import MOST_POINTS
from streamgauge.reports.material import MOST_BINS, gather
from streamgauge.reports.series import spread
from tests.support.record import MS, database, observation, ttfts
from tests.support.report_page import Page, empty, rendered


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


def test_over_time_has_the_answer_time_where_answers_ended_and_the_bytes_where_they_came(tmp_path: Path) -> None:
    quick = [observation([("text", 100), ("text", 500)], due=at, body_bytes=1_000) for at in range(0, 400, 10)]
    long = [observation([("text", 100), ("text", 3_990)], headers_at=0, body_bytes=3_990_000)]
    cut = [empty(Outcome.RESET, due=200, headers_at=400 * MS, ended=300, body_bytes=500)]
    html, _ = rendered(tmp_path / "run.db", [*quick, *long, *cut])
    with Store.open(tmp_path / "run.db") as store:
        timeline = gather(store).timeline
    assert timeline.e2e.n == [40, 0, 0, 1, *[0] * 6], "of complete answers, in the second of their end"
    assert timeline.e2e.p95[3] == pytest.approx(3_990, rel=0.005)
    assert timeline.received == pytest.approx([1_040_500, 1_000_000, 1_000_000, 990_000, *[0] * 6])
    seen = Page(html)
    assert "How many kilobytes of answers came each second? 4.03 MB in all" in seen.text
    assert "How long did complete answers take that ended then? E2E" in seen.text
    row = seen.row("Over time, by 1 s: 10 rows", "0:03")
    assert row[-3:] == ["4.01 s", "4.01 s", "990 kB"], "a quantile over time is within 0.5 %"


@pytest.mark.parametrize(
    ("size", "written"),
    [(1, "1 B"), (999, "999 B"), (999_700, "1 MB"), (9_996, "10 kB"), (12_340 * 10**9, "12,340 GB")],
)
def test_bytes_are_written_with_three_digits_and_no_exponent(size: int, written: str, tmp_path: Path) -> None:
    answer = observation([("text", 100), ("text", 900)], headers_at=0, body_bytes=size)
    html, _ = rendered(tmp_path / "run.db", [answer])
    assert f"How many kilobytes of answers came each second? {written} in all" in Page(html).text


@pytest.mark.parametrize("batch", [1, 7, 300])
def test_amounts_are_spread_over_their_time_whatever_the_batch(batch: int) -> None:
    chance = np.random.default_rng(7)
    begins = np.sort(chance.uniform(-5, 100, 300))
    ends, amounts = begins + chance.exponential(9, 300), chance.uniform(0, 1e6, 300)
    edges = np.append(np.arange(20) * 5.0, np.inf)
    parts = [slice(at, at + batch) for at in range(0, 300, batch)]
    found = np.sum([spread(begins[part], ends[part], amounts[part], edges) for part in parts], axis=0)
    lasting = np.maximum(ends - begins, 1)
    for place, (low, high) in enumerate(zip([-np.inf, *edges[1:-1]], edges[1:], strict=True)):
        inside = np.minimum(begins + lasting, high) - np.maximum(begins, low)
        assert found[place] == pytest.approx(float((amounts * np.maximum(inside, 0) / lasting).sum()))


def paused(pause: float, **fields: Any) -> StreamObservation:
    """Two texts of 4 characters (167 ms of reading), the second of them `pause` ms after the first has been read."""
    return observation([("text", 100), ("text", 100 + 4e3 / 24 + pause)], **fields)


def test_smoothness_shows_how_often_and_how_long_readers_wait_by_part(tmp_path: Path) -> None:
    smooth = [paused(-10, due=at, network="wifi") for at in range(90)]
    stalled = [paused(1_000, due=at, network="commute") for at in range(10)]
    html, _ = rendered(tmp_path / "run.db", [*smooth, *stalled, empty(Outcome.CANCELLED)])
    seen = Page(html)
    whole = seen.row("Waits in the middle of an answer", "all")
    assert whole[1:6] == ["100", "10", "10.0 %", "4.9–17.6", "0.10"]
    assert seen.row("Waits in the middle of an answer", "network wifi")[3] == "0 %"
    assert seen.row("Waits in the middle of an answer", "network commute")[6:8] == ["1 s", "1.00 s"]
    assert "In 10.0 % of the answers the reader ran out of text" in seen.text
    assert "The reader takes 24 characters a second" in seen.text


def test_a_reader_at_another_speed_has_another_page(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "run.db", [paused(200)])) as store:
        slow, quick = (page.render(gather(store, reader=Reader(characters_per_second=speed))) for speed in (24, 110))
    assert Page(slow).row("Waits in the middle of an answer", "all")[2] == "0"
    assert Page(quick).row("Waits in the middle of an answer", "all")[2] == "1"


def test_ttft_is_split_by_prompt_cache_if_there_was_a_hit(tmp_path: Path) -> None:
    caption = "TTFT of what was observed"
    cold = ttfts(range(400, 500), cache_read_tokens=0)
    warm = ttfts(range(100, 200), cache_read_tokens=900)
    seen = Page(rendered(tmp_path / "warm.db", [*cold, *warm, *ttfts([7])])[0])
    assert seen.row(caption, "cache hit")[1:3] == ["149 ms", "194 ms"]
    assert seen.row(caption, "cache miss")[1:3] == ["449 ms", "494 ms"]
    assert seen.row(caption, "cache miss")[-1] == "100", "what was not reported is neither"
    assert "cache miss" not in {row[0] for row in Page(rendered(tmp_path / "cold.db", cold)[0]).tables[caption]}


def test_wasted_tokens_are_shown_if_the_server_s_counters_were_read(tmp_path: Path) -> None:
    caption = "After people had left"
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
    assert seen.row(caption, "Tokens wasted: nobody received them")[1] == "45 tokens"
    assert seen.row(caption, "Their share of all")[1] == "50.0 %"
    assert seen.row(caption, "Until the server was idle again")[1] == "never"
    assert "5 streams ended before the answer was complete; 45 tokens (50.0 % of all) were wasted" in seen.text
    course = "The server’s counters over time: 2 rows"
    assert seen.row(course, "2.0 s") == ["2.0 s", "1", "0", "2", "30.0 tokens/s", "22.5 tokens/s"]
    assert seen.row(course, "6.0 s") == ["6.0 s", "1", "0", "0", "7.50 tokens/s", "0 tokens/s"]
    drawn = {trace.get("name"): trace["y"] for figure in seen.figures for trace in figure["data"]}
    assert drawn["generated by the server"] == [0, 1, 1]
    assert drawn["left per second"] == [2.5, 0]


def test_what_was_received_over_time_is_as_much_as_its_chunks_hold_after_a_warm_up_too(tmp_path: Path) -> None:
    """Each chunk is a token. Two chunks of the warm-up's stream came after it."""
    carried = observation([("text", 500), ("text", 3_000), ("text", 4_000)], outcome=Outcome.CANCELLED)
    streams = [carried, *ttfts([100], due=2_000, output_tokens=3)]
    with Store.open(database(tmp_path / "run.db", streams, measured_from=1_000 * MS)) as store:
        for at, generated in ((0.0, 0.0), (0.9, 1.0), (6.0, 6.0)):
            samples = [("one", int(at * 1e9), f"server_{name}", generated) for name in ("generated", "active")]
            store.append("run-1", [], samples)
        seen = Page(page.render(gather(store)))
    assert seen.row("After people had left", "Tokens received by all streams")[1] == "5 tokens"
    course = "The server’s counters over time: 2 rows"
    assert [seen.row(course, at)[-1] for at in ("0.9 s", "6.0 s")] == ["1.11 tokens/s", "0.980 tokens/s"]


def test_a_day_of_samples_is_drawn_in_few_points_with_the_same_sums(tmp_path: Path) -> None:
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


def test_the_client_panel_shows_times_of_arrival_and_of_handover(tmp_path: Path) -> None:
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


def test_panels_without_data_are_one_sentence(report: tuple[str, Judgement], tmp_path: Path) -> None:
    seen = Page(report[0])
    assert "Added to each chunk, by client" not in seen.tables
    assert "nothing to show" not in seen.text
    nothing, _ = rendered(tmp_path / "none.db", [])
    assert "First token and the gaps after it, Smoothness, The server’s part and the link’s, " in Page(nothing).text
    assert [given["id"] for tag, given in Page(nothing).tags if tag == "section"] == [
        "sla", "findings", "outcomes", "circumstances",
    ]  # fmt: skip
