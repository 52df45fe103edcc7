"""One alert: an incident has begun, or it is over. What is stored and sent holds no secret."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

Status = Literal["firing", "resolved"]
Severity = Literal["page", "ticket"]

_MOST_BYTES = 16_384  # of an alert as JSON: its evidence is a few numbers and one stream
_LONGEST_KEY = 200  # characters: PagerDuty takes 255, and a receiver adds a prefix
_KEY = re.compile(rf"[\x21-\x7e]{{1,{_LONGEST_KEY}}}")  # it becomes a header's value


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What the monitor tells of one incident at one severity, once when it begins and once when it ends."""

    key: str  # the same for the beginning and the end of one incident at one severity, and never used for another
    incident: str = ""  # the same for all severities of one incident; "": an older version stored it, or it is none's
    beside: Severity | None = None  # at which other severity the same incident fires at that moment
    status: Status
    slo: str  # the name of the [[slo]]
    severity: Severity
    target: str  # the name of the [[monitor.target]], or several
    since: float  # seconds since 1970
    until: float | None  # None while it fires
    budget_left: float | None  # share of the error budget: 1 is all of it, below 0 it is overspent. None: there is none
    evidence: dict[str, Any]  # the figures behind it, and the worst stream
    summary: str  # one sentence for a person
    link: str | None  # to the page with the streams behind it

    @property
    def thread(self) -> str:
        """What all alerts of one incident have in common."""
        return self.incident or self.key

    def __post_init__(self) -> None:
        """ValueError for an alert that no receiver could be sent."""
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"{self.key!r} is no alert's key: write up to {_LONGEST_KEY} printable ASCII characters")
        if (self.until is None) != (self.status == "firing"):
            raise ValueError(f"the alert {self.key} is {self.status}, and ended at {self.until}")
        if len(encoded(self)) > _MOST_BYTES:
            raise ValueError(f"the alert {self.key} is larger than {_MOST_BYTES} bytes: give it less evidence")


def encoded(alert: Alert) -> str:
    """As JSON, which `decoded` reads."""
    return msgspec.json.encode(alert).decode()


def decoded(text: str) -> Alert:
    return msgspec.json.decode(text, type=Alert)
