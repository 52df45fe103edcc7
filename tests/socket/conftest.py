"""Fixtures of several files of this folder."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from streamgauge.harness.drive.wire import loop
from streamgauge.harness.native import library
from tests.support import patient
from tests.support.alert_bench import Bench
from tests.support.alert_servers import Receiver, http_receiver
from tests.support.reference import ReferenceServer, reference_server


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    """For a file that has none of its own: answers of 40 tokens, exactly 1 ms apart."""
    quick = ("--ttft", "10ms", "--itl", "1ms", "--spread", "0", "--pauses", "0", "--tokens", "40")
    with reference_server(*quick) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: ReferenceServer) -> Iterator[httpx.Client]:
    """A client of the test file's `server`."""
    with patient.Client(base_url=server.url) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes alerts and beats."""
    with http_receiver() as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A queue of alerts in a database of its own."""
    made = Bench(tmp_path)
    yield made
    made.database.close()


READERS = [pytest.param("compiled", marks=pytest.mark.compiled), "python"]


def read_with(name: str, patch: pytest.MonkeyPatch) -> None:
    """Of `READERS`, from now on."""
    if name == "python":
        patch.setattr(library, "LIBRARY", None)
    elif library.LIBRARY is None:
        pytest.skip("the package was installed without a compiler")
    patch.setattr(loop, "_LOOPS", {})


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of reading sockets: whatever a test says of one holds for the other."""
    read_with(request.param, monkeypatch)
