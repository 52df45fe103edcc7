"""Metrics for an OpenTelemetry collector, over OTLP/HTTP. The packages are in the extra `[otel]`.

Each probe is recorded once, with exponential histograms: no buckets have to be agreed on. Headers for the collector,
such as a key, come from $OTEL_EXPORTER_OTLP_HEADERS, which the exporter reads itself. It follows no redirects.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from streamgauge import __version__
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.wording import shortened, visible
from streamgauge.harness.monitor.exposition import genai
from streamgauge.harness.monitor.exposition.genai import Name
from streamgauge.harness.monitor.exposition.probes import Probes
from streamgauge.harness.record.observation import FAILURES

_MISSING = "needs OpenTelemetry: install it with pip install 'streamgauge[otel]'"
_TIMEOUT = 10.0  # seconds for an export
_TOLD_EVERY = 3_600.0  # seconds between two words of a collector that takes nothing
_BY_METRIC = {"ttft": genai.TTFT, "itl": genai.EACH_CHUNK}
_TOKENS = {"input": "input_tokens", "output": "output_tokens"}


class Otlp:
    """Sends in a thread of its own; `take` only records."""

    def __init__(
        self, endpoint: str, every: float, labels: Mapping[str, Mapping[str, str]], tell: Callable[[str], None]
    ) -> None:
        """`endpoint` without /v1/metrics. `labels`: those of each target. ConfigError without the packages.

        `tell` gets a line when the collector takes nothing, without what may be secret.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
            from opentelemetry.sdk.metrics import Histogram, MeterProvider  # noqa: PLC0415 - extras
            from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
            from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation  # noqa: PLC0415
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        except ImportError:
            raise ConfigError(f"monitor.otlp: {_MISSING}") from None
        _Faults(tell, Redaction([endpoint, *_secrets(os.environ)])).instead_of_the_log()
        exporter = OTLPMetricExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/metrics",
            timeout=_TIMEOUT,
            preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=every * 1e3)
        resource = Resource({"service.name": "streamgauge", "service.version": __version__})
        self._provider = MeterProvider([reader], resource=resource)
        meter = self._provider.get_meter("streamgauge", __version__)
        names = (genai.DURATION, genai.FIRST_CHUNK, genai.EACH_CHUNK, genai.USAGE, genai.TTFT)
        self._histograms = {each: meter.create_histogram(each.name, each.unit, each.about) for each in names}
        self._labels = labels

    def take(self, probes: Probes) -> None:
        """Record each of these probes."""
        streams = probes.streams
        common = {**attributes(probes), **{f"streamgauge.{k}": v for k, v in self._labels[probes.target].items()}}
        of_stream = [
            {**common, "streamgauge.connection": "cold" if cold else "warm", **_error(outcome)}
            for outcome, cold in zip(streams.text["outcome"], probes.cold.tolist(), strict=True)
        ]
        due, ended = streams.number["due_at"], streams.number["ended_at"]
        self._record(genai.DURATION, ((ended - due) / 1e9).tolist(), of_stream)
        self._record(genai.FIRST_CHUNK, [self._first_chunk(probes, place) for place in range(len(streams))], of_stream)
        for name, told in _BY_METRIC.items():
            metric = METRICS[name]
            seen = metric.observe(streams)
            seconds = (seen.ticks / (metric.ticks_per_unit * 1e3)).tolist()
            places = np.repeat(np.arange(len(streams)), seen.counts).tolist()
            self._record(told, seconds, [of_stream[place] for place in places])
        for kind, column in _TOKENS.items():
            counts = streams.number[column].tolist()
            self._record(genai.USAGE, counts, [{**each, genai.TOKEN_KIND: kind} for each in of_stream])

    def close(self) -> None:
        """Send what is left, within a bounded time."""
        self._provider.shutdown(timeout_millis=_TIMEOUT * 1e3)

    def _record(self, name: Name, values: Iterable[float | None], of_each: Sequence[Mapping[str, Any]]) -> None:
        for value, told in zip(values, of_each, strict=True):
            if value is not None and value == value:  # noqa: PLR0124 - NaN: not observed, so not told
                self._histograms[name].record(value, told)

    def _first_chunk(self, probes: Probes, place: int) -> float | None:
        at = probes.streams.columns(place).at
        return float(at[0] * 1e3 - probes.streams.number["due_at"][place]) / 1e9 if len(at) else None


class _Faults(logging.Handler):
    """What OpenTelemetry's packages log: an attempt that failed every few seconds, with the whole URL."""

    def __init__(self, tell: Callable[[str], None], redaction: Redaction) -> None:
        super().__init__(logging.WARNING)
        self._tell, self._redaction = tell, redaction
        self._told_at = -math.inf

    def instead_of_the_log(self) -> None:
        logger = logging.getLogger("opentelemetry")
        logger.handlers, logger.propagate = [self], False

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now - self._told_at > _TOLD_EVERY:
            self._told_at = now
            said = self._redaction.blotted(shortened(visible(record.getMessage()), 300))
            self._tell(f"metrics do not reach the collector, as is told once an hour: {said}")


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """Headers for the collector, such as `api-key=…`."""
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"):
        for pair in environ.get(name, "").split(","):
            yield unquote(pair.partition("=")[2]).strip()


def attributes(probes: Probes) -> dict[str, Any]:
    """What is the same for all probes of a run."""
    config, parts = probes.run.config, urlsplit(probes.run.host)
    operation, provider = genai.SPOKEN[config.get("protocol", "anthropic_messages")]
    found: dict[str, Any] = {genai.OPERATION: operation, genai.PROVIDER: provider, genai.ADDRESS: parts.hostname or ""}
    if model := config.get("model"):
        found[genai.MODEL] = model
    found[genai.PORT] = parts.port or (443 if parts.scheme == "https" else 80)
    return found


def _error(outcome: str) -> dict[str, str]:
    return {genai.ERROR: outcome} if outcome in FAILURES else {}
