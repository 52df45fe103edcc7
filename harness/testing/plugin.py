"""The pytest plug-in: the fixtures `streamgauge`, which runs a scenario in a test, and `doctor`.

    def test_chat_sla(streamgauge):
        run = streamgauge.run("slow_mobile", host="http://127.0.0.1:8000", users=20, run_time="30s")
        assert run.p95("ttft") < 1.5

    def test_the_proxy_streams(doctor):
        assert doctor("https://staging.example").failed == []

pytest loads this file in every session, so the slow imports are inside the fixture.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamgauge.harness.testing.diagnosed import Diagnosed
    from streamgauge.harness.testing.measured import Streamgauge


@pytest.fixture
def streamgauge(tmp_path: Path) -> "Streamgauge":
    """Runs scenarios; databases and reports go to the test's `tmp_path`."""
    from streamgauge.harness.testing.measured import Streamgauge  # noqa: PLC0415 - see above

    return Streamgauge(tmp_path)


@pytest.fixture
def doctor() -> "Callable[..., Diagnosed]":
    """Examines an endpoint's streaming: `assert doctor("http://127.0.0.1:8080").failed == []`."""
    from streamgauge.harness.testing.diagnosed import doctor  # noqa: PLC0415 - see above

    return doctor


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """The figure, the verdict, and the place of the whole report, in few lines: pytest shows only eight."""
    # If the module was not imported, no test has used the fixture, and neither side can be a Measured.
    measured = sys.modules.get("streamgauge.harness.testing.measured")
    if measured is None:
        return None
    lines: list[str] | None = None
    if isinstance(left, measured.Measured):
        lines = left.explain(op, right)
    elif isinstance(right, measured.Measured):
        lines = right.explain(_MIRRORED.get(op, op), left)
    return lines


_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
