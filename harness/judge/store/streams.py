"""Streams as columns, because a Python object for each chunk would be too slow. Pure."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.config.schema import Where
from streamgauge.harness.errors import StoreError
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.observation import Outcome

_TEXTS = ("scenario", "user", "protocol", "client", "network", "behaviour", "answer", "outcome", "labels")
_NUMBERS = (
    "due_at", "started_at", "resolved_at", "connected_at", "secured_at", "sent_at", "headers_at",
    "first_content_at", "first_text_at", "last_content_at", "first_content_wire_at", "ended_at",
    "content_chunks", "characters", "tool_pause", "body_bytes", "input_tokens", "output_tokens", "cache_read_tokens",
    "send_lag", "reads", "coalesced_reads", "saturated_reads", "unstamped_reads", "read_lag_mean", "read_lag_max",
    "resume_gap", "resume_lost", "resume_duplicated",
)  # fmt: skip


_KEYS = Where.keys()


@dataclass(frozen=True)
class Streams:
    """Some streams of one run as columns of equal length; NaN where a number was not observed.

    A float64 holds whole nanoseconds exactly for 104 days, longer than any run.
    """

    id: NDArray[np.int64]
    text: dict[str, list[str]]  # by name: the keys of Where (`labels` as JSON) and the outcome; `cache` may be ""
    number: dict[str, NDArray[np.float64]]  # by name: moments in ns, counts, tokens, lags in ns
    blobs: list[bytes]  # arrivals, see record/arrivals.py

    def __len__(self) -> int:
        return len(self.blobs)

    @cached_property
    def events(self) -> arrivals.ContentEvents:
        """Every content event of every stream, decoded on first use. StoreError for a damaged blob."""
        try:
            return arrivals.content_events(self.blobs)
        except ValueError as fault:
            raise StoreError(f"arrivals of streams {self.id[0]}–{self.id[-1]} cannot be read: {fault}") from None

    @cached_property
    def outcome(self) -> NDArray[np.str_]:
        return np.array(self.text["outcome"])

    @cached_property
    def resumed(self) -> NDArray[np.bool_]:
        """Which streams resumed an answer: the beginning is in another stream, but the usage is the whole answer's."""
        return ~(np.isnan(self.number["resume_gap"]) & np.isnan(self.number["resume_lost"]))

    def ended_as(self, outcomes: Collection[Outcome]) -> NDArray[np.bool_]:
        names, code = self._outcome_codes
        chosen: NDArray[np.bool_] = np.array([name in outcomes for name in names], bool)[code]
        return chosen

    @cached_property
    def _outcome_codes(self) -> tuple[list[str], NDArray[np.int64]]:
        """The outcomes that occur, and for each stream the index of its outcome: comparing numbers is faster."""
        names, code = np.unique(self.outcome, return_inverse=True)
        return names.tolist(), code

    def select(self, places: NDArray[np.int64]) -> "Streams":
        """The streams at these places, in this order."""
        chosen = places.tolist()
        return Streams(
            self.id[places],
            {name: [column[place] for place in chosen] for name, column in self.text.items()},
            {name: column[places] for name, column in self.number.items()},
            [self.blobs[place] for place in chosen],
        )

    def with_numbers(self, more: dict[str, NDArray[np.float64]]) -> "Streams":
        """The same streams with more columns; their events are not decoded again."""
        fuller = Streams(self.id, self.text, {**self.number, **more}, self.blobs)
        fuller.__dict__["events"] = self.events
        return fuller


def matches(where: Where, texts: Mapping[str, str]) -> bool:
    """Whether `where` selects a stream with these values (`labels` as JSON)."""
    if where.label:
        labels = json.loads(texts["labels"])
        if any(labels.get(name) != value for name, value in where.label.items()):
            return False
    wanted = ((name, getattr(where, name)) for name in _KEYS)
    return all(texts[name] == value for name, value in wanted if value is not None)


def selected(streams: Streams, where: Where) -> Streams:
    rows = zip(*streams.text.values(), strict=True)
    chosen = [matches(where, dict(zip(streams.text, values, strict=True))) for values in rows]
    return streams.select(np.flatnonzero(chosen))


def select_statement(columns: Collection[str]) -> str:
    """SELECT for `streams_of_rows`; its parameters are the run, the id after which to start, and how many rows.

    `columns` are those of the table. A read-only file of an older version lacks some; they read as NULL, not observed.
    """
    names = (name if name in columns else "NULL" for name in (*_TEXTS, *_NUMBERS))
    return f"SELECT id, arrivals, {', '.join(names)} FROM streams WHERE run = ? AND id > ? ORDER BY id LIMIT ?"  # noqa: S608 - our own names


def streams_of_rows(rows: Sequence[tuple[Any, ...]]) -> Streams:
    ids, blobs, *columns = zip(*rows, strict=True)
    texts, numbers = columns[: len(_TEXTS)], columns[len(_TEXTS) :]
    text = {name: list(column) for name, column in zip(_TEXTS, texts, strict=True)}
    number = {name: np.array(column, np.float64) for name, column in zip(_NUMBERS, numbers, strict=True)}
    text["answer"] = [answer or "streamed" for answer in text["answer"]]
    cached = number["cache_read_tokens"]
    text["cache"] = np.select([cached > 0, cached == 0], ["hit", "miss"], "").tolist()
    return Streams(np.array(ids, np.int64), text, number, list(blobs))
