"""Streams and chunks for other programs: every format holds what the database holds, and no half file is ever left."""

import csv
import io
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.errors import OutputError
from streamgauge.harness.judge.outputs import exports
from streamgauge.harness.judge.store import exported
from streamgauge.harness.record.observation import Outcome
from tests.support.command import invoke
from tests.support.record import database, new_store, observation

OLD = Path(__file__).parents[1] / "data/written-by-0.1.0/database.sqlite"
HOSTILE = "=cmd|'/C calc'!A0,\n\"x\"\r\x00\x1b[2J\u202e;\x9b"
LABELS = {"phase": HOSTILE, "=1+1": "warm, cold"}
FIRST = observation(
    outcome=Outcome.REFUSED, http_status=500, detail=HOSTILE, request_id="+1", worker="@w", address="::1",
    replica="=pod", labels=LABELS, link=7.5, oddities={"odd": 2}, retry_after=5_000_000_000, after_refusal=1,
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return database(tmp_path / "one.db", [FIRST, observation(output_tokens=3), observation([], ended=9)])


def view(path: Path) -> list[dict[str, Any]]:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    found = [dict(row) for row in connection.execute("SELECT * FROM stream_metrics ORDER BY stream_id")]
    connection.close()
    return found


def read_parquet(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    return found


def read_json(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def read_csv(path: Path) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


def test_parquet_and_json_hold_exactly_the_rows_of_the_view(path: Path, tmp_path: Path) -> None:
    assert invoke("export", path, "-o", tmp_path / "a.parquet").exit_code == 0
    assert read_parquet(tmp_path / "a.parquet") == view(path)
    ended = invoke("export", path, "-o", tmp_path / "a.json")
    assert "a.json: 3 streams of 1 run, as json" in ended.output
    objects = [
        row | {name: row[name] and json.loads(row[name]) for name in ("labels", "oddities")} for row in view(path)
    ]
    assert read_json(tmp_path / "a.json") == objects


def test_a_cell_of_csv_is_never_a_formula_and_what_was_not_observed_is_empty(path: Path, tmp_path: Path) -> None:
    assert invoke("export", path, "-o", tmp_path / "a.csv").exit_code == 0
    rows = read_csv(tmp_path / "a.csv")
    assert [*rows[0]] == [*view(path)[0]]
    assert (rows[0]["worker"], rows[0]["request_id"]) == ("'@w", "'+1")
    assert rows[0]["detail"].startswith("'=cmd|'/C calc'!A0, \"x\" ⟨U+0000⟩⟨U+001B⟩[2J⟨U+202E⟩;")
    assert json.loads(rows[0]["labels"]) == LABELS
    assert (rows[1]["tpot_ms"], rows[2]["ttft_ms"], rows[2]["labels"]) == ("20.0", "", "{}")
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


@pytest.mark.parametrize(
    ("ending", "read"), [(".csv", read_csv), (".json", read_json), (".parquet", read_parquet)], ids=lambda each: each
)
def test_chunks_are_rows_with_their_times_since_the_stream_was_due(
    tmp_path: Path, ending: str, read: Callable[[Path], list[dict[str, Any]]]
) -> None:
    chunks = [("ping", 10), ("thinking", 100.25), ("text", 120)]
    late = observation(chunks, due=1234.5, link=[0, 5.5, 1])
    path = database(tmp_path / "one.db", [observation([]), late], id="a,b")
    assert invoke("export", path, "--chunks", "-o", tmp_path / f"x{ending}").exit_code == 0
    rows = [{name: str(value) for name, value in row.items()} for row in read(tmp_path / f"x{ending}")]
    assert [[*row.values()] for row in rows] == [
        ["a,b", "2", "1", "10.0", "10.0", "ping", "4", "90"],
        ["a,b", "2", "2", "100.25", "105.75", "thinking", "4", "90"],
        ["a,b", "2", "3", "120.0", "121.0", "text", "4", "90"],
    ]


def test_batches_join_without_a_gap(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [invoke("export", path, *words).stdout for words in ([], ["--chunks"])]
    monkeypatch.setattr(exported, "ROWS", 1)
    assert [invoke("export", path, *words).stdout for words in ([], ["--chunks"])] == whole
    assert read_parquet_of(path, tmp_path) == view(path)


def read_parquet_of(path: Path, folder: Path) -> list[dict[str, Any]]:
    invoke("export", path, "-o", folder / "b.parquet")
    return read_parquet(folder / "b.parquet")


def test_every_run_is_exported_or_those_that_are_named_and_no_warm_up(path: Path) -> None:
    database(path, [observation(due=1), observation(due=3000)], id="warm", measured_from=2_000_000_000)

    def runs(*words: object) -> list[str]:
        lines = invoke("export", path, "--format", "json", *words).stdout.splitlines()
        return [json.loads(line)["run_id"] for line in lines]

    assert runs() == ["run-1"] * 3 + ["warm"]
    assert runs("--run", "wa", "--run", "warm") == ["warm"]
    assert runs("--chunks", "--run", "warm") == ["warm"] * 3


def test_an_old_database_is_exported_even_if_it_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.db"
    shutil.copy(OLD, path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        before = [invoke("export", path, "--format", "json", *words) for words in ([], ["--chunks"])]
    assert [each.exit_code for each in before] == [0, 0]
    assert {"answer": "streamed", "oddities": None}.items() <= json.loads(before[0].stdout.splitlines()[0]).items()
    assert path.read_bytes() == OLD.read_bytes()
    after = [invoke("export", path, "--format", "json", *words) for words in ([], ["--chunks"])]
    assert [each.stdout for each in after] == [each.stdout for each in before]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "paquet"], "--format 'paquet': no such format; there are csv, json, parquet; did you mean 'par"),
        (["-o", "."], ".: is a folder; give the path of a file in it"),
        (["-o", "nowhere/x.csv"], "there is no folder nowhere"),
        (["-o", "one.db"], "one.db: is the database that is exported; give another path"),
        (["-o", "/dev/full"], "/dev/full: cannot be written: No space left on device"),
        (["--run", "nobody"], "no run called 'nobody'; there are run-1"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = path.read_bytes()
    ended = invoke("export", "one.db", *words)
    assert (ended.exit_code, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert message in line
    assert ([*tmp_path.iterdir()], path.read_bytes()) == ([path], before)


def test_a_damaged_row_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = database(tmp_path / "one.db", [observation()] * 3)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = 1")
    connection.execute("UPDATE streams SET labels = '{\"a\": 1}', arrivals = x'ff' WHERE id = 3")
    connection.commit()
    connection.close()
    monkeypatch.setattr(exported, "ROWS", 1)
    kept = tmp_path / "kept.csv"
    kept.write_text("before")
    for words in ([], ["--chunks"]):
        ended = invoke("export", path, "-o", kept, *words)
        assert ended.exit_code == 2
        assert "streams, row" in ended.stderr
        assert kept.read_text() == "before"
    assert {each.name for each in tmp_path.iterdir()} == {"one.db", "kept.csv"}


def test_without_pyarrow_one_line_says_how_to_install_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ended = invoke("export", path, "-o", tmp_path / "x.parquet")
    assert ended.exit_code == 2
    (line,) = ended.stderr.splitlines()
    assert "pip install 'streamgauge[parquet]'" in line
    assert [*tmp_path.iterdir()] == [path]


def test_the_format_is_that_of_the_ending_unless_it_is_named() -> None:
    named = {output: exports.named(None, output) for output in ("a.PARQUET", "a.jsonl", "a.ndjson", "a.txt", "-")}
    assert named == {"a.PARQUET": "parquet", "a.jsonl": "json", "a.ndjson": "json", "a.txt": "csv", "-": "csv"}
    assert exports.named("json", "a.csv") == "json"
    with pytest.raises(OutputError, match="no such format"):
        exports.named("", "a.csv")


def test_nothing_to_export_is_said(tmp_path: Path) -> None:
    ended = invoke("export", database(tmp_path / "one.db", []))
    assert ended.stdout.startswith("run_id,")
    assert "0 streams of 1 run: nothing was measured" in ended.stderr
    empty = invoke("export", _without_run(tmp_path / "two.db"))
    assert empty.exit_code == 2
    assert "holds no run yet" in empty.stderr


def _without_run(path: Path) -> Path:
    new_store(path).close()
    return path
