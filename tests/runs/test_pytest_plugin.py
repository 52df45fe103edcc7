"""A team's own tests with the pytest plug-in: what a failure shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.busy import again_if_busy, first
from tests.support.command import PATIENCE
from tests.support.priority import ordinary
from tests.support.reference import ReferenceServer, reference_server

SUITE = """
def test_chat_sla(streamgauge):
    run = streamgauge.run("chat", host="{host}", users=4, run_time="3s", spawn_rate=4, config="rules.toml")
    assert run.measured("max(ttft)") < 30
    assert run.rate("stream_rate") > 0
    assert run.verdict == "met"
    assert run.report.exists() and run.db.exists()
    assert "gevent" not in __import__("sys").modules
    assert run.p95("ttft") < 0.001

def test_a_scenario_that_is_not_there(streamgauge):
    streamgauge.run("chatt", host="{host}", run_time="3s")

def test_an_option_that_is_not_there(streamgauge):
    streamgauge.run("chat", host="{host}", run_time="3s", wheels=4)
"""


def test_a_users_own_test_fails_with_the_table_of_rules(server: ReferenceServer, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[target]\nmax_tokens = 5\n[[sla]]\nrule = "max(ttft) < 30s"\n')
    (tmp_path / "test_sla.py").write_text(SUITE.format(host=server.url))

    def attempt() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    ended = ordinary(lambda: again_if_busy(attempt))
    said = ended.stdout
    assert ended.returncode == 1, said
    assert re.search(r"assert p95\(ttft\) = [\d.]+ ms \([^)]*n = \d+\) < 0\.001\n", said)
    assert "E         missed: the whole interval is beyond the limit of 1.00 ms" in said
    assert re.search(r"error_rate +0 %", said), "the whole table is there"
    assert "report.html" in said
    assert "no scenario called 'chatt'; there are app_switchers, " in said
    assert "No such option '--wheels'" in said
    assert "3 failed" in said


LOOKS = """
def test_it_streams(doctor):
    found = doctor("{host}", protocol="openai_chat", budget=3, header=["x-gauge-itl: 5ms"])
    assert found.failed == []
    assert found.checks["streaming"] == "pass"
    assert found.document["requests"] == 3

def test_it_does_not(doctor):
    assert doctor("{host}", protocol="openai_chat", budget=3, header=["x-gauge-fault: cut@5"]).failed == []

def test_there_is_nothing(doctor):
    doctor("http://127.0.0.1:9", protocol="openai_chat")
"""


def test_a_users_own_test_fails_if_streaming_is_broken_or_nothing_is_there(tmp_path: Path) -> None:
    with first(), reference_server("--preset", "exact", "--ttft", "100ms") as server:
        (tmp_path / "test_streaming.py").write_text(LOOKS.format(host=server.url))
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    said = ended.stdout
    assert "2 failed, 1 passed" in said
    assert "The answer has no terminal event" in said
    assert "Could not look: no HTTP answer: cannot connect" in said
