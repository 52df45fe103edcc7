"""Schedules of open load: when arrivals are due, and what is wrong with a load or a file in one line."""

from itertools import islice, pairwise
from pathlib import Path
from random import Random
from statistics import fmean

import pytest

from streamgauge.harness.config.schema import Load
from streamgauge.harness.drive import schedule
from streamgauge.harness.errors import ScenarioError


def expected(load: Load, seed: int, number: int) -> list[int]:
    """When the first arrivals of a schedule are due, ns from its start."""
    found = schedule.find(load)
    assert found is not None
    return [round(at * 1e9) for at in islice(found.times(Random(f"{seed}/arrivals")), number)]


# the schedule


def test_constant_arrivals_are_equally_far_apart() -> None:
    assert expected(Load(arrivals="constant", rate=20), 1, 4) == [0, 50_000_000, 100_000_000, 150_000_000]


def test_poisson_arrivals_come_at_the_rate_and_independently_of_each_other() -> None:
    due = expected(Load(arrivals="poisson", rate=20), 1, 20_000)
    gaps = [(later - one) / 1e9 for one, later in pairwise(due)]
    assert fmean(gaps) == pytest.approx(0.05, rel=0.03)  # four standard errors of 20,000 gaps
    assert fmean(gap > 0.05 for gap in gaps) == pytest.approx(0.3679, abs=0.014)  # 1 / e, and four standard errors
    assert fmean(later > 0.05 for gap, later in pairwise(gaps) if gap > 0.05) == pytest.approx(0.3679, abs=0.023)


def test_a_schedule_is_its_seed_s() -> None:
    load = Load(arrivals="poisson", rate=20)
    assert expected(load, 1, 100) == expected(load, 1, 100) != expected(load, 2, 100)


def test_every_period_has_one_arrival_whenever_a_process_begins_and_the_gaps_vary_by_a_fifth() -> None:
    whole = list(islice(schedule.every(60, 7, lambda: 1_000_000.0), 500))
    gaps = [later - one for (_, one), (_, later) in pairwise(whole)]
    assert 48 <= min(gaps) < 52
    assert 68 < max(gaps) <= 72
    for number, at in whole:
        assert number == int(at // 60)
    for began in (1_000_030.0, 1_000_059.0, whole[10][1] - 0.1, whole[10][1] + 0.1):
        again = list(islice(schedule.every(60, 7, lambda began=began: began), 400))  # type: ignore[misc]
        assert again == [each for each in whole if each[1] >= began][:400]
    assert [at % 60 for _, at in whole[:3]] != [at % 60 for _, at in islice(schedule.every(60, 8, lambda: 1e6), 3)]


def test_a_file_says_when_and_its_content_tells_it_apart(tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text("# from the log of Monday\n0.25\n\n  1\r\n1.0\n2.5e0\n")
    load = Load(arrivals=f"file:{path}")
    assert expected(load, 1, 10) == [250_000_000, 1_000_000_000, 1_000_000_000, 2_500_000_000]
    before = schedule.find(load)
    path.write_text("0.25\n")
    after = schedule.find(load)
    assert before is not None
    assert after is not None
    assert before.name != after.name


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (Load(arrivals="uniform", rate=3), "load.arrivals: no schedule called 'uniform'; there are constant, poisson"),
        (Load(arrivals="every:soon"), "load.arrivals: every:'soon' is not a duration: write a number and a unit"),
        (Load(arrivals="every:0s"), "load.arrivals: every:0s: write a time above 0"),
        (Load(arrivals="every:5s", rate=2), "load.rate: every:5s says how many there are; leave the rate out"),
        (Load(arrivals="poisson"), "load.arrivals: 'poisson' needs load.rate"),
        (Load(arrivals="poisson", rate=-3), "load.rate: -3 is not a number of streams per second"),
        (Load(arrivals="constant", rate=0), "load.rate: 0 is not a number of streams per second"),
        (Load(arrivals="constant", rate=float("inf")), "load.rate: inf is not a number"),
        (Load(arrivals="constant", rate=float("nan")), "load.rate: nan is not a number"),
        (Load(rate=3), 'load.rate: 3 goes with load.arrivals = "constant" or "poisson"'),
        (Load(arrivals="file:times.txt", rate=3), "load.rate: the file says when"),
        (Load(arrivals="file:nowhere.txt"), "nowhere.txt: cannot be read: No such file"),
        (Load(arrivals="file:."), "cannot be read: Is a directory"),
    ],
)
def test_what_is_no_load_is_told_in_one_line(load: Load, said: str) -> None:
    with pytest.raises(ScenarioError) as fault:
        schedule.find(load)
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"1\nsoon\n", "times.txt:2: 'soon' is not a time"),
        (b"# what follows is broken\n\n-1\n", "times.txt:3: -1 is not a time of 0 or later"),
        (b"nan\n", "times.txt:1: nan is not a time"),
        (b"1\n2\n1.5\n", "times.txt:3: 1.5 is earlier than the time before it, 2"),
        (b"\xff\xfe\x00", "times.txt:1: "),
        (b"# nothing\n", "times.txt: holds no times"),
    ],
)
def test_a_broken_file_is_told_with_the_line(text: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_bytes(text)
    with pytest.raises(ScenarioError) as fault:
        schedule.find(Load(arrivals=f"file:{path}"))
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)
