"""What is stored although it can be computed from the streams, for people who write SQL. This program never reads it.

`itl_counts` holds how often each gap between chunks occurred: the gaps themselves are in the blobs of `arrivals`, which
SQL cannot decode. The rows of a run are replaced each time that it is judged.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sqlite_utils import Database


class GapCount(NamedTuple):
    """How many gaps of one length the streams of a cohort had, in the order of the table's columns."""

    user: str
    network: str
    behaviour: str
    gap_us: int  # rounded to three significant digits
    gaps: int


def replace_itl_counts(database: Database, run: int, counts: Iterable[GapCount]) -> None:
    database.execute("DELETE FROM itl_counts WHERE run = ?", [run])
    database.conn.executemany("INSERT INTO itl_counts VALUES (?, ?, ?, ?, ?, ?)", ((run, *each) for each in counts))
