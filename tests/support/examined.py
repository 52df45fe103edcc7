"""What `doctor` may have seen of an endpoint, as tests write it: times in milliseconds, only what matters given."""

from collections.abc import Mapping, Sequence
from typing import Any

from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.reach import Reach
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.probe.events import Taken
from streamgauge.harness.record.observation import Outcome
from tests.support.record import observation

STREAM = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "transfer-encoding": "chunked",
    "x-accel-buffering": "no",
}
STEADY = tuple(100 + 20 * number for number in range(40))  # 40 chunks, one by one
URL = "http://h/"


def answer(
    at: Sequence[float] = STEADY,
    status: int | None = 200,
    headers: Mapping[str, str] = STREAM,
    outcome: Outcome = Outcome.COMPLETED,
    body: bytes = b"data: 1\n\n",
    *,
    ended: float | None = None,
    head: float = 50,
    due: float = 0,
    pings: Sequence[float] = (),
    whole: bool = True,
    splits: Sequence[float] = (),
    fresh: bool = True,
    **record: Any,
) -> Seen:
    """An answer with content at these times after the question. `fresh`: on a connection that was not there before.

    `whole`: the HTTP message came to its end. `record`: as for `observation`.
    """
    end = ended if ended is not None else max([*at, *pings, head], default=head)
    seen = observation(
        [("text", moment) for moment in at],
        outcome=outcome,
        ended=max(0.0, end - (at[-1] if at else 0.0)),
        http_status=status,
        connected_at=1 if fresh else None,
        reads=len(at),
        **record,
    )
    events = sorted(
        [Taken(moment, 90, "text", "", place, True) for place, moment in enumerate(at)]
        + [Taken(moment, 10, "ping", "", 0, False) for moment in pings],
        key=lambda event: event.at or 0,
    )
    moments = {"sent": 1.0, "ended": end} | ({} if status is None else {"headers": head})
    yes = status is not None and status // 100 == 2
    return Seen(
        "POST", URL, status, headers, body, seen, tuple(events) if yes else (), moments, whole, due, tuple(splits)
    )


def evidence(first: Seen | None = None, reach: Reach | None = None, url: str = URL, **more: Any) -> Evidence:
    """`more`: the other answers by experiment; and fields of Evidence, which are no answers."""
    fields = {name: value for name, value in more.items() if not isinstance(value, Seen)}
    seen = {name: value for name, value in more.items() if isinstance(value, Seen)}
    if first is not None:
        seen = {"as_is": first, **seen}
    return Evidence(url, fields.pop("protocol", "openai_chat"), reach or Reach("h"), seen, **fields)
