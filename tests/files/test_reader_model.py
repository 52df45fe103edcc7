"""The reader model: waits computed by hand, and compared with a plain model that takes one chunk at a time."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.config.schema import Reader
from streamgauge.harness.judge.measure import reader_model
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement, judge
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Chunk, ContentEvents, Kind
from streamgauge.harness.record.observation import Outcome, StreamObservation, content_moments
from tests.support.record import MS, judged, observation


def answer(
    *chunks: tuple[float, int], kind: Kind = Kind.TEXT, link: float = 0, more: tuple[Chunk, ...] = (), **fields: object
) -> StreamObservation:
    """An answer of chunks (ms, characters), each `link` ms later for the person."""
    texts = [Chunk(int(at * MS), kind, size, 90 + size, int((at + link) * MS)) for at, size in chunks]
    seen = tuple(sorted([*texts, *more], key=lambda chunk: chunk.at))
    given = {"arrivals": arrivals.encode(seen), "ended_at": seen[-1].perceived_at if seen else 0, **fields}
    return observation([], **{**content_moments(seen), **given})


def read(tmp_path: Path, *streams: StreamObservation, speed: float = 20) -> Judgement:
    return judged(tmp_path / f"{speed}.db", streams, config={"reader": {"characters_per_second": speed}})


def waited(judgement: Judgement) -> list[Any]:
    """Of one stream: number of stalls, total and longest wait in ms, ratio."""
    names = ("stall_count", "stall_time", "longest_stall", "stall_ratio")
    return [judgement.metrics[name].max for name in names]


def test_a_reader_waits_when_all_arrived_text_is_read(tmp_path: Path) -> None:
    # 20 characters take a second: text of 100 ms has been read at 1,100 ms, text of 1,500 ms at 2,500 ms.
    found = read(tmp_path, answer((100, 20), (1_500, 20), (3_000, 20)))
    assert waited(found) == [2, 900, 500, pytest.approx(0.9 / 3.9)]


def test_early_text_compensates_for_late_text(tmp_path: Path) -> None:
    assert waited(read(tmp_path, answer((100, 100), (4_000, 20), (5_900, 20)))) == [0, 0, 0, 0]


def test_waits_under_250_ms_count_in_the_time_but_are_no_stalls(tmp_path: Path) -> None:
    found = read(tmp_path, answer((0, 10), (700, 10), (1_449, 10), (2_199, 10)))
    assert waited(found) == [1, pytest.approx(200 + 249 + 250), 250, pytest.approx(0.699 / 2.699)]


def test_the_wait_for_the_first_text_is_no_stall(tmp_path: Path) -> None:
    thought = (Chunk(10 * MS, Kind.THINKING, 500, 600, 10 * MS),)
    assert waited(read(tmp_path, answer((9_000, 10), (9_100, 10), more=thought))) == [0, 0, 0, 0]


def test_thinking_and_tool_input_give_a_reader_nothing_to_read(tmp_path: Path) -> None:
    between = tuple(Chunk(at * MS, Kind.TOOL, 50, 90, at * MS) for at in (600, 1_000, 1_400))
    assert waited(read(tmp_path, answer((0, 10), (2_500, 10), more=between)))[:3] == [1, 2_000, 2_000]


def test_an_answer_without_text_has_no_smoothness(tmp_path: Path) -> None:
    found = read(tmp_path, answer((0, 10), (2_500, 10), kind=Kind.TOOL), observation([]))
    assert [found.metrics[name].n for name in ("stall_count", "stall_time", "longest_stall", "stall_ratio")] == [0] * 4
    assert found.metrics["stall_time"].missing == 2
    assert waited(found) == [None, None, None, None]


def test_a_faster_reader_waits_more(tmp_path: Path) -> None:
    stream = answer(*[(at * 100, 5) for at in range(50)])
    assert [waited(read(tmp_path, stream, speed=speed))[1] for speed in (24, 50, 110)] == [
        0,
        0,
        pytest.approx(49 * (100 - 5e3 / 110), abs=0.1),  # each time is rounded to a microsecond
    ]


def test_waits_are_measured_after_the_link(tmp_path: Path) -> None:
    late = Chunk(100 * MS, Kind.TEXT, 20, 90, 3_000 * MS)
    assert waited(read(tmp_path, answer((0, 20), more=(late,))))[1] == 2_000


def test_the_reader_of_a_broken_answer_waited_until_it_broke(tmp_path: Path) -> None:
    broken = answer((0, 20), outcome=Outcome.TIMED_OUT, ended_at=31_000 * MS)
    found = read(tmp_path, broken)
    assert waited(found)[:3] == [1, 30_000, 30_000]
    assert found.metrics["stall_time"].failed == 1
    assert found.metrics["stall_time"].gated.p50 == math.inf


def test_nobody_waits_for_the_end_of_a_complete_answer(tmp_path: Path) -> None:
    assert waited(read(tmp_path, answer((0, 20), (10, 20), ended_at=31_000 * MS))) == [0, 0, 0, 0]


def test_a_person_who_left_had_waited_until_then_and_the_stream_did_not_fail(tmp_path: Path) -> None:
    found = read(tmp_path, answer((0, 20), outcome=Outcome.CANCELLED, ended_at=1_400 * MS))
    assert waited(found)[:3] == [1, 400, 400]
    assert found.metrics["stall_count"].failed == 0


def test_each_stream_has_a_reader_of_its_own(tmp_path: Path) -> None:
    even = [answer((due, 20), (due + 900, 20), due_at=due * MS) for due in (5_000, 0, 70_000)]
    stalled = answer((100, 20), (2_100, 20), (4_100, 20))
    found = read(tmp_path, even[0], stalled, even[1], observation([]), even[2]).measurements
    assert [found.distribution("stall_count").values.tolist(), found.distribution("stall_count").counts.tolist()] == [
        [0, 2],
        [3, 1],
    ]
    assert found.distribution("stall_time").values.tolist() == [0, 2_000]


def test_a_run_is_judged_with_the_reader_that_it_was_run_with(tmp_path: Path) -> None:
    stream = answer((0, 20), (900, 20))
    slow, quick = ({"config": {"reader": {"characters_per_second": speed}}} for speed in (20, 40))
    assert judged(tmp_path / "a.db", [stream], **slow).metrics["stall_time"].max == 0
    assert judged(tmp_path / "b.db", [stream], **quick).metrics["stall_time"].max == 400
    assert judged(tmp_path / "c.db", [stream]).reader.characters_per_second == 24
    with Store.open(tmp_path / "a.db") as store:
        assert judge(store, reader=Reader(characters_per_second=80)).metrics["stall_time"].max == 650


def test_rules_can_be_about_waits(tmp_path: Path) -> None:
    streams = [answer((0, 20), (1_500, 20)) for _ in range(100)] + [answer((0, 20)) for _ in range(100)]
    rules = ("max(stall_count) < 2", "p95(stall_ratio) < 10%", "p95(longest_stall) < 1s", "mean(stall_time) < 1s")
    found = judged(tmp_path / "one.db", streams, *rules)
    assert [verdict.status.value for verdict in found.verdicts] == ["met", "missed", "met", "met"]
    assert [verdict.unit for verdict in found.verdicts] == ["stalls", "ratio", "ms", "ms"]


answers = st.lists(
    st.tuples(
        # µs after the chunk before, and its characters
        st.lists(st.tuples(st.integers(0, 2_000_000), st.integers(0, 40)), max_size=30),
        st.one_of(st.none(), st.integers(0, 5_000_000)),  # µs after the last chunk, if the answer never was complete
    ),
    max_size=8,
)


@given(answers, st.floats(1, 200))
def test_the_waits_of_many_streams_are_those_of_each_stream_alone(
    streams: list[tuple[list[tuple[int, int]], int | None]], speed: float
) -> None:
    ends = np.cumsum([0, *(len(chunks) for chunks, _ in streams)])
    at = np.concatenate([np.zeros(0, np.int64), *(np.cumsum([gap for gap, _ in chunks]) for chunks, _ in streams)])
    sizes = np.array([size for chunks, _ in streams for _, size in chunks], np.int64)
    at, gone = at.astype(np.int64), [np.nan] * len(streams)
    for place, (chunks, after) in enumerate(streams):
        gone[place] = np.nan if after is None else sum(gap for gap, _ in chunks) + after
    found = reader_model.waits(ContentEvents(ends, at, at, at, sizes), np.array(gone), speed, ends[1:])
    for place in range(len(streams)):
        mine = slice(ends[place], ends[place + 1])
        alone = _alone(list(zip(at[mine].tolist(), sizes[mine].tolist(), strict=True)), gone[place], speed)
        seen = [found[name][place] for name in ("stall_time", "longest_stall")]
        assert seen == pytest.approx(alone, rel=0, abs=len(sizes) + 2, nan_ok=True)  # each time is rounded to a µs


def _alone(chunks: list[tuple[int, int]], gone: float, speed: float) -> list[float]:
    """One reader, chunk by chunk: total and longest wait, µs."""
    texts = [(at, size) for at, size in chunks if size]
    if not texts:
        return [math.nan, math.nan]
    done, waits = float(texts[0][0]), []
    for at, size in texts:
        waits.append(max(0.0, at - done))
        done = max(done, at) + size * 1e6 / speed
    waits.append(0.0 if math.isnan(gone) else max(0.0, gone - done))
    return [sum(waits), max(waits)]
