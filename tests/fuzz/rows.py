"""Any values in rows of streams: C and Python make the same batches of them, or find the same fault."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlite_utils import Database

from streamgauge.harness.judge.store import connection
from streamgauge.harness.judge.store.batches import BatchReader
from streamgauge.harness.judge.store.checked import RowFault
from streamgauge.harness.judge.store.streams import NUMBERS, TEXTS
from streamgauge.harness.native import layout, library
from streamgauge.harness.record.observation import Outcome
from tests.support import any_streams


class Text(bytes):
    """Bytes that are stored as text."""


_ODD = (
    *(None, "", "a\0b", "\0", "é" * 40, "x" * 10_001, "{}", '{"a": 7}', b"", b"\x01", b"\x01x", b"\x80" * 3_000),
    *(0, -1, 1.0, 1.5, float("inf"), 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)),
    *(Text(b"\xff\0\xfe"), Text(b""), Text(b"a\0b")),
)  # fmt: skip
_NUMBERS = (None, 0, 1, -1, 10**9, 2**53 - 1, 2**53 + 1, 2**63 - 1)
_USUAL: dict[str, tuple[Any, ...]] = {
    "arrivals": (b"", *(any_streams.stream(Random(seed), 0).arrivals for seed in range(5))),
    "outcome": tuple(outcome.value for outcome in Outcome),
    "answer": (None, "streamed", "whole"),
    "oddities": (None, "{}", '{"doubled events": 2}'),
    "labels": ("{}", '{"phase": "é"}', '{"": ""}'),
    **dict.fromkeys(("due_at", "ended_at"), _NUMBERS[1:]),
    **dict.fromkeys(TEXTS[:6], ("", "a", "b", "ab", "a\0b", "é")),
}


def case(random: Random) -> None:
    database = connection.connect(Path("rows"), "memory")
    try:
        made = _filled(database, random)
        most, room = random.choice((1, 7, 7, 1_000)), random.choice((0, 1_000, 3_000, *[1 << 20] * 5))
        reader = BatchReader(database, random.choice(("TRUE", "id % 3")), most, "a fuzzer", room)
        compiled = _told(reader)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(library, "LIBRARY", None)
            assert compiled == _told(reader), made
    finally:
        database.close()


def _filled(database: Database, random: Random) -> dict[str, list[Any]]:
    """Make a table with any rows. Returns its columns."""
    if random.random() < 0.1:
        database.execute("PRAGMA encoding = 'UTF-16le'")
    names = [name for name in ("arrivals", *TEXTS, *NUMBERS) if name in _USUAL or random.random() < 0.9]
    count = random.choice((0, 1, 5, 20)) if random.random() < 0.98 else layout.DIFFERENT + random.randint(-1, 1)
    columns = {name: random.choices(_USUAL.get(name, _NUMBERS), k=count) for name in names}
    if count > 20:
        columns["user"] = [f"user {number}" for number in range(count)]
    for _ in range(random.choice((0, 0, 1, 1, 4)) if count else 0):
        columns[random.choice(names)][random.randrange(count)] = random.choice(_ODD)
    kind = random.choice(("", "INTEGER", "INTEGER"))
    kinds = ", ".join(f"{name} {kind if name in NUMBERS else ''}" for name in names)
    database.execute(f"CREATE TABLE streams (id INTEGER PRIMARY KEY, {kinds}, run)")
    rows = zip(*columns.values(), random.choices((1, 1, 1, 2), k=count), strict=True)
    database.conn.executemany(f"INSERT INTO streams VALUES (NULL{', ?' * (len(names) + 1)})", rows)
    texts = [(name, id) for name in names for id, value in enumerate(columns[name], 1) if isinstance(value, Text)]
    for name, id in texts:
        database.execute(f"UPDATE streams SET {name} = CAST({name} AS TEXT) WHERE id = ?", [id])
    return columns


def _told(reader: BatchReader) -> list[object]:
    """Every batch of run 1 by its values, and the fault that ended the reading."""
    told: list[object] = []
    after = -1
    try:
        while (streams := reader.next(1, after)) is not None:
            text = {name: [*column] for name, column in streams.text.items()}
            numbers = {name: column.tobytes() for name, column in streams.number.items()}
            told.append((streams.id.tolist(), text, numbers, streams.blobs, streams.source))
            after = int(streams.id[-1])
    except (RowFault, connection.Error) as fault:
        told.append((type(fault), str(fault)))
    return told
