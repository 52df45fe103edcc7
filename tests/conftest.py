"""What all tests share: the environment, Hypothesis's profile, and the order in which files are run.

Every process of the quick tier imports this file: heavy imports belong into the tiers that need them.
"""

import os
import sys
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from streamgauge.harness.native import library

for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # runs that tests start are no news of the job that tests
    os.environ.pop(name, None)

# Otherwise every process that a test starts compiles our sources again, for half a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

library.load()  # InstallError if it is outdated; otherwise the tests of the compiled reader would be skipped

# A machine that is busy for a moment says nothing of the code.
settings.register_profile("streamgauge", deadline=None)
settings.load_profile("streamgauge")


LONGEST_FIRST = ("runs", "browser", "socket", "pure")  # so that no worker begins a long file when the others are done


class WhereItsServersAre(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A file goes to one worker, with its servers; of tests/runs each test or class of tests may go to another."""

    def _split_scope(self, nodeid: str) -> str:
        file, *inside = nodeid.partition("[")[0].split("::")
        alone = "/runs/" in file and len(inside) == 1 and not file.endswith("test_packaging.py")  # which builds once
        return nodeid if alone else "::".join([file, *inside[:-1]])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return WhereItsServersAre(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # a worker of xdist
        items.sort(key=lambda item: LONGEST_FIRST.index(item.path.parent.name))
