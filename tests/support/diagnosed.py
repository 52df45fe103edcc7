"""Examinations as tests make them: in this process, with as few requests as the test needs."""

import re
from collections.abc import Sequence
from pathlib import Path

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.doctor.cancelling import Way
from streamgauge.harness.doctor.candidates import candidates
from streamgauge.harness.doctor.diagnosis import Diagnosis
from streamgauge.harness.doctor.examination import Case, examine
from streamgauge.harness.doctor.result import Status

_PAGE = (Path(__file__).parents[2] / "docs/how-to/doctor.md").read_text()
_CHECK = re.compile(r"`(\w+)`")
PLAIN = ("ordinary", "identity")  # experiments: as a browser asks, the same again, and without compression


def diagnosed(
    url: str,
    *headers: str,
    protocol: ProtocolName | None = "openai_chat",
    origin: str | None = None,
    experiments: Sequence[str] = PLAIN,
    slow: float = 0.0,
    cancel: Way | None = None,
    target: Target | None = None,
) -> Diagnosis:
    asked = candidates(url, target or Target(), protocol, model=None, path=None, headers=headers)
    return Diagnosis.of(examine(Case(url, asked, origin, experiments=experiments, slow=slow, cancel=cancel)))


def named(diagnosis: Diagnosis, *statuses: Status) -> list[str]:
    """The checks with one of these statuses, sorted."""
    return sorted(item.name for item in diagnosis.items if item.result.status in statuses)


def wrong(diagnosis: Diagnosis) -> list[str]:
    return named(diagnosis, Status.FAIL, Status.WARN)


def says(diagnosis: Diagnosis, name: str) -> str:
    """The evidence of a check."""
    return next(item.result.says for item in diagnosis.items if item.name == name)


def lines(diagnosis: Diagnosis, name: str) -> Sequence[str]:
    """What a check would change."""
    return [fix.line for item in diagnosis.items if item.name == name for fix in item.result.fixes]


def listed() -> dict[str, tuple[list[str], list[str]]]:
    """The rows of the table in docs/how-to/doctor.md: what is set up, and the checks that fail and that warn."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in _PAGE.splitlines() if line.startswith("| ")
    ]
    return {row[0]: (_CHECK.findall(row[1]), _CHECK.findall(row[2])) for row in rows if len(row) == 4}


def checked(name: str, found: Diagnosis) -> None:
    """AssertionError unless the checks that fail and that warn are those of the row with this name."""
    failed, warned = (sorted(each) for each in listed()[name])
    seen = [f"{each}: {says(found, each)}" for each in wrong(found)]
    assert (named(found, Status.FAIL), named(found, Status.WARN)) == (failed, warned), seen
