"""The counts in the text format that Prometheus reads."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from streamgauge.reference_server.delivery.counts import Counts, Histogram
from streamgauge.reference_server.delivery.streams import Streams
from streamgauge.reference_server.sessions.registry import Sessions

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def metrics(sessions: Sessions) -> bytes:
    """All counts at this moment."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Exposed(sessions))
    return generate_latest(registry)


class _Exposed(Collector):
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def collect(self) -> Iterator[Metric]:
        yield from _streams(self._sessions.streams)
        yield from _tokens(self._sessions)
        yield from _logs(self._sessions)
        yield from _other(self._sessions.streams.counts)


def _streams(streams: Streams) -> Iterator[Metric]:
    active, counts = streams.active.values(), streams.counts
    yield Gauge("reference_streams_active", "Answers that have not ended, queued ones included.", len(active))
    yield Gauge("reference_streams_queued", "Answers that wait for the simulated machine.", streams.queued)
    yield Counter("reference_streams_started", "Answers begun.", counts.started)
    yield Counter("reference_streams_refused", "Refused: too many streams, or shutting down.", counts.refused)
    ended = Counter("reference_streams_ended", "Answers that have ended, by outcome.", labels=["outcome"])
    for outcome, count in counts.ended.items():
        ended.add_metric([outcome], count)
    yield ended
    pauses = counts.pauses + sum(stream.pauses for stream in active)
    yield Counter("reference_streams_paused", "Pauses because a client read too slowly.", pauses)
    seconds = (counts.paused + sum(stream.paused for stream in active)) / 1e9
    yield Counter("reference_streams_paused_seconds", "Length of the pauses that have ended.", seconds)
    yield Counter("reference_streams_resumed", "Clients that came back for the rest of an answer.", counts.resumed)


def _tokens(sessions: Sessions) -> Iterator[Metric]:
    active, counts = sessions.streams.active.values(), sessions.streams.counts
    generated = counts.generated + sum(stream.generated for stream in active)
    yield Counter("reference_tokens_generated", "Tokens that the model generated.", generated)
    delivered = counts.delivered + sum(len(stream.sent) for stream in active) - sessions.unread
    yield Counter("reference_tokens_delivered", "Tokens handed to the kernel.", delivered)
    wasted = counts.wasted + sum(stream.wasted for stream in active)
    yield Counter("reference_tokens_wasted", "Tokens generated for a client that had left.", wasted)


def _logs(sessions: Sessions) -> Iterator[Metric]:
    kept = sessions.kept.values()
    subscribers = sum(len(session.log.subscribers) for session in kept)
    yield Gauge("reference_log_readers", "Clients that read resumable answers.", subscribers)
    yield Gauge("reference_logs", "Resumable answers that are kept.", len(kept))
    yield Gauge("reference_log_bytes", "Bytes of the resumable answers that are kept.", sessions.size)


def _other(counts: Counts) -> Iterator[Metric]:
    cached = Counter("reference_prompt_cache_tokens", "Prompt tokens read from the cache or written.", labels=["what"])
    cached.add_metric(["read"], counts.cache_read)
    cached.add_metric(["written"], counts.cache_write)
    yield cached
    faults = Counter("reference_faults", "Faults injected, by name.", labels=["fault"])
    for name, count in counts.faults.items():
        faults.add_metric([name], count)
    yield faults
    yield _histogram("reference_ttft_seconds", "Request to first token, of streams that have ended.", counts.ttft)
    yield _histogram("reference_itl_seconds", "Gaps between tokens, of streams that have ended.", counts.itl)


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets = [*zip(map(str, histogram.bounds), histogram.cumulative(), strict=True), ("+Inf", histogram.count)]
    return HistogramMetricFamily(name, text, buckets, histogram.sum)
