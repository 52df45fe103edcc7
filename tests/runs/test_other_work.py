"""A run on a core that it shares, and one that fills its core itself: each is told what would help (issue 17, B10)."""

import sys
from pathlib import Path

import pytest

from tests.support.command import HASTY, command
from tests.support.reference import ReferenceServer

pytestmark = [
    pytest.mark.timing,  # beside other tests, those would be in the way of a run, or keep its busy programs from it
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a wait for a core is not known"),
]

ON_ONE_CORE = f"""
import os
import subprocess
import sys
import time

import gevent
from streamgauge.scenario import events
{HASTY}
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
"""
# They come when all users run, and the scheduler prefers them.
OTHERS = """
BUSY = "import time; until = time.monotonic() + 2.5\\nwhile time.monotonic() < until: pass"

def come():
    for _ in range(3):
        subprocess.Popen([sys.executable, "-S", "-c", BUSY])
    os.nice(19)

@events.test_start.add_listener
def begin(**_):
    gevent.spawn_later(1, come)
"""
OWN = """
class Thinker(StreamUser):
    fixed_count = 1
    wait_time = between(0.005, 0.005)

    @task
    def think(self):
        until = time.monotonic() + 0.08
        while time.monotonic() < until:
            pass
"""


def run(server: ReferenceServer, rules: Path, folder: Path, scenario: str, seconds: int) -> str:
    (folder / "crowded.py").write_text(ON_ONE_CORE + scenario)
    ended = command(
        "locust", "-f", "crowded.py", "--headless", "-H", server.url, "-u", 12, "-r", 12, "-t", f"{seconds}s",
        "--gauge-config", rules, "--gauge-db", "run.db",
        cwd=folder,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr
    return " ".join(ended.stdout.split())


def test_a_run_beside_busy_programs_on_its_core_says_that_they_were_in_its_way(
    server: ReferenceServer, rules: Path, tmp_path: Path
) -> None:
    said = run(server, rules, tmp_path, OTHERS, 3)
    assert "the machine was busy with other work, which used" in said
    assert "of the only core" in said
    assert "--processes" not in said


def test_a_run_that_fills_its_core_itself_says_so(server: ReferenceServer, rules: Path, tmp_path: Path) -> None:
    said = run(server, rules, tmp_path, OWN, 2)
    assert "the generator stood still for" in said
    assert "look for blocking code in the scenario" in said
    assert "other work" not in said
