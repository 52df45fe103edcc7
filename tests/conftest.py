"""Fixtures of several test files."""

import os
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import settings

from streamgauge.harness.drive.wire import loop
from streamgauge.harness.native import library
from tests.support.reference import ReferenceServer

for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # runs that tests start are no news of the job that tests
    os.environ.pop(name, None)

library.load()  # InstallError if it is outdated; otherwise the tests of the compiled reader would be skipped

# A machine that is busy for a moment says nothing of the code.
settings.register_profile("streamgauge", deadline=None)
settings.load_profile("streamgauge")


LONGEST_FIRST = ("runs", "browser", "socket", "pure")  # so that no worker begins a long file when the others are done


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under xdist: a file goes to one worker, with its servers; of tests/runs each test may go to another."""
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        if "runs" not in item.path.parts:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.parent.name))


@pytest.fixture(scope="module")
def client(server: ReferenceServer) -> Iterator[httpx.Client]:
    """A client of the `server` that the test file has."""
    with httpx.Client(base_url=server.url, timeout=20) as running:
        yield running


@pytest.fixture(params=["compiled", "python"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of reading sockets: whatever a test says of one holds for the other."""
    if request.param == "python":
        monkeypatch.setattr(library, "LIBRARY", None)
    elif library.LIBRARY is None:
        pytest.skip("the package was installed without a compiler")
    monkeypatch.setattr(loop, "_LOOPS", {})
