"""A machine that has too little for the load: told before the run where it can be known, and no fault of the server."""

import shlex
import subprocess
from pathlib import Path

from tests.support.command import BIN, PATIENCE, RULES, count, enough, rows, started, until, until_told
from tests.support.reference import ReferenceServer

FILES = 256  # that a process may open
# Most users are spawned while another one has taken all descriptors that were left.
GREEDY = """
import os

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
        taken = []
        while not os.path.exists("give back"):
            try:
                taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                gevent.sleep(0.001)
        for file in taken:
            os.close(file)
"""


def limited(*words: object) -> list[str]:
    """A command, in a process that may open few files."""
    program, *rest = map(str, words)
    return ["bash", "-c", f"ulimit -n {FILES}; exec {shlex.join([str(BIN / program), *rest])}"]


def test_users_that_need_more_connections_than_there_are_descriptors_are_refused(tmp_path: Path) -> None:
    words = limited("streamgauge", "run", "chat", "--host", "http://127.0.0.1:9", "--users", 500)
    with started(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        _, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 2
    assert errors.splitlines()[-1] == (
        "streamgauge: 500 users need 548 file descriptors, and a process may open 256 here: `ulimit -n 548`, "
        "more --processes, or fewer users"
    )


def test_streams_without_a_descriptor_count_in_no_rate_and_make_the_run_invalid(
    server: ReferenceServer, tmp_path: Path
) -> None:
    (tmp_path / "greedy.py").write_text(until_told(GREEDY))
    (tmp_path / "rules.toml").write_text(RULES + '[[sla]]\nrule = "error_rate < 50%"\n')
    words = limited(
        "streamgauge", "run", "greedy.py", "--host", server.url, "--users", 10, "--spawn-rate", 4,
        "--config", "rules.toml", "--db", "run.db",
    )  # fmt: skip
    starved = "streams WHERE detail LIKE '%no room for this stream: Too many open%'"
    samples, completed = "samples WHERE name = 'cpu_percent'", "streams WHERE outcome = 'completed'"
    with started(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        until(lambda: count(tmp_path / "run.db", starved))
        before = count(tmp_path / "run.db", samples)
        # The process samples itself without opening files.
        until(lambda: count(tmp_path / "run.db", samples) > before + 1)
        (tmp_path / "give back").touch()
        before = count(tmp_path / "run.db", completed)
        until(lambda: count(tmp_path / "run.db", completed) > before)
        enough(tmp_path)
        output, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 3, errors
    assert "Traceback" not in errors
    said = " ".join(output.split())
    assert "INVALID: " in said
    assert "the generator had no socket, port, memory or thread for " in said
    outcomes = dict(rows(tmp_path / "run.db", "SELECT outcome, count(*) FROM streams GROUP BY outcome"))
    assert set(outcomes) == {"completed", "interrupted"}, "none is a failure of the server"
    assert f"for {count(tmp_path / 'run.db', starved):,} streams" in said
