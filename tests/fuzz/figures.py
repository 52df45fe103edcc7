"""The loops of the figures: gaps, counts and a reader's waits are the same in C and in NumPy."""

from random import Random
from typing import Any

import numpy as np
import pytest

from streamgauge.harness.judge.measure import gaps, reader_model
from streamgauge.harness.judge.measure.bursts import bursts
from streamgauge.harness.judge.measure.tally import Tally
from streamgauge.harness.judge.store.rows import columns_of_stream
from streamgauge.harness.judge.store.streams import Streams, as_selected, streams_of_rows
from streamgauge.harness.native import library
from streamgauge.harness.record.arrivals import Rooms
from streamgauge.reports.material import QuantilesOverTime
from tests.support import any_streams

_WIDTHS, _BINS = (1e9, 1e9 / 3, 700.0), 7  # ns of a bin, and bins: less than the streams take
_ROOMS = Rooms()  # as the judge has it: with a new room of 128 MiB for each case, most of the time goes to that
_TABLE = 1 << 15  # values that a tally counts in its table, and not 262,144: filling that is most of a case's time


def _figures(streams: Streams, speed: float, broke_at: Any, width: float) -> list[Any]:
    lengths, places, _ = gaps.seen_gaps(streams)
    tally, over_time = Tally(), QuantilesOverTime(_BINS)
    tally.TABLE = _TABLE
    for _ in range(2):  # the first fills the table, and the second counts in it
        tally.add(np.concatenate([lengths, -lengths, lengths * 1_000]))
        tally.counted()
        tally.PENDING = 0
    over_time.add_gaps(streams.events.perceived_at, places, lengths, width)
    waits = reader_model.waits(streams.events, broke_at, speed, gaps.seen_ends(streams))
    seen = vars(bursts(streams, streams.events.perceived_at)).values()
    return [*seen, lengths, places, *gaps.wire_gaps(streams), *tally.counted(), over_time.course(), *waits.values()]


def case(random: Random) -> None:
    seen = [any_streams.stream(random, number) for number in range(random.randint(1, 4))]
    streams = streams_of_rows([as_selected(each.sequence, columns_of_stream(each)) for each in seen], "a fuzzer")
    streams.__dict__["events"] = streams.first_events(_ROOMS)  # of all: they are few
    speed, width = random.choice((24.0, 1.0, 37.3, 1e6)), random.choice(_WIDTHS)
    broke_at = np.where(streams.text["outcome"].are("completed"), np.nan, streams.number["ended_at"] / 1e3)
    compiled = _figures(streams, speed, broke_at, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "LIBRARY", None)
        expected = _figures(streams, speed, broke_at, width)
    np.testing.assert_equal(compiled, expected)
