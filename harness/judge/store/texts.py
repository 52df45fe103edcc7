"""A column of texts of which few differ, such as the networks of streams. Pure."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_CODES = 1 << 16  # of combinations that are numbered without sorting


@dataclass(frozen=True)
class Texts:
    """The different texts, and for each stream the index of its own: a number is faster to compare, sort and send."""

    values: list[str]  # some may occur no more
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, column: Sequence[Any]) -> "Texts":
        values = dict.fromkeys(column)
        if len(values) < 2:
            return cls([*values], np.zeros(len(column), np.int64))
        codes = dict(zip(values, range(len(values)), strict=True))
        return cls([*values], np.fromiter(map(codes.__getitem__, column), np.int64, len(column)))

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[str]:
        return map(self.values.__getitem__, self.codes.tolist())

    def __getitem__(self, place: int) -> str:
        return self.values[int(self.codes[place])]

    def are(self, value: str) -> NDArray[np.bool_]:
        return self.among({value})

    def among(self, values: Collection[str]) -> NDArray[np.bool_]:
        """Which of the texts are one of these."""
        chosen: NDArray[np.bool_] = np.array([value in values for value in self.values], bool)[self.codes]
        return chosen

    def at(self, places: NDArray[np.int64]) -> "Texts":
        """The texts at these places, in this order."""
        codes = self.codes[places]
        if len(self.values) <= len(codes):
            return Texts(self.values, codes)
        occurring, codes = np.unique(codes, return_inverse=True)
        return Texts([self.values[code] for code in occurring.tolist()], codes)

    def mapped(self, function: Callable[[Any], str]) -> "Texts":
        """What the function makes of each text. It is called once for each different one."""
        made = Texts.of([*map(function, self.values)])
        return Texts(made.values, made.codes[self.codes])

    def counts(self, within: slice | NDArray[np.bool_]) -> dict[str, int]:
        """How often each text occurs among these; only those that do."""
        found = np.bincount(self.codes[within], minlength=len(self.values)).tolist()
        return {value: count for value, count in zip(self.values, found, strict=True) if count}


def combinations(columns: Sequence[Texts]) -> tuple[list[tuple[str, ...]], NDArray[np.int64]]:
    """The combinations of texts that occur, in the order in which they first do; by stream, the index of its own."""
    code = np.zeros(len(columns[0]), np.int64)
    size = 1
    for column in columns:
        if len(column.values) > 1:
            size *= len(column.values)
            code = code * len(column.values) + column.codes
        if size > _MOST_CODES:
            different, code = np.unique(code, return_inverse=True)
            size = len(different)
    first = np.full(size, len(code), np.int64)
    first[code[::-1]] = np.arange(len(code) - 1, -1, -1)  # of equal indices, the last one counts
    occurring = np.flatnonzero(first < len(code))
    firsts = np.sort(first[occurring])
    place: NDArray[np.int64] = np.searchsorted(firsts, first[code])
    return [tuple(column[one] for column in columns) for one in firsts.tolist()], place
