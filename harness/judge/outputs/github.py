"""GitHub's two places for results: the step summary, and annotations at the top of the workflow run's page."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus
from streamgauge.harness.judge.compare.gated import Gated, Result
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


def write(result: Result, environ: Mapping[str, str] = os.environ, to: TextIO | None = None) -> None:
    """Write annotations to `to` (None: standard output), and the summary to the file of GITHUB_STEP_SUMMARY, if set.

    GitHub reads annotations from standard error, too.
    """
    tell(annotations(result), lambda room: summary(result, room), environ, to)


def tell(
    commands: Iterable[str],
    summary: Callable[[int], str],
    environ: Mapping[str, str] = os.environ,
    to: TextIO | None = None,
) -> None:
    """The same for annotations and a summary of any result. `summary` gets the bytes that it may have."""
    to = to or sys.stdout
    to.write("".join(f"{line}\n" for line in commands))
    to.flush()
    if environ.get("GITHUB_STEP_SUMMARY"):
        _append(summary, Path(environ["GITHUB_STEP_SUMMARY"]))


def annotations(result: Result) -> list[str]:
    """Workflow commands, the most important first."""
    return list(_all(result))[:MOST_ANNOTATIONS]


def _all(result: Result) -> Iterator[str]:
    if isinstance(result, Gated):
        both = [*_of_comparison(result.compared), *(_of_run(result.judgement) if result.has_rules else ())]
        return iter(sorted(both, key=lambda command: not command.startswith("::error")))
    return _of_run(result) if isinstance(result, Judgement) else _of_comparison(result)


def _of_run(judgement: Judgement) -> Iterator[str]:
    if judgement.verdict is RunVerdict.INVALID:
        yield command("error", f"{judgement.run.scenario}: invalid run", judgement.reason)
        return
    if judgement.verdict is not RunVerdict.MET and not judgement.is_told_by_rules:
        level = "error" if judgement.verdict is RunVerdict.MISSED else "warning"
        yield command(level, f"{judgement.run.scenario}: {judgement.verdict}", judgement.reason)
    for level, status, severity in _LEVELS:
        for verdict in judgement.verdicts:
            if (verdict.status, verdict.severity) == (status, severity):
                where = words(verdict.where)
                message = verdict.reason if where == "all streams" else f"{where}: {verdict.reason}"
                yield command(level, f"{verdict.rule} {status.value}{verdict.origin}", message)


def _of_comparison(compared: Comparison) -> Iterator[str]:
    for status, level in ((GateStatus.REGRESSED, "error"), (GateStatus.INCONCLUSIVE, "warning")):
        for row in (row for row in compared.rows if row.status is status):
            yield command(level, f"{row.subject} {status} against {compared.baseline}", row.reason)
    if not compared.rows:
        level = "error" if compared.status is GateStatus.INVALID else "warning"
        yield command(level, f"{compared.status} against {compared.baseline}", compared.reason)


def command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(untrusted: str) -> str:
    """As GitHub's own toolkit escapes it."""
    text = visible(shortened(untrusted, _MOST_CHARACTERS))
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(untrusted: str) -> str:
    return _data(untrusted).replace(":", "%3A").replace(",", "%2C")


def _append(summary: Callable[[int], str], path: Path) -> None:
    """Append the summary to what the step has already written, within GitHub's limit for the whole file."""
    try:
        used = path.stat().st_size if path.exists() else 0
        room = max(0, markdown.MOST_BYTES - used)
        text = summary(room)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as fault:
        raise StoreError(f"{path}: cannot be written: {fault.strerror}") from fault


def summary(result: Result, room: int) -> str:
    if isinstance(result, Gated):
        return markdown.gated(result, room)
    return markdown.render(result, room) if isinstance(result, Judgement) else markdown.comparison(result, room)
