"""Fixtures of several files of this folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import httpx
import pytest

from streamgauge.harness.drive.wire import loop
from streamgauge.harness.native import library
from tests.support import patient
from tests.support.alert_bench import Bench
from tests.support.alert_servers import Receiver, http_receiver
from tests.support.reference import ReferenceServer, reference_server
from tests.support.stamping import stamping


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


@pytest.fixture(name="stamping")
def keep_stamping() -> Iterator[None]:
    """The kernel stamps what arrives, from the first byte of a test."""
    with stamping():
        yield


READERS = [pytest.param("compiled", marks=pytest.mark.compiled), "python"]


@contextlib.contextmanager
def read_with(name: str) -> Iterator[None]:
    """Of `READERS`, in here. What it takes of the process is given back."""
    loops: WeakKeyDictionary[Any, loop.Loop] = WeakKeyDictionary()
    with pytest.MonkeyPatch.context() as patch:
        if name == "python":
            patch.setattr(library, "LIBRARY", None)
        elif library.LIBRARY is None:
            pytest.skip("the package was installed without a compiler")
        patch.setattr(loop, "_LOOPS", loops)
        yield
    for made in loops.values():
        made.close()


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways of reading sockets: whatever a test says of one holds for the other."""
    with read_with(request.param):
        yield
