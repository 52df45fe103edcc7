"""Several runs of the same work, one after another: for the gate, for noise, and for A against B.

Each run is a process that `start` runs to its end. Nothing is judged here beyond what the runs themselves say.
"""

import os
import secrets
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from streamgauge.harness.errors import StoreError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare.baseline import SERIES
from streamgauge.harness.judge.store import Run, Store

Start = Callable[[Mapping[str, str]], int]  # runs with these labels; the exit code
_CI = {  # label → where a CI job has it
    "branch": ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME"),
    "commit": ("GITHUB_SHA", "CI_COMMIT_SHA"),
}
_GIT = {"branch": ["--abbrev-ref", "HEAD"], "commit": ["HEAD"]}


def name() -> str:
    """A new series: what its runs have as their label."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def run(start: Start, each: Iterable[Mapping[str, str]], database: str, series: str) -> tuple[list[str], list[int]]:
    """Run once with each of these labels; the runs' ids, oldest first, and their exit codes.

    Ends early, with what there is, after a mistake in the call and after a run that was interrupted.
    """
    codes: list[int] = []
    for labels in each:
        codes.append(start({SERIES: series, **labels}))
        if codes[-1] == Exit.MISTAKE or not _finished(database):
            break
    return found(database, series), codes


def found(database: str, series: str) -> list[str]:
    with suppress(StoreError), Store.open(database) as store:
        return [run.id for run in store.runs() if run.labels.get(SERIES) == series]
    return []


def sides(runs: Iterable[Run], series: str) -> tuple[list[str], list[str]]:
    """The ids of a series' runs of A and of B, whole pairs only: the k-th of A goes with the k-th of B."""
    pairs: dict[str, dict[str, str]] = {}
    for run in runs:
        if run.labels.get(SERIES) == series:
            pairs.setdefault(run.labels["pair"], {})[run.labels["side"]] = run.id
    whole = [pair for pair in pairs.values() if len(pair) == 2]
    return [pair["a"] for pair in whole], [pair["b"] for pair in whole]


def _finished(database: str) -> bool:
    with Store.open(database) as store:
        return store.run().status == "finished"


def worst(codes: Sequence[int]) -> Exit:
    """Of exit codes: a mistake, then a missed rule or a regression, then what was not conclusive.

    Nothing can be said of a process that had another: something killed it.
    """
    known = {Exit(code) if code in list(Exit) else Exit.INCONCLUSIVE for code in codes}
    return next((code for code in (Exit.MISTAKE, Exit.MISSED, Exit.INCONCLUSIVE) if code in known), Exit.MET)


def provenance(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Labels `branch` and `commit`, as CI or git in the working directory has them; absent where nobody knows."""
    labels = {}
    for label, variables in _CI.items():
        told = next((environ[variable] for variable in variables if environ.get(variable)), None) or _git(_GIT[label])
        if told:
            labels[label] = told
    return labels


def _git(words: Sequence[str]) -> str | None:
    try:
        asked = subprocess.run(
            ["git", "rev-parse", *words],  # noqa: S607 - whichever git the user has
            cwd=Path.cwd(),
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    told = asked.stdout.strip()
    return None if told == "HEAD" else told  # a detached one has no branch
