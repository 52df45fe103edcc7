"""Sequence numbers show which events were lost, doubled or late, whatever a server writes there."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.drive.protocols import Answer
from streamgauge.harness.drive.protocols.numbering import LATE, SKIPPED, TWICE, keep_number


def oddities(*numbers: Any) -> dict[str, int]:
    answer = Answer()
    for number in numbers:
        keep_number(answer, number)
    return answer.oddities


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([0, 1, 2], {}),
        ([7, 8, 9], {}),
        ([0, 1, 4, 5], {SKIPPED: 2}),
        ([0, 1, 1, 2], {TWICE: 1}),
        ([0, 2, 1, 3], {LATE: 1}),
        ([0, 3, 1, 4], {SKIPPED: 1, LATE: 1}),
        ([0, 2, 1, 1], {LATE: 1, TWICE: 1}),
        ([0, 0, 0], {TWICE: 2}),
        ([None, -1, "1", 1.5, True, [], 2**60], {}),
    ],
)
def test_each_number_is_counted_once(numbers: list[Any], found: dict[str, int]) -> None:
    assert oddities(*numbers) == found


def test_a_server_that_skips_very_many_numbers_costs_little() -> None:
    answer = Answer()
    for number in (0, 2**53 - 1):
        keep_number(answer, number)
    assert answer.oddities == {SKIPPED: 2**53 - 2}
    assert len(answer.missing) == 1_000


@given(st.permutations(range(12)), st.integers(0, 12))
def test_numbers_in_any_order_that_all_come_lack_nothing_after_the_first(order: list[int], repeated: int) -> None:
    first = order.index(0)
    numbers = order[first:] + order[:first]  # the first number may be any, so begin with the lowest
    assert SKIPPED not in oddities(*numbers)
    assert oddities(*numbers, *numbers[:repeated]).get(TWICE, 0) == repeated
