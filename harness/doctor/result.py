"""What a check finds."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from streamgauge.harness.doctor.evidence import Evidence


class Status(StrEnum):
    FAIL = "fail"  # people who use the endpoint are worse off, and the evidence leaves no doubt
    WARN = "warn"  # it may harm somebody, or it is suspected
    UNKNOWN = "unknown"  # it could not be looked at; the result says why
    PASS = "pass"  # noqa: S105 - no password


WORST_FIRST = tuple(Status)


class Fix(NamedTuple):
    """What to change."""

    line: str  # of a configuration, or of code; or what to do
    source: str  # a page that explains it


@dataclass(frozen=True)
class Result:
    """The texts may hold the server's words: each output escapes them."""

    status: Status
    says: str  # the evidence: numbers, and the offending bytes; without a full stop
    fixes: tuple[Fix, ...] = ()
    headline: str = ""  # of a failure, in a few words: who does what; "": the check's own title


class Check(NamedTuple):
    title: str  # what is right if it passes
    why: str  # why it matters to a person who reads
    look: "Callable[[Evidence], Result]"


def fine(says: str) -> Result:
    return Result(Status.PASS, says)


def unknown(says: str) -> Result:
    return Result(Status.UNKNOWN, says)


def warn(says: str, *fixes: Fix, headline: str = "") -> Result:
    return Result(Status.WARN, says, fixes, headline)


def fail(says: str, *fixes: Fix, headline: str = "") -> Result:
    return Result(Status.FAIL, says, fixes, headline)
