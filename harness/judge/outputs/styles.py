"""The sign and the colours of each verdict. Never colour alone: the word or the sign stands beside it."""

from collections.abc import Mapping
from typing import NamedTuple

from streamgauge.harness.record.observation import ABANDONED, FAILURES, Outcome


class Style(NamedTuple):
    sign: str
    terminal: str  # a colour of rich
    badge: str  # white on it is legible (WCAG AA)


_GOOD = Style("✓", "green", "#1a7f37")
_BAD = Style("✗", "red", "#b32430")

STYLES: Mapping[str, Style] = {  # by RunVerdict, RuleStatus, GateStatus, Outcome, and the status of doctor's checks
    **dict.fromkeys(FAILURES, _BAD),
    **dict.fromkeys(ABANDONED, Style("?", "yellow", "#8a5a00")),
    Outcome.COMPLETED: _GOOD,
    "met": _GOOD,
    "missed": _BAD,
    "inconclusive": Style("?", "yellow", "#8a5a00"),
    "invalid": Style("!", "magenta", "#7a3ea8"),
    "ok": _GOOD,
    "regressed": _BAD,
    "improved": _GOOD,
    "pass": _GOOD,
    "fail": _BAD,
    "warn": Style("!", "yellow", "#8a5a00"),
    "unknown": Style("?", "blue", "#3b5b8c"),
}
