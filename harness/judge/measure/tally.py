"""Exact counts of whole numbers. Memory grows with the distinct values, not with the samples. Pure."""

from collections.abc import Sequence

import numpy as np

from streamgauge.harness.judge.measure.arrays import Integers

Counted = tuple[Integers, Integers]  # sorted distinct values, and how often each occurred


class Tally:
    """How often each whole number occurred: small numbers in a table, larger ones sorted. Nothing is rounded."""

    TABLE = 1 << 18
    # Numbers to collect before they are counted. A run has dozens of tallies, one for each metric and cohort.
    PENDING = 1 << 17

    def __init__(self) -> None:
        self._pending: list[Integers] = []
        self._pending_count = 0
        self._table: Integers | None = None
        self._large: Counted = _nothing()

    def add(self, values: Integers) -> None:
        self._pending.append(values)
        self._pending_count += len(values)
        if self._pending_count > self.PENDING:
            self._count_pending()

    def _count_pending(self) -> None:
        values = np.concatenate([np.zeros(0, np.int64), *self._pending])
        self._pending, self._pending_count = [], 0
        small = (values >= 0) & (values < self.TABLE)
        if self._table is None:
            self._table = np.zeros(self.TABLE, np.int64)
        self._table += np.bincount(values[small], minlength=self.TABLE)
        self._large = merged([self._large, np.unique(values[~small], return_counts=True)])

    def counted(self) -> Counted:
        if self._table is None:
            return np.unique(np.concatenate([np.zeros(0, np.int64), *self._pending]), return_counts=True)
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
    values, place = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    counts = np.zeros(len(values), np.int64)
    np.add.at(counts, place, np.concatenate([part[1] for part in parts]))
    return values, counts


def _nothing() -> Counted:
    return np.zeros(0, np.int64), np.zeros(0, np.int64)
