"""Databases of an older schema: brought up to date where they may be written, otherwise read as they are."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from streamgauge.harness.judge.store import Store
from tests.support.record import MS, database, observation

FULL = observation([("ping", 50), ("text", 120)], input_tokens=12, resumed_from="41", resume_gap=850 * MS)


def _before_resumptions(path: Path) -> None:
    """Take the file back to its first schema, that of m001."""
    statements = [
        "DROP VIEW stream_metrics",
        *(f"ALTER TABLE streams DROP COLUMN resume_{name}" for name in ("gap", "lost", "duplicated")),
        "CREATE VIEW stream_metrics AS SELECT id FROM streams",
        "DELETE FROM _sqlite_migrations WHERE name = 'm002_resumptions'",
    ]
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_an_older_file_is_brought_up_to_date_when_it_is_opened(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", [FULL])
    _before_resumptions(path)
    with Store.create(path) as store:
        store.append("run-1", [FULL])
        (streams,) = store.streams("run-1")
    assert np.isnan(streams.number["resume_gap"]).tolist() == [True, False], "the older version did not observe it"
    assert streams.number["input_tokens"].tolist() == [12, 12]
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT resume_gap_ms FROM stream_metrics").fetchall() == [(None,), (850,)]
    connection.close()


def test_an_older_file_that_may_not_be_written_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = database(tmp_path / "one.db", [FULL])
    _before_resumptions(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.access", lambda *_: False)  # as in the test of a read-only disk
    with Store.open(path) as store:
        (streams,) = store.streams("run-1")
    assert np.isnan(streams.number["resume_gap"]).all()
    assert path.read_bytes() == before
