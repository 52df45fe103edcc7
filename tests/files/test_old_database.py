"""A database of version 0.1.0 is read, judged and compared as 0.1.0 did it; tests/data/ says what is in it.

Sentences may be worded better since then, so only those that people read are left out: every name, status and number
must be equal. Figures that are newer stand beside them.
"""

import csv
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from streamgauge.harness.cli import main
from streamgauge.harness.judge.compare import two_runs
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import judge
from tests.support.record import observation

OLD = Path(__file__).parent.parent / "data" / "written-by-0.1.0"
SENTENCES = {"reason", "reasons", "notes"}
# The last bit of a logarithm or a sum may depend on the vector instructions of the processor.
ROUNDING = 1e-12

JUDGED = {"steady": 1, "aborted": 22, "everything": 23, "killed": 24}  # document → number of the run
COMPARED = {"equal": range(11, 14), "slower": range(14, 22), "suspicious": range(14, 17)}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A copy: to open a database for writing brings its schema up to date."""
    return Path(shutil.copy(OLD / "database.sqlite", tmp_path / "old.db"))


def ids(database: Path) -> list[str]:
    with Store.open(database) as store:
        return [run.id for run in store.runs()]


def output_of(*words: str | Path) -> str:
    """The standard output of a streamgauge command."""
    ended = CliRunner().invoke(main, [str(word) for word in words])
    assert ended.exit_code in {0, 1, 3}, ended.output
    return ended.stdout


def written(name: str, changed: str = "") -> Any:
    """A document of 0.1.0, with the figures that are defined otherwise since then (`changed`: their name)."""
    document = json.loads((OLD / name).read_text())
    for path, value in json.loads((OLD / "changed.json").read_text()).get(changed or name, {}).items():
        *parents, last = (int(key) if key.isdecimal() else key for key in path.split("."))
        place = document
        for key in parents:
            place = place[key]
        place[last] = value
    return document


def equal(one: Any, two: Any, where: str = "") -> None:
    """Fail if two documents differ in more than the wording of a sentence and the newer figures of the second."""
    if isinstance(one, dict):
        assert one.keys() <= two.keys(), where
        for key in one.keys() - SENTENCES:
            equal(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(two), where
        for place, (ours, theirs) in enumerate(zip(one, two, strict=True)):
            equal(ours, theirs, f"{where}[{place}]")
    elif isinstance(one, float):
        assert two == pytest.approx(one, rel=ROUNDING, abs=ROUNDING), where
    else:
        assert one == two, where


@pytest.mark.parametrize("name", JUDGED)
def test_a_run_of_an_old_database_is_judged_as_before(database: Path, name: str) -> None:
    run = ids(database)[JUDGED[name] - 1]
    before = written(f"judge-{name}.json")
    if name == "killed":  # a run without an end had a verdict, although nobody knows how many streams it lost
        before |= {"validity": {"status": "invalid", "reasons": []}, "verdict": "invalid"}
    equal(before, json.loads(output_of("judge", database, "--run", run, "--json", "-")))


def comparison(database: Path, runs: Sequence[int], against: str | Path) -> Any:
    known = ids(database)
    chosen = [word for run in runs for word in ("--run", known[run - 1])]
    words = ("compare", database, "--baseline", against, "--config", OLD / "streamgauge.toml", "--json", "-")
    return json.loads(output_of(*words, *chosen))


@pytest.mark.parametrize("name", COMPARED)
def test_runs_of_an_old_database_are_compared_as_before(database: Path, name: str) -> None:
    equal(written(f"compare-{name}.json"), comparison(database, COMPARED[name], "main"))


def test_runs_are_compared_with_an_old_baseline_s_file_as_before(database: Path) -> None:
    expected = written("compare-slower.json", "compare-slower.json with baseline.json")
    path = OLD / "baseline.json"
    equal(expected | {"baseline": str(path)}, comparison(database, COMPARED["slower"], path))


def test_two_runs_of_an_old_database_differ_by_as_much_as_before(database: Path) -> None:
    before, after = ids(database)[22:24]
    with Store.open(database) as store:
        seen = two_runs.differences(judge(store, before), judge(store, after))
    expected = written("compare-look.json")
    known = {subject for subject, *_ in expected}
    equal(
        expected,
        [
            [row.subject, row.unit, row.before, row.after, row.change, *row.interval]
            for row in seen
            if row.subject in known
        ],
    )


def test_the_history_of_an_old_database_is_as_before(database: Path) -> None:
    table = output_of("history", database, "--run", ids(database)[0], "--csv", "-")
    before = list(csv.reader(io.StringIO((OLD / "history.csv").read_text())))
    # Newer columns stand behind the older ones.
    assert [row[: len(before[0])] for row in csv.reader(io.StringIO(table))] == before


def test_an_old_database_takes_new_runs(database: Path) -> None:
    with Store.create(database) as store:
        last = store.run()
        store.append(last.id, [observation()])
        assert store.count(last.id) == sum(map(len, store.streams(last.id)))


def test_an_old_database_has_a_report(database: Path, tmp_path: Path) -> None:
    for run in JUDGED.values():
        output_of("report", database, "--run", ids(database)[run - 1], "-o", tmp_path / "page.html")
        assert (tmp_path / "page.html").stat().st_size > 100_000
