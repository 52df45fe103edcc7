"""Whole runs: the real command, a real Locust, the real reference server, a real database."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import psutil
import pytest

from tests.support.reference import ReferenceServer, reference_server

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SCHEMA = json.loads((REPOSITORY / "docs/reference/result.schema.json").read_text())
RULES = """
[target]
max_tokens = 30
[[sla]]
rule = "max(ttft) < 20s"
[[sla]]
rule = "stream_rate > 0"
"""

HASTY = """
from streamgauge.scenario import StreamUser, between, task

class Hasty(StreamUser):
    wait_time = between(0, 0.05)

    @task
    def ask(self):
        self.stream()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--ttft", "100ms", "--itl", "10ms") as found:
        yield found


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


def command(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `streamgauge …` or `locust …` to its end."""
    program, *rest = map(str, words)
    return subprocess.run(
        [BIN / program, *rest],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as connection:
        found = connection.execute(sql).fetchall()
    connection.close()
    return found


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


def test_processes_share_one_database(server: ReferenceServer, rules: Path, tmp_path: Path) -> None:
    ended = command(
        "locust", "-f", REPOSITORY / "scenarios/chat.py", "--headless", "-u", 6, "-r", 6, "-t", "5s", "-H", server.url,
        "--gauge-config", rules, "--gauge-db", "run.db", *processes(2),
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    workers = dict(rows(tmp_path / "run.db", "SELECT worker, count(*) FROM streams GROUP BY worker"))
    assert set(workers) == {"worker-0", "worker-1"}
    users = rows(tmp_path / "run.db", "SELECT worker, max(value) FROM samples WHERE name = 'users' GROUP BY worker")
    assert dict(users) == {"worker-0": 3, "worker-1": 3}
    told = instrument(tmp_path / "run.db")["workers"]
    assert {name: worker["streams"] for name, worker in told.items()} == workers
    assert len({worker["pid"] for worker in told.values()}) == 2
    for worker in told.values():
        assert worker["clock_offset_ns"] == 0, "one machine has one clock"
        assert worker["clock_doubt_ns"] > 0
        assert {"host", "cpus", "stamps", "cpu_max", "loop_lag_max_ms", "clock_drift_ns"} <= worker.keys()


def test_a_worker_elsewhere_gets_its_orders_from_the_master(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    port = free_port()
    scenario = str(REPOSITORY / "scenarios/chat.py")
    rules.write_text(RULES.replace("[target]", '[target]\nheaders = { "x-key" = "${A_KEY}" }'))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with started(
        [BIN / "locust", "-f", scenario, "--worker", "--master-port", str(port)],
        cwd=elsewhere,
        env={**os.environ, "A_KEY": "the workers own secret"},
        stderr=subprocess.PIPE,
    ) as worker:
        ended = command(
            "locust", "-f", scenario, "--headless", "-u", 3, "-r", 3, "-t", "4s", "-H", server.url, "--master",
            "--master-bind-port", port, "--expect-workers", 1, "--gauge-config", rules, "--gauge-db", "run.db",
            cwd=tmp_path, A_KEY="the masters secret",
        )  # fmt: skip
        assert worker.wait(20) == 0
    assert ended.returncode == 0, ended.stderr
    assert rows(tmp_path / "run.db", "SELECT DISTINCT worker FROM streams") == [("worker-0",)]
    assert b"secret" not in (tmp_path / "run.db").read_bytes()
    assert list(elsewhere.iterdir()) == [], "the database is the master's"


def test_a_killed_worker_is_noted_and_the_rest_stands(server: ReferenceServer, rules: Path, tmp_path: Path) -> None:
    (tmp_path / "hasty.py").write_text(HASTY)
    with started(
        [
            BIN / "locust", "-f", "hasty.py", "--headless", "-u", "4", "-r", "4", "-t", "5s",
            "-H", server.url, "--gauge-config", rules, "--gauge-db", "run.db", *processes(2),
        ],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as master:  # fmt: skip
        until(lambda: count(tmp_path / "run.db", "(SELECT DISTINCT worker FROM streams)") == 2)
        killed = psutil.Process(master.pid).children()[0].pid
        os.kill(killed, signal.SIGKILL)
        output, _ = master.communicate(timeout=60)
    assert "was lost, and with it what it had not sent: at least" in " ".join(output.split())
    assert rows(tmp_path / "run.db", "SELECT status FROM runs") == [("finished",)]
    (name,) = [name for name, worker in instrument(tmp_path / "run.db")["workers"].items() if worker["pid"] == killed]
    ended = dict(rows(tmp_path / "run.db", "SELECT worker, max(ended_at) FROM streams GROUP BY worker"))
    assert ended.pop(name) < min(ended.values()), "what it sent before it died stands, and the other went on"


def test_a_worker_that_is_told_to_end_leaves_all_that_it_saw(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    (tmp_path / "hasty.py").write_text(HASTY)
    port = free_port()
    with started(
        [BIN / "locust", "-f", "hasty.py", "--worker", "--master-port", port],
        cwd=tmp_path, stderr=subprocess.DEVNULL,
    ) as worker, started(
        [
            BIN / "locust", "-f", "hasty.py", "--headless", "-u", "4", "-r", "4", "-t", "60s", "-H", server.url,
            "--master", "--master-bind-port", port, "--expect-workers", "1", "--gauge-config", rules,
            "--gauge-db", "run.db",
        ],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as master:  # fmt: skip
        until(lambda: count(tmp_path / "run.db", "streams") > 0)
        worker.terminate()
        _, errors = master.communicate(timeout=60)
    assert master.returncode == 0, errors
    sequences = [
        sequence for (sequence,) in rows(tmp_path / "run.db", "SELECT sequence FROM streams ORDER BY sequence")
    ]
    assert sequences == list(range(1, len(sequences) + 1))
    assert rows(tmp_path / "run.db", "SELECT notes FROM runs") == [
        ('["worker-0 left before the end, with all that it had seen stored"]',)
    ]


def test_a_connection_to_the_master_that_breaks_loses_nothing(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    (tmp_path / "hasty.py").write_text(HASTY)
    port = free_port()
    with frail_line(port) as line, started(
        [BIN / "locust", "-f", "hasty.py", "--worker", "--master-port", str(line.port)],
        cwd=tmp_path, stderr=subprocess.DEVNULL,
    ), started(
        [
            BIN / "locust", "-f", "hasty.py", "--headless", "-u", "4", "-r", "4", "-t", "60s", "-H", server.url,
            "--master", "--master-bind-port", str(port), "--expect-workers", "1", "--gauge-config", rules,
            "--gauge-db", "run.db",
        ],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as master:  # fmt: skip
        until(lambda: count(tmp_path / "run.db", "streams") > 0)
        line.swallow()
        there = count(tmp_path / "run.db", "streams")
        until(lambda: line.swallowed > 4_000)  # bytes: some batches have gone nowhere
        line.cut()
        until(lambda: count(tmp_path / "run.db", "streams") > there)
        master.send_signal(signal.SIGINT)
        _, errors = master.communicate(timeout=60)
    assert master.returncode == 0, errors
    sequences = [
        sequence for (sequence,) in rows(tmp_path / "run.db", "SELECT sequence FROM streams ORDER BY sequence")
    ]
    assert sequences == list(range(1, len(sequences) + 1)), "each is there, and once"
    assert rows(tmp_path / "run.db", "SELECT notes FROM runs") == [("[]",)]


def test_a_worker_whose_clock_is_wrong_is_on_the_run_s_time_axis_all_the_same(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    hour = 3_600_000_000_000
    (tmp_path / "hasty.py").write_text(HASTY)
    (tmp_path / "ahead.py").write_text(
        f"import time\nnow = time.time_ns\ntime.time_ns = lambda: now() + {hour}\n{HASTY}"
    )
    port = free_port()
    with started(
        [BIN / "locust", "-f", "ahead.py", "--worker", "--master-port", str(port)],
        cwd=tmp_path, stderr=subprocess.DEVNULL,
    ):  # fmt: skip
        command(
            "locust", "-f", "hasty.py", "--headless", "-u", 2, "-r", 2, "-t", "2s", "-H", server.url, "--master",
            "--master-bind-port", port, "--expect-workers", 1, "--gauge-config", rules, "--gauge-db", "run.db",
            cwd=tmp_path,
        )  # fmt: skip
    worker = instrument(tmp_path / "run.db")["workers"]["worker-0"]
    assert abs(worker["clock_offset_ns"] - hour) <= worker["clock_doubt_ns"]
    (due, ended) = rows(tmp_path / "run.db", "SELECT max(due_at), max(ended_ns) FROM streams, runs")[0]
    assert 0 < due < ended + 1e9, "users that still ask while they are being stopped"


def test_a_generator_that_hogs_its_own_loop_gets_no_verdict(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    hog = """
from time import monotonic

class Hog(StreamUser):
    fixed_count = 1
    wait_time = between(0.001, 0.002)

    @task
    def compute(self):
        end = monotonic() + 0.1
        while monotonic() < end:
            pass
"""
    (tmp_path / "hog.py").write_text(HASTY + hog)
    ended = command(
        "streamgauge", "run", "hog.py", "--host", server.url, "--users", 5, "--spawn-rate", 5, "--run-time", "8s",
        "--config", rules, "--db", "run.db",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr
    said = " ".join(ended.stdout.split())
    assert "INVALID: local was late for its own timers by 50 ms or more in " in said
    assert "use --processes 2 or fewer users" in said
    assert instrument(tmp_path / "run.db")["workers"]["local"]["loop_lag_max_ms"] > 40, "it stops for 100 ms at a time"


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_ends_a_run_cleanly_with_its_data(
    server: ReferenceServer, rules: Path, tmp_path: Path, workers: int
) -> None:
    words = ["run", "chat", "--host", server.url, "--users", "4", "--spawn-rate", "4", "--config", str(rules)]
    with started(
        [BIN / "streamgauge", *words, "--db", "run.db", *(["--", *processes(workers)] if workers else [])],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as run:  # fmt: skip
        until(lambda: count(tmp_path / "run.db", "streams") > 0)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of them
        output, errors = run.communicate(timeout=60)
    assert run.returncode in {0, 3}, errors
    assert "Traceback" not in errors
    assert rows(tmp_path / "run.db", "SELECT status, notes FROM runs") == [("interrupted", "[]")]
    assert "interrupted" in output
    kept = dict(rows(tmp_path / "run.db", "SELECT outcome, count(*) FROM streams GROUP BY outcome"))
    assert kept["completed"] > 0


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


@contextlib.contextmanager
def started(words: Sequence[object], **keywords: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process that is gone after the test, whatever the test came to."""
    process = subprocess.Popen(list(map(str, words)), text=True, **keywords)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class FrailLine:
    """A TCP proxy before a master, through which a worker speaks; it can swallow what comes, and break."""

    def __init__(self, master_port: int) -> None:
        self._master_port = master_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._swallows = False
        self.swallowed = 0  # bytes
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                worker, _ = self._listener.accept()
                try:
                    master = socket.create_connection(("127.0.0.1", self._master_port))
                except ConnectionRefusedError:  # it is not there yet: the worker will try again
                    worker.close()
                    continue
                self._ends += [worker, master]
                for ends in ((worker, master), (master, worker)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self._swallows:
                    self.swallowed += len(data)
                else:
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # a close would wait for the other thread, which waits for a byte

    def swallow(self) -> None:
        self._swallows = True

    def cut(self) -> None:
        """Break what is there now; a new connection works again."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._swallows = False

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for end in self._ends:
            end.close()


@contextlib.contextmanager
def frail_line(master_port: int) -> Iterator[FrailLine]:
    line = FrailLine(master_port)
    try:
        yield line
    finally:
        line.close()


def instrument(database: Path) -> dict[str, Any]:
    """The instrument's facts of the only run."""
    found: dict[str, Any] = json.loads(rows(database, "SELECT instrument FROM runs")[0][0])
    return found


def processes(number: int) -> list[str]:
    """Options for so many workers, on a port that no other run has."""
    port = str(free_port())
    return ["--processes", str(number), "--master-bind-port", port, "--master-port", port]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def count(database: Path, table: str) -> int:
    """How many rows there are; 0 while there is no such table yet."""
    try:
        return int(rows(database, f"SELECT count(*) FROM {table}")[0][0]) if database.exists() else 0
    except sqlite3.OperationalError:
        return 0


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


def until(condition: Any) -> None:
    """Wait for something that another process does."""
    give_up_at = time.monotonic() + 45
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come about"
        time.sleep(0.05)
