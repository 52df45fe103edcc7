"""Whole runs: the real command, a real Locust, the real reference server, a real database."""

import contextlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

from tests.support.busy import again_if_busy, ended_well, only_busy
from tests.support.command import (
    FAILED,
    REPOSITORY,
    RULES,
    command,
    count,
    ends_after,
    invoke,
    rows,
    running,
    until,
)
from tests.support.reference import ReferenceServer

SCHEMA = json.loads((REPOSITORY / "docs/reference/result.schema.json").read_text())


@dataclass(frozen=True)
class Ended:
    process: "subprocess.CompletedProcess[str]"
    folder: Path
    served: set[str]  # the ids of the streams that the server saw of it


@pytest.fixture(scope="module")
def mixed(server: ReferenceServer, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run of the scenario `mixed`, with all that it makes in the folder `new`."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "rules.toml").write_text(RULES)
    before: set[str] = set()

    def attempt() -> "subprocess.CompletedProcess[str]":
        shutil.rmtree(folder / "new", ignore_errors=True)
        (folder / "new").mkdir()
        before.update(row["id"] for row in server.truth())
        return command(
            "streamgauge", "run", "mixed", "--host", server.url, "--users", 12, "--spawn-rate", 12, "--run-time", "5s",
            "--config", "rules.toml", "--db", "new/run.db", "--report", "new/run.html", "--json", "new/run.json",
            "--label", "build=abc",
            cwd=folder,
        )  # fmt: skip

    ended = again_if_busy(attempt)
    return Ended(ended, folder / "new", {row["id"] for row in server.truth()} - before)


class TestARunOfMixed:
    def test_it_writes_a_verdict_a_database_a_report_and_a_result(self, mixed: Ended) -> None:
        document = json.loads((mixed.folder / "run.json").read_text())
        jsonschema.validate(document, SCHEMA)
        if only_busy(mixed.process):
            assert document["verdict"] == "invalid"
        else:
            assert mixed.process.returncode == 0, mixed.process.stderr
            assert "MET: all 2 rules met" in mixed.process.stdout
            assert document["verdict"] == "met"
        assert [rule["status"] for rule in document["verdicts"]] == ["met", "met"]
        assert "12 users" in mixed.process.stderr, "progress is shown"
        assert document["run"]["labels"]["build"] == "abc"
        assert {path.name for path in mixed.folder.iterdir()} == {"run.db", "run.html", "run.json"}, (
            "a finished database is whole by itself, without a write-ahead log"
        )
        assert "<html" in (mixed.folder / "run.html").read_text()

    def test_the_result_counts_the_streams_of_the_database(self, mixed: Ended) -> None:
        document = json.loads((mixed.folder / "run.json").read_text())
        stored = rows(mixed.folder / "run.db", "SELECT outcome, count(*) FROM stream_metrics GROUP BY outcome")
        assert dict(stored) == document["outcomes"]

    def test_every_kind_of_user_asks_and_none_fails(self, mixed: Ended) -> None:
        kinds = rows(mixed.folder / "run.db", f"SELECT user, sum({FAILED}) FROM streams GROUP BY user")
        assert dict(kinds) == dict.fromkeys(("Reader", "PhoneReader", "Commuter", "Stopper", "TabCloser"), 0)

    def test_no_first_token_comes_before_the_server_sent_it(self, mixed: Ended) -> None:
        (least,) = rows(mixed.folder / "run.db", "SELECT min(ttft_ms) FROM stream_metrics")[0]
        assert least >= 100

    def test_every_stream_that_the_server_saw_is_in_the_record(self, mixed: Ended) -> None:
        requests = [request for (request,) in rows(mixed.folder / "run.db", "SELECT request_id FROM streams")]
        kept = {request for request in requests if request}
        # One that was cut between the server's answer and our first read has no request id.
        assert kept <= mixed.served
        assert len(mixed.served - kept) <= requests.count(None)

    def test_the_database_alone_is_enough_to_judge_again(
        self, mixed: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        shutil.copy(mixed.folder / "run.db", "run.db")
        (run,) = rows(tmp_path / "run.db", "SELECT id FROM runs")[0]
        listed = invoke("runs", "run.db")
        assert run in "".join(listed.stdout.split()), listed.stdout
        Path("strict.toml").write_text('[[sla]]\nrule = "max(ttft) < 1ms"\n')
        assert invoke("judge", "run.db").exit_code == mixed.process.returncode
        missed = invoke("judge", "run.db", "--run", run[:6], "--config", "strict.toml", "--json", "-")
        assert missed.exit_code == 1
        assert json.loads(missed.stdout)["verdict"] == "missed"
        drawn = invoke("report", "run.db", "-o", "page.html")
        assert drawn.exit_code == 0, drawn.stderr
        assert run in Path("page.html").read_text()


def test_the_same_seed_sends_the_same_requests(server: ReferenceServer, rules: Path, tmp_path: Path) -> None:
    hasty = tmp_path / "hasty.py"
    hasty.write_text((REPOSITORY / "scenarios/chat.py").read_text().replace("between(1, 4)", "between(0, 0.01)"))
    words = ("locust", "-f", hasty, "--headless", "-H", server.url, "-u", 1, "--gauge-config", rules)
    with contextlib.ExitStack() as runs:
        for place, seed in enumerate((7, 7, 8)):
            run = running(*words, "--gauge-db", f"{place}.db", "--gauge-seed", seed, cwd=tmp_path)
            runs.enter_context(run)
        until(lambda: all(count(tmp_path / f"{place}.db", "streams") >= 3 for place in range(3)))
    asked = [rows(tmp_path / f"{place}.db", "SELECT input_tokens FROM streams LIMIT 3") for place in range(3)]
    assert asked[0] == asked[1] != asked[2]


def test_a_run_can_give_every_user_another_client(server: ReferenceServer, rules: Path, tmp_path: Path) -> None:
    (tmp_path / "dozen.py").write_text(ends_after(12))
    ended = command(
        "streamgauge", "run", "dozen.py", "--host", server.url, "--users", 3, "--spawn-rate", 3,
        "--config", rules, "--db", "run.db", "--client", "anthropic",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended_well(ended.returncode, tmp_path / "run.db"), ended.stdout + ended.stderr
    assert rows(tmp_path / "run.db", f"SELECT sum({FAILED}) FROM streams") == [(0,)]
    assert rows(tmp_path / "run.db", "SELECT DISTINCT client FROM streams") == [("anthropic",)]
    assert "client_overhead" in ended.stdout, "what the SDK adds is told beside what the wire delivered"
