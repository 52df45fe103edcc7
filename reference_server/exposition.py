"""The counts as Prometheus reads them."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from streamgauge.reference_server.sessions import Sessions
from streamgauge.reference_server.streams import Histogram

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def metrics(sessions: Sessions) -> bytes:
    """All counts at this moment, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Exposed(sessions))
    return generate_latest(registry)


class _Exposed(Collector):
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def collect(self) -> Iterator[Metric]:
        sessions, streams, counts = self._sessions, self._sessions.streams, self._sessions.streams.counts
        active = streams.active.values()
        yield GaugeMetricFamily("reference_streams_active", "Answers on their way, queued ones too.", len(active))
        yield GaugeMetricFamily("reference_streams_queued", "Answers waiting for the machine.", streams.queued)
        yield CounterMetricFamily("reference_streams_started", "Answers begun.", counts.started)
        yield CounterMetricFamily("reference_streams_refused", "Turned away: too many, or draining.", counts.refused)
        ended = CounterMetricFamily("reference_streams_ended", "Answers over, by outcome.", labels=["outcome"])
        for outcome, count in counts.ended.items():
            ended.add_metric([outcome], count)
        yield ended
        generated = counts.generated + sum(stream.generated for stream in active)
        wasted = counts.wasted + sum(stream.wasted for stream in active)
        yield CounterMetricFamily("reference_tokens_generated", "Tokens that the model made.", generated)
        delivered = counts.delivered + sum(len(stream.sent) for stream in active) - sessions.unread
        yield CounterMetricFamily("reference_tokens_delivered", "Tokens handed to the kernel.", delivered)
        yield CounterMetricFamily("reference_tokens_wasted", "Tokens for a client that had gone.", wasted)
        pauses = counts.pauses + sum(stream.pauses for stream in active)
        yield CounterMetricFamily("reference_streams_paused", "Times that a client read too slowly.", pauses)
        seconds = (counts.paused + sum(stream.paused for stream in active)) / 1e9
        yield CounterMetricFamily("reference_streams_paused_seconds", "Length of such pauses, once over.", seconds)
        yield CounterMetricFamily("reference_streams_resumed", "Clients that came back for the rest.", counts.resumed)
        readers = sum(len(session.readers) for session in sessions.kept.values())
        yield GaugeMetricFamily("reference_log_readers", "Readers of resumable answers.", readers)
        yield GaugeMetricFamily("reference_logs", "Resumable answers that are kept.", len(sessions.kept))
        yield GaugeMetricFamily("reference_log_bytes", "What the kept answers take.", sessions.size)
        cached = CounterMetricFamily("reference_prompt_cache_tokens", "Tokens of prompts.", labels=["what"])
        cached.add_metric(["read"], counts.cache_read)
        cached.add_metric(["written"], counts.cache_write)
        yield cached
        faults = CounterMetricFamily("reference_faults", "Faults dealt out.", labels=["fault"])
        for name, count in counts.faults.items():
            faults.add_metric([name], count)
        yield faults
        yield _histogram("reference_ttft_seconds", "Request to first token, of streams that have ended.", counts.ttft)
        yield _histogram("reference_itl_seconds", "Gaps between tokens, of streams that have ended.", counts.itl)


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets = [*zip(map(str, histogram.bounds), histogram.up_to(), strict=True), ("+Inf", histogram.count)]
    return HistogramMetricFamily(name, text, buckets, histogram.sum)
