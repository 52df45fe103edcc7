"""What /healthz answers: whether the monitor still asks its targets. Pure.

It is not about the targets: a monitor that finds all of them down is healthy.
"""

import math
from typing import Any, NamedTuple

_LATE = 3  # intervals without a whole round, after which something is wrong,
_SLACK = 60.0  # and seconds on top: a probe may take a while, and the judge writes this down now and then


class Health(NamedTuple):
    status: int  # of HTTP: 200 or 503
    document: dict[str, Any]


def health(now: float, runs_for: float, last_round_at: float | None, every: float) -> Health:
    """`now` and `last_round_at`, when every target had last been asked and its answer stored: seconds since 1970.

    A monitor that was started again has as much time as a new one, whatever its database holds. What lies ahead was
    written before the clock was set back, and says nothing.
    """
    ago = math.inf if last_round_at is None or last_round_at > now + _SLACK else max(0.0, now - last_round_at)
    waited = min(ago, runs_for)
    late = waited > _LATE * every + _SLACK
    state = "late" if late else "ok" if ago <= runs_for else "starting"
    document = {"state": state, "last_round_at": last_round_at, "seconds_ago": round(waited, 1), "every": every}
    return Health(503 if late else 200, document)
