"""What a finding is: something of a run that an expert would point out, with its evidence and what to change."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.wording import shortened

_LONGEST_VALUE = 60  # characters of a label's value, or of a name


class Certainty(StrEnum):
    SURE = "sure"  # the record itself shows it: it was counted
    LIKELY = "likely"  # beyond chance, and the usual cause of what the record shows
    POSSIBLE = "possible"  # beyond chance, but other causes look the same


class Number(NamedTuple):
    """One number of the evidence. A count is an int."""

    what: str
    value: float | int
    unit: str  # as for figures.figure; "" for a count of what `what` names

    def __str__(self) -> str:
        if isinstance(self.value, int):
            return f"{self.what}: {self.value:,} {self.unit}".rstrip()
        return f"{self.what}: {figure(self.value, self.unit)}".rstrip()


@dataclass(frozen=True)
class Finding:
    """`advice`, `sentence` and `evidence` may hold names and labels of the run: each output escapes them."""

    id: str  # a key of FINDINGS
    advice: str  # one cause and what to do first, for who reads nothing else; without a full stop
    sentence: str  # what was found, without a full stop
    evidence: tuple[Number, ...]
    meaning: str
    change: str  # the line, setting or command to change
    source: str  # a page that explains it
    certainty: Certainty

    @property
    def numbers(self) -> str:
        """The evidence as one text."""
        return "; ".join(map(str, self.evidence))


def quoted(value: str) -> str:
    """A value from the run, bounded, to put into a sentence."""
    return f"“{shortened(value, _LONGEST_VALUE)}”"


def line(findings: Sequence[Finding]) -> str:
    """How many there are: `none found`, or `2 found`."""
    return f"{len(findings)} found" if findings else "none found"
