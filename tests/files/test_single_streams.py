"""The panel of single streams: which are shown, what is drawn of them, and what the replay plays."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.judge.measure import reader_model
from streamgauge.harness.judge.store import Store, StreamInFull, stream_in_full
from streamgauge.harness.record.arrivals import content_events
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reports import one_by_one, page, stream_svg
from streamgauge.reports.material import gather
from tests.support.record import MS, database, observation, ttfts
from tests.support.report_page import Page, empty, rendered

AT = {"started_at": 5, "connected_at": 30, "secured_at": 60, "sent_at": 62, "headers_at": 90}  # ms
HOSTILE = '</script><script>alert(1)</script>"onload=x\u202e'


def groups(path: Path, streams: list[StreamObservation]) -> dict[str, list[StreamInFull]]:
    with Store.open(database(path, streams)) as store:
        return {group.name: group.streams for group in gather(store).streams}


def first_token(stream: StreamInFull) -> float:
    return (stream.moments["first_content_at"] - stream.due_at) / 1e6


def test_the_slowest_the_failed_and_two_typical_streams_are_shown(tmp_path: Path) -> None:
    failed = [empty(Outcome.RESET, detail="gone") for _ in range(20)] + [empty(Outcome.REFUSED, http_status=429)]
    shown = groups(tmp_path / "run.db", [*ttfts(range(100, 300)), *failed])
    assert [first_token(each) for each in shown["The slowest first tokens"]] == list(range(299, 289, -1))
    assert first_token(shown["Typical: at the P50 of TTFT"][0]) == 199
    assert first_token(shown["Slow: at the P95 of TTFT"][0]) == 289
    outcomes = [each.outcome for each in shown["Failed"]]
    assert len(outcomes) == one_by_one.MOST
    assert set(outcomes[:2]) == {Outcome.RESET, Outcome.REFUSED}  # a rare failure is not behind a frequent one
    assert "The longest waits in mid-answer" not in shown


@pytest.mark.parametrize("n", [1, 2, 20, 100])
def test_the_typical_and_the_slow_stream_are_those_of_the_figures(tmp_path: Path, n: int) -> None:
    assert_of_the_figures(tmp_path / "run.db", ttfts(range(100, 100 + n)))


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.INTERRUPTED, Outcome.RESET])
def test_they_are_complete_answers_though_the_figures_count_others(tmp_path: Path, outcome: Outcome) -> None:
    broken = ttfts([*range(300, 330), *[400] * 5], outcome=outcome)
    assert_of_the_figures(tmp_path / "run.db", [*ttfts(range(100, 500)), *broken, empty(outcome)])


def assert_of_the_figures(path: Path, streams: list[StreamObservation]) -> None:
    with Store.open(database(path, streams)) as store:
        run = gather(store)
    (typical,), (slow,) = (group.streams for group in run.streams if "of TTFT" in group.name)
    figures = run.judgement.metrics["ttft"].quantiles
    assert (first_token(typical), first_token(slow)) == (figures.p50, figures.p95)
    assert {typical.outcome, slow.outcome} == {Outcome.COMPLETED}


def test_where_no_complete_answer_is_at_the_figure_the_nearest_one_is_shown(tmp_path: Path) -> None:
    left = ttfts([2_000] * 20, outcome=Outcome.CANCELLED)
    shown = groups(tmp_path / "run.db", [*ttfts([100, 110, 1_800, 2_300]), *left])
    assert first_token(shown["Typical: at the P50 of TTFT"][0]) == 1_800
    assert first_token(shown["The slowest first tokens"][0]) == 2_300
    only_left = groups(tmp_path / "left.db", left)
    assert [name for name in only_left if "of TTFT" in name] == []


def test_who_waited_longest_in_mid_answer_comes_first(tmp_path: Path) -> None:
    def stalled(wait: float) -> StreamObservation:
        return observation([("text", 100), ("text", 300 + wait)])

    shown = groups(tmp_path / "run.db", [stalled(wait) for wait in (10, 900, 2_000, 400)])
    ends = [each.moments["last_content_at"] / 1e6 for each in shown["The longest waits in mid-answer"]]
    assert ends == [2_300, 1_200, 700]


def test_the_failed_streams_that_are_shown_are_of_every_user_class_and_network(tmp_path: Path) -> None:
    of = [("Reader", "wifi")] * 30 + [("Reader", "slow_4g")] * 3 + [("Hurried", "wifi")] * 2
    failed = [empty(Outcome.REFUSED, due=at, user=user, network=network) for at, (user, network) in enumerate(of)]
    shown = groups(tmp_path / "run.db", [*ttfts(range(100, 110)), *failed])["Failed"]
    groups_of = [(each.words["user"], each.words["network"]) for each in shown]
    assert len(shown) == one_by_one.MOST
    assert groups_of[:3] == [("Reader", "wifi"), ("Reader", "slow_4g"), ("Hurried", "wifi")]
    assert groups_of.count(("Hurried", "wifi")) == 2


def test_a_row_says_the_time_for_which_it_was_chosen(tmp_path: Path) -> None:
    stalled = [observation([("text", 100), ("text", 300 + wait)]) for wait in (2_000, 900)]
    html, _ = rendered(tmp_path / "run.db", [*ttfts(range(100, 200)), *stalled])
    rows = html[html.index("<h3>The longest waits in mid-answer</h3>") :]
    assert re.findall(r'<span class="told"><b>([^<]+)</b>', rows) == ["waited 2.03 s", "waited 933 ms"]


def test_who_left_without_a_first_token_is_shown_with_how_long_it_waited(tmp_path: Path) -> None:
    left = [empty(Outcome.CANCELLED, ended=ms) for ms in (4_000, 9_000)] + [empty(Outcome.INTERRUPTED, ended=6_000)]
    left.append(empty(Outcome.CANCELLED, ended=7_000, answer="whole"))  # is counted as left before the first token, too
    others = [observation(outcome=Outcome.CANCELLED), empty(Outcome.REFUSED, ended=30_000, http_status=503)]
    html, _ = rendered(tmp_path / "run.db", [*ttfts(range(100, 200)), *left, *others])
    begin = html.index("<h3>The longest waits for a first token that never came</h3>")
    rows = html[begin : html.index("<h3>", begin + 1)]
    assert re.findall(r'<span class="told"><b>([^<]+)</b>', rows) == [
        "waited 9 s",
        "waited 7 s",
        "waited 6 s",
        "waited 4 s",
    ]


def test_a_reader_of_half_an_answer_waits_until_it_is_cut_off(tmp_path: Path) -> None:
    half = observation([("text", 100), ("text", 400)], outcome=Outcome.INTERRUPTED, ended=8_000)
    html, _ = rendered(tmp_path / "run.db", [*ttfts(range(100, 200)), half])
    rows = html[html.index("<h3>The longest waits in mid-answer</h3>") :]
    assert re.findall(r'<span class="told"><b>([^<]+)</b>', rows) == ["waited 7.43 s"]


def test_no_stream_no_panel_and_no_answer_no_replay(tmp_path: Path) -> None:
    html, _ = rendered(tmp_path / "none.db", [])
    assert "Streams one by one" not in html
    html, _ = rendered(tmp_path / "refused.db", [empty(Outcome.REFUSED, http_status=401)])
    assert "Streams one by one" in html
    assert 'class="replay"' not in html


def test_each_stream_has_one_anchor_and_the_replay_its_times(tmp_path: Path) -> None:
    streams = [observation([("text", 100), ("thinking", 150), ("text", 900)], link=50), *ttfts([400])]
    html, _ = rendered(tmp_path / "run.db", streams)
    anchors = re.findall(r'id="stream=(\d+)"', html)
    assert sorted(anchors) == ["1", "2"]
    (times,) = Page(html).times
    assert times["1"] == {"at": [150, 200, 950], "characters": [4, 0, 4]}
    assert set(times) == {"1", "2"}


def test_the_bands_are_where_the_moments_are(tmp_path: Path) -> None:
    moments: dict[str, Any] = {name: ms * MS for name, ms in AT.items()}
    seen = observation([("text", 100), ("text", 120)], **moments)
    with Store.open(database(tmp_path / "run.db", [seen])) as store:
        course = stream_svg.course(stream_in_full(store, 1), 24)
    assert [(band.name, band.begins, band.ends) for band in course.bands] == [
        ("late", 0, 5), ("connect", 5, 60), ("sent", 60, 62), ("headers", 62, 90), ("first", 90, 100),
        ("streaming", 100, 120),
    ]  # fmt: skip


BEFORE = {"started_at": 5, "connected_at": 30, "sent_at": 62}  # ms


@pytest.mark.parametrize(
    ("outcome", "moments", "content", "last_band", "mark"),
    [
        (Outcome.RESET, AT, [("text", 100), ("text", 120)], ("rest", 120, 900), "failed"),
        (Outcome.TIMED_OUT, AT, [], ("first", 90, 900), "failed"),
        (Outcome.TIMED_OUT, BEFORE, [], ("headers", 62, 900), "failed"),
        (Outcome.UNREACHABLE, {"started_at": 5}, [], ("connect", 5, 900), "failed"),
        (Outcome.CANCELLED, AT, [("text", 100), ("text", 120)], ("rest", 120, 900), "left"),
        (Outcome.INTERRUPTED, AT, [("text", 100), ("text", 120)], ("rest", 120, 900), "interrupted"),
        (Outcome.COMPLETED, AT, [("text", 100), ("text", 120)], ("streaming", 100, 120), None),
    ],
)
def test_a_row_shows_how_its_stream_ended_and_what_it_waited_for(
    tmp_path: Path,
    outcome: Outcome,
    moments: dict[str, int],
    content: list[tuple[str, float]],
    last_band: tuple[str, float, float],
    mark: str | None,
) -> None:
    of: dict[str, Any] = {"started_at": None, "sent_at": None} | {name: ms * MS for name, ms in moments.items()}
    seen = observation(content, outcome=outcome, ended=900, **of)
    with Store.open(database(tmp_path / "run.db", [seen])) as store:
        course = stream_svg.course(stream_in_full(store, 1), 24)
    assert course.bands[-1] == stream_svg.Band(*last_band)
    drawn = re.findall(r'class="end (\w+)" d="M([\d.]+) ', stream_svg.row(course, 1_000))
    assert drawn == ([] if mark is None else [(mark, "900.0")])
    assert "end" not in stream_svg.row(course, 500), "the mark is beyond the axis"


def test_a_row_says_when_its_answer_was_cut_off(tmp_path: Path) -> None:
    cut = observation([("text", 100), ("text", 120)], outcome=Outcome.RESET, ended=900)
    html, _ = rendered(tmp_path / "run.db", [*ttfts([150, 200]), cut])
    assert set(re.findall(r'<span class="outcome">([^<]+)</span>', html)) == {"completed", "reset at 900 ms"}


def test_a_tool_run_has_a_band_of_its_own(tmp_path: Path) -> None:
    seen = observation([("tool", 100), ("tool", 110), ("text", 700)])
    with Store.open(database(tmp_path / "run.db", [seen])) as store:
        course = stream_svg.course(stream_in_full(store, 1), 24)
    assert stream_svg.Band("tool", 110, 700) in course.bands


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=12), st.none() | st.integers(0, 3_000))
def test_the_drawn_waits_are_those_of_the_reader_model(gaps: list[int], cut_off: int | None) -> None:
    at = np.cumsum([100, *gaps])
    seen = observation([("text", float(ms)) for ms in at])
    events = content_events([seen.arrivals])
    gone = np.nan if cut_off is None else float(at[-1] + cut_off)  # ms
    expected = reader_model.waits(events, np.array([gone * 1e3]), 24, events.starts[1:])
    waits, corners = stream_svg._read(events.perceived_at / 1e3, events.text.astype(float), 24, gone)
    assert len(waits) == expected["stall_count"][0]
    longest = max((wait.ends - wait.begins for wait in waits), default=0.0)
    if longest:
        assert longest == pytest.approx(expected["longest_stall"][0] / 1e3, abs=0.01)
    assert corners == sorted(corners)


def test_text_from_a_server_stays_text(tmp_path: Path) -> None:
    failed = empty(Outcome.SERVER_ERROR, detail=HOSTILE, user=HOSTILE, request_id=HOSTILE, labels={HOSTILE: HOSTILE})
    html, _ = rendered(tmp_path / "run.db", [failed, *ttfts([100, 200])])
    assert "alert(1)</script>" not in html
    assert "\u202e" not in html
    assert len(Page(html).scripts) == 4
    assert page._hash(Page(html).scripts[2]).strip("'") in html


def test_an_answer_of_many_chunks_is_joined_for_the_replay(tmp_path: Path) -> None:
    html, _ = rendered(tmp_path / "run.db", [observation([("text", 100 + at) for at in range(9_000)])])
    times = Page(html).times[0]["1"]
    assert len(times["at"]) == 2_000
    assert sum(times["characters"]) == 4 * 9_000
    assert len(html) - len(page.BUNDLE.read_text("utf-8")) < 400_000


def test_labels_of_any_number_and_length_make_no_endless_page(tmp_path: Path) -> None:
    labels = {f"label {number}": "x" * 900 for number in range(2_000)}
    html, _ = rendered(tmp_path / "run.db", [observation(labels=labels, due=at) for at in range(5)])
    assert "<dt>More labels</dt><dd>1,970</dd>" in html
    assert len(html) - len(page.BUNDLE.read_text("utf-8")) < 400_000


def test_chunks_outside_of_the_axis_are_not_drawn() -> None:
    path = str(stream_svg._ticks("wire", np.array([-1e15, -3.0, 0.0, 400.0, 2_000.0, 1e15]), 2, 11))
    assert 'd="M0 2V11M400 2V11"' in path
