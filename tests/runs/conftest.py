"""What many runs share."""

from collections.abc import Iterator

import pytest

from tests.support.reference import ReferenceServer, reference_server


@pytest.fixture(scope="session")
def server() -> Iterator[ReferenceServer]:
    """A server for all runs that need no special one: starting one costs a second of a core."""
    # 80 ms: a busy machine reads tokens at once that are closer, and a run with many of those is invalid.
    with reference_server("--preset", "exact", "--ttft", "100ms", "--itl", "80ms") as found:
        yield found
