"""Ctrl-C and SIGTERM at any moment of a run: words, exit code 3, and no process left behind."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.support.command import BIN, HASTY, RULES, alive_after, processes, started
from tests.support.reference import ReferenceServer

# While the command imports, while Locust starts, while users are spawned, in the middle, and while it judges.
MOMENTS = (0.3, 0.7, 1.2, 1.8, 2.4, 3.2, 4.0, 4.8)  # seconds
TO = ("group", "command", "process")
AT_ONCE = 4


class Ended(NamedTuple):
    moment: float
    to: str
    code: int
    said: str
    orphans: list[psutil.Process]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hasty.py").write_text(HASTY)
    (tmp_path / "rules.toml").write_text(RULES)
    return tmp_path


def interrupted(server: ReferenceServer, folder: Path, number: int, moment: float) -> Ended:
    """A run of 2 s that gets a signal at this moment."""
    to, sent = TO[number % len(TO)], (signal.SIGINT, signal.SIGTERM)[number // len(TO) % 2]
    words = [
        BIN / "streamgauge", "run", "hasty.py", "--host", server.url, "--config", "rules.toml", "--run-time", "2s",
        "--users", 3, "--spawn-rate", 3, "--db", f"{number}.db", "--report", f"{number}.html", "--",
        *processes(number % 2),
    ]  # fmt: skip
    with started(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True) as run:
        time.sleep(moment)
        children = list(below(run.pid))
        with contextlib.suppress(ProcessLookupError):  # the run was quick
            if to == "group":
                os.killpg(run.pid, sent)
            else:
                os.kill(children[0].pid if to == "process" and children else run.pid, sent)
        _, said = run.communicate(timeout=60)
    return Ended(moment, to, run.returncode, said, alive_after(2, children))


def below(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        yield from psutil.Process(pid).children(recursive=True)


def test_a_signal_at_any_moment_ends_it_in_words_and_leaves_nothing_behind(
    server: ReferenceServer, folder: Path
) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = list(threads.map(lambda each: interrupted(server, folder, *each), enumerate(MOMENTS)))
    for ended in found:
        assert "Traceback" not in ended.said, ended
        assert not ended.orphans, ended
        assert "streamgauge: " in ended.said or "is in " in ended.said, ended
        # SIGTERM to Locust alone, before it listens to it, kills it; SIGINT does nothing then.
        assert ended.code in ({0, 2, 3} if ended.to == "process" else {0, 3}), ended
        assert ended.code == 0 or "interrupted" in ended.said or "is in " in ended.said or "killed" in ended.said, ended
