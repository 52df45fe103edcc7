"""The workers of `pytest -n` as forks of one process that has collected the tests.

xdist's own workers import all test files and collect all tests, each for itself, for six seconds of a core.
If the tests cannot be collected, ours do that, too, and each tells of what is wrong.
"""

import contextlib
import importlib
import io
import os
import sys
from typing import Any

import _pytest.config
import pytest
from _pytest.tmpdir import TempPathFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import forking

BEGIN = ("-u", "-c")  # how the words behind `python` begin where execnet starts a worker
# What tests import as they run: those of all tiers, and those that the quick tier does without.
_BESIDE = ("numpy.random", "scipy.special", "xdist.remote")
_BESIDE_NOT_QUICK = (
    "anthropic", "httpcore", "httpcore2", "openai.resources.chat.completions", "openai.resources.responses",
    "plotly.graph_objs.bar", "plotly.graph_objs.layout", "plotly.graph_objs.scatter", "plotly.io", "plotly.io._json",
    "pydantic.v1", "rich.progress", "streamgauge.harness.commands.run", "uvicorn.lifespan.off",
)  # fmt: skip


class _Collected:
    """A plug-in of pytest: when it has collected, this process forks workers, which run tests of what is collected."""

    def __init__(self, door: int) -> None:
        self._door = door
        self._session: pytest.Session | None = None  # None until it is collected

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: Any) -> int | None:
        if self._session is None:
            config.workerinput = {}  # as of a worker, so that nothing writes files that only the first process writes
            remote = importlib.import_module("xdist.remote")  # not before: pytest imports its plug-ins itself
            remote.setup_config(config, None)
            return None
        return self._run(config, self._session)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        if self._session is not None or session.testsfailed:
            return
        self._session = session
        quick = session.config.args == ["tests/pure"]
        for name in _BESIDE if quick else _BESIDE + _BESIDE_NOT_QUICK:
            importlib.import_module(name)
        _have_hypothesis_read()
        _capture(session).stop_global_capturing()  # it writes to files, and forks would share them
        forking.serve(self._door, self._begin)
        os._exit(0)

    def _begin(self) -> None:
        """In a fork: let xdist's worker have this process's configuration in place of its own."""
        assert self._session is not None
        config = self._session.config
        _pytest.config._prepareconfig = lambda *_: config
        _work()

    def _run(self, config: Any, session: pytest.Session) -> int:
        """In a fork: what pytest does after xdist's worker has its configuration, without collecting."""
        config._tmp_path_factory = TempPathFactory.from_config(config, _ispytest=True)  # each worker has its own folder
        _capture(session).start_global_capturing()
        _capture(session).suspend_global_capture()
        (worker,) = (each for each in config.pluginmanager.get_plugins() if type(each).__name__ == "WorkerInteractor")
        worker.pytest_sessionstart(session)
        worker.pytest_collection()
        worker.pytest_collection_finish(session)
        config.hook.pytest_runtestloop(session=session)
        code = pytest.ExitCode.TESTS_FAILED if session.testsfailed else pytest.ExitCode.OK
        config.hook.pytest_sessionfinish(session=session, exitstatus=code)
        config._ensure_unconfigure()
        return code


def main() -> None:
    door, *arguments = sys.argv[1:]
    if forking.awaited(int(door)):
        with contextlib.redirect_stdout(io.StringIO()):  # each worker tells what fails
            pytest.main(arguments, plugins=[_Collected(int(door))])
        forking.serve(int(door), _work)  # they could not be collected


def _capture(session: pytest.Session) -> Any:
    return session.config.pluginmanager.getplugin("capturemanager")


@settings(max_examples=20, database=None)
@given(st.lists(st.integers(), min_size=50), st.text())
def _have_hypothesis_read(numbers: list[int], text: str) -> None:
    """The constants of all our modules, and the tables of Unicode: in a new clone, three seconds of each worker."""


def _work() -> None:
    """What execnet's command says: do what the first line of the input says."""
    exec(eval(sys.stdin.readline()), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
