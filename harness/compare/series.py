"""Series: several runs of the same work, one after another, each in a process of its own."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.errors import StoreError
from streamgauge.harness.exit_codes import VERDICTS, Exit
from streamgauge.harness.judge.compare.baseline import SERIES
from streamgauge.harness.judge.outputs import kinds
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.run import labels
from streamgauge.harness.run.launch import launch


@dataclass(frozen=True, slots=True)
class Work:
    """What each run of a series does."""

    scenario: str
    options: Mapping[str, Any]  # by their names in run.options, with `db`; none of those that report a result
    labels: Mapping[str, str]
    passed_on: Sequence[str] = ()  # to Locust, as it is


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a series: its labels, options and environment beside those of the work."""

    labels: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] | None = field(default_factory=kinds.environment_without_github)  # None: our own


def with_run_time(options: Mapping[str, Any], settings: Regression) -> dict[str, Any]:
    """The options of each run, with the config's run time for a series if no option says one."""
    run_time = options["run_time"] or (None if settings.run_time is None else str(settings.run_time))
    return {**options, "run_time": run_time}


def turns(first: int, count: int) -> list[Turn]:
    """Turns that differ only in their number, each told in one line, and that do not report to CI."""
    last = first + count - 1
    return [Turn({"repeat": str(each)}, {"line": f"{each} of {last}"}) for each in range(first, last + 1)]


class Series:
    """Runs that share a label with the series' id. A series ends after a mistake or an interrupted run."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.codes: list[int] = []  # exit codes of its runs so far
        self.ended = False

    def run(self, turns: Iterable[Turn]) -> None:
        """One run for each turn, until the series ends."""
        for turn in turns:
            if self.ended:
                return
            self.codes.append(self._launch(turn))
            self.ended = self.codes[-1] == Exit.MISTAKE or not self._last_finished()

    def runs(self) -> list[Run]:
        """Its runs in the database, oldest first."""
        with suppress(StoreError), Store.open(self.work.options["db"]) as store:
            return [run for run in store.runs() if run.labels.get(SERIES) == self.id]
        return []

    def ids(self) -> list[str]:
        return [run.id for run in self.runs()]

    def _launch(self, turn: Turn) -> int:
        work = self.work
        all_labels = labels.written({**work.labels, SERIES: self.id, **turn.labels})
        return launch(
            work.scenario, {**work.options, **turn.options, "label": all_labels}, work.passed_on, turn.environ
        )

    def _last_finished(self) -> bool:
        runs = self.runs()
        # A run that was interrupted while Locust started is not in the database.
        return len(runs) == len(self.codes) and runs[-1].status == "finished"


def sides(runs: Iterable[Run]) -> tuple[list[str], list[str]]:
    """The ids of the runs of A and of B, without incomplete pairs: the n-th of A is paired with the n-th of B."""
    pairs: dict[str, dict[str, str]] = {}
    for run in runs:
        pairs.setdefault(run.labels["pair"], {})[run.labels["side"]] = run.id
    whole = [pair for pair in pairs.values() if len(pair) == 2]
    return [pair["a"] for pair in whole], [pair["b"] for pair in whole]


def worst(codes: Iterable[int]) -> Exit:
    """The worst exit code of several runs: a mistake, else a missed rule or a regression, else inconclusive.

    A process with another exit code was killed: that counts as inconclusive.
    """
    known = {Exit(code) if code in {*VERDICTS, Exit.MISTAKE} else Exit.INCONCLUSIVE for code in codes}
    return next((code for code in (Exit.MISTAKE, Exit.MISSED, Exit.INCONCLUSIVE) if code in known), Exit.MET)
