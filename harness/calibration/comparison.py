"""A run's record, compared with the log of the server that it ran against, one window of time after the other.

Server and load generator take their times from the same clock, so an error is a plain difference: the recorded arrival
minus the time at which the server sent the event.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.errors import TargetError
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.certificate import Point
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.vitals import Vital


class _Sent(msgspec.Struct):
    """A stream in the server's log. Times are CLOCK_MONOTONIC in ns."""

    id: str
    due: int | None
    sent: list[int]


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the run, ns on its clock. The streams that are due between `begin` and `last_due` are judged.

    They must have ended by `end`, whatever became of them: an overloaded generator would otherwise be judged by the
    few streams that it still completed.
    """

    streams: int  # that were asked for
    begin: int
    last_due: int
    end: int


class _Answer(NamedTuple):
    """A completed stream whose events and those of the server's log are the same. Times in ns."""

    due: int  # on the run's clock
    ttft_error: float
    gap_errors: NDArray[np.int64]
    server_late: int  # the first token, by the server's own schedule


class _Columns(NamedTuple):
    """All streams of a run, and the times of all their content chunks; ns on the run's clock."""

    due: NDArray[np.float64]
    ended: NDArray[np.float64]
    reads: NDArray[np.float64]
    saturated: NDArray[np.float64]
    chunks: NDArray[np.int64]


def compare(database: Path, log: Path, windows: Sequence[Window], *, processes: int, tls: bool) -> list[Point]:
    """One point for each window, up to the first one that was so late that nothing of it can be judged.

    TargetError if no stream of the run completed.
    """
    with Store.open(database) as store:
        run = store.run()
        if (there := len(run.instrument.get("workers", ()))) != processes:  # as by an option in ~/.locust.conf
            raise TargetError(
                f"{there} of {processes} processes took part in a run, which certifies nothing; calibrate again"
            )
        answers = list(_answers(store, run, _sent(log)))
        if not answers:
            raise TargetError("no stream completed: the machine is too slow or too busy; calibrate when it is idle")
        seen = _columns(store, run)
        cpu = store.vital(run.id, Vital.CPU_PERCENT)
    points = []
    for window in windows:
        judged = [answer for answer in answers if window.begin <= answer.due < window.last_due]
        if not judged:
            break
        seconds = (window.end - window.begin) / 1e9
        inside = (seen.due >= window.begin) & (seen.due < window.last_due)
        events = int(((seen.chunks >= window.begin) & (seen.chunks < window.end)).sum())
        used = float(cpu.value[(cpu.at > window.begin) & (cpu.at <= window.end)].sum()) / 100  # CPU-seconds
        gaps = np.abs(np.concatenate([answer.gap_errors for answer in judged]))
        points.append(
            Point(
                streams=window.streams,
                processes=processes,
                tls=tls,
                open=_open(seen, window),
                compared=round(len(judged) / int(inside.sum()), 4),
                ttft_error_p99=_ms([abs(answer.ttft_error) for answer in judged], 99),
                itl_error_p50=_ms(gaps, 50),
                itl_error_p99=_ms(gaps, 99),
                events_per_second=round(events / seconds),
                events_per_cpu_second=round(events / used) if used else 0.0,
                server_late_p99=max(0.0, _ms([answer.server_late for answer in judged], 99)),
                saturated_share=round(float(seen.saturated[inside].sum() / max(1.0, seen.reads[inside].sum())), 6),
            )
        )
    return points


def _sent(log: Path) -> dict[str, _Sent]:
    rows = (msgspec.json.decode(line, type=_Sent) for line in log.read_bytes().splitlines())
    return {row.id: row for row in rows if row.sent}


def _answers(store: Store, run: Run, sent: dict[str, _Sent]) -> Iterator[_Answer]:
    # Correct only if CLOCK_REALTIME has not been set since the run began; the run's clock drift would show that.
    clock = RunClock.starting_at(run.realtime_ns)
    for answer in store.answers(run.id):
        content = answer.events.at[arrivals.is_content(answer.events.kind)] * 1_000
        row = sent.get(answer.request_id)
        if row is not None and len(row.sent) == len(content):
            errors = content + clock.origin - np.array(row.sent)
            # TTFT counts from the due time, so what the generator sent late is a part of its error.
            late = row.sent[0] - (row.due or row.sent[0])
            yield _Answer(answer.due_at, float(errors[0]) + answer.send_lag, np.diff(errors), late)


def _columns(store: Store, run: Run) -> _Columns:
    batches = [(batch.number, batch.events.at * 1_000) for batch in store.streams(run.id)]
    due, ended, reads, saturated = (
        np.nan_to_num(np.concatenate([number[name] for number, _ in batches]))
        for name in ("due_at", "ended_at", "reads", "saturated_reads")
    )
    return _Columns(due, ended, reads, saturated, np.concatenate([chunks for _, chunks in batches]))


def _open(seen: _Columns, window: Window) -> float:
    """How many of the window's streams were open at once on average, as a share of those asked for."""
    both = np.minimum(seen.ended, window.last_due) - np.maximum(seen.due, window.begin)
    return round(float(both.clip(min=0).sum()) / (window.last_due - window.begin) / window.streams, 4)


def _ms(values: "Sequence[float] | NDArray[np.int64]", percentile: float) -> float:
    """A percentile of times in ns."""
    return round(float(np.percentile(values, percentile)) / 1e6, 4)
