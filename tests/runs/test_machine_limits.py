"""A machine that has too little for the load: told before the run where it can be known, and no fault of the server."""

import shlex
import subprocess
from pathlib import Path

from tests.support.command import BIN, RULES, rows
from tests.support.priority import ordinary
from tests.support.reference import ReferenceServer

FILES = 256  # that a process may open
# Most users are spawned in the two seconds in which another one has taken all descriptors that were left.
GREEDY = """
import os
import time

import gevent
from streamgauge.scenario import StreamUser, between, task

class Hasty(StreamUser):
    wait_time = between(0, 0.05)

    @task
    def ask(self):
        self.stream()

class Greedy(StreamUser):
    fixed_count = 1
    wait_time = between(60, 60)

    @task
    def take(self):
        taken, until = [], time.monotonic() + 2
        while time.monotonic() < until:
            try:
                taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                gevent.sleep(0.001)
        for file in taken:
            os.close(file)
"""


def limited(*words: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    program, *rest = map(str, words)
    line = f"ulimit -n {FILES}; exec {shlex.join([str(BIN / program), *rest])}"
    shell = ["bash", "-c", line]
    return ordinary(lambda: subprocess.run(shell, cwd=cwd, capture_output=True, text=True, timeout=90, check=False))


def test_users_that_need_more_connections_than_there_are_descriptors_are_refused(tmp_path: Path) -> None:
    ended = limited("streamgauge", "run", "chat", "--host", "http://127.0.0.1:9", "--users", 500, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        "streamgauge: 500 users need 548 file descriptors, and a process may open 256 here: `ulimit -n 548`, "
        "more --processes, or fewer users"
    )


def test_streams_without_a_descriptor_count_in_no_rate_and_make_the_run_invalid(
    server: ReferenceServer, tmp_path: Path
) -> None:
    (tmp_path / "greedy.py").write_text(GREEDY)
    (tmp_path / "rules.toml").write_text(RULES + '[[sla]]\nrule = "error_rate < 50%"\n')
    ended = limited(
        "streamgauge", "run", "greedy.py", "--host", server.url, "--users", 10, "--spawn-rate", 4,
        "--run-time", "6s", "--config", "rules.toml", "--db", "run.db",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr
    assert "Traceback" not in ended.stderr
    said = " ".join(ended.stdout.split())
    assert "INVALID: the generator had no socket, port, memory or thread for " in said
    outcomes = dict(rows(tmp_path / "run.db", "SELECT outcome, count(*) FROM streams GROUP BY outcome"))
    assert set(outcomes) == {"completed", "interrupted"}, "none is a failure of the server"
    ((starved,),) = rows(
        tmp_path / "run.db", "SELECT count(*) FROM streams WHERE detail LIKE '%no room for this stream: Too many open%'"
    )
    assert f"for {starved} streams" in said
    ((seconds,),) = rows(tmp_path / "run.db", "SELECT count(DISTINCT at_ns) FROM samples WHERE name = 'cpu_percent'")
    assert seconds >= 5, "the process samples itself without opening files"
