"""RATES: what is measured as a single figure of a selection of streams. An entry holds everything about its rate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from streamgauge.harness.judge.measure.metrics import Better
from streamgauge.harness.judge.measure.totals import Totals
from streamgauge.harness.record.observation import FAILURES, Outcome
from streamgauge.harness.record.vitals import Vital

SERVER_STOPPED = "server_stopped_ms"  # a sum of the whole run: ms from the end of the last stream to an idle server
CARRIED = "carried_chunks"  # a sum of the whole run: chunks that streams of the warm-up received after its end
OF_FAILURES = frozenset({"error_rate", "completion_rate", "goodput"})  # a failure of any kind makes each worse
OF_ONE_KIND = {  # only failures of that kind make it worse
    "truncation_rate": Outcome.TRUNCATED,
    "empty_rate": Outcome.EMPTY,
    "timeout_rate": Outcome.TIMED_OUT,
}
_COVERED = 0.98  # of what the streams received: a counter that grew by less did not count all of their answers


@dataclass(frozen=True)
class Figure:
    """The value of a rate; None if nothing was observed."""

    value: float | None  # +inf for the time to an event that never happened
    n: int  # streams in the denominator, or streams that reported
    hits: int | None = None  # the numerator of a share; None for a throughput


@dataclass(frozen=True, kw_only=True)
class Rate:
    name: str
    definition: str
    better: Better
    unit: Literal["ratio", "tokens/s", "streams/s", "streams", "tokens", "ms"]
    over: Callable[[Totals, float], Figure]  # totals, and how long the run took in seconds
    sums: tuple[str, ...] = ()  # that `over` reads: of SUMS, or of the whole run
    options: tuple[str, ...] = ()  # keys of the config without which it has no figure
    of_course: bool = False  # needs metrics of how an answer came, chunk by chunk
    of_run: bool = False  # known only of the whole run, not of some of its streams
    of_instrument: bool = False  # about the load generator, not about the server
    brief: bool = False  # in the terminal's short table, which has what a reader needs first


def _share(hits: Callable[[Totals], float], of: Callable[[Totals], float]) -> Callable[[Totals, float], Figure]:
    def over(totals: Totals, _seconds: float) -> Figure:
        n, counted = int(of(totals)), int(hits(totals))
        return Figure(counted / n if n else None, n, counted)

    return over


_ENDED = "streams that ended before the run did"


def _ended(totals: Totals) -> int:
    return totals.ended


def _output_tps(totals: Totals, seconds: float) -> Figure:
    reported = int(totals.sum("reported"))
    return Figure(totals.sum("output_tokens") / seconds if reported and seconds else None, reported)


def _stream_rate(totals: Totals, seconds: float) -> Figure:
    completed = totals.count(Outcome.COMPLETED)
    return Figure(completed / seconds if totals.streams and seconds else None, completed)


def _concurrency(totals: Totals, seconds: float) -> Figure:
    known = totals.streams > 0 and seconds > 0
    return Figure(totals.sum("open_ns") / 1e9 / seconds if known else None, totals.streams)


def received_tokens(totals: Totals) -> float:
    """What all streams received: the reported tokens if the stream completed, else an estimate from its chunks.

    A chunk counts for as many tokens as one of a completed stream holds, or for one if the server reported none.
    Streams of a warm-up that went on after it count with what they received since.
    """
    tokens, chunks = totals.sum("counted_tokens"), totals.sum("counted_chunks")
    others = totals.sum("content_chunks") - chunks + totals.sum(CARRIED)
    return tokens + others * (tokens / chunks if tokens and chunks else 1.0)


def _wasted_tokens(totals: Totals, _seconds: float) -> Figure:
    generated = totals.sums.get(Vital.SERVER_GENERATED)
    if generated is None or not totals.disconnected:
        return Figure(None, 0)
    received = received_tokens(totals)
    return Figure(max(0.0, generated - received) if generated >= _COVERED * received else None, totals.disconnected)


def _drop_rate(totals: Totals, _seconds: float) -> Figure:
    due, dropped = int(totals.sum(Vital.ARRIVALS)), int(totals.sum(Vital.DROPPED_ARRIVALS))
    return Figure(dropped / due if due else None, due, dropped)


def _late_rate(totals: Totals, _seconds: float) -> Figure:
    if not totals.sum(Vital.ARRIVALS) or not totals.streams:
        return Figure(None, 0, 0)
    late = int(totals.sum("late"))
    return Figure(late / totals.streams, totals.streams, late)


def _time_to_stop(totals: Totals, _seconds: float) -> Figure:
    stopped = totals.sums.get(SERVER_STOPPED)
    return Figure(stopped, totals.disconnected) if stopped is not None and totals.disconnected else Figure(None, 0)


RATES: Mapping[str, Rate] = {
    rate.name: rate
    for rate in [
        Rate(
            name="error_rate",
            brief=True,
            definition=f"failed streams / {_ENDED}",
            better=Better.LOWER,
            unit="ratio",
            over=_share(lambda totals: totals.count(*FAILURES), _ended),
        ),
        Rate(
            name="completion_rate",
            brief=True,
            definition=f"completed streams / {_ENDED}, without those whose person left",
            better=Better.HIGHER,
            unit="ratio",
            over=_share(
                lambda totals: totals.count(Outcome.COMPLETED),
                lambda totals: totals.ended - totals.count(Outcome.CANCELLED),
            ),
        ),
        Rate(
            name="truncation_rate",
            definition=f"streams without their terminal event / {_ENDED}",
            better=Better.LOWER,
            unit="ratio",
            over=_share(lambda totals: totals.count(Outcome.TRUNCATED), _ended),
        ),
        Rate(
            name="empty_rate",
            definition=f"streams that ended as they should, and brought nothing / {_ENDED}",
            better=Better.LOWER,
            unit="ratio",
            over=_share(lambda totals: totals.count(Outcome.EMPTY), _ended),
        ),
        Rate(
            name="timeout_rate",
            definition=f"streams that timed out / {_ENDED}",
            better=Better.LOWER,
            unit="ratio",
            over=_share(lambda totals: totals.count(Outcome.TIMED_OUT), _ended),
        ),
        Rate(
            name="goodput",
            definition="completed streams within every limit of [reader] good / streams for which this is known",
            better=Better.HIGHER,
            unit="ratio",
            over=_share(lambda totals: totals.sum("good"), lambda totals: totals.sum("good") + totals.sum("not_good")),
            sums=("good", "not_good"),
            of_course=True,
            options=("reader.good",),
        ),
        Rate(
            name="cache_hit_rate",
            definition="streams with prompt tokens read from the cache / streams that reported such tokens, 0 included",
            better=Better.HIGHER,
            unit="ratio",
            over=_share(lambda totals: totals.sum("cache_hits"), lambda totals: totals.sum("cache_reported")),
            sums=("cache_hits", "cache_reported"),
        ),
        Rate(
            name="drop_rate",
            definition="arrivals of an open load for which no user was free / arrivals that were due",
            better=Better.LOWER,
            unit="ratio",
            over=_drop_rate,
            sums=(Vital.ARRIVALS, Vital.DROPPED_ARRIVALS),
            of_run=True,
        ),
        Rate(
            name="late_rate",
            definition="streams that began 10 ms or more after they were due, in a run with an open load / all streams",
            better=Better.LOWER,
            unit="ratio",
            over=_late_rate,
            sums=(Vital.ARRIVALS, "late"),
            of_run=True,
            of_instrument=True,
        ),
        Rate(
            name="output_tps",
            brief=True,
            definition="reported output tokens per second of the run; of a stream that broke off, what its server had "
            "reported by then, which is often one token",
            better=Better.HIGHER,
            unit="tokens/s",
            over=_output_tps,
            sums=("reported", "output_tokens"),
        ),
        Rate(
            name="stream_rate",
            definition="completed streams per second of the run",
            better=Better.HIGHER,
            unit="streams/s",
            over=_stream_rate,
        ),
        Rate(
            name="concurrency",
            definition="streams open at once, mean over the run",
            better=Better.LOWER,  # of the same load: slower answers stay open for longer
            unit="streams",
            over=_concurrency,
            sums=("open_ns",),
        ),
        Rate(
            name="wasted_tokens",
            definition="tokens that the server generated in the run less those that the streams received",
            better=Better.LOWER,
            unit="tokens",
            over=_wasted_tokens,
            sums=(Vital.SERVER_GENERATED, CARRIED, "counted_tokens", "counted_chunks", "content_chunks"),
            of_run=True,
        ),
        Rate(
            name="time_to_stop",
            definition="end of the last stream to the first sample at which the server was idle again",
            better=Better.LOWER,
            unit="ms",
            over=_time_to_stop,
            sums=(SERVER_STOPPED,),
            of_run=True,
        ),
    ]
}
