"""Exact counts of whole numbers. Memory grows with the distinct values, not with the samples. Pure."""

from collections.abc import Sequence

import numpy as np

from streamgauge.harness.judge.measure.arrays import Integers
from streamgauge.harness.native import library

Counted = tuple[Integers, Integers]  # sorted distinct values, and how often each occurred


class Tally:
    """How often each whole number occurred: small numbers in a table, others sorted. Nothing is rounded."""

    TABLE = 1 << 18
    # Numbers to collect before they are counted. A run has dozens of tallies, one for each metric and cohort.
    PENDING = 1 << 17

    def __init__(self) -> None:
        self._pending: list[Integers] = []
        self._pending_count = 0
        self._table: Integers | None = None
        self._large: Counted = _nothing()

    def add(self, values: Integers) -> None:
        # A copy: a view that waits to be counted would keep the whole array that it is of.
        values = values.copy() if self._table is None else self._without_small(values)
        self._pending.append(values)
        self._pending_count += len(values)
        if self._pending_count > self.PENDING:
            self._count_pending()

    def _count_pending(self) -> None:
        values = np.concatenate([np.zeros(0, np.int64), *self._pending])
        self._pending, self._pending_count = [], 0
        self._large = merged([self._large, np.unique(self._without_small(values), return_counts=True)])

    def _without_small(self, values: Integers) -> Integers:
        """Count the small values in the table, and return the others."""
        if self._table is None:
            self._table = np.zeros(self.TABLE, np.int64)
        if library.LIBRARY is None:
            small = (values >= 0) & (values < self.TABLE)
            self._table += np.bincount(values[small], minlength=self.TABLE)
            return values[~small]
        values, others = np.ascontiguousarray(values), np.empty(len(values), np.int64)
        table, left = self._table.ctypes.data, others.ctypes.data
        found = library.LIBRARY.sg_tally(values.ctypes.data, len(values), table, self.TABLE, left)
        return others[:found].copy()  # not a view, which would keep the whole array

    @classmethod
    def joined(cls, tallies: Sequence["Tally"]) -> "Tally":
        """All that these counted, as one. Adding up tables is many times faster than merging the values in them."""
        if len(tallies) == 1:
            return tallies[0]
        whole = cls()
        for tally in tallies:
            if tally._table is not None:
                tally._count_pending()
                whole._table = tally._table.copy() if whole._table is None else np.add(whole._table, tally._table)
        whole._large = merged([tally.counted() if tally._table is None else tally._large for tally in tallies])
        return whole

    def counted(self) -> Counted:
        """All that was added so far. Asked again, it counts nothing anew, but looks through the whole table."""
        if self._pending_count and self._table is None:
            pending = np.unique(np.concatenate(self._pending), return_counts=True)
            self._pending, self._pending_count = [], 0
            self._large = merged([self._large, pending])
        if self._table is None:
            return self._large
        self._count_pending()
        occurred = np.flatnonzero(self._table)
        return merged([(occurred, self._table[occurred]), self._large])


def merged(parts: Sequence[Counted]) -> Counted:
    """Several counts as one."""
    parts = [part for part in parts if len(part[0])]
    if not parts:
        return _nothing()
    if len(parts) == 1:
        return parts[0]
    every = np.sort(np.concatenate([values for values, _ in parts]))
    # np.unique without counts would hash them, which takes several times as long.
    different = every[np.concatenate([[True], every[1:] != every[:-1]])]
    total = np.zeros(len(different), np.int64)
    for values, counts in parts:
        total[np.searchsorted(different, values)] += counts
    return different, total


def _nothing() -> Counted:
    return np.zeros(0, np.int64), np.zeros(0, np.int64)
