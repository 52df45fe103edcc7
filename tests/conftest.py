"""What all tests share: the environment, Hypothesis's profile, and the order in which files are run.

Every process of the quick tier imports this file: heavy imports belong into the tiers that need them.
"""

import contextlib
import gc
import itertools
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from streamgauge.harness.native import library
from tests.support import busy, forks, priority, room, workers

for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # runs that tests start are no news of the job that tests
    os.environ.pop(name, None)

# Otherwise every process that a test starts compiles our sources again, for half a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Otherwise each HTTP client of a test reads the 140 certificates that this machine trusts, for 30 ms.
os.environ.setdefault("SSL_CERT_FILE", str(Path(__file__).with_name("support") / "root.pem"))

gc.set_threshold(50_000)  # as the command does. Collecting the tests and judging make objects, and no garbage

library.load()  # InstallError if it is outdated; otherwise the tests of the compiled reader would be skipped

# A machine that is busy for a moment says nothing of the code.
settings.register_profile("streamgauge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For `make quick`; `make test` tries 100.
settings.register_profile("quick", settings.get_profile("streamgauge"), max_examples=25)
settings.load_profile("streamgauge")


# The tiers are mixed: runs wait and the others compute, so that together they use the cores. Of each tier the long
# files, which mostly wait, begin in the first half, and the runs end before the others: no worker begins a long one
# when the others are done.
TIERS = ("runs", "browser", "socket", "files", "pure")
WAITING = {"runs", "browser"}
LONG = (  # more than about 15 s, with eight workers on two cores
    "test_across_machines.py", "test_alert_delivery.py", "test_answers.py", "test_arrivals.py",
    "test_bad_servers.py", "test_calibrate.py", "test_capacity.py", "test_capacity_simulation.py",
    "test_client_stacks.py", "test_corpus.py", "test_database_trouble.py", "test_doctor.py",
    "test_doctor_cancel.py", "test_doctor_hostile.py", "test_doctor_proxies.py", "test_gate_simulation.py",
    "test_gating.py", "test_kills.py", "test_monitor.py", "test_orphans.py", "test_packaging.py", "test_peers.py",
    "test_playground.py", "test_reference_server_delivery.py", "test_report_page.py", "test_resume.py",
    "test_run_processes.py", "test_sanitized.py", "test_screen.py", "test_sdk_ai.py", "test_sessions.py",
    "test_sessions_redis.py", "test_signals.py", "test_stopped_loop.py", "test_target.py", "test_warm_up.py",
    "test_wire_connections.py", "test_wire_leaving.py", "test_wire_waiting.py",
)  # fmt: skip
# Files of whole runs that share nothing but the server, or share within a class.
APART = {
    "test_abort.py", "test_gating.py", "test_open_load.py", "test_orphans.py", "test_peers.py", "test_run.py",
    "test_run_processes.py", "test_scenarios.py", "test_target.py", "test_web_ui.py",
}  # fmt: skip


class WhereItsServersAre(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A file goes to one worker, with its servers; of files of whole runs, each test or class of tests goes alone.

    All tests of a browser go to one worker, for starting a browser takes three seconds of a core.
    """

    def _split_scope(self, nodeid: str) -> str:
        path, *inside = nodeid.partition("[")[0].split("::")
        if "browser" in path.split("/"):
            return "browser"
        if len(inside) == 1 and path.rpartition("/")[2] in APART:
            return nodeid
        return "::".join([path, *inside[:-1]])


def pytest_collection_finish() -> None:
    """Locust replaces parts of the standard library, and a worker of `pytest -n` that imported it hangs.

    Workers wait until all tests are collected, so what is slow to import is imported by the tests that use it.
    """
    if "locust" in sys.modules:
        raise pytest.UsageError(
            "a test imports Locust (perhaps by streamgauge.scenario): do so in a process of its own"
        )
    if slow := {"anthropic", "google.genai", "openai"} & sys.modules.keys():
        raise pytest.UsageError(f"collecting the tests imports {', '.join(slow)}, for seconds: see tests.support.late")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m timing` imports only the files and folders that have such tests: all would cost it 7 seconds."""
    if config.getoption("markexpr") != "timing":
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return None if any(b"mark.timing" in each.read_bytes() for each in files) else True


def pytest_configure(config: pytest.Config) -> None:
    """Of `pytest -n`: workers are forks and share what they fork, and their files are in memory."""
    if not hasattr(config, "workerinput") and (number := config.getoption("numprocesses", None)):
        room.take()
        doors = forks.share()
        if config.args_source is config.ArgsSource.TESTPATHS:  # all tests: one core is idle while they are collected
            forks.prepare(doors)
        python = forks.workers(config.invocation_params.args).python(workers.BEGIN)
        config.option.tx = [f"popen//python={python}"] * number


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Workers of `pytest -n` compute with a lower priority than what they fork, and `-m timing` before all others.

    Then a worker that parses or judges delays no token of another worker's run, and no answer of its server.
    """
    if getattr(session.config, "workerinput", None):  # empty: this process forks the workers
        priority.lower()
    with busy.first() if session.config.getoption("markexpr") == "timing" else contextlib.nullcontext():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """In tests that compare times the collector is off, as in a run: of what all tests import, it takes 70 ms."""
    if item.get_closest_marker("timing") is None:
        return (yield)
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return WhereItsServersAre(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):  # not a worker of xdist
        return
    turns: dict[Path, float] = {}
    paths = list(dict.fromkeys(item.path for item in items))
    for tier, long in itertools.product(TIERS, (True, False)):
        files = [path for path in paths if path.parent.name == tier and (path.name in LONG) == long]
        until = (0.9 if tier in WAITING else 1) * (0.5 if long else 1)
        turns |= {path: until * place / len(files) for place, path in enumerate(files)}
    items.sort(key=lambda item: turns[item.path])
