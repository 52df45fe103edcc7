"""What GitHub shows of a job: the step summary, and up to five annotations at the top of the run's page."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus
from streamgauge.harness.judge.outputs import markdown
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.judge.wording import shortened, visible, words

MOST_ANNOTATIONS = 5  # GitHub shows ten of a step; others have something to say, too
_MOST_CHARACTERS = 500
_LEVELS = [  # in the order in which they are told
    ("error", RuleStatus.MISSED, "fail"),
    ("warning", RuleStatus.INCONCLUSIVE, "fail"),
    ("warning", RuleStatus.MISSED, "warn"),
]


def tell(found: Judgement | Comparison, environ: Mapping[str, str] = os.environ, to: TextIO | None = None) -> None:
    """Annotations to standard output or to standard error (GitHub reads both); the summary to GITHUB_STEP_SUMMARY,
    if that is set."""
    to = to or sys.stdout
    to.write("".join(f"{line}\n" for line in annotations(found)))
    to.flush()
    if environ.get("GITHUB_STEP_SUMMARY"):
        _append(found, Path(environ["GITHUB_STEP_SUMMARY"]))


def annotations(found: Judgement | Comparison) -> list[str]:
    """Workflow commands: what failed before what is unsure."""
    commands = _annotations(found) if isinstance(found, Judgement) else _compared(found)
    return list(commands)[:MOST_ANNOTATIONS]


def _annotations(judgement: Judgement) -> Iterator[str]:
    if judgement.verdict == "invalid":
        yield _command("error", f"{judgement.run.scenario}: invalid run", judgement.reason)
        return
    for level, status, severity in _LEVELS:
        for verdict in judgement.verdicts:
            if (verdict.status, verdict.severity) == (status, severity):
                where = words(verdict.where)
                told = verdict.reason if where == "all streams" else f"{where}: {verdict.reason}"
                yield _command(level, f"{verdict.rule} {status.value}", told)
    if not judgement.verdicts:
        yield _command("warning", f"{judgement.run.scenario}: {judgement.verdict}", judgement.reason)


def _compared(found: Comparison) -> Iterator[str]:
    for status, level in ((GateStatus.REGRESSED, "error"), (GateStatus.INCONCLUSIVE, "warning")):
        for row in (row for row in found.rows if row.status is status):
            yield _command(level, f"{row.subject} {status} against {found.baseline}", row.reason)
    if not found.rows:
        level = "error" if found.status is GateStatus.INVALID else "warning"
        yield _command(level, f"{found.status} against {found.baseline}", found.reason)


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(foreign: str) -> str:
    """As the runner's own toolkit escapes it; `visible` has left no line break, but GitHub's rule is kept whole."""
    text = visible(shortened(foreign, _MOST_CHARACTERS))
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(foreign: str) -> str:
    return _data(foreign).replace(":", "%3A").replace(",", "%2C")


def _append(found: Judgement | Comparison, path: Path) -> None:
    """Behind what the step has written already, and no longer than the room that is left."""
    try:
        there = path.stat().st_size if path.exists() else 0
        room = max(0, markdown.MOST_BYTES - there)
        told = markdown.render(found, room) if isinstance(found, Judgement) else markdown.comparison(found, room)
        with path.open("a", encoding="utf-8") as file:
            file.write(told)
    except OSError as fault:
        raise StoreError(f"{path}: cannot be written: {fault.strerror}") from fault
