"""What GitHub shows of a job: the step summary, and up to five annotations at the top of the run's page."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus
from streamgauge.harness.judge.outputs import markdown
from streamgauge.harness.judge.verdict.judgement import Judgement, RunVerdict
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.judge.wording import shortened, visible, words

MOST_ANNOTATIONS = 5  # GitHub shows ten of a step, and other tools need some of them
_MOST_CHARACTERS = 500
_LEVELS = [  # the most important first
    ("error", RuleStatus.MISSED, "fail"),
    ("warning", RuleStatus.INCONCLUSIVE, "fail"),
    ("warning", RuleStatus.MISSED, "warn"),
]


def write(found: Judgement | Comparison, environ: Mapping[str, str] = os.environ, to: TextIO | None = None) -> None:
    """Annotations to `to` (None: standard output; GitHub reads standard error, too); the summary to the file that
    GITHUB_STEP_SUMMARY names, if it is set."""
    to = to or sys.stdout
    to.write("".join(f"{line}\n" for line in annotations(found)))
    to.flush()
    if environ.get("GITHUB_STEP_SUMMARY"):
        _append(found, Path(environ["GITHUB_STEP_SUMMARY"]))


def annotations(found: Judgement | Comparison) -> list[str]:
    """Workflow commands, the most important first."""
    commands = _of_run(found) if isinstance(found, Judgement) else _of_comparison(found)
    return list(commands)[:MOST_ANNOTATIONS]


def _of_run(judgement: Judgement) -> Iterator[str]:
    if judgement.verdict is RunVerdict.INVALID:
        yield _command("error", f"{judgement.run.scenario}: invalid run", judgement.reason)
        return
    for level, status, severity in _LEVELS:
        for verdict in judgement.verdicts:
            if (verdict.status, verdict.severity) == (status, severity):
                where = words(verdict.where)
                message = verdict.reason if where == "all streams" else f"{where}: {verdict.reason}"
                yield _command(level, f"{verdict.rule} {status.value}", message)
    if not judgement.verdicts:
        yield _command("warning", f"{judgement.run.scenario}: {judgement.verdict}", judgement.reason)


def _of_comparison(found: Comparison) -> Iterator[str]:
    for status, level in ((GateStatus.REGRESSED, "error"), (GateStatus.INCONCLUSIVE, "warning")):
        for row in (row for row in found.rows if row.status is status):
            yield _command(level, f"{row.subject} {status} against {found.baseline}", row.reason)
    if not found.rows:
        level = "error" if found.status is GateStatus.INVALID else "warning"
        yield _command(level, f"{found.status} against {found.baseline}", found.reason)


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(foreign: str) -> str:
    """As GitHub's own toolkit escapes it."""
    text = visible(shortened(foreign, _MOST_CHARACTERS))
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(foreign: str) -> str:
    return _data(foreign).replace(":", "%3A").replace(",", "%2C")


def _append(found: Judgement | Comparison, path: Path) -> None:
    """After what the step has already written, and within the room that is left."""
    try:
        used = path.stat().st_size if path.exists() else 0
        room = max(0, markdown.MOST_BYTES - used)
        text = markdown.render(found, room) if isinstance(found, Judgement) else markdown.comparison(found, room)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as fault:
        raise StoreError(f"{path}: cannot be written: {fault.strerror}") from fault
