"""What a writer leaves that is killed at one of its statements: no run yet, or a run that can be judged.

The files are copied at the statement. A kill leaves the same: what SQLite has written is with the kernel.
"""

import shutil
import sqlite3
from itertools import count, groupby
from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.judge.store import Store
from tests.support.command import invoke
from tests.support.record import a_run, observation

EVERY = 9  # statements between two copies: most make tables, and leave what the one before them left


def killed(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Databases, in the order of the statements that a kill cut off."""
    statements, connect = count(), sqlite3.connect
    left: list[Path] = []

    def copy(_: str) -> None:
        if next(statements) % EVERY == 0 and (place / "run.db").exists():
            left.append(place / f"{len(left)}" / "run.db")
            left[-1].parent.mkdir()
            for end in ("", "-wal", "-journal"):
                if (place / f"run.db{end}").exists():
                    shutil.copy(place / f"run.db{end}", left[-1].parent)

    def traced(*where: Any, **how: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*where, **how)
        connection.set_trace_callback(copy)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", traced)
        with Store.create(place / "run.db") as store:
            store.start_run(a_run(id="one"))
            for number in range(EVERY):  # so that a copy falls between two
                store.append("one", [observation(sequence=number)])
            store.finish_run("one", ended_ns=10**9, status="finished")
    return [*left, place / "run.db"]


def state(database: Path) -> str:
    judged = invoke("judge", database)
    if judged.exit_code == 2:
        assert judged.stderr == f"streamgauge: {database}: holds no run yet\n"
        return "no run"
    assert judged.exit_code == 3, judged.output
    return "no end" if "the run has no recorded end" in judged.stdout else "ended"


def test_a_kill_at_any_statement_leaves_no_run_or_one_that_can_be_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [state(database) for database in killed(tmp_path, monkeypatch)]
    assert [each for each, _ in groupby(states)] == ["no run", "no end", "ended"]
