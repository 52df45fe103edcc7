"""Tallies that are joined count the same as one that took everything."""

import numpy as np
import pytest

from streamgauge.harness.judge.measure.tally import Tally

VALUES = [
    np.arange(-3, 40) ** 2,  # small ones, some of them twice
    np.array([5, 5, 2**40, Tally.TABLE, Tally.TABLE - 1]),
    np.zeros(0, np.int64),
    np.array([2**40, 5]),
]


@pytest.mark.parametrize("with_table", [(), (0,), (1, 3), (0, 1, 2, 3)])
def test_joined_tallies_count_what_one_tally_would(with_table: tuple[int, ...]) -> None:
    tallies = [Tally() for _ in VALUES]
    for place, (tally, values) in enumerate(zip(tallies, VALUES, strict=True)):
        if place in with_table:
            tally.PENDING = -1  # count at once, in a table
        tally.add(values)
    expected, counts = np.unique(np.concatenate(VALUES), return_counts=True)
    for _ in range(2):  # joining changes none of them
        found = Tally.joined(tallies).counted()
        assert [each.tolist() for each in found] == [expected.tolist(), counts.tolist()]
