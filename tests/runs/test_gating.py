"""`compare`, `baseline` and `run --gate`, as the command that people and CI call."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from streamgauge.harness.compare.series import worst
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.run.labels import provenance
from tests.support.command import invoke
from tests.support.record import MS, a_run, ttfts
from tests.support.reference import ReferenceServer, reference_server

STREAMGAUGE = Path(sys.executable).parent / "streamgauge"
KIND = {"scenario": "chat", "load": {"users": 20}}
WORK = ("--users", 10, "--spawn-rate", 100, "--run-time", "20s", "--db", "gauge.db")
CONFIG = """
[target]
max_tokens = 3
[regression]
metrics = ["p95(ttft)"]
"""
HUNDRED = """
import gevent
from streamgauge.scenario import StreamUser, task

class Reader(StreamUser):
    asked = 0

    @task
    def ask(self):
        if Reader.asked == 100:
            gevent.spawn(self.environment.runner.quit)  # a user that stops all users would stop itself first
        Reader.asked += 1
        self.stream()
"""


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A process of its own, to its end."""
    environment = {**os.environ, "COLUMNS": "200"}
    told = [str(STREAMGAUGE), *map(str, words)]
    return subprocess.run(told, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def add(store: Store, run: Run, ttft: float) -> str:
    """A finished run of 80 streams with about this TTFT, in ms."""
    draw = Random(run.id)
    store.start_run(run)
    store.append(run.id, ttfts([ttft * draw.gauss(1, 0.01) * draw.uniform(0.8, 1.2) for _ in range(80)]))
    store.finish_run(run.id, ended_ns=10_000 * MS, status="finished")
    return run.id


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config, and with a database of ten runs of the branch main and then one series of three."""
    (tmp_path / "streamgauge.toml").write_text(CONFIG)
    with Store.create(tmp_path / "gauge.db") as store:
        for place in range(10):
            add(store, a_run(id=f"old-{place}", fingerprint=KIND, labels={"branch": "main"}), 400)
        for place in range(3):
            add(store, a_run(id=f"new-{place}", fingerprint=KIND, labels={"series": "7"}), 402)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("there")
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


def test_a_run_of_a_series_that_proves_nothing_is_left_out_and_said(there: Path) -> None:
    with Store.create(there / "gauge.db") as store:
        store.start_run(a_run(id="new-9", fingerprint=KIND, labels={"series": "7"}))
        store.finish_run("new-9", ended_ns=10_000 * MS, status="finished")
    accepted = invoke("baseline", "accept", "gauge.db", "--name", "main")
    told = "main: 3 runs added, 3 in all\n  new-9 is left out: the run has no streams\n"
    assert (accepted.exit_code, accepted.stdout) == (0, told)
    asked = invoke("baseline", "accept", "gauge.db", "--name", "main", "--run", "new-9")
    assert (asked.exit_code, "new-9 cannot be accepted: the run has no streams" in asked.stderr) == (2, True)


@pytest.mark.usefixtures("there")
def test_a_name_is_text_and_no_markup() -> None:
    invoke("baseline", "accept", "gauge.db", "--name", "[/x]", "--branch", "main")
    compared = invoke("compare", "gauge.db", "--baseline", "[/x]")
    assert (compared.exit_code, "candidate: 3 runs; [/x]: 10 runs" in compared.stdout) == (0, True)


@pytest.mark.usefixtures("there")
def test_a_baseline_travels_as_a_file() -> None:
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--label", "branch=main")
    invoke("baseline", "export", "gauge.db", "--name", "main", "-o", "ci/main.json")
    by_file = invoke("compare", "gauge.db", "--baseline", "ci/main.json", "--json", "-")
    assert by_file.exit_code == 0, by_file.stderr
    document = json.loads(by_file.stdout)
    assert (document["schema"], document["verdict"]) == ("streamgauge/comparison/1", "ok")
    assert document["first_runs"] == ["new-0", "new-1", "new-2"]
    (row,) = document["rows"]
    assert row["low"] < row["change"] < row["high"]
    came = invoke("baseline", "import", "fresh.db", "ci/main.json", "--name", "release")
    assert came.stdout == "release: 10 runs added, 10 in all\n"


def test_two_single_runs_are_a_look_and_no_gate(there: Path) -> None:
    with Store.create(there / "other.db") as store:
        add(store, a_run(id="elsewhere", fingerprint={**KIND, "load": {"users": 50}}), 600)
    seen = invoke("compare", "gauge.db", "other.db")
    assert seen.exit_code == 0, seen.stderr
    assert seen.stdout.startswith("not a gate: with one run on each side")
    assert "not the same work: load.users was 20 and is 50" in seen.stdout
    assert "p95(ttft)" in seen.stdout
    assert invoke("compare", "gauge.db", "--run", "old-1", "--run", "new-1").exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["compare", "gauge.db"], "compare with what?"),
        (["compare", "gauge.db", "--run", "new-0"], "compare with what?"),
        (["compare", "gauge.db", "gauge.db", "--baseline", "main"], "take gauge.db out"),
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
def test_a_mistake_is_one_line_and_exit_code_2(there: Path, words: list[str], told: str) -> None:
    (there / "broken.json").write_text('{"schema": "streamgauge/baseline/1", "na')
    (there / "metric.toml").write_text('[regression]\nmetrics = ["p95(ttfb)"]\n')
    if "metric.toml" in words:
        invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    ended = invoke(*words)
    assert ended.exit_code == 2
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_baseline_says_what_it_can_see(there: Path) -> None:
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    told = invoke("baseline", "noise", "gauge.db", "--name", "main").stdout
    invoke("baseline", "export", "gauge.db", "--name", "main", "-o", "main.json")
    assert "standard deviation of 10 runs" in told
    assert invoke("baseline", "noise", "gauge.db", "--name", "main.json").stdout == told
    assert (there / "main.json").exists()


# With real runs


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--ttft", "40ms", "--itl", "1ms") as found:
        yield found


def runs_of(database: Path) -> list[Run]:
    with Store.open(database) as store:
        return store.runs()


five_equal_runs = pytest.mark.xdist_group("noisy")  # one worker makes them for all


@pytest.fixture(scope="module")
def noisy(server: ReferenceServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a scenario, a config and five equal runs of it; and what `noise` said of them."""
    folder = tmp_path_factory.mktemp("noisy")
    (folder / "streamgauge.toml").write_text(CONFIG)
    (folder / "hundred.py").write_text(HUNDRED)
    told = run("noise", "hundred.py", "--host", server.url, *WORK, "--runs", 5, cwd=folder)
    assert told.returncode == 0, told.stderr
    return folder, told.stdout


@five_equal_runs
def test_noise_tells_how_far_equal_runs_are_apart_and_what_a_gate_would_find(noisy: tuple[Path, str]) -> None:
    folder, told = noisy
    assert "p95(ttft): equal runs are " in told
    assert "standard deviation of 5 runs" in told
    assert "10 accepted runs against 3 + 5: stops" in told
    assert len({each.labels["series"] for each in runs_of(folder / "gauge.db")}) == 1


@five_equal_runs
def test_a_gate_runs_its_second_stage_by_itself_when_the_first_is_suspicious(
    server: ReferenceServer, noisy: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = noisy
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    work = runs_of(folder / "gauge.db")[0].fingerprint
    with Store.create(folder / "gauge.db") as store:  # as if the server had once been twice as fast
        ids = [add(store, a_run(id=f"old-{place}", fingerprint=work), 20) for place in range(10)]
    options = [word for each in ids for word in ("--run", each)]
    invoke("baseline", "accept", folder / "gauge.db", "--name", "main", *options)
    gated = run("run", "hundred.py", "--host", server.url, *WORK, "--gate", "main", "--json", "r.json", cwd=folder)
    assert gated.returncode == 1, gated.stderr
    assert "suspicious; 5 fresh runs would tell" in gated.stderr
    assert "✗ REGRESSED: p95(ttft) +" in gated.stdout
    there = runs_of(folder / "gauge.db")
    assert len(there) == 5 + 10 + 8
    assert len({each.labels["series"] for each in there[-8:]}) == 1
    assert json.loads((folder / "r.json").read_text())["run"]["id"] == there[-6].id, "the last of the three"
    headings = [line for line in (folder / "summary.md").read_text().splitlines() if line.startswith("## ")]
    assert [heading.split()[2] for heading in headings] == ["INCONCLUSIVE:", "REGRESSED:"], "one run, and the gate"


@five_equal_runs
def test_two_builds_take_turns(server: ReferenceServer, noisy: tuple[Path, str]) -> None:
    folder, _ = noisy
    told = run("ab", "hundred.py", "--a", server.url, "--b", server.url, *WORK, "--pairs", 1, cwd=folder)
    assert told.returncode == 3, told.stderr
    assert "? INCONCLUSIVE: 1 of the 4 pairs that a verdict needs" in told.stdout
    assert [each.labels["side"] for each in runs_of(folder / "gauge.db")[-2:]] == ["a", "b"]


def test_a_series_ends_with_a_mistake(tmp_path: Path) -> None:
    ended = run("run", "chat", "--host", "http://nowhere.invalid", "--repeat", 3, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.count("does not resolve") == 1


def test_other_work_is_refused_after_one_run_and_not_after_three(server: ReferenceServer, there: Path) -> None:
    (there / "hundred.py").write_text(HUNDRED)
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    ended = run("run", "hundred.py", "--host", server.url, *WORK, "--gate", "main", cwd=there)
    assert (ended.returncode, "cannot be compared with old-9 of the baseline 'main'" in ended.stderr) == (2, True)
    assert len(runs_of(there / "gauge.db")) == 13 + 1


KILLED = """
import os, signal
from streamgauge.scenario import StreamUser, task

class Reader(StreamUser):
    @task
    def ask(self):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("gate", [[], ["--gate", "main"]], ids=["repeat", "gate"])
def test_a_run_that_was_killed_is_no_pass(server: ReferenceServer, there: Path, gate: list[str]) -> None:
    (there / "killed.py").write_text(KILLED)
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    ended = run("run", "killed.py", "--host", server.url, *WORK, "--repeat", 3, *gate, cwd=there)
    assert ended.returncode == 3
    assert ("a run did not come to its end" in ended.stderr) == bool(gate)
    assert len(runs_of(there / "gauge.db")) == 13 + 1, "the series ends with it"


def test_the_worst_exit_code_is_that_of_the_series() -> None:
    assert [worst(codes) for codes in ([0, 0], [0, 3], [3, 1, 0], [1, 2], [0, -9], [])] == [0, 3, 1, 2, 3, 0]


def test_where_a_run_comes_from_is_ci_s_word_or_git_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    github = {"GITHUB_HEAD_REF": "", "GITHUB_REF_NAME": "main", "GITHUB_SHA": "abc"}
    assert provenance(github) == {"branch": "main", "commit": "abc"}
    assert provenance({**github, "GITHUB_HEAD_REF": "fix"})["branch"] == "fix"
    monkeypatch.chdir(tmp_path)
    assert provenance({"CI_COMMIT_REF_NAME": "dev"}) == {"branch": "dev"}
    for words in (
        ["init", "-b", "topic"],
        ["-c", "user.name=a", "-c", "user.email=b", "commit", "--allow-empty", "-m", "c"],
    ):
        subprocess.run(["git", *words], check=True, capture_output=True)
    assert provenance({})["branch"] == "topic"
    assert len(provenance({})["commit"]) == 40
