"""What a campaign of random cases says: it must not call anything clean that was not."""

import os
from random import Random

import pytest

from tests.fuzz import campaign
from tests.fuzz.targets import TARGETS


def good(random: Random) -> None:
    random.random()


def differs_in_case_1234(random: Random) -> None:
    assert random.random() != Random("5/target/1234").random(), "they differ"


def dies_in_case_1234(random: Random) -> None:
    if random.random() == Random("5/target/1234").random():
        os._exit(99)


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> dict[str, int]:
    monkeypatch.setitem(TARGETS, "target", request.param)
    return {"target": 3_500}


@pytest.mark.parametrize("target", [good], indirect=True)
def test_every_case_is_run_and_counted(target: dict[str, int]) -> None:
    found = campaign.run(target, seed=5, limit=60)
    assert found.clean
    assert str(found).startswith("3,500 cases in ")
    assert str(found).endswith(" s: 0 differences, 0 crashes")


@pytest.mark.parametrize("target", [differs_in_case_1234], indirect=True)
def test_a_difference_is_told_with_the_case_that_shows_it(target: dict[str, int]) -> None:
    found = campaign.run(target, seed=5, limit=60)
    assert not found.clean
    assert found.differences[0].startswith("target: case 1234 of seed 5: AssertionError they differ")


@pytest.mark.parametrize("target", [dies_in_case_1234], indirect=True)
def test_a_process_that_dies_is_a_crash(target: dict[str, int]) -> None:
    found = campaign.run(target, seed=5, limit=60)
    assert not found.clean
    assert campaign.Batch("target", 1_000, 1_000, 5) in found.crashes
    assert str(found).endswith("1 crashes")


@pytest.mark.parametrize("target", [good], indirect=True)
def test_when_the_time_is_over_it_says_how_far_it_came(target: dict[str, int]) -> None:
    assert "0 cases of 3,500, for the time was over" in str(campaign.run(target, seed=5, limit=0))
