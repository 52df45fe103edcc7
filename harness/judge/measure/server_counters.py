"""What the server did after people had left, computed from samples of its own counters during the run. Pure.

The counters cover the whole server, so the result is true only if no other client used the server during the run.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.judge.store import Streams, VitalSeries
from streamgauge.harness.record.idleness import WATCHED, idle_level

_STILL = 3e9  # ns without a new token, although the gauge shows active answers: then the gauge is stale


class Served(NamedTuple):
    """What the run asked of the server, as the counters must be read: with the streams of its warm-up. Times are ns."""

    began: float  # the start of the first stream
    ended: float  # the end of the last one
    since: float = -math.inf  # the last sample of the counter before the measured streams: tokens count from here
    carried: float = 0.0  # content chunks that streams of the warm-up received after that


def with_warm_up(
    began: float, ended: float, warm_up: Iterable[Streams], counter: VitalSeries, measured_from: float
) -> Served:
    """`began` and `ended` are those of the measured streams, `counter` holds the tokens that the server generated."""
    before = counter.at[counter.at <= measured_from]
    since, carried = float(before[-1]) if len(before) else -math.inf, 0
    for streams in warm_up:
        began = min(began, float(np.fmin.reduce(streams.number["started_at"], initial=math.inf)))
        ended = max(ended, float(streams.number["ended_at"].max()))
        carried += int((streams.events.at * 1e3 > since).sum())
    return Served(began, ended, since, float(carried))


def generated(samples: VitalSeries, served: Served) -> float | None:
    """Tokens generated between the first sample, or that of `served.since`, and the last.

    None unless the first sample is before the first stream began, and the last sample after the last one ended.
    """
    if not _cover(samples, served.began, served.ended):
        return None
    tokens = growth(samples)
    return float(tokens[-1] - max(tokens[samples.at <= served.since], default=0.0))


def growth(samples: VitalSeries) -> NDArray[np.float64]:
    """How much a counter had grown since the first sample, at each sample. As in Prometheus, a fall is a reset to 0."""
    more = np.diff(samples.value, prepend=samples.value[:1])
    return np.cumsum(np.where(more < 0, samples.value, more))


def stopped_after(active: VitalSeries, generated: VitalSeries, served: Served) -> float | None:
    """From the end of the last stream until the server was as idle as before the first: ms, +inf if it never was.

    Rounded up to the next sample. None if there is no sample before the first stream, or if sampling stopped while the
    server was still busy and before WATCHED had passed.

    If the gauge is stale and never falls (see `idle_level`), the server stopped when the token counter last grew.
    """
    began, ended = served.began, served.ended
    level = idle_level(active.value[active.at <= began].tolist(), generated.value[generated.at <= began].tolist())
    if level is None or not _cover(active, began, ended):
        return None
    idle = active.at[(active.at >= ended) & (active.value <= level)]
    if len(idle):
        return float(idle[0] - ended) / 1e6
    if active.at[-1] < ended + WATCHED:
        return None
    tokens = growth(generated)
    still = generated.at[(generated.at >= ended) & (tokens == max(tokens, default=0.0))]
    return float(still[0] - ended) / 1e6 if len(still) and still[-1] - still[0] >= _STILL else math.inf


def _cover(samples: VitalSeries, began: float, ended: float) -> bool:
    return len(samples.at) > 1 and samples.at[0] <= began and samples.at[-1] >= ended
