"""Streams as columns, because a Python object for each chunk would be too slow. Pure."""

import itertools
import json
import struct
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.config.schema import Where
from streamgauge.harness.errors import DamagedRow
from streamgauge.harness.judge.store.checked import LONGEST_SHOWN, LONGEST_TEXT, Row, RowFault, are_only, shown
from streamgauge.harness.judge.store.texts import Texts, combinations
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.observation import Outcome, after_tools

TEXTS = ("scenario", "user", "protocol", "client", "network", "behaviour", "answer", "outcome", "labels", "oddities")
NUMBERS = (
    "sequence", "due_at", "started_at", "resolved_at", "connected_at", "secured_at", "sent_at", "headers_at",
    "first_content_at", "first_text_at", "last_content_at", "first_content_wire_at", "ended_at",
    "http_status", "content_chunks", "characters", "tool_pause", "body_bytes", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_write_tokens",
    "send_lag", "reads", "coalesced_reads", "saturated_reads", "unstamped_reads", "read_lag_mean", "read_lag_max",
    "resume_gap", "resume_lost", "resume_duplicated", "retry_after", "after_refusal",
)  # fmt: skip
_ALWAYS = ("due_at", "ended_at")  # the moments that every stream has
_OUTCOMES = dict.fromkeys(outcome.value for outcome in Outcome).keys()
_WRITTEN_ANSWERS = ("streamed", "whole")
_NO_NAMES = {"outcome", "answer", "labels", "oddities"}  # texts that are checked in another way
_ANSWERS = {None, *_WRITTEN_ANSWERS}  # None: of a version that knew only streamed answers
_MOST_ODDITIES = 50  # of one stream; this program knows about ten
_BLOB, _FIRST_NUMBER = 1, 2 + len(TEXTS)  # places in a row of `select_statement`
MOST_BYTES = 64 * 2**20  # of the blobs and texts of one batch
_AHEAD = 2  # batches that are decoded, or being decoded, while another one is measured

_KEYS = Where.keys()
T = TypeVar("T")


class Answer(NamedTuple):
    """A stream that completed. Times in ns."""

    request_id: str
    due_at: int
    send_lag: int
    events: arrivals.Columns


@dataclass(frozen=True)
class Streams:
    """Some streams of one run as columns of equal length; NaN where a number was not observed.

    A float64 holds whole nanoseconds exactly for 104 days, longer than any run.
    """

    id: NDArray[np.int64]
    # By name: the keys of Where (`labels` as JSON), the outcome, and the oddities as JSON; `cache` and these may be "".
    text: dict[str, Texts]
    number: dict[str, NDArray[np.float64]]  # by name: moments in ns, counts, tokens, lags in ns
    blobs: list[bytes]  # arrivals, see record/arrivals.py
    source: str = "the database"  # the path of the file, for errors

    def __len__(self) -> int:
        return len(self.blobs)

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: thousands of blobs as one, which is faster."""
        lengths = arrivals.lengths_of(self.blobs)
        return _unpacked, (self.id, self.text, self.number, b"".join(self.blobs), lengths, self.source)

    @cached_property
    def events(self) -> arrivals.ContentEvents:
        """Every content event of every stream, decoded on first use. DamagedRow for a damaged blob."""
        return self._of_blobs(arrivals.content_events)

    def first_events(self, rooms: arrivals.Rooms) -> arrivals.ContentEvents:
        """The events of the first streams, of as many as can be decoded at once."""
        return self._of_blobs(lambda blobs: arrivals.first_content_events(blobs, rooms))

    def parts(self) -> "Iterator[Streams]":
        """The same streams, divided so that the events of each part can be decoded."""
        rest = self
        while len(rest):
            count = arrivals.fitting(rest._of_blobs(arrivals.event_counts))
            first, rest = rest.cut(count)
            yield first

    def cut(self, count: int) -> "tuple[Streams, Streams]":
        """The first of these streams, so many of them, and the others."""
        if count == len(self):
            return self, self.select(np.zeros(0, np.int64))
        return self.select(np.arange(count)), self.select(np.arange(count, len(self)))

    def _of_blobs(self, read: Callable[[Sequence[bytes]], T]) -> T:
        """DamagedRow for a damaged blob."""
        try:
            return read(self.blobs)
        except arrivals.DamagedArrivals:
            for place in range(len(self)):
                self.columns(place)
            raise

    def columns(self, place: int) -> arrivals.Columns:
        """Every event of one stream, content or not. DamagedRow for a damaged blob."""
        try:
            return arrivals.columns(self.blobs[place])
        except arrivals.DamagedArrivals as fault:
            damaged = RowFault("streams", self.id[place], "arrivals", str(fault))
            raise DamagedRow(f"{self.source}: {damaged}") from None

    @cached_property
    def computed(self) -> dict[str, Any]:
        """What `measure` has computed from these streams' events and needs again, by name."""
        return {}

    @cached_property
    def after_tools(self) -> NDArray[np.int64]:
        """Which of `events` are the first content after a tool's run. It decodes every stream with a tool again."""
        places = [np.zeros(0, np.int64)]
        for stream in np.flatnonzero(~np.isnan(self.number["tool_pause"])).tolist():
            kind = self.columns(stream).kind
            places.append(self.events.starts[stream] + after_tools(kind[arrivals.is_content(kind)]))
        return np.concatenate(places)

    @cached_property
    def resumed(self) -> NDArray[np.bool_]:
        """Which streams resumed an answer: the beginning is in another stream, but the usage is the whole answer's."""
        return ~(np.isnan(self.number["resume_gap"]) & np.isnan(self.number["resume_lost"]))

    def ended_as(self, outcomes: Collection[Outcome]) -> NDArray[np.bool_]:
        return self.text["outcome"].among(outcomes)

    @cached_property
    def streamed(self) -> NDArray[np.bool_]:
        """Which answers were asked for as a stream, and not in one piece."""
        return self.text["answer"].are("streamed")

    @cached_property
    def timed(self) -> NDArray[np.bool_]:
        """Which streams can have a TTFT: a resumed answer began in another, and one in one piece has no first token."""
        return self.streamed & ~self.resumed

    def selected_by(self, where: Where) -> NDArray[np.bool_]:
        """Which streams `where` selects."""
        return selected_by(where, self.text, len(self))

    def select(self, places: NDArray[np.int64]) -> "Streams":
        """The streams at these places, in this order."""
        return Streams(
            self.id[places],
            {name: column.at(places) for name, column in self.text.items()},
            {name: column[places] for name, column in self.number.items()},
            [self.blobs[place] for place in places.tolist()],
            self.source,
        )

    def with_numbers(self, more: dict[str, NDArray[np.float64]]) -> "Streams":
        """The same streams with more columns; their events are not decoded again."""
        fuller = Streams(self.id, self.text, {**self.number, **more}, self.blobs, self.source)
        kept = {"events": self.events, "computed": self.computed}
        if "after_tools" in self.__dict__:
            kept["after_tools"] = self.after_tools
        fuller.__dict__.update(kept)
        return fuller


def _unpacked(
    ids: NDArray[np.int64],
    text: dict[str, Texts],
    number: dict[str, NDArray[np.float64]],
    blobs: bytes,
    lengths: NDArray[np.int64],
    source: str,
) -> Streams:
    ends = np.cumsum(lengths).tolist()
    return Streams(ids, text, number, [blobs[slice(*each)] for each in itertools.pairwise([0, *ends])], source)


def decoded(batches: Iterable[Streams]) -> Iterator[Streams]:
    """The same batches, decoded as they are taken."""
    rooms = arrivals.Rooms()
    for streams in batches:
        yield from _once_decoded(streams, streams.first_events(rooms), rooms)


def decoded_ahead(batches: Iterator[Streams], meanwhile: Callable[[], object] | None = None) -> Iterator[Streams]:
    """As `decoded`, but a thread takes and decodes the next batches while the caller works on one.

    The compiled decoder runs beside Python, because it does not hold Python's global lock. `meanwhile` is called when
    the thread has begun.
    """
    rooms = arrivals.Rooms()

    def decode() -> tuple[Streams, arrivals.ContentEvents] | None:
        streams = next(batches, None)
        return None if streams is None else (streams, streams.first_events(rooms))

    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(decode) for _ in range(_AHEAD))
        if meanwhile is not None:
            meanwhile()
        while (decoded := coming.popleft().result()) is not None:
            yield from _once_decoded(*decoded, rooms)
            coming.append(thread.submit(decode))


def _once_decoded(streams: Streams, events: arrivals.ContentEvents, rooms: arrivals.Rooms) -> Iterator[Streams]:
    """The streams in one piece, or in several if their events are too many to be decoded at once."""
    while True:
        first, streams = streams.cut(len(events.starts) - 1)
        first.__dict__["events"] = events
        yield first
        if not len(streams):
            return
        events = streams.first_events(rooms)


def selected_by(where: Where, text: Mapping[str, Texts], count: int) -> NDArray[np.bool_]:
    """Which of so many streams `where` selects, given its keys (`labels` as JSON) as columns."""
    keys = [key for key in _KEYS if getattr(where, key) is not None] + (["labels"] if where.label else [])
    if not keys:
        return np.ones(count, bool)
    found, code = combinations([text[key] for key in keys])
    chosen = [matches(where, dict(zip(keys, texts, strict=True))) for texts in found]
    return np.array(chosen, bool)[code]


def matches(where: Where, texts: Mapping[str, str]) -> bool:
    """Whether `where` selects a stream with these values (`labels` as JSON)."""
    if where.label:
        labels = json.loads(texts["labels"])
        if any(labels.get(name) != value for name, value in where.label.items()):
            return False
    wanted = ((name, getattr(where, name)) for name in _KEYS)
    return all(texts[name] == value for name, value in wanted if value is not None)


def selected(streams: Streams, where: Where) -> Streams:
    return streams.select(np.flatnonzero(streams.selected_by(where)))


def select_statement(columns: Collection[str], chosen: str) -> str:
    """SELECT for `streams_of_rows`; its parameters are the run twice, the id after which to start, and how many rows.

    `columns` are those of the table. A read-only file of an older version lacks some; they read as NULL, not observed.
    `chosen`: our own condition for the rows.
    """
    names = (name if name in columns else f"NULL AS {name}" for name in (*TEXTS, *NUMBERS))
    # +: in the order of the table. By the index of runs, SQLite would look up every row on its own.
    where = f"+run = ? AND id <= (SELECT max(id) FROM streams WHERE run = ?) AND id > ? AND {chosen}"  # noqa: S608 - our own
    return f"SELECT id, arrivals, {', '.join(names)} FROM streams WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608 - our own names


def as_selected(number: int, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """A stream's row, given by column, as `select_statement` would return it with this id."""
    return (number, values["arrivals"], *(values[name] for name in (*TEXTS, *NUMBERS)))


def bounded(rows: Iterable[Sequence[Any]], most: int, most_bytes: int = MOST_BYTES) -> list[Sequence[Any]]:
    """The first rows, at most `most` of them, whose blobs and texts fit into the memory of a batch. RowFault."""
    batch: list[Sequence[Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        try:
            size += sum(map(len, filter(None, row[_BLOB:_FIRST_NUMBER])))
        except TypeError:
            _check(row)
            raise
        if len(batch) >= most or size > most_bytes:
            break
    return batch


def streams_of_rows(rows: Sequence[Sequence[Any]], source: str) -> Streams:
    """The columns of these rows. RowFault for a row that this program did not write."""
    ids, blobs, *columns = zip(*rows, strict=True)
    text = {name: Texts.of(column) for name, column in zip(TEXTS, columns, strict=False)}
    numbers = columns[len(TEXTS) :]
    number = {name: _floats(column) for name, column in zip(NUMBERS, numbers, strict=True)}
    if not (are_only(ids, int) and are_only(blobs, bytes) and are_ours(text, number)):
        for row in rows:
            _check(row)
    return streams_as_stored(np.array(ids, np.int64), text, number, list(blobs), source)


def streams_as_stored(
    ids: NDArray[np.int64],
    text: dict[str, Texts],
    number: dict[str, NDArray[np.float64]],
    blobs: list[bytes],
    source: str,
) -> Streams:
    """Streams of columns that `are_ours`; NULL in place of a text is None."""
    text["answer"] = text["answer"].mapped(lambda answer: answer or "streamed")
    text["oddities"] = text["oddities"].mapped(lambda oddities: oddities or "")
    cached = number["cache_read_tokens"]
    text["cache"] = Texts(["", "hit", "miss"], np.select([cached > 0, cached == 0], [1, 2], 0))
    return Streams(ids, text, number, blobs, source)


def _floats(column: Sequence[Any]) -> NDArray[np.float64]:
    """NaN for None. Empty if there is a value that is no whole number."""
    try:
        return np.frombuffer(struct.pack(f"{len(column)}q", *column), np.int64).astype(np.float64)
    except struct.error:  # there is something else
        pass
    if column.count(None) == len(column):
        return np.full(len(column), np.nan)
    return np.array(column if are_only(column, int, type(None)) else [], np.float64)


def are_ours(text: Mapping[str, Texts], number: Mapping[str, NDArray[np.float64]]) -> bool:
    """The same question as `_check` answers for one row but for its blob, for many rows at once, which is faster."""
    count = len(text["outcome"])
    if any(len(column) < count for column in number.values()) or any(np.isnan(number[name]).any() for name in _ALWAYS):
        return False
    different = {name: {*column.values} for name, column in text.items()}
    if not different["outcome"] <= _OUTCOMES or not different["answer"] <= _ANSWERS:
        return False
    named = set().union(*(values for name, values in different.items() if name not in _NO_NAMES))
    if not are_only([*named], str) or any(len(value) > LONGEST_TEXT for value in named):
        return False
    return all(map(_are_labels, different["labels"])) and all(map(_are_oddities, different["oddities"]))


@lru_cache(1_000)
def _are_oddities(text: Any) -> bool:
    try:
        oddities_of(Row("streams", None, {"oddities": text}))
    except RowFault:
        return False
    return True


def oddities_of(row: Row) -> dict[str, int]:
    """What was odd about a stream, and how often. RowFault for what this program did not write."""
    if row.value("oddities") is None:
        return {}
    found = row.json("oddities", dict[str, int])
    if len(found) > _MOST_ODDITIES or any(len(what) > LONGEST_SHOWN for what in found):
        row.fail("oddities", f"more than {_MOST_ODDITIES} oddities, or longer than {LONGEST_SHOWN} characters")
    return found


@lru_cache(10_000)
def _are_labels(text: Any) -> bool:
    try:
        Row("streams", None, {"labels": text}).json("labels", dict[str, str])
    except RowFault:
        return False
    return True


def _check(values: Sequence[Any]) -> None:
    """RowFault for a row that this program did not write."""
    number, blob, *rest = values
    row = Row("streams", shown(number), dict(zip((*TEXTS, *NUMBERS), rest, strict=True)))
    if not isinstance(number, int):  # a reader would never get past it, or crash
        row.fail("id", f"{shown(number)} is no whole number")
    if not isinstance(blob, bytes):
        row.fail("arrivals", f"{shown(blob)} is no blob")
    try:
        arrivals.event_count(blob)
    except arrivals.DamagedArrivals as fault:
        row.fail("arrivals", str(fault))
    for name in TEXTS:
        if name not in _NO_NAMES:
            row.text(name)
    row.one_of("outcome", _OUTCOMES)
    if rest[TEXTS.index("answer")] is not None:
        row.one_of("answer", _WRITTEN_ANSWERS)
    row.json("labels", dict[str, str])
    oddities_of(row)
    for name in NUMBERS:
        row.whole_or_none(name)
    for name in _ALWAYS:
        row.whole(name)
