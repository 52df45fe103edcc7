"""Ctrl-C and SIGTERM at any moment of a run: words, exit code 3, and no process left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.support.command import BIN, HASTY, PATIENCE, REPOSITORY, alive_after, processes, started
from tests.support.reference import ReferenceServer, wait_for

# While the command imports, while Locust starts, while users are spawned, in the middle, and while it judges.
MOMENTS = (0.0, 0.4, 0.9, 1.5, 2.1, 2.9, 3.7, 4.5)  # seconds since the command handles signals
TO = ("group", "command", "process")
# A run that brings nothing, since the signal or a busy machine was too quick for it, does not miss this rule.
RULES = '[target]\nmax_tokens = 6\n[[sla]]\nrule = "max(ttft) < 20s"\n'
AT_ONCE = 4
GONE_WITHIN = 100  # seconds, on a slow machine, too


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
        until_handled(run.pid)
        time.sleep(moment)
        children = list(below(run.pid))
        with contextlib.suppress(ProcessLookupError):  # the run was quick
            if to == "group":
                os.killpg(run.pid, sent)
            else:
                os.kill(children[0].pid if to == "process" and children else run.pid, sent)
        _, said = run.communicate(timeout=PATIENCE)
    return Ended(moment, to, run.returncode, said, alive_after(GONE_WITHIN, children))


def until_handled(pid: int) -> None:
    """Wait until the process handles SIGTERM, which Python does not by itself. Before that, the kernel ends it."""

    def handled() -> bool:
        status = Path(f"/proc/{pid}/status").read_text()
        (caught,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(caught & 1 << signal.SIGTERM - 1)

    wait_for(handled)


def below(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        yield from psutil.Process(pid).children(recursive=True)


def test_signals_are_handled_before_anything_that_takes_time_is_imported() -> None:
    """Until then a user who presses Ctrl-C sees a traceback. Without `site`, which imports what it likes."""
    here = REPOSITORY / "src"
    look = f"import sys; sys.path.append({str(here)!r}); import streamgauge.harness.entry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-IS", "-c", look], capture_output=True, text=True, check=True)
    heavy = {"typing", "contextlib", "re", "click", "streamgauge.harness.cli", "streamgauge.harness.standard_output"}
    assert not heavy & {*done.stdout.split()}


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
