"""Why streams failed: failures that differ only in numbers and ids are one, worded once. Pure."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from streamgauge.harness.record.observation import Outcome

TOLD = 5  # in a text, the most frequent
# A word with a digit: a request's id, a time, a port. Found in one pass, however long a server's words are.
_VARYING = re.compile(r"(?<!\S)[^\s\d]*+\d\S*+")


class Failure(NamedTuple):
    """One way in which streams failed, and how many did."""

    outcome: str
    http_status: int | None
    detail: str  # the message of the server or of the system: untrusted text
    n: int

    @property
    def way(self) -> tuple[str, int | None, str]:
        """Equal for failures of one kind."""
        return self.outcome, self.http_status, _VARYING.sub("#", self.detail)

    @property
    def why(self) -> str:
        """`refused: HTTP 401: {"error": …}`."""
        return f"{self.outcome}: {self.detail}" if self.detail else self.outcome

    def __str__(self) -> str:
        return f"{self.n:,} {self.why}"


def merged(failures: Iterable[Failure]) -> list[Failure]:
    """One for each kind, in the words of its most frequent; the most frequent first."""
    found: dict[tuple[str, int | None, str], Failure] = {}
    for failure in sorted(failures, key=lambda each: -each.n):
        way = failure.way
        known = found.get(way)
        found[way] = failure if known is None else known._replace(n=known.n + failure.n)
    return sorted(found.values(), key=lambda each: -each.n)


def check(failure: Failure) -> str:
    """What to look at if all streams fail like this."""
    if failure.outcome == Outcome.REFUSED and failure.http_status in _BY_STATUS:
        return _BY_STATUS[failure.http_status]
    return _BY_OUTCOME.get(failure.outcome, "the server's log")


_TARGET = "[target] of streamgauge.toml"
_BY_STATUS = {
    400: f"what is sent: model, body and omit in {_TARGET}",
    401: f"the key: headers in {_TARGET}",
    403: f"the key and what it may do: headers in {_TARGET}",
    404: f"path, protocol and model in {_TARGET}",
    405: f"path and method in {_TARGET}",
    413: "the length of the prompts",
    422: f"what is sent: model, body and omit in {_TARGET}",
    429: "the limit of the rate, or use several keys ([target.credentials] of streamgauge.toml)",
}
_BY_OUTCOME: dict[str, str] = {
    Outcome.UNREACHABLE: "whether the server runs, and the --host",
    Outcome.TIMED_OUT: "the server's load, and [target.timeouts] of streamgauge.toml",
    Outcome.TRUNCATED: f"protocol and end in {_TARGET}",
    Outcome.MALFORMED: f"protocol in {_TARGET}, and [target.events]",
    Outcome.EMPTY: f"protocol and max_tokens in {_TARGET}, and text in [target.events]",
}
