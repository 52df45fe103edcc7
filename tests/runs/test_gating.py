"""`noise`, `ab` and `run --gate` with real runs."""

import json
import subprocess
from pathlib import Path

import pytest

from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.run.labels import provenance
from tests.support.accepted import CONFIG, add, fill
from tests.support.busy import again_if_busy, only_busy
from tests.support.command import command, ends_after, invoke
from tests.support.record import a_run
from tests.support.reference import ReferenceServer

Ended = subprocess.CompletedProcess[str]
# Few users, so that a run takes three seconds: stops of its process for a tenth of its time, as a busy machine makes
# them, would make it invalid.
WORK = ("--users", 10, "--spawn-rate", 100, "--db", "gauge.db")


def run(*words: object, cwd: Path) -> Ended:
    """`streamgauge …`, to its end."""
    return command("streamgauge", *words, cwd=cwd, COLUMNS="200")


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config, and with a database of ten runs of the branch main and then one series of three."""
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# With real runs


def runs_of(database: Path) -> list[Run]:
    with Store.open(database) as store:
        return store.runs()


@pytest.fixture(scope="module")
def noisy(server: ReferenceServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A folder with a scenario, a config and five equal runs of it; and what `noise` said of them."""
    folder = tmp_path_factory.mktemp("noisy")
    (folder / "streamgauge.toml").write_text(CONFIG)
    (folder / "hundred.py").write_text(ends_after(100))

    def series() -> Ended:
        (folder / "gauge.db").unlink(missing_ok=True)
        return run("noise", "hundred.py", "--host", server.url, *WORK, "--runs", 5, cwd=folder)

    told = again_if_busy(series)
    assert told.returncode == 0 or only_busy(told), told.stdout + told.stderr
    return folder, told


STOPS = """\
import os, signal
from streamgauge.scenario import StreamUser, task


class Stopped(StreamUser):
    @task
    def ask(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
"""


def test_noise_of_runs_that_ended_early_is_inconclusive_and_writes_nothing(
    server: ReferenceServer, tmp_path: Path
) -> None:
    config = tmp_path / "streamgauge.toml"
    config.write_text(CONFIG)
    (tmp_path / "stops.py").write_text(STOPS)
    told = run("noise", "stops.py", "--host", server.url, *WORK, "--budget", "5m", "--write", cwd=tmp_path)
    assert (told.returncode, config.read_text()) == (3, CONFIG), told.stderr
    assert "streamgauge.toml: not changed, because nothing is proposed" in told.stderr
    assert len(runs_of(tmp_path / "gauge.db")) == 1


class TestOnFiveEqualRuns:
    def test_noise_reports_how_far_equal_runs_differ_and_what_a_gate_would_detect(
        self, noisy: tuple[Path, Ended]
    ) -> None:
        folder, told = noisy
        heads = [line.partition(": ")[0] for line in told.stdout.splitlines() if " of 5: " in line]
        assert heads == [f"{number} of 5" for number in range(1, 6)], "one line for each run"
        assert "metric  " not in told.stdout
        if not only_busy(told):
            assert "p95(ttft): equal runs are " in told.stdout
            assert "standard deviation of 5 runs" in told.stdout
            assert "10 accepted runs against 3 + 5 fresh: stops" in told.stdout
        assert len({each.labels["series"] for each in runs_of(folder / "gauge.db")}) == 1

    def test_a_gate_runs_its_second_stage_by_itself_when_the_first_is_suspicious(
        self, server: ReferenceServer, noisy: tuple[Path, Ended], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder, _ = noisy
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
        work = runs_of(folder / "gauge.db")[0].fingerprint
        with Store.create(folder / "gauge.db") as store:  # as if the server had once been much faster
            ids = [add(store, a_run(id=f"old-{place}", fingerprint=work), 20) for place in range(10)]
        options = [word for each in ids for word in ("--run", each)]
        invoke("baseline", "accept", folder / "gauge.db", "--name", "main", *options)
        before = (folder / "gauge.db").read_bytes()

        def gate() -> Ended:
            (folder / "gauge.db").write_bytes(before)
            (folder / "summary.md").unlink(missing_ok=True)
            said = ("--gate", "main", "--json", "r.json")
            return run("run", "hundred.py", "--host", server.url, *WORK, *said, cwd=folder)

        gated = again_if_busy(gate)
        there = runs_of(folder / "gauge.db")
        assert len(there) > 5 + 10
        if only_busy(gated):  # no run that was short of cores is compared
            assert "REGRESSED" not in gated.stdout
            return
        assert gated.returncode == 1, gated.stderr
        assert "suspicious; 5 fresh runs would tell" in gated.stderr
        assert "✗ REGRESSED: p95(ttft) +" in gated.stdout
        assert "clear after 1 run of 3" in gated.stderr
        assert len(there) == 5 + 10 + 6
        assert len({each.labels["series"] for each in there[-6:]}) == 1
        assert json.loads((folder / "r.json").read_text())["run"]["id"] == there[-6].id, "of the first stage"
        headings = [line for line in (folder / "summary.md").read_text().splitlines() if line.startswith("## ")]
        assert [heading.split()[2] for heading in headings] == ["REGRESSED:"], "once, for rules and gate"

    def test_two_builds_take_turns(self, server: ReferenceServer, noisy: tuple[Path, Ended]) -> None:
        folder, _ = noisy
        sides = ("--a", server.url, "--b", server.url)
        told = again_if_busy(lambda: run("ab", "hundred.py", *sides, *WORK, "--pairs", 1, cwd=folder))
        assert told.returncode == 3, told.stderr
        assert "? INCONCLUSIVE: 1 of the 4 pairs that a verdict needs" in told.stdout or only_busy(told)
        assert [each.labels["side"] for each in runs_of(folder / "gauge.db")[-2:]] == ["a", "b"]


def test_a_series_ends_at_the_first_mistake(tmp_path: Path) -> None:
    ended = run("run", "chat", "--host", "http://nowhere.invalid", "--repeat", 3, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.count("does not resolve") == 1


def test_a_candidate_that_sends_other_work_is_refused_after_its_first_run(server: ReferenceServer, there: Path) -> None:
    (there / "hundred.py").write_text(ends_after(100))
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
def test_a_killed_run_does_not_pass_the_gate(server: ReferenceServer, there: Path, gate: list[str]) -> None:
    (there / "killed.py").write_text(KILLED)
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    ended = run("run", "killed.py", "--host", server.url, *WORK, "--repeat", 3, *gate, cwd=there)
    assert ended.returncode == 2
    assert "was killed by SIGKILL; a run that it made has no end and no verdict" in ended.stderr
    assert len(runs_of(there / "gauge.db")) == 13 + 1, "the series ends with it"


def test_branch_and_commit_come_from_ci_variables_or_from_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
