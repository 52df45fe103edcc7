"""The sequence numbers that some servers give their events: which events were lost, came twice or came late. Pure."""

from typing import Any

from streamgauge.harness.drive.protocols.protocol import Answer

SKIPPED = "a sequence number was skipped: an event was lost"
TWICE = "a sequence number came twice: an event came again"
LATE = "a sequence number came late: events changed places"

_MOST = 2**53  # numbers below it are exact in JSON and SQLite
_MOST_MISSING = 1_000  # numbers that are waited for; a server that skips more of them is not sorted out further


def keep_number(answer: Answer, value: Any) -> None:
    """Count in the answer's oddities what the number of its next event shows. What is no number shows nothing."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        return
    last = answer.number
    if last is None or value > last:
        skipped = range(value if last is None else last + 1, value)  # the first number may be any
        answer.number = value
        if skipped:
            answer.odd(SKIPPED, len(skipped))
            answer.missing.update(skipped[: _MOST_MISSING - len(answer.missing)])
    elif value in answer.missing:
        answer.missing.remove(value)
        answer.odd(SKIPPED, -1)
        answer.odd(LATE)
    else:
        answer.odd(TWICE)
