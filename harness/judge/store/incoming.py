"""Streams that are not stored yet. Pure.

Rows of another process are checked before they are stored: an unreadable one would end every judgement. While a run
goes on, its latest streams are measured without the database.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter

import numpy as np

from streamgauge.harness.errors import DamagedRow
from streamgauge.harness.judge.store.checked import LONGEST_TEXT, RowFault
from streamgauge.harness.judge.store.rows import VitalRow, columns_of_stream, vital_of_rows
from streamgauge.harness.judge.store.streams import Streams, as_selected, bounded, streams_of_rows
from streamgauge.harness.judge.store.texts import Texts
from streamgauge.harness.record.arrivals import DamagedArrivals
from streamgauge.harness.record.observation import StreamObservation

_LARGEST = 2.0**63  # of a vital
# Texts that no batch of streams has.
_SELECTED_ONLY_LATER = ("detail", "stop_reason", "request_id", "resumed_from", "address", "replica")


def fault_of(streams: Sequence[StreamObservation], vitals: Sequence[VitalRow]) -> str:
    """Why these rows could not be read from a database; "" if they could."""
    try:
        vital_of_rows([(None, worker, at, value) for worker, at, _, value in vitals])
        if any(abs(value) > _LARGEST for *_, value in vitals):
            return "a vital that no process has"
        rows = [as_selected(place, columns_of_stream(seen)) for place, seen in enumerate(streams)]
        while rows:
            batch = bounded(rows, len(rows))
            for part in streams_of_rows(batch, "a batch").parts():
                _ = part.events
            rows = rows[len(batch) :]
    except (RowFault, DamagedRow, DamagedArrivals) as fault:
        return str(fault)
    for name in _SELECTED_ONLY_LATER:
        if any(len(getattr(seen, name) or "") > LONGEST_TEXT for seen in streams):
            return f"a {name} of more than {LONGEST_TEXT:,} characters"
    return ""


_TEXTS: Mapping[str, Callable[[StreamObservation], str]] = {
    "labels": lambda seen: json.dumps(seen.labels),
    "cache": lambda seen: {None: "", 0: "miss"}.get(seen.cache_read_tokens, "hit"),
}


def streams_of(observed: Sequence[StreamObservation], texts: Collection[str], numbers: Collection[str]) -> Streams:
    """The columns of streams that are not stored yet, with only these texts and numbers: that is fast."""
    return Streams(
        np.arange(len(observed)),
        {name: Texts.of([*map(_TEXTS.get(name) or attrgetter(name), observed)]) for name in texts},
        {name: np.array([*map(attrgetter(name), observed)], np.float64) for name in numbers},
        [seen.arrivals for seen in observed],
        "the latest streams",
    )
