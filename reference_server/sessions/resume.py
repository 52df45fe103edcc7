"""Resuming an answer, with the id of the last event that the client has."""

import re

from fastapi import Response
from starlette.exceptions import HTTPException

from streamgauge.reference_server.delivery.responses import EventStream
from streamgauge.reference_server.dialects import dialect_of
from streamgauge.reference_server.sessions.log import SUBSCRIBERS, Subscriber
from streamgauge.reference_server.sessions.registry import Sessions

_EVENT_ID = re.compile(r"(req_[0-9a-f]+):([0-9]{1,9})")


async def resume(sessions: Sessions, event_id: str, path: str | None) -> Response:
    """The events after this one, and those that are still to come, of an answer to a request to `path` (None: any).

    If nothing is missing, the response has status 204, which stops an `EventSource`. Faults that the answer had on its
    first connection do not happen again.
    """
    found = _EVENT_ID.fullmatch(event_id)
    log = await sessions.find(found[1]) if found else None
    if found is None or log is None or path not in {None, log.path}:
        fault = f"no answer {event_id.partition(':')[0]!r} is kept: it was not resumable, or it ended too long ago"
        raise HTTPException(404, f"{fault}; ask again without an event's id")
    position = int(found[2])
    if position + 1 < log.first:
        raise HTTPException(410, f"the events after {event_id!r} are no longer kept; ask again without that id")
    if log.over and position >= log.last:
        return Response(status_code=204)
    if len(log.subscribers) >= SUBSCRIBERS:
        raise HTTPException(503, f"{SUBSCRIBERS} clients read this answer already; try again", {"retry-after": "1"})
    sessions.streams.counts.resumed += position > 0
    subscriber = Subscriber(log, position)
    return EventStream(subscriber, subscriber.open, {dialect_of(log.path).request_id_header: log.id})
