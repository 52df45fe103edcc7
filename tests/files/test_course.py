"""How answers came, chunk by chunk: which chunks came together, and which answers were not streamed at all."""

from pathlib import Path

import msgspec
import pytest

from streamgauge.harness.config.schema import Where
from streamgauge.harness.record.observation import Outcome
from tests.files.test_metrics import measured, plain, samples
from tests.support.record import MS, observation


def test_chunks_that_arrived_together_have_no_gap(tmp_path: Path) -> None:
    assert plain(samples(tmp_path, "itl", observation([("text", 100), ("text", 100), ("text", 120)]))) == [20]


def test_a_fast_model_has_the_gaps_that_it_had(tmp_path: Path) -> None:
    fast = observation([("text", 100 + 0.28 * place) for place in range(100)])
    found = samples(tmp_path, "itl", fast)
    assert plain(found) == pytest.approx([0.28] * 99, abs=0.0011)


def test_what_a_link_brought_together_has_gaps_of_no_time(tmp_path: Path) -> None:
    """The server sent the chunks apart, so they are gaps; the person had them at the same moment."""
    found = measured(tmp_path, observation([("text", 10), ("text", 20), ("text", 30)], link=[0, 20, 10]))
    assert plain(found.distribution("itl")) == [0, 30]
    assert plain(found.distribution("itl_wire")) == [10, 10]


def test_chunks_of_one_read_came_together_whatever_the_link_did(tmp_path: Path) -> None:
    found = measured(tmp_path, observation([("text", 10), ("text", 10), ("text", 30)], link=[0, 5, 5]))
    assert plain(found.distribution("itl")) == [20]


AT_ONCE = {
    "one read": [100.0] * 50,
    "one chunk": [100.0],
    "some reads within microseconds": [100 + 0.05 * (place // 20) for place in range(50)],
    "a write for each chunk": [100 + 0.02 * place for place in range(50)],
}


@pytest.mark.parametrize("times", AT_ONCE.values(), ids=AT_ONCE)
def test_an_answer_that_came_at_once_says_nothing_of_its_course(tmp_path: Path, times: list[float]) -> None:
    found = measured(tmp_path, observation([("text", at) for at in times], output_tokens=50))
    for name in ("itl", "itl_wire", "tpot", "stall_count", "stall_time", "longest_stall", "stall_ratio"):
        assert found.distribution(name).n == 0, name
    assert found.distribution("ttft").n == found.distribution("e2e").n == 1
    assert found.totals().sum("unstreamed") == 1


def test_an_answer_in_two_reads_has_the_pace_of_both(tmp_path: Path) -> None:
    """Buffered in part: one gap that is the server's or the proxy's, and the rest came together."""
    halves = observation([("text", 100)] * 50 + [("text", 1_090)] * 50, output_tokens=100)
    found = measured(tmp_path, halves)
    assert plain(found.distribution("itl")) == [990]
    assert plain(found.distribution("tpot")) == [10]
    assert found.totals().sum("unstreamed") == 0


def test_an_answer_of_one_token_and_a_whole_answer_are_not_called_unstreamed(tmp_path: Path) -> None:
    one = observation([("text", 100)], output_tokens=1)
    whole = observation([("text", 100)], output_tokens=50, answer="whole")
    found = measured(tmp_path, one, whole)
    assert found.totals().sum("unstreamed") == 0
    assert found.distribution("tpot", Where(answer="whole")).n == 0


@pytest.mark.parametrize(("characters", "unstreamed"), [(12, 0), (90, 1)])
def test_without_a_number_of_tokens_the_length_of_one_chunk_says_whether_it_is_a_whole_answer(
    tmp_path: Path, characters: int, unstreamed: int
) -> None:
    one = observation([("text", 100)])
    one = msgspec.structs.replace(one, characters=characters)
    assert one.output_tokens is None
    assert measured(tmp_path, one).totals().sum("unstreamed") == unstreamed


def test_a_person_who_left_after_one_chunk_has_waited(tmp_path: Path) -> None:
    left = observation([("text", 100)], outcome=Outcome.CANCELLED, ended=1_100)
    assert samples(tmp_path, "stall_count", left).n == 1


def test_text_that_came_at_once_after_streamed_thinking_has_no_smoothness(tmp_path: Path) -> None:
    thought = [("thinking", 100.0), ("thinking", 120), ("thinking", 140)]
    found = measured(tmp_path, observation([*thought, *[("text", 900.0)] * 20], output_tokens=23))
    assert found.distribution("stall_ratio").n == 0
    assert plain(found.distribution("itl")) == [20, 20, 760]
    assert found.distribution("tpot").n == 1
    assert found.totals().sum("unstreamed") == 0


def test_a_resumed_answer_that_came_at_once_was_streamed_before(tmp_path: Path) -> None:
    resumed = observation([("text", 100)] * 5, output_tokens=50, resume_gap=5 * MS, resume_lost=0)
    assert measured(tmp_path, resumed).totals().sum("unstreamed") == 0
