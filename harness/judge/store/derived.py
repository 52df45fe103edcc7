"""What is stored although it can be computed from the streams, for people who write SQL. This program never reads it.

`itl_counts` holds how often each gap between chunks occurred: the gaps themselves are in the blobs of `arrivals`, which
SQL cannot decode. The rows of a run are replaced each time that it is judged.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from sqlite_utils import Database


class GapCounts(NamedTuple):
    """The gaps of one cohort's streams: how many there were of each length, in the order of the table's columns."""

    user: str
    network: str
    behaviour: str
    gap_us: list[int]  # rounded to three significant digits
    gaps: list[int]


def replace_itl_counts(database: Database, run: int, counts: Iterable[GapCounts]) -> None:
    database.execute("DELETE FROM itl_counts WHERE run = ?", [run])
    for *cohort, lengths, gaps in counts:
        rows = zip(*map(itertools.repeat, (run, *cohort)), lengths, gaps, strict=False)  # the first four never end
        database.conn.executemany("INSERT INTO itl_counts VALUES (?, ?, ?, ?, ?, ?)", rows)
