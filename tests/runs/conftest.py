"""What many runs share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.busy import first
from tests.support.command import RULES
from tests.support.reference import ReferenceServer, reference_server


@pytest.fixture(scope="session")
def server() -> Iterator[ReferenceServer]:
    """A server for all runs that need no special one: starting one costs a second of a core."""
    # 80 ms: a busy machine reads tokens at once that are closer, and a run with many of those is invalid.
    with reference_server("--preset", "exact", "--ttft", "100ms", "--itl", "80ms") as found:
        yield found


@pytest.fixture
def before_others() -> Iterator[None]:
    """For runs that have to keep a load or a time on a busy machine, too."""
    with first():
        yield


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A config with rules that every run keeps."""
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path
