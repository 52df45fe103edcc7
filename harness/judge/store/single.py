"""One stream with all that its row tells, for a reader who wants to see it alone."""

from typing import NamedTuple

from streamgauge.harness.judge.store.checked import Row, shown
from streamgauge.harness.judge.store.connection import as_store_errors
from streamgauge.harness.judge.store.database import Store
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.observation import Outcome

# Moments in the order in which they happen, with what has ended by then.
MOMENTS = (
    "started_at", "resolved_at", "connected_at", "secured_at", "sent_at", "headers_at", "first_content_at",
    "last_content_at", "ended_at",
)  # fmt: skip
_WORDS = ("user", "network", "behaviour", "client", "worker")
_MAYBE = ("stop_reason", "request_id", "address", "replica")  # texts that may be unknown
_NUMBERS = ("http_status", "characters", "input_tokens", "output_tokens", "cache_read_tokens", "retry_after")


class StreamInFull(NamedTuple):
    id: int
    due_at: int  # ns on the run's clock
    moments: dict[str, int]  # ns on the run's clock, of MOMENTS; only those that were observed
    words: dict[str, str]  # user, network, behaviour, client, worker
    labels: dict[str, str]
    outcome: Outcome
    detail: str
    stop_reason: str | None
    request_id: str | None
    address: str | None
    replica: str | None
    numbers: dict[str, int]  # HTTP status, characters, tokens, ns; only those that are known
    events: arrivals.Columns


def stream_in_full(store: Store, stream_id: int) -> StreamInFull:
    """DamagedRow for values that this program does not write."""
    with as_store_errors(store.path):
        return _of_row(stream_id, store.row("streams", "*", stream_id))


def _of_row(stream_id: int, row: Row) -> StreamInFull:
    moments = {name: row.whole(name) for name in MOMENTS if row.value(name) is not None}
    numbers = {name: row.whole(name) for name in _NUMBERS if row.value(name) is not None}
    return StreamInFull(
        id=stream_id,
        due_at=row.whole("due_at"),
        moments=moments,
        words={name: row.text(name) for name in _WORDS},
        labels=row.json("labels", dict[str, str]) if row.value("labels") is not None else {},
        outcome=Outcome(row.one_of("outcome", [outcome.value for outcome in Outcome])),
        detail="" if row.value("detail") is None else row.text("detail"),
        **{name: None if row.value(name) is None else row.text(name) for name in _MAYBE},
        numbers=numbers,
        events=_events(row),
    )


def _events(row: Row) -> arrivals.Columns:
    blob = row.value("arrivals")
    if blob is None:
        blob = b""
    if not isinstance(blob, bytes):
        row.fail("arrivals", f"{shown(blob)} is no blob")
    try:
        return arrivals.columns(blob)
    except arrivals.DamagedArrivals as fault:
        row.fail("arrivals", str(fault))
