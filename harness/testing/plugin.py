"""pytest's `streamgauge` fixture: a run of a scenario in a test, and assertions on what its users got.

    def test_chat_sla(streamgauge):
        run = streamgauge.run("slow_mobile", host="http://127.0.0.1:8000", users=20, run_time="30s")
        assert run.p95("ttft") < 1.5

pytest loads this file in every session, used or not: so it imports nothing large before it is.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from streamgauge.harness.testing.measured import Streamgauge


@pytest.fixture
def streamgauge(tmp_path: Path) -> "Streamgauge":
    """Runs scenarios; databases and reports go to the test's own `tmp_path`."""
    from streamgauge.harness.testing.measured import Streamgauge  # noqa: PLC0415 - see above

    return Streamgauge(tmp_path)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """What was asked, what came of it, and where the whole table is: pytest cuts an explanation off at eight lines."""
    # Not imported: then neither side is a figure of ours.
    measured = sys.modules.get("streamgauge.harness.testing.measured")
    if measured is None:
        return None
    told: list[str] | None = None
    if isinstance(left, measured.Measured):
        told = left.explain(op, right)
    elif isinstance(right, measured.Measured):
        told = right.explain(_MIRRORED.get(op, op), left)
    return told


_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
