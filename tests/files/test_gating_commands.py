"""`compare` and `baseline` as commands, on runs that are in a database."""

import json
from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.compare.series import worst
from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.store import Store
from streamgauge.harness.record.observation import Outcome
from tests.support.accepted import KIND, add, fill
from tests.support.command import invoke
from tests.support.record import MS, a_run, observation, ttfts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config, and with a database of ten runs of the branch main and then one series of three."""
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_baseline_is_accepted_listed_compared_with_and_removed() -> None:
    accepted = invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    assert accepted.stdout == "main: 10 runs added, 10 in all\n"
    assert "old-9" in invoke("baseline", "list", "gauge.db").stdout
    compared = invoke("compare", "gauge.db", "--baseline", "main")
    assert compared.exit_code == 0, compared.stderr
    assert compared.stdout.startswith("✓ OK: no metric has regressed")
    assert "candidate: 3 runs; main: 10 runs" in compared.stdout
    less = invoke("baseline", "remove", "gauge.db", "--name", "main", "--run", "old-3")
    assert less.stdout == "main: 1 run taken out, 9 left\n"
    few = invoke("compare", "gauge.db", "--baseline", "main")
    assert (few.exit_code, "main has 9 comparable runs of the 10" in few.stdout) == (3, True)
    assert invoke("compare", "gauge.db", "--baseline", "main", "--inconclusive", "pass").exit_code == 0
    invoke("baseline", "remove", "gauge.db", "--name", "main")
    none = invoke("compare", "gauge.db", "--baseline", "main")
    assert (none.exit_code, "no baseline called 'main'; there are none yet" in none.stderr) == (2, True)


def test_an_unfit_run_of_a_series_is_left_out_with_its_reason(folder: Path) -> None:
    with Store.create(folder / "gauge.db") as store:
        store.start_run(a_run(id="new-9", fingerprint=KIND, labels={"series": "7"}))
        store.finish_run("new-9", ended_ns=10_000 * MS, status="finished")
    accepted = invoke("baseline", "accept", "gauge.db", "--name", "main")
    expected = "main: 3 runs added, 3 in all\n  new-9 is left out: the run has no streams\n"
    assert (accepted.exit_code, accepted.stdout) == (0, expected)
    asked = invoke("baseline", "accept", "gauge.db", "--name", "main", "--run", "new-9")
    assert (asked.exit_code, "new-9 cannot be accepted: the run has no streams" in asked.stderr) == (2, True)


def add_run(store: Store, name: str, failed: int, *rules: Sla, instrument: dict[str, Any] | None = None) -> None:
    """A finished run of 100 streams, of which so many failed."""
    store.start_run(a_run(id=name, fingerprint=KIND, rules=list(rules)))
    refused = [observation((), outcome=Outcome.REFUSED, http_status=401) for _ in range(failed)]
    store.append(name, [*ttfts([400.0] * (100 - failed)), *refused])
    store.finish_run(name, ended_ns=10_000 * MS, status="finished", instrument=instrument or {})


@pytest.mark.parametrize(
    ("failed", "rules", "instrument", "expected"),
    [
        (100, [], {}, "100 of 100 streams failed, and no rule says how many may"),
        (6, [], {}, "6 of 100 streams failed, and no rule says how many may"),
        (40, [Sla(rule="p50(ttft) < 5s")], {}, "40 of 100 streams failed, and no rule says how many may"),
        (40, [Sla(rule="empty_rate < 1%")], {}, "40 of 100 streams failed, and no rule says how many may"),
        (40, [Sla(rule="error_rate < 1%")], {}, "it missed error_rate < 1%"),
        (40, [Sla(rule="error_rate < 1%", severity="warn")], {}, "40 of 100 streams failed"),
        (0, [Sla(rule="p50(ttft) < 100ms")], {}, "it missed p50(ttft) < 100ms"),
        (0, [Sla(rule="p50(ttft) < 5s")], {"clock_drift_ns": 80 * MS}, "the machine's clock stepped"),
        (0, [], {"load_missing": 0.5}, "50.0 % of the load that was asked for was missing"),
    ],
)
def test_a_run_that_is_no_example_is_refused_unless_force_says_why_which_is_kept(
    folder: Path, failed: int, rules: list[Sla], instrument: dict[str, Any], expected: str
) -> None:
    with Store.create(folder / "gauge.db") as store:
        add_run(store, "bad", failed, *rules, instrument=instrument)
    accept = ("baseline", "accept", "gauge.db", "--name", "main", "--run", "bad")
    refused = invoke(*accept)
    assert refused.exit_code == 2
    assert f"bad cannot be accepted: {expected}" in refused.stderr
    assert "--force WHY" in refused.stderr
    assert invoke(*accept, "--force", " ").exit_code == 2, "a reason is needed"
    assert invoke(*accept, "--force", "the old server is like that").exit_code == 0
    assert "bad was accepted into main by --force: the old server is like that" in invoke(
        "baseline", "list", "gauge.db"
    ).stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("failed", "rules"),
    [(4, []), (20, [Sla(rule="error_rate < 50%")]), (4, [Sla(rule="p50(ttft) < 100ms", severity="warn")])],
)
def test_a_run_whose_rules_allow_its_failures_is_accepted(folder: Path, failed: int, rules: list[Sla]) -> None:
    with Store.create(folder / "gauge.db") as store:
        add_run(store, "fair", failed, *rules)
    accepted = invoke("baseline", "accept", "gauge.db", "--name", "main")
    assert (accepted.exit_code, accepted.stdout) == (0, "main: 1 run added, 1 in all\n")


@pytest.mark.usefixtures("folder")
def test_a_name_in_the_output_is_not_read_as_markup() -> None:
    invoke("baseline", "accept", "gauge.db", "--name", "[/x]", "--branch", "main")
    compared = invoke("compare", "gauge.db", "--baseline", "[/x]")
    assert (compared.exit_code, "candidate: 3 runs; [/x]: 10 runs" in compared.stdout) == (0, True)


@pytest.mark.usefixtures("folder")
def test_a_baseline_is_exported_and_imported_as_a_file() -> None:
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--label", "branch=main")
    invoke("baseline", "export", "gauge.db", "--name", "main", "-o", "main.json")
    by_file = invoke("compare", "gauge.db", "--baseline", "main.json", "--json", "-")
    assert by_file.exit_code == 0, by_file.stderr
    document = json.loads(by_file.stdout)
    assert (document["schema"], document["verdict"]) == ("streamgauge/comparison/1", "ok")
    assert document["first_runs"] == ["new-0", "new-1", "new-2"]
    (row,) = document["rows"]
    assert row["low"] < row["change"] < row["high"]
    came = invoke("baseline", "import", "fresh.db", "main.json", "--name", "release")
    assert came.stdout == "release: 10 runs added, 10 in all\n"


def test_two_single_runs_are_shown_without_a_verdict(folder: Path) -> None:
    with Store.create(folder / "other.db") as store:
        add(store, a_run(id="elsewhere", fingerprint={**KIND, "load": {"users": 50}}), 600)
    seen = invoke("compare", "gauge.db", "other.db")
    assert seen.exit_code == 0, seen.stderr
    assert seen.stdout.startswith("not a gate: with one run on each side")
    assert "not the same work: load.users was 20 and is 50" in seen.stdout
    assert "p95(ttft)" in seen.stdout
    assert invoke("compare", "gauge.db", "--run", "old-1", "--run", "new-1").exit_code == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["compare", "gauge.db"], "nothing to compare with"),
        (["compare", "gauge.db", "--run", "new-0"], "nothing to compare with"),
        (["compare", "gauge.db", "gauge.db", "--baseline", "main"], "remove gauge.db"),
        (["compare", "gauge.db", "--baseline", "nowhere.json"], "nowhere.json: cannot be read"),
        (["compare", "gauge.db", "--baseline", "broken.json"], "broken.json: not a baseline, or a damaged one"),
        (["compare", "gauge.db", "--baseline", "main", "--config", "metric.toml"], "no metric called 'ttfb'"),
        (["baseline", "accept", "gauge.db", "--name", "main", "--branch", "dev"], "has the label branch=dev"),
        (["baseline", "accept", "gauge.db", "--name", "main", "--label", "dev"], "write it as NAME=VALUE"),
        (["baseline", "export", "gauge.db", "--name", "main", "-o", "main.json"], "no baseline called 'main'"),
        (["run", "chat", "--host", "http://127.0.0.1:9", "--gate", "main"], "no baseline called 'main'"),
        (["run", "chat", "--host", "http://127.0.0.1:9", "--gate", "broken.json"], "damaged"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(folder: Path, words: list[str], expected: str) -> None:
    (folder / "broken.json").write_text('{"schema": "streamgauge/baseline/1", "na')
    (folder / "metric.toml").write_text('[regression]\nmetrics = ["p95(ttfb)"]\n')
    if "metric.toml" in words:
        invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    ended = invoke(*words)
    assert ended.exit_code == 2
    assert expected in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_noise_of_a_baseline_says_which_changes_a_gate_finds(folder: Path) -> None:
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    output = invoke("baseline", "noise", "gauge.db", "--name", "main").stdout
    invoke("baseline", "export", "gauge.db", "--name", "main", "-o", "main.json")
    assert "standard deviation of 10 runs" in output
    assert invoke("baseline", "noise", "gauge.db", "--name", "main.json").stdout == output
    assert (folder / "main.json").exists()


def test_the_worst_exit_code_is_that_of_the_series() -> None:
    assert [worst(codes) for codes in ([0, 0], [0, 3], [3, 1, 0], [1, 2], [0, -9], [])] == [0, 3, 1, 2, 3, 0]


def test_a_baseline_s_noise_proposes_a_gate_for_a_budget_and_writes_it(folder: Path) -> None:
    """Issue 17, 18: which run length, how many runs, which metrics and margin fit into five minutes."""
    config = folder / "streamgauge.toml"
    config.write_text(f"# Ours.{config.read_text()}")
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    noise = ("baseline", "noise", "gauge.db", "--name", "main")
    told = invoke(*noise, "--budget", "5m", "--write")
    assert told.exit_code == 0, told.stderr
    assert "within 5m:\n  5 runs of " in told.stdout
    assert "finds nine out of ten changes of p95(ttft) +" in told.stdout
    assert "record a baseline with `streamgauge run … --repeat 10`" in told.stdout
    written = load(config).regression
    assert config.read_text().startswith("# Ours.")
    assert (written.metrics, written.first_runs, written.fresh_runs) == (("p95(ttft)",), 2, 3)
    assert written.run_time is not None
    before = config.read_text()
    short = invoke(*noise, "--budget", "1m", "--write")
    assert (short.exit_code, config.read_text()) == (3, before)
    assert "not changed, because nothing is proposed" in short.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--write"], "give --budget, such as --budget 5m"),
        (["--budget", "5"], "is not a duration"),
        (["--budget", "30s"], "30s is too short for several runs; give at least 1m"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_mistake_in_a_budget_is_one_line(words: list[str], expected: str) -> None:
    told = invoke("baseline", "noise", "gauge.db", "--name", "main", *words)
    assert (told.exit_code, expected in told.stderr) == (2, True)


def test_a_budget_needs_the_streams_of_the_runs(folder: Path) -> None:
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    invoke("baseline", "export", "gauge.db", "--name", "main", "-o", "main.json")
    invoke("baseline", "import", "fresh.db", "main.json")
    told = invoke("baseline", "noise", "fresh.db", "--name", "main", "--budget", "5m")
    assert told.exit_code == 2
    assert "--budget needs the streams of runs" in told.stderr
    assert (folder / "fresh.db").exists()
