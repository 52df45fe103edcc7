"""What /healthz answers: whether the monitor still asks its targets. Pure.

It is not about the targets: a monitor that finds all of them down is healthy.
"""

from typing import Any, NamedTuple

_LATE = 3  # intervals without a whole round, after which something is wrong,
_SLACK = 60.0  # and seconds on top: a probe may take a while, and the judge writes this down now and then


class Health(NamedTuple):
    status: int  # of HTTP: 200 or 503
    document: dict[str, Any]


def health(now: float, started_at: float, last_round_at: float | None, every: float) -> Health:
    """Times are seconds since 1970. `last_round_at`: when every target had last been asked and its answer stored.

    A monitor that was started again has as much time as a new one, whatever its database holds.
    """
    since = max(started_at, last_round_at or 0.0)
    waited = max(0.0, now - since)
    late = waited > _LATE * every + _SLACK
    state = "late" if late else "ok" if last_round_at is not None and last_round_at >= started_at else "starting"
    document = {"state": state, "last_round_at": last_round_at, "seconds_ago": round(waited, 1), "every": every}
    return Health(503 if late else 200, document)
