"""A database that somebody else made, or a disk damaged: one line names the row, and the other rows can be read."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from click.testing import Result

from streamgauge.harness.errors import DamagedRow
from streamgauge.harness.judge.store import Store
from streamgauge.harness.record.vitals import Vital
from tests.support.command import invoke
from tests.support.hostile_database import DEEP, Damage, damaged, damages, shapes, sound, views
from tests.support.monitored import Monitored


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound(tmp_path_factory.mktemp("sound") / "sound.db")


def every_command(path: Path) -> Iterator[tuple[object, ...]]:
    """Each command that opens a database."""
    page, name = path.with_suffix(".html"), ("--name", "main")
    yield from (("runs", path), ("judge", path), ("judge", path, "--run", "run-1"), ("report", path, "-o", page))
    yield from (("report", path, "--redact", "-o", page), ("report", path, "--redact", "--run", "run-1", "-o", page))
    yield from (("history", path), ("history", path, "--csv", "-", "-o", page))
    yield from (("compare", path, "--baseline", "main", "--run", "run-2"), ("compare", path, path))
    yield from (("baseline", "list", path), ("baseline", "export", path, *name, "-o", "-"))
    yield from (("export", path), ("export", path, "--format", "json"), ("export", path, "--chunks"))
    yield from (("baseline", what, path, *name) for what in ("noise", "accept", "remove"))


def is_told(result: Result, path: Path) -> None:
    """No traceback; and a mistake is one line that names the file."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in {0, 1, 2, 3}
    if result.exit_code == 2:
        assert result.stderr.startswith("streamgauge: ")
        assert path.name in result.stderr
        assert result.stderr.splitlines()[:-1] == [
            line for line in result.stderr.splitlines() if line.startswith("left out: ")
        ], "one line, after those on rows that were left out"


def test_the_database_without_damage_is_accepted_by_every_command(good: Path, tmp_path: Path) -> None:
    path = damaged(good, tmp_path / "one.db", Damage("none", ()))
    for words in every_command(path):
        assert invoke(*words).exit_code in {0, 3}, words


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("runs", "status", "exploded"),
        ("runs", "started_at", "yesterday"),
        ("runs", "realtime_ns", "x"),
        ("runs", "ended_ns", 1.5),
        *(("runs", column, "{") for column in ("config", "rules", "fingerprint", "labels", "instrument", "notes")),
        *(
            ("runs", "instrument", text)
            for text in ('{"faults": 7}', '{"resolution": {}}', '{"workers": {"w": {"resolution": []}}}')
        ),
        ("runs", "config", DEEP),
        ("runs", "config", '{"a":' * 60 + "1" + "}" * 60),
        ("runs", "labels", '{"a": 7}'),
        ("runs", "notes", '["' + "x" * 5_000_000 + '"]'),
        ("streams", "arrivals", None),
        ("streams", "arrivals", "text"),
        ("streams", "outcome", "exploded"),
        ("streams", "labels", "[]"),
        ("streams", "labels", None),
        ("streams", "oddities", "[]"),
        ("streams", "oddities", '{"a": "b"}'),
        ("streams", "due_at", "x"),
        ("streams", "output_tokens", 1.5),
        ("streams", "user", b"\xff"),
        ("samples", "value", "x"),
    ],
)
def test_a_damaged_row_is_named_and_the_other_run_can_be_read(
    good: Path, tmp_path: Path, table: str, column: str, value: object
) -> None:
    where = {"runs": "id = 'run-2'", "streams": "id = 64", "samples": "run = 2 AND name = 'cpu_percent'"}[table]
    statement = (f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))
    path = damaged(good, tmp_path / "one.db", Damage(column, (statement,)))
    with Store.open(path) as store:
        with pytest.raises(DamagedRow, match=rf"one\.db: {table}, row \d+, column {column}: [^\n]{{1,400}}$"):
            read(store, None)
        assert read(store, "run-1") == 32


def read(store: Store, run_id: str | None) -> int:
    """How many streams a run has, after everything that judging needs has been read."""
    run = store.run(run_id)
    assert len(store.vital(run.id, Vital.CPU_PERCENT).at) == 5
    return sum(len(streams) for streams in store.streams(run.id) if len(streams.events.at))


def test_a_damaged_run_is_a_mistake_and_the_other_one_is_judged_as_ever(good: Path, tmp_path: Path) -> None:
    statement = ("UPDATE streams SET arrivals = NULL WHERE id = 64", ())
    path = damaged(good, tmp_path / "one.db", Damage("NULL", (statement,)))
    result = invoke("judge", path)
    is_told(result, path)
    assert result.exit_code == 2
    assert "one.db: streams, row 64, column arrivals: NULL is no blob" in result.stderr
    other = invoke("judge", path, "--run", "run-1")
    assert (other.exit_code, other.stdout) == (3, invoke("judge", good, "--run", "run-1").stdout)


def test_lists_show_the_other_runs_and_say_what_they_left_out(good: Path, tmp_path: Path) -> None:
    statements = (
        ("UPDATE runs SET status = 'exploded' WHERE id = 'run-2'", ()),
        ("UPDATE baselines SET document = '{' WHERE name = 'other'", ()),
    )
    path = damaged(good, tmp_path / "one.db", Damage("both", statements))
    found = invoke("runs", path)
    assert (found.exit_code, "run-1" in found.stdout, "run-2" in found.stdout) == (0, True, False)
    assert "left out: " in found.stderr
    assert "runs, row 2, column status: 'exploded' is none of running, finished, interrupted, aborted" in found.stderr
    assert "baselines, row 3, column document: " in found.stderr
    assert invoke("history", path, "--run", "run-1").exit_code == 0
    assert invoke("baseline", "export", path, "--name", "main", "-o", "-").exit_code == 0
    refused = invoke("baseline", "export", path, "--name", "other", "-o", "-")
    assert refused.exit_code == 2
    assert "baselines, row 3, column document: " in refused.stderr


def test_history_leaves_out_a_run_whose_streams_are_damaged(good: Path, tmp_path: Path) -> None:
    statement = ("UPDATE streams SET arrivals = x'01' WHERE id = 64", ())
    path = damaged(good, tmp_path / "one.db", Damage("a blob", (statement,)))
    found = invoke("history", path, "--csv", "-")
    assert found.exit_code == 0
    assert [line.partition(",")[0] for line in found.stdout.splitlines()] == ["run", "run-1"]
    assert "streams, row 64, column arrivals: arrivals blob is cut short" in found.stderr


def test_any_value_in_any_column_leads_to_no_traceback(good: Path, tmp_path: Path) -> None:
    """A sample of them; each is met by some of the commands."""
    random, path = Random(7), tmp_path / "one.db"
    for damage in random.sample(list(damages()), 40):
        damaged(good, path, damage)
        is_told(invoke(*random.choice(list(every_command(path)))), path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("rules", '[{"preset": "nosuch"}]'),
        ("instrument", '{"workers": [1]}'),
        ("instrument", '{"workers": {"local": {"clock_drift_ns": null, "clock_offset_ns": null}}}'),
        ("instrument", '{"asked": {"users": 1, "spawn_rate": 0, "seconds": 9}}'),
        ("instrument", '{"asked": {"users": 1, "seconds": 0, "schedule_began": 9}}'),
        ("instrument", f'{{"asked": {{"users": 1{"0" * 400}, "spawn_rate": 1}}}}'),
    ],
)
def test_a_document_that_nobody_writes_leads_to_no_traceback(
    good: Path, tmp_path: Path, column: str, value: str
) -> None:
    path = tmp_path / "one.db"
    users = ("UPDATE samples SET value = 1 WHERE run = 2", ())
    damaged(good, path, Damage(column, ((f"UPDATE runs SET {column} = ? WHERE id = 'run-2'", (value,)), users)))
    for words in every_command(path):
        is_told(invoke(*words), path)
    assert invoke("judge", path, "--run", "run-1").exit_code in {0, 3}
    assert "run-1" in invoke("runs", path).stdout


def test_nothing_but_our_tables_is_read(good: Path, tmp_path: Path) -> None:
    random, path = Random(7), tmp_path / "one.db"
    for damage in shapes():
        damaged(good, path, damage)
        result = invoke(*random.choice(list(every_command(path))))
        is_told(result, path)
        if "is empty" not in damage.name and "no baselines" not in damage.name:
            assert result.exit_code == 2, damage.name


def test_nothing_but_the_tables_of_a_monitor_is_read(tmp_path: Path) -> None:
    monitored = Monitored(tmp_path / "sound.db")
    monitored.probes([100.0, None])
    monitored.store.close()
    with sqlite3.connect(tmp_path / "sound.db") as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    path, page, merged = tmp_path / "one.db", tmp_path / "page.html", tmp_path / "merged.db"
    commands = [("status", path, "-o", page), ("incidents", path), ("merge", path, tmp_path / "sound.db", "-o", merged)]
    of_runs = ("runs", "streams", "samples", "baselines", "itl_counts", "sqlite", "_")
    own = {name for name in tables if not name.startswith(of_runs)}
    assert len(own) == 11
    for damage in (each for table in sorted(own) for each in views(table)):
        damaged(tmp_path / "sound.db", path, damage)
        for words in commands:
            result = invoke(*words)
            is_told(result, path)
            assert result.exit_code == 2, (damage.name, words)


def test_what_is_no_database_is_refused_in_one_line(good: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.db" for name in ("empty", "text", "pipe", "loop", "nowhere", "cut", "missing")}
    paths["empty"].touch()
    paths["text"].write_text("not a database " * 100)
    os.mkfifo(paths["pipe"])
    paths["loop"].symlink_to(paths["loop"])
    paths["nowhere"].symlink_to(tmp_path / "missing.db")
    paths["cut"].write_bytes(good.read_bytes()[:20_000])
    paths["a file as a folder"] = good / "x.db"
    paths["too long"] = tmp_path / ("x" * 5_000)
    paths["a device"] = Path("/dev/zero")
    for name, path in paths.items():
        result = invoke("runs", path)
        assert result.exit_code == 2, name
        is_told(result, path)


def test_a_link_to_a_database_is_that_database(good: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(damaged(good, tmp_path / "one.db", Damage("none", ())))
    assert invoke("judge", tmp_path / "link.db").exit_code == 3


def test_a_value_that_is_larger_than_any_of_ours_is_not_read(good: Path, tmp_path: Path) -> None:
    path = damaged(good, tmp_path / "one.db", Damage("none", ()))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE runs SET notes = zeroblob(70 * 1024 * 1024) WHERE id = 'run-2'")
        connection.execute("UPDATE streams SET detail = CAST(zeroblob(70 * 1024 * 1024) AS TEXT) WHERE id = 3")
    connection.close()
    assert invoke("judge", path, "--run", "run-1").exit_code in {2, 3}
    assert "runs, row 2, column config: string or blob too big" in invoke("judge", path).stderr
