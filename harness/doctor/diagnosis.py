"""All checks together: the worst first, one sentence at the top, and an exit code. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from streamgauge.harness.counting import some
from streamgauge.harness.doctor.checks import CHECKS
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.result import WORST_FIRST, Check, Result, Status
from streamgauge.harness.exit_codes import Exit

# Without these, a good result would have nothing behind it.
_ESSENTIAL = ("answers", "end", "streaming")


class Item(NamedTuple):
    name: str  # a key of CHECKS
    check: Check
    result: Result


@dataclass(frozen=True)
class Diagnosis:
    evidence: Evidence
    items: tuple[Item, ...]  # the most serious first

    @classmethod
    def of(cls, evidence: Evidence) -> "Diagnosis":
        items = [Item(name, check, check.look(evidence)) for name, check in CHECKS.items()]
        return cls(evidence, tuple(sorted(items, key=lambda item: WORST_FIRST.index(item.result.status))))

    def having(self, status: Status) -> list[Item]:
        return [item for item in self.items if item.result.status is status]

    def status_of(self, name: str) -> Status:
        return next(item.result.status for item in self.items if item.name == name)

    @property
    def blind(self) -> list[Item]:
        """The essential checks that could not look."""
        return [item for item in self.having(Status.UNKNOWN) if item.name in _ESSENTIAL]

    @property
    def exit_code(self) -> Exit:
        if self.having(Status.FAIL):
            return Exit.MISSED
        return Exit.INCONCLUSIVE if self.blind else Exit.MET

    @property
    def status(self) -> Status:
        """Of the whole."""
        return {Exit.MISSED: Status.FAIL, Exit.INCONCLUSIVE: Status.UNKNOWN}.get(
            self.exit_code, Status.WARN if self.having(Status.WARN) else Status.PASS
        )

    @property
    def sentence(self) -> str:
        """What matters most, without a full stop."""
        failed, warned = self.having(Status.FAIL), self.having(Status.WARN)
        if failed:
            more = f" (and {some(len(failed) - 1, 'more failure')})" if len(failed) > 1 else ""
            return f"{failed[0].result.headline or failed[0].check.title}{more}"
        if self.blind:
            why = self.blind[0].result.says
            return (
                f"Could not look: {why}"
                if self.blind[0].name == "answers"
                else f"Could not tell whether it streams: {why}"
            )
        if warned:
            return (
                warned[0].result.headline or f"It streams, with {some(len(warned), 'warning')}: {warned[0].result.says}"
            )
        if self.evidence.stopped:
            return "It streams, and nothing wrong was found until doctor was stopped"
        return "It streams, and nothing is wrong with it"

    @property
    def counts(self) -> Iterator[tuple[Status, int]]:
        return ((status, len(self.having(status))) for status in WORST_FIRST)
