"""Signals to one process of several: nothing goes on alone, and what was measured is kept."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from streamgauge.harness import parent, programs
from tests.support.busy import again_if_busy, only_busy
from tests.support.command import (
    BIN,
    HASTY,
    PATIENCE,
    RULES,
    alive_after,
    command,
    count,
    free_port,
    processes,
    rows,
    running,
    started,
    until,
)
from tests.support.killed import locusts
from tests.support.reference import ReferenceServer

SOON = 100  # seconds; the runs here have no end, so that what lives on does so for longer
SHAPE = """
from locust import LoadTestShape

class Always(LoadTestShape):
    def tick(self):
        return 3, 3
"""
# Whoever is asked to end takes three seconds for it.
SLOW_TO_END = """
import gevent
from locust import events

@events.test_stopping.add_listener
def take_time(**_):
    gevent.sleep(3)
"""
LEAVES = ("run", "leaves.py", "--config", "rules.toml", "--db", "run.db")
HURRIED = (
    HASTY
    + """
import gevent
from locust import events

@events.test_start.add_listener
def end_twice(environment, **_):
    gevent.spawn_later(1.5, twice, environment.runner)

def twice(runner):
    runner.greenlet.spawn(runner.stop)
    gevent.sleep(0.005)
    runner.greenlet.kill()
    runner.quit()
"""
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMGAUGE_TOKEN", "the secret of these tests")
    (tmp_path / "hasty.py").write_text(HASTY)
    (tmp_path / "shaped.py").write_text(HASTY + SHAPE)
    (tmp_path / "rules.toml").write_text(RULES)
    return tmp_path


@pytest.fixture(autouse=True)
def _hangup() -> Iterator[None]:
    """Processes begin with the system's SIGHUP, also if the tests were started under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def run(
    server: ReferenceServer, folder: Path, scenario: str, *passed_on: str, **streams: Any
) -> Iterator["subprocess.Popen[str]"]:
    """`streamgauge run` in the middle of a run without end. `streams`: standard input, output and error."""
    words = [
        BIN / "streamgauge", "run", scenario, "--host", server.url, "--config", "rules.toml", "--db", "run.db",
        *(() if scenario == "shaped.py" else ("--users", 3, "--spawn-rate", 3)), "--", *passed_on,
    ]  # fmt: skip
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **streams}
    with started(words, cwd=folder, start_new_session=True, **streams) as process:
        until(lambda: count(folder / "run.db", "streams") > 0)
        yield process


def below(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    children: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return children


@pytest.mark.parametrize(
    ("scenario", "passed_on", "number"),
    [("hasty.py", processes(2), signal.SIGINT), ("shaped.py", [], signal.SIGTERM)],
)
def test_a_signal_to_the_command_alone_ends_the_run_with_what_was_measured(
    server: ReferenceServer, folder: Path, scenario: str, passed_on: list[str], number: signal.Signals
) -> None:
    with run(server, folder, scenario, *passed_on) as process:
        children = below(process)
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 3, said
        assert "Traceback" not in said
        assert "is in run.db" in said
        assert alive_after(SOON, children) == []
    assert rows(folder / "run.db", "SELECT status, notes FROM runs") == [("interrupted", "[]")]


def test_a_terminal_that_closes_ends_the_run_with_what_was_measured(server: ReferenceServer, folder: Path) -> None:
    ours, terminal = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    becomes_its_terminal = {"preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
    with run(server, folder, "hasty.py", *processes(2), **streams, **becomes_its_terminal) as process:
        children = below(process)
        for end in (terminal, ours):
            os.close(end)
        assert process.wait(PATIENCE) == 3
        assert alive_after(SOON, children) == []
    assert rows(folder / "run.db", "SELECT status, notes FROM runs") == [("interrupted", "[]")]


def test_under_nohup_a_terminal_that_closes_ends_nothing() -> None:
    look = "import signal; from streamgauge.harness.interrupt import endings; print(signal.SIGHUP in endings())"
    for before, ends in ([], "True"), (["nohup"], "False"):
        done = subprocess.run([*before, sys.executable, "-c", look], capture_output=True, text=True, check=True)
        assert done.stdout == f"{ends}\n"


def test_a_second_ctrl_c_ends_it_at_once_and_is_no_traceback(server: ReferenceServer, folder: Path) -> None:
    with run(server, folder, "hasty.py", *processes(2)) as process:
        children = below(process)
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):  # it was quick
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(1.2)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 3, said
        assert "Traceback" not in said
        assert alive_after(SOON, children) == []


def test_a_ctrl_c_that_the_command_passes_on_late_is_no_second_one(server: ReferenceServer, folder: Path) -> None:
    (folder / "hasty.py").write_text(HASTY + SLOW_TO_END)
    with run(server, folder, "hasty.py") as process:
        os.kill(process.pid, signal.SIGSTOP)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1.5)  # which is the point
        os.kill(process.pid, signal.SIGCONT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3, said
    assert "ended at once" not in said
    assert rows(folder / "run.db", "SELECT status, notes FROM runs") == [("interrupted", "[]")]


@pytest.mark.parametrize("passed_on", [[], processes(2)], ids=["local", "two"])
def test_ctrl_c_while_it_starts_is_one_line(server: ReferenceServer, folder: Path, passed_on: list[str]) -> None:
    words = [BIN / "streamgauge", "run", "hasty.py", "--host", server.url, "--db", "run.db", "--", *passed_on]
    with started(words, cwd=folder, stderr=subprocess.PIPE, start_new_session=True) as process:
        until(lambda: locusts(psutil.Process(process.pid)))
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3
    assert said.startswith("streamgauge: interrupted before ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("victim", [lambda process: process.pid, lambda process: below(process)[0].pid])
def test_when_the_command_or_its_master_is_killed_nothing_goes_on(
    server: ReferenceServer, folder: Path, victim: Callable[[Any], int]
) -> None:
    with run(server, folder, "hasty.py", *processes(2)) as process:
        children, killed = below(process), victim(process)
        os.kill(killed, signal.SIGKILL)
        assert alive_after(SOON, children) == []
        _, said = process.communicate(timeout=PATIENCE)
    if killed != process.pid:
        assert process.returncode == 2
        assert (
            "the process -m streamgauge.harness.run was killed by SIGKILL; a run that it made has no end and no verdict"
            in said
        )


@pytest.mark.parametrize(("end", "told"), [("os.kill(os.getpid(), 9)", "was killed by SIGKILL"), ("os._exit(5)", "5")])
def test_a_worker_that_ends_before_the_run_begins_is_not_waited_for(
    server: ReferenceServer, tmp_path: Path, end: str, told: str
) -> None:
    dies = f"""
import os

def die():
    try:
        open("died", "x").close()  # by the first of them
    except FileExistsError:
        return
    {end}

os.register_at_fork(after_in_child=die)
"""
    (tmp_path / "dies.py").write_text(HASTY + dies)
    (tmp_path / "streamgauge.toml").write_text(RULES)
    words = ["dies.py", "--host", server.url, "--users", 4, "--db", "run.db", "--run-time", "3s"]
    ended = command("streamgauge", "run", *words, "--", *processes(2), cwd=tmp_path)
    assert ended.returncode == 2
    (line,) = (line for line in ended.stderr.splitlines() if "before the run began" in line)
    assert told in line
    assert "Traceback" not in ended.stderr
    assert count(tmp_path / "run.db", "runs") == 0


def test_when_serve_is_killed_there_is_no_server() -> None:
    with started([BIN / "streamgauge", "serve", "--port", 0], stdout=subprocess.PIPE) as serving:
        assert serving.stdout is not None
        assert "http://" in serving.stdout.readline()
        children = below(serving)
        serving.kill()
        assert children
        assert alive_after(SOON, children) == []


def test_a_worker_elsewhere_ends_soon_after_its_master_is_killed(server: ReferenceServer, folder: Path) -> None:
    port = free_port()
    with running("locust", "-f", "hasty.py", "--worker", "--master-port", port, cwd=folder) as worker, running(
        "locust", "-f", "hasty.py", "--headless", "-u", 3, "-r", 3, "-H", server.url, "--master",
        "--master-bind-port", port, "--expect-workers", 1, "--gauge-config", "rules.toml", "--gauge-db", "run.db",
        cwd=folder,
    ) as master:  # fmt: skip
        until(lambda: count(folder / "run.db", "streams") > 0)
        master.kill()
        _, said = worker.communicate()
    assert worker.returncode == 2
    assert "the master has been disconnected for 2 s: this worker stops its users, and ends" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "watchdog"])
def test_a_child_ends_with_its_parent_also_where_the_kernel_does_not_help(kernel: bool) -> None:
    code = f"""
import os, time
from streamgauge.harness import parent, programs
if not {kernel}:
    parent._prctl = None
os.register_at_fork(after_in_parent=lambda: time.sleep({SOON}))
with programs.running(["/bin/sh", "-c", "echo $$; exec sleep {2 * SOON}"]):
    pass
"""
    if kernel and parent._prctl is None:
        pytest.skip("the kernel has no prctl")
    with started([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()  # as soon as it has a child: it has done nothing since
        assert alive_after(SOON, [child]) == []


def test_a_run_is_judged_also_if_locust_kills_the_greenlet_that_ends_it(server: ReferenceServer, folder: Path) -> None:
    """As when the last worker leaves and the time is over at once."""
    (folder / "hurried.py").write_text(HURRIED)
    ended = command("streamgauge", "run", "hurried.py", "--host", server.url, "--db", "run.db", cwd=folder)
    assert ended.returncode == 3, "it has no rules"
    assert "is in run.db" in ended.stderr
    assert rows(folder / "run.db", "SELECT status FROM runs") == [("finished",)]


@pytest.mark.parametrize("fault", ["SystemExit(0)", "KeyboardInterrupt"])
def test_what_ends_a_thread_of_python_ends_the_run_as_an_error_of_the_scenarios(
    server: ReferenceServer, folder: Path, fault: str
) -> None:
    (folder / "leaves.py").write_text(HASTY.replace("self.stream()", f"self.stream()\n        raise {fault}"))
    ended = command("streamgauge", *LEAVES, "--host", server.url, cwd=folder)
    assert ended.returncode == 2
    logged, kept = ended.stderr.splitlines()
    assert "leaves.py:" in logged
    assert f": {fault.replace('(', ' ').strip(')')} in Hasty, which ends the run" in logged
    assert "is in run.db" in kept
    assert rows(folder / "run.db", "SELECT status FROM runs") == [("finished",)]


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_that_ends_without_the_word_of_its_run_is_no_success(
    server: ReferenceServer, folder: Path, code: int
) -> None:
    (folder / "leaves.py").write_text(
        "import os\n" + HASTY.replace("self.stream()", f"self.stream()\n        os._exit({code})")
    )
    ended = command("streamgauge", *LEAVES, "--host", server.url, cwd=folder)
    assert ended.returncode == 2
    process = "the process -m streamgauge.harness.run"
    told = f"streamgauge: {process} ended with exit code {code}; a run that it made has no end and no verdict"
    assert ended.stderr.splitlines() == [told]
    assert rows(folder / "run.db", "SELECT status FROM runs") == [("running",)]


@pytest.mark.parametrize(("config", "asked", "right"), [("[[sla]]\nrule = 'max(ttft) < 1ms'\n", 0, 1), (RULES, 42, 1)])
def test_a_scenario_cannot_make_its_exit_code_better_and_can_make_it_worse(
    server: ReferenceServer, folder: Path, config: str, asked: int, right: int
) -> None:
    """As Locust's documentation shows for `quitting`."""
    listener = f"""
from locust import events

@events.quitting.add_listener
def judge(environment, **_):
    environment.process_exit_code = {asked}
"""
    (folder / "leaves.py").write_text(HASTY + listener)
    (folder / "rules.toml").write_text(config)
    words = ("streamgauge", *LEAVES, "--host", server.url, "--run-time", "2s")
    ended = again_if_busy(lambda: command(*words, cwd=folder))
    if asked == 0 and only_busy(ended):
        right = 3
    assert ended.returncode == right, ended.stdout
    assert f"streamgauge: the scenario asked for exit code {asked}; the run ends with {right}" in ended.stderr


def test_an_option_of_locusts_that_begins_no_run_is_no_failure(folder: Path) -> None:
    for option in ("--version", "--list"):
        assert command("streamgauge", "run", "chat", "--host", "http://h", "--", option, cwd=folder).returncode == 0


def test_a_child_that_ends_without_an_exit_code_of_ours_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert programs.wait([sys.executable, "-c", "raise SystemExit(254)"]) == 2
    assert "ended with exit code 254; a run that it made has no end and no verdict" in capfd.readouterr().err
    assert programs.wait([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"]) == 2
    assert "was killed by SIGSEGV" in capfd.readouterr().err
