"""Reads streams from the database, batch by batch: C makes columns of SQLite's rows, or Python does, value by value.

C takes a quarter of the time, and does not hold Python's global lock. It refuses rows with a value that this program
does not write, with more than `layout.DIFFERENT` texts in a column, or with more bytes than a batch has. Then, and
after any error of SQLite, Python reads the same rows, and says what is wrong with which of them. So the batches and
the errors are the same with and without C.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlite_utils import Database

from streamgauge.harness.judge.store import connection
from streamgauge.harness.judge.store.checked import RowFault
from streamgauge.harness.judge.store.streams import (
    MOST_BYTES,
    NUMBERS,
    TEXTS,
    Streams,
    are_ours,
    bounded,
    select_statement,
    streams_as_stored,
    streams_of_rows,
)
from streamgauge.harness.judge.store.texts import Texts
from streamgauge.harness.native import layout, library

_COLUMNS = ", ".join(("id", "arrivals", *TEXTS, *NUMBERS))


class BatchReader:
    """Reads streams of the database at `source` for which `chosen` is true, our own condition.

    A batch has at most `most` streams, and it ends with the first that has its blobs and texts exceed `most_bytes`.
    """

    def __init__(self, database: Database, chosen: str, most: int, source: str, most_bytes: int = MOST_BYTES) -> None:
        self._database, self._most, self._source = database, most, source
        self._select = select_statement(database.table("streams").columns_dict.keys(), chosen)
        self._room = np.empty(most_bytes, np.uint8)  # only the part that is written takes memory

    def next(self, run: int, after: int) -> Streams | None:
        """A run's first streams with ids above `after`. None: there are no more. RowFault, or an error of SQLite."""
        parameters = (run, run, after, self._most)
        if (streams := self._compiled(parameters)) is not None:
            return streams
        rows = self._rows(parameters)
        return streams_of_rows(rows, self._source) if rows else None

    def _rows(self, parameters: tuple[int, int, int, int]) -> list[Sequence[Any]]:
        execute, (*_, after, most) = self._database.execute, parameters
        try:
            return connection.decoded(
                self._database, lambda: bounded(execute(self._select, parameters), most, len(self._room))
            )
        except connection.TooLarge:
            raise RowFault("streams", f"after {after}", "any", "a value is larger than this program writes") from None

    def _compiled(self, parameters: tuple[int, int, int, int]) -> Streams | None:
        """The same by C. None if it cannot, refuses a row, or finds none."""
        if library.LIBRARY is None:
            return None
        texts, numbers, most = len(TEXTS), len(NUMBERS), self._most
        ids, blobs = np.empty(most, np.int64), np.empty((most, 2), np.int64)
        different, found = np.empty((texts, layout.DIFFERENT, 2), np.int64), np.zeros(texts, np.int64)
        codes, number = np.empty((texts, most), np.int64), np.empty((numbers, most))
        addresses = (each.ctypes.data for each in (ids, blobs, different, found, codes, number, self._room))
        to = layout.Rows(most, len(self._room), texts, numbers, *addresses)
        select = f"SELECT sg_rows({_COLUMNS}) FROM ({self._select})"  # noqa: S608 - our own names
        try:
            library.LIBRARY.sg_fill(to)
            self._database.execute(select, parameters).fetchall()
            taken, count = self._room.data, to.count
            text = {
                name: Texts([_text(taken, *piece) for piece in pieces[:size].tolist()], code[:count])
                for name, pieces, size, code in zip(TEXTS, different, found, codes, strict=True)
            }
        except (connection.Error, UnicodeDecodeError):
            return None
        finally:
            library.LIBRARY.sg_fill(None)
        columns = {name: column[:count] for name, column in zip(NUMBERS, number, strict=True)}
        if not count or not are_ours(text, columns):
            return None
        arrivals = [taken[start:end].tobytes() for start, end in blobs[:count].tolist()]
        return streams_as_stored(ids[:count], text, columns, arrivals, self._source)


def _text(taken: memoryview, start: int, end: int) -> Any:
    """A text of `layout.Rows`; None for NULL."""
    return None if end < start else str(taken[start:end], "utf-8")
