"""Measured streams, or their chunks, as rows for other programs: in the order stored, and in batches of bounded size.

The columns of streams are those of the view `stream_metrics`. None: not observed.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from streamgauge.harness.judge.store import connection, schema
from streamgauge.harness.judge.store.checked import Row, RowFault, are_only
from streamgauge.harness.judge.store.connection import as_store_errors
from streamgauge.harness.judge.store.database import Store
from streamgauge.harness.record import arrivals

ROWS = 10_000  # of a batch; the last stream of a batch of chunks may go beyond it

ExportedRow = Sequence[str | int | float | None]
Type = Literal["text", "json", "whole", "number"]


class Column(NamedTuple):
    name: str
    type: Type  # json: an object, as text


_TYPES: dict[Type, tuple[type, ...]] = {
    "text": (str, type(None)),
    "json": (str, type(None)),
    "whole": (int, type(None)),
    "number": (int, float, type(None)),
}
_LISTED: dict[Type, str] = {
    "text": "run_id scenario user protocol client network behaviour worker outcome detail stop_reason request_id "
    "resumed_from answer address replica",
    "json": "labels oddities",
    "whole": "stream_id http_status chunks characters body_bytes input_tokens output_tokens cache_read_tokens "
    "cache_write_tokens reads coalesced_reads saturated_reads unstamped_reads resume_lost resume_duplicated",
    "number": "due_s connect_ms headers_ms ttft_ms ttft_text_ms ttft_wire_ms e2e_ms duration_ms tpot_ms send_lag_ms "
    "read_lag_ms resume_gap_ms tool_pause_ms retry_after_ms after_refusal_ms",
}
_OF_STREAMS = {name: kind for kind, names in _LISTED.items() for name in names.split()}
_OBJECTS = {"labels": dict[str, str], "oddities": dict[str, int]}  # what is in the columns of JSON
CHUNKS = [
    Column("run_id", "text"),
    Column("stream_id", "whole"),
    Column("chunk", "whole"),  # from 1 on, in order of arrival
    Column("arrived_ms", "number"),  # on the wire, ms since the stream was due
    Column("perceived_ms", "number"),  # after the emulated link
    Column("kind", "text"),
    Column("characters", "whole"),
    Column("bytes", "whole"),
]
_KINDS = [kind.value for kind in arrivals.KINDS]


def stream_rows(store: Store, run_ids: Sequence[str]) -> tuple[list[Column], Iterator[list[ExportedRow]]]:
    """The columns, and batches of rows. The StoreError of a row comes when its batch is read."""
    with as_store_errors(store.path):
        select = schema.measured_streams(store._database)
        names = [column[0] for column in store._database.execute(select, [-1]).description]
    columns = [Column(name, _OF_STREAMS[name]) for name in names]
    return columns, _streams(store, run_ids, select, columns)


def _streams(
    store: Store, run_ids: Sequence[str], select: str, columns: Sequence[Column]
) -> Iterator[list[ExportedRow]]:
    for run_id in run_ids:
        for rows in _selected(store, run_id, select):
            with as_store_errors(store.path):
                _check(rows, columns)
            yield rows


def chunk_rows(store: Store, run_ids: Sequence[str]) -> tuple[list[Column], Iterator[list[ExportedRow]]]:
    """The same, with a row for each chunk, content or not."""
    return CHUNKS, _chunks(store, run_ids)


def _chunks(store: Store, run_ids: Sequence[str]) -> Iterator[list[ExportedRow]]:
    batch: list[ExportedRow] = []
    for run_id in run_ids:
        for rows in _by_stream(store, run_id):
            batch += rows
            if len(batch) >= ROWS:
                yield batch
                batch = []
    if batch:
        yield batch


def _by_stream(store: Store, run_id: str) -> Iterator[Iterator[ExportedRow]]:
    for streams in store.streams(run_id):
        due_at = streams.number["due_at"].tolist()
        for place, stream_id in enumerate(streams.id.tolist()):
            yield _of_stream(run_id, stream_id, due_at[place], streams.columns(place))


def _of_stream(run_id: str, stream_id: int, due_at: float, seen: arrivals.Columns) -> Iterator[ExportedRow]:
    columns = (
        range(1, len(seen.at) + 1),
        ((seen.at - due_at / 1e3) / 1e3).round(6).tolist(),
        ((seen.perceived_at - due_at / 1e3) / 1e3).round(6).tolist(),
        (_KINDS[code] for code in seen.kind.tolist()),
        seen.characters.tolist(),
        seen.size.tolist(),
    )
    return ((run_id, stream_id, *chunk) for chunk in zip(*columns, strict=True))


def _selected(store: Store, run_id: str, select: str) -> Iterator[list[ExportedRow]]:
    with as_store_errors(store.path):
        cursor = store._database.execute(select, [store._known(run_id)])
    while True:
        with as_store_errors(store.path), connection.undecodable_text_as_bytes(store._database):
            rows = cursor.fetchmany(ROWS)
        if not rows:
            return
        yield rows


def _check(rows: Sequence[ExportedRow], columns: Sequence[Column]) -> None:
    """RowFault for a value that this program does not write."""
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        if not are_only(values, *_TYPES[column.type]):
            _name_fault(rows, columns)
        for value in {*values} if column.type == "json" else ():
            if value is not None:
                Row("streams", "any", {column.name: value}).json(column.name, _OBJECTS[column.name])


def _name_fault(rows: Sequence[ExportedRow], columns: Sequence[Column]) -> None:
    place = [column.name for column in columns].index("stream_id")
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            if not isinstance(value, _TYPES[column.type]):
                raise RowFault("streams", row[place], column.name, f"{type(value).__name__} is not what belongs here")
