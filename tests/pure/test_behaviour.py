"""Plans: drawn before the stream, from seeded randomness alone."""

from pathlib import Path
from random import Random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.drive import behaviour
from streamgauge.harness.drive.behaviour import BEHAVIOURS, Plan, Retry
from streamgauge.harness.errors import ScenarioError

names = st.sampled_from(list(BEHAVIOURS))


@given(names, st.integers())
def test_the_same_seed_makes_the_same_plans(name: str, seed: int) -> None:
    one, other = Random(seed), Random(seed)
    plan = behaviour.find(name).plan
    assert [plan(one) for _ in range(20)] == [plan(other) for _ in range(20)]


@given(names, st.integers())
def test_a_plan_leaves_in_one_way_at_most_and_never_at_once(name: str, seed: int) -> None:
    plan = behaviour.find(name).plan(Random(seed))
    assert sum(each is not None for each in (plan.leave_after, plan.leave_after_chunks, plan.leave_after_share)) <= 1
    assert plan.leave_after is None or plan.leave_after > 0
    assert plan.leave_after_chunks is None or plan.leave_after_chunks > 0
    assert not plan.abort or plan.leave_after is not None


def test_a_patient_reader_never_leaves() -> None:
    assert BEHAVIOURS["patient"].plan(Random(1)) == Plan()


def test_the_stop_button_is_pressed_after_5_to_60_chunks() -> None:
    pressed = [BEHAVIOURS["stop_button"].plan(Random(seed)).leave_after_chunks for seed in range(2_000)]
    assert {min(each or 0 for each in pressed), max(each or 0 for each in pressed)} == {5, 60}


def test_a_share_refers_to_max_tokens() -> None:
    plans = [BEHAVIOURS["skimmer"].plan(Random(seed)).asking_for(200) for seed in range(2_000)]
    stops = [plan.leave_after_chunks or 0 for plan in plans]
    assert 20 <= min(stops) <= 25
    assert 175 <= max(stops) <= 180
    assert mean(stops) == pytest.approx(100, abs=5)  # four standard errors of an even draw are 4.1
    assert BEHAVIOURS["skimmer"].plan(Random(1)).asking_for(1).leave_after_chunks == 1
    assert Plan(leave_after_chunks=7).asking_for(200) == Plan(leave_after_chunks=7)


@pytest.mark.parametrize(("name", "abort"), [("closed_tab", False), ("killed_app", True)])
def test_a_tab_closes_a_second_and_a_half_after_asking_and_three_more_on_average(name: str, abort: bool) -> None:
    plans = [BEHAVIOURS[name].plan(Random(seed)) for seed in range(4_000)]
    seconds = [(plan.leave_after or 0) / 1e9 for plan in plans]
    assert min(seconds) >= 1.5
    assert mean(seconds) == pytest.approx(4.5, abs=0.2)  # four standard errors of 3 s over 4,000
    assert {plan.abort for plan in plans} == {abort}


def test_one_impatient_person_in_ten_leaves_within_three_seconds_and_one_in_two_within_eight() -> None:
    patience = sorted((BEHAVIOURS["impatient"].plan(Random(seed)).patience or 0) / 1e9 for seed in range(4_000))
    assert patience[400] == pytest.approx(3.06, rel=0.1)
    assert patience[2_000] == pytest.approx(8, rel=0.1)


def test_an_app_in_the_background_comes_back_or_is_killed_there() -> None:
    for seed in range(200):
        switched = BEHAVIOURS["app_switcher"].plan(Random(seed))
        assert switched.away is not None
        assert switched.leave_after is None
        forgotten = BEHAVIOURS["forgotten_app"].plan(Random(seed))
        assert forgotten.away is not None
        assert forgotten.leave_after is not None
        assert forgotten.away[0] < forgotten.leave_after < sum(forgotten.away)


@given(st.integers(1, 20), st.floats(0, 1e9), st.integers())
def test_a_polite_retry_never_comes_before_retry_after_and_no_retry_waits_over_a_minute(
    times: int, after: float, seed: int
) -> None:
    polite = Retry(3, honours_retry_after=True, seed=seed)
    stormy = Retry(10, honours_retry_after=False, seed=seed)
    assert min(after, 60) <= polite.wait(times, after) <= 60
    assert 0 < polite.wait(times, None) <= 60
    assert 0.05 <= stormy.wait(times, after) <= 0.25
    assert polite.wait(times, None) == polite.wait(times, None)


def test_the_docs_have_every_behaviour_with_its_meaning() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/behaviours.md").read_text()
    assert all(f"| `{each.name}` | {each.meaning} |" in page for each in BEHAVIOURS.values())


def test_the_error_for_an_unknown_behaviour_lists_the_known_ones() -> None:
    with pytest.raises(ScenarioError) as fault:
        behaviour.find("hasty")
    assert str(fault.value) == f"no behaviour called 'hasty'; there are {', '.join(BEHAVIOURS)}"
    assert all(behaviour.find(name).name == name for name in BEHAVIOURS)
