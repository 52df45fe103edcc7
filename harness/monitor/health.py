"""What /healthz answers: whether the monitor still asks its targets. Pure.

It is not about the targets: a monitor that finds all of them down is healthy.
"""

from typing import Any, NamedTuple

_LATE = 3  # intervals without a whole round, after which something is wrong


class Health(NamedTuple):
    status: int  # of HTTP: 200 or 503
    document: dict[str, Any]


def health(now: float, started_at: float, last_round_at: float | None, every: float) -> Health:
    """Times are seconds since 1970. `last_round_at`: when every target was last asked and its answer stored."""
    since = started_at if last_round_at is None else last_round_at
    waited = max(0.0, now - since)
    late = waited > _LATE * every
    state = "late" if late else "starting" if last_round_at is None else "ok"
    document = {"state": state, "last_round_at": last_round_at, "seconds_ago": round(waited, 1), "every": every}
    return Health(503 if late else 200, document)
