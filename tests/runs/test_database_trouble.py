"""Runs whose database is locked, full or deleted meanwhile: users go on, and what is lost is counted and never MET."""

import contextlib
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.command import (
    HASTY,
    PATIENCE,
    RULES,
    Running,
    count,
    enough,
    invoke,
    processes,
    rows,
    running,
    until,
    until_told,
)
from tests.support.record import new_store
from tests.support.reference import ReferenceServer, reference_server

LOCKED = 8  # seconds in the middle of a run


@dataclass(frozen=True)
class Ended:
    code: int
    errors: list[str]  # lines
    result: dict[str, object]
    database: Path

    @property
    def reasons(self) -> str:
        validity = self.result["validity"]
        assert isinstance(validity, dict)
        return " ".join(validity["reasons"])

    def streams(self) -> int:
        return count(self.database, "streams")


@dataclass(frozen=True)
class Started:
    process: Running
    database: Path
    result: Path

    def ended(self) -> Ended:
        """Tell it to end, and wait for that."""
        enough(self.result.parent)
        _, errors = self.process.communicate()
        assert "Traceback" not in errors
        result = json.loads(self.result.read_text())
        lines = [line for line in errors.splitlines() if " users " not in line]  # without the progress
        return Ended(self.process.wait(), lines, result, self.database)


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--ttft", "100ms", "--itl", "30ms") as found:
        yield found


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A file system of 700 KB. None if this user may not mount one."""
    folder = tmp_path_factory.mktemp("small")
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def runs(
    server: ReferenceServer, small_disk: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Started]]:
    """Runs beside each other, since they mostly wait; each has begun to store streams, and one lost its database."""
    where = {"locked": ("run.db", 2), "outlasted": ("run.db", 2), "deleted": ("gone/run.db", 2)}  # and the users
    if small_disk is not None:
        where["full"] = (str(small_disk / "run.db"), 20)  # who fill the disk
    with contextlib.ExitStack() as stack:
        found = {}
        for name, (database, users) in where.items():
            folder = tmp_path_factory.mktemp(name)
            (folder / "hasty.py").write_text(until_told())
            (folder / "rules.toml").write_text(RULES)
            (folder / "gone").mkdir()
            run = running(
                "streamgauge", "run", "hasty.py", "--host", server.url, "--users", users, "--spawn-rate", users,
                "--config", "rules.toml", "--db", database, "--json", "run.json",
                cwd=folder,
            )  # fmt: skip
            found[name] = Started(stack.enter_context(run), folder / database, folder / "run.json")
        for each in found.values():
            until(lambda each=each: count(each.database, "streams") > 0)
        for file in found["deleted"].database.parent.glob("run.db*"):
            file.unlink()
        until(lambda: "was deleted or replaced" in found["deleted"].process.said)
        enough(found["deleted"].result.parent)  # it would end itself a minute later, with a line of its own
        yield found


@pytest.fixture(scope="module")
def locks(runs: dict[str, Started]) -> Iterator[dict[str, sqlite3.Connection]]:
    """The locks that this process holds on the databases of two runs."""
    found = {}
    for name in ("locked", "outlasted"):
        found[name] = sqlite3.connect(runs[name].database, isolation_level=None, timeout=PATIENCE)
        found[name].execute("BEGIN IMMEDIATE")
    yield found
    for connection in found.values():
        connection.close()


@pytest.fixture(scope="module")
def refused(server: ReferenceServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Running]]:
    """Runs whose database is locked when they begin; they wait for it beside the others."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "hasty.py").write_text(HASTY)
    new_store(folder / "run.db").close()
    words = ["run", "hasty.py", "--host", server.url, "--run-time", "3s", "--db", "run.db", "--"]
    with contextlib.closing(sqlite3.connect(folder / "run.db", isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        with (
            running("streamgauge", *words, cwd=folder) as local,
            running("streamgauge", *words, *processes(1), cwd=folder) as with_a_worker,
        ):
            yield [local, with_a_worker]


@pytest.mark.usefixtures("refused")
def test_a_lock_of_another_process_stops_no_user_and_loses_nothing(
    runs: dict[str, Started], locks: dict[str, sqlite3.Connection]
) -> None:
    before = runs["locked"].database
    stored = count(before, "streams")
    time.sleep(LOCKED)
    assert count(before, "streams") == stored, "the lock holds"
    locks["locked"].execute("ROLLBACK")
    ended = runs["locked"].ended()
    assert ended.code in {0, 3}, ended.errors  # 3: other tests kept the cores so busy that reads came late
    begun = [at / 1e9 for (at,) in rows(before, "SELECT due_at FROM streams ORDER BY due_at")]
    assert begun[-1] > LOCKED
    assert max(later - earlier for earlier, later in pairwise(begun)) < LOCKED / 2, "streams began under the lock, too"
    ((vital,),) = rows(before, "SELECT max(value) FROM samples WHERE name = 'streams_begun'")
    assert vital == ended.streams(), "every stream is in the database"


def test_a_database_that_is_locked_when_the_run_begins_is_told_in_one_line(refused: list[Running]) -> None:
    for each in refused:
        _, said = each.communicate()
        assert each.returncode == 2
        assert "run.db: another process is writing to it" in said
        assert len(said.splitlines()) == 1


def test_a_lock_that_outlasts_the_run_leaves_streams_unsaved_and_the_run_invalid(
    runs: dict[str, Started], locks: dict[str, sqlite3.Connection]
) -> None:
    ended = runs["outlasted"].ended()
    stored = ended.streams()
    locks["outlasted"].execute("ROLLBACK")
    assert ended.code == 2
    assert "streams could not be stored" in ended.errors[-1]
    assert "streams could not be stored" in ended.reasons
    assert ended.result["verdict"] == "invalid"
    assert stored > 0, "what was stored before the lock stands"
    judged_again(ended.database)


def test_a_database_that_is_deleted_during_the_run_is_told_of_in_one_line(runs: dict[str, Started]) -> None:
    ended = runs["deleted"].ended()
    assert ended.code == 2
    assert not ended.database.exists(), "nothing makes it anew"
    assert "was deleted or replaced during the run" in ended.errors[0]
    assert ended.errors[-1].startswith("run hasty-")
    assert "is not whole in gone/run.db" in ended.errors[-1]
    assert len(ended.errors) == 2
    assert ended.result["verdict"] == "invalid"


def test_a_full_disk_loses_streams_which_are_counted_wherever_there_is_room(runs: dict[str, Started]) -> None:
    if "full" not in runs:
        pytest.skip("mounting a small file system needs root")
    until(lambda: "the disk is full" in runs["full"].process.said)
    ended = runs["full"].ended()
    assert ended.code == 2
    assert "the disk is full" in ended.errors[0]
    lost, _, all_of_them = ended.errors[-1].partition("run.db: ")[2].split()[:3]
    left = int(all_of_them.replace(",", "")) - int(lost.replace(",", ""))
    assert int(all_of_them.replace(",", "")) > left == ended.streams()
    assert f"{lost} of {all_of_them} streams could not be stored" in ended.reasons
    judged_again(ended.database)


def judged_again(database: Path) -> None:
    """The database alone says that the run lost something, however much of that it could still write."""
    again = invoke("judge", database)
    assert again.exit_code == 3, again.stdout
    assert "INVALID" in again.stdout
