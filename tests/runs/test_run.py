"""Whole runs: the real command, a real Locust, the real reference server, a real database."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import jsonschema
import pytest

from tests.support.command import BIN, HASTY, REPOSITORY, RULES, command, count, free_port, rows, started, until
from tests.support.reference import ReferenceServer, reference_server

SCHEMA = json.loads((REPOSITORY / "docs/reference/result.schema.json").read_text())


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--ttft", "100ms", "--itl", "10ms") as found:
        yield found


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


def test_a_run_leaves_a_verdict_a_database_a_report_and_a_result(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    ended = command(
        "streamgauge", "run", "mixed", "--host", server.url, "--users", 12, "--spawn-rate", 12, "--run-time", "5s",
        "--config", rules, "--db", "new/run.db", "--report", "new/run.html", "--json", "new/run.json",
        "--label", "build=abc",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "MET: all 2 rules met" in ended.stdout
    assert "12 users" in ended.stderr, "progress is shown"
    document = json.loads((tmp_path / "new/run.json").read_text())
    jsonschema.validate(document, SCHEMA)
    assert document["verdict"] == "met"
    assert document["run"]["labels"]["build"] == "abc"
    database = tmp_path / "new/run.db"
    assert [path.name for path in (tmp_path / "new").iterdir()] != []
    assert not (tmp_path / "new/run.db-wal").exists(), "a finished file is whole by itself"
    stored = rows(database, "SELECT outcome, count(*) FROM stream_metrics GROUP BY outcome")
    assert dict(stored) == document["outcomes"]
    assert set(dict(rows(database, "SELECT DISTINCT user, network FROM stream_metrics"))) == {
        "Reader", "PhoneReader", "Commuter", "Stopper", "TabCloser",
    }  # fmt: skip
    (least,) = rows(database, "SELECT min(ttft_ms) FROM stream_metrics")[0]
    assert least >= 100, "no first token can come before the server sent it"
    assert "<html" in (tmp_path / "new/run.html").read_text()


def test_a_link_of_ones_own_is_used_by_its_name_and_told_apart_by_its_numbers(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    (tmp_path / "office.py").write_text(HASTY.replace("(StreamUser):", '(StreamUser):\n    network = "office"'))
    rules.write_text(RULES + '[networks.office]\nrtt = "80ms"\ndown_kbit = 2000\nup_kbit = 1000\n')
    port = free_port()
    ended = command(
        "locust", "-f", "office.py", "--headless", "-u", 2, "-r", 2, "-t", "4s", "-H", server.url, "--processes", 2,
        "--master-bind-port", port, "--master-port", port, "--gauge-config", rules, "--gauge-db", "run.db",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode in {0, 3}, ended.stderr
    network, least = rows(tmp_path / "run.db", "SELECT network, min(ttft_ms) FROM stream_metrics")[0]
    assert network == "office"
    assert least > 100 + 80, "the server's first token, and the link's round trips"
    (fingerprint,) = rows(tmp_path / "run.db", "SELECT fingerprint FROM runs")[0]
    assert '"office#' in fingerprint.replace(": ", ":")


def test_who_storms_asks_again_at_once_and_every_try_is_in_the_record(rules: Path, tmp_path: Path) -> None:
    (tmp_path / "storm.py").write_text(
        HASTY.replace("between(0, 0.05)", 'between(1, 2)\n    behaviour = "retry_storm"')
    )
    with reference_server("--preset", "exact", "--tokens", "30", "--max-streams", "1") as busy:
        ended = command(
            "streamgauge", "run", "storm.py", "--host", busy.url, "--users", 3, "--spawn-rate", 3, "--run-time", "6s",
            "--config", rules, "--db", "run.db",
            cwd=tmp_path,
        )  # fmt: skip
    assert ended.returncode in {0, 1, 3}, ended.stderr
    tries = dict(
        rows(tmp_path / "run.db", "SELECT http_status, count(*) FROM streams WHERE labels LIKE '%retry%' GROUP BY 1")
    )
    assert tries[529] > 3, "each answer takes 800 ms; whoever else asks meanwhile asks every 50 to 250 ms"
    assert tries.get(200, 0) > 0, "and gets through in the end"


@pytest.mark.parametrize("name", sorted(path.stem for path in (REPOSITORY / "scenarios").glob("[a-z]*.py")))
def test_every_scenario_runs(name: str, server: ReferenceServer, tmp_path: Path) -> None:
    shaped = name in {"steps", "spike", "soak", "noisy_neighbour"}
    ended = command(
        "streamgauge", "run", name, "--host", server.url, *([] if shaped else ["--users", 5, "--spawn-rate", 5]),
        "--run-time", "3s", "--db", "run.db",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode in {0, 3}, ended.stderr
    begun, failed = rows(
        tmp_path / "run.db",
        "SELECT count(*), sum(outcome NOT IN ('completed', 'cancelled', 'interrupted')) FROM streams",
    )[0]
    assert (begun > 0, failed) == (True, 0)


def test_every_stream_that_the_server_saw_is_in_the_record(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    before = {row["id"] for row in server.truth()}
    ended = command(
        "streamgauge", "run", "disconnects", "--host", server.url, "--users", 10, "--spawn-rate", 10,
        "--run-time", "5s", "--config", rules, "--db", "run.db",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode in {0, 3}, ended.stderr
    sent = {row["id"] for row in server.truth()} - before
    kept = {request for (request,) in rows(tmp_path / "run.db", "SELECT request_id FROM streams")}
    # One that was cut between the server's answer and our first read has no request id.
    assert kept - {None} <= sent
    assert len(sent - kept) <= sum(
        request is None for (request,) in rows(tmp_path / "run.db", "SELECT request_id FROM streams")
    )


def test_the_same_seed_asks_the_same_things(server: ReferenceServer, rules: Path, tmp_path: Path) -> None:
    hasty = tmp_path / "hasty.py"
    hasty.write_text((REPOSITORY / "scenarios/chat.py").read_text().replace("between(1, 4)", "between(0, 0.01)"))
    asked = []
    for seed in (7, 7, 8):
        command(
            "streamgauge", "run", hasty, "--host", server.url, "--users", 1, "--run-time", "4s", "--config", rules,
            "--db", "run.db", "--seed", seed,
            cwd=tmp_path,
        )  # fmt: skip
        (run,) = rows(tmp_path / "run.db", "SELECT max(number) FROM runs")[0]
        asked.append(rows(tmp_path / "run.db", f"SELECT input_tokens FROM streams WHERE run = {run} LIMIT 3"))
    assert len(asked[0]) == 3
    assert asked[0] == asked[1] != asked[2]


def test_the_web_ui_starts_and_stops_runs(server: ReferenceServer, rules: Path, tmp_path: Path) -> None:
    port = free_port()
    with started(
        [
            BIN / "locust", "-f", REPOSITORY / "scenarios/chat.py", "--web-host", "127.0.0.1", "--web-port", str(port),
            "--gauge-config", rules, "--gauge-db", "run.db", "--gauge-report", "run.html",
        ],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as locust, httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as ui:  # fmt: skip
        until(lambda: answers(ui))
        for _ in range(2):
            before = count(tmp_path / "run.db", "streams")
            swarm = {"user_count": "3", "spawn_rate": "3", "host": server.url}
            assert ui.post("/swarm", data=swarm).json()["success"]
            until(lambda before=before: count(tmp_path / "run.db", "streams") > before)
            assert ui.post("/stop", timeout=30).json()["success"]
        until((tmp_path / "run.html").exists)
        locust.send_signal(signal.SIGINT)
        _, errors = locust.communicate(timeout=30)
    assert "Traceback" not in errors
    assert [status for (status,) in rows(tmp_path / "run.db", "SELECT status FROM runs")] == ["finished"] * 2


def test_the_database_alone_is_enough_afterwards(server: ReferenceServer, rules: Path, tmp_path: Path) -> None:
    command(
        "streamgauge", "run", "chat", "--host", server.url, "--users", 4, "--spawn-rate", 4, "--run-time", "3s",
        "--config", rules, "--db", "run.db",
        cwd=tmp_path,
    )  # fmt: skip
    (run,) = rows(tmp_path / "run.db", "SELECT id FROM runs")[0]
    listed = command("streamgauge", "runs", "run.db", cwd=tmp_path)
    assert run in "".join(listed.stdout.split()), listed.stdout
    strict = tmp_path / "strict.toml"
    strict.write_text('[[sla]]\nrule = "max(ttft) < 1ms"\n')
    assert command("streamgauge", "judge", "run.db", cwd=tmp_path).returncode == 0
    missed = command(
        "streamgauge", "judge", "run.db", "--run", run[:6], "--config", strict, "--json", "-", cwd=tmp_path
    )
    assert missed.returncode == 1
    assert json.loads(missed.stdout)["verdict"] == "missed"
    drawn = command("streamgauge", "report", "run.db", "-o", "page.html", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert run in (tmp_path / "page.html").read_text()


def test_a_run_can_put_another_client_under_every_user(server: ReferenceServer, rules: Path, tmp_path: Path) -> None:
    ended = command(
        "streamgauge", "run", "chat", "--host", server.url, "--users", 6, "--spawn-rate", 6, "--run-time", "6s",
        "--config", rules, "--db", "run.db", "--client", "anthropic",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert rows(tmp_path / "run.db", "SELECT DISTINCT client FROM streams") == [("anthropic",)]
    assert "client_overhead" in ended.stdout, "what the SDK adds is told beside what the wire delivered"


def test_nothing_to_judge_is_inconclusive_and_the_caller_may_choose(server: ReferenceServer, tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    command(
        "streamgauge", "run", "chat", "--host", server.url, "--users", 1, "--run-time", "2s", "--config", empty,
        "--db", "run.db", cwd=tmp_path,
    )  # fmt: skip
    assert command("streamgauge", "judge", "run.db", cwd=tmp_path).returncode == 3
    assert command("streamgauge", "judge", "run.db", "--inconclusive", "pass", cwd=tmp_path).returncode == 0
    assert command("streamgauge", "judge", "run.db", "--inconclusive", "fail", cwd=tmp_path).returncode == 1


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False
