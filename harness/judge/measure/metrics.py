"""METRICS: what is measured as a distribution over streams. An entry holds everything about its metric.

docs/concepts/metrics.md has the definitions at length. To add a metric, add an entry here, and to `observe` the
function that finds its samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from streamgauge.harness.judge.measure import observe
from streamgauge.harness.judge.measure.observe import Observe


class Better(StrEnum):
    """The direction in which a figure is good: it decides which change is a regression."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, kw_only=True)
class Metric:
    name: str
    definition: str
    better: Better
    observe: Observe
    columns: tuple[str, ...]  # of `Streams` that `observe` reads; those of `reader_model.COLUMNS` need the reader model
    options: tuple[str, ...] = ()  # keys of the config that its samples depend on
    unit: Literal["ms", "ratio", "stalls", "chunks", "tokens"] = "ms"
    ticks_per_unit: int = 1_000_000
    streaming: bool = True  # only over streamed answers, unless a selection asks for whole ones
    pooled: bool = False  # a stream has many samples: they are correlated, and a failure does not take them out
    of_course: bool = False  # of how an answer came, chunk by chunk: none for an answer that came at once
    of_instrument: bool = False  # about the load generator and its client, not about the server
    brief: bool = False  # in the terminal's short table, which has what a reader needs first
    like: str | None = None  # in that table only if it differs from this metric
    twin: str | None = None  # a metric that is the same, failures and all, where both observe the same array of ticks


_RESUMED = ("resume_gap", "resume_lost")  # say whether a stream resumed an answer
_SPEED = ("reader.characters_per_second",)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in [
        Metric(
            name="ttft",
            brief=True,
            definition="due time to first content chunk",
            better=Better.LOWER,
            observe=observe.first("due_at", "first_content_at"),
            columns=("outcome", "due_at", "first_content_at", "ended_at", *_RESUMED),
        ),
        Metric(
            name="ttft_text",
            brief=True,
            like="ttft",
            definition="due time to first visible text",
            better=Better.LOWER,
            observe=observe.first("due_at", "first_text_at"),
            columns=("outcome", "due_at", "first_text_at", "ended_at", *_RESUMED),
        ),
        Metric(
            name="ttft_wire",
            definition="request sent to first content chunk before the emulated link: the server's part",
            better=Better.LOWER,
            observe=observe.first("sent_at", "first_content_wire_at"),
            columns=("outcome", "sent_at", "first_content_wire_at", "ended_at", *_RESUMED),
        ),
        Metric(
            name="itl",
            brief=True,
            definition="gap between consecutive content chunks, pooled over streams; chunks that came together count "
            "as coalesced instead, and a gap in which a tool ran is a tool_pause",
            better=Better.LOWER,
            observe=observe.itl,
            columns=("outcome", "events", "first_content_at", "tool_pause", "ended_at", *_RESUMED),
            ticks_per_unit=1_000,
            pooled=True,
            of_course=True,
        ),
        Metric(
            name="itl_wire",
            twin="itl",
            definition="the same before the emulated link: the server's part",
            better=Better.LOWER,
            observe=observe.itl_wire,
            columns=("outcome", "events", "first_content_at", "tool_pause", *_RESUMED),
            ticks_per_unit=1_000,
            pooled=True,
            of_course=True,
        ),
        Metric(
            name="tool_pause",
            definition="from a tool's input to the next content of another kind, pooled over streams: the tool's run "
            "and the model's next start",
            better=Better.LOWER,
            observe=observe.tool_pauses,
            columns=("outcome", "events", "tool_pause", "ended_at", *_RESUMED),
            ticks_per_unit=1_000,
            pooled=True,
        ),
        Metric(
            name="tpot",
            definition="first to last content chunk, per reported output token after the first",
            better=Better.LOWER,
            observe=observe.tpot,
            columns=("outcome", "output_tokens", "first_content_at", "last_content_at", "events", *_RESUMED),
            of_course=True,
        ),
        Metric(
            name="e2e",
            brief=True,
            definition="due time to last content chunk of a completed stream",
            better=Better.LOWER,
            observe=observe.to_end("last_content_at"),
            columns=("outcome", "due_at", "last_content_at", "ended_at", *_RESUMED),
        ),
        Metric(
            name="duration",
            definition="due time to the end of a completed stream",
            better=Better.LOWER,
            observe=observe.to_end("ended_at"),
            columns=("outcome", "due_at", "ended_at", *_RESUMED),
        ),
        Metric(
            name="connect",
            definition="start of connecting to the TCP connection, name lookup included",
            better=Better.LOWER,
            observe=observe.connect,
            columns=("outcome", "started_at", "connected_at", "sent_at"),
            streaming=False,
        ),
        Metric(
            name="headers",
            definition="request sent to response headers",
            better=Better.LOWER,
            observe=observe.headers,
            columns=("sent_at", "headers_at"),
        ),
        Metric(
            name="send_lag",
            definition="how late the generator began the request",
            better=Better.LOWER,
            observe=observe.column("send_lag"),
            columns=("send_lag",),
            streaming=False,
            of_instrument=True,
        ),
        Metric(
            name="read_lag",
            definition="how late the generator read what had arrived, the worst of each stream",
            better=Better.LOWER,
            observe=observe.column("read_lag_max"),
            columns=("read_lag_max",),
            streaming=False,
            of_instrument=True,
        ),
        Metric(
            name="client_overhead",
            brief=True,
            definition="content chunk perceived to handed to the application by the client library, pooled over "
            "streams",
            better=Better.LOWER,
            observe=observe.client_overhead,
            columns=("events",),
            ticks_per_unit=1_000,
            pooled=True,
            of_instrument=True,
        ),
        Metric(
            name="stall_count",
            definition="how often the answer's reader ran out of text for 250 ms or more",
            better=Better.LOWER,
            observe=observe.of_reader_model("stall_count", 1),
            columns=("outcome", "stall_count"),
            options=_SPEED,
            of_course=True,
            ticks_per_unit=1,
            unit="stalls",
        ),
        Metric(
            name="stall_time",
            definition="how long the answer's reader waited for more text, all waits added up",
            better=Better.LOWER,
            observe=observe.of_reader_model("stall_time", 1_000),
            columns=("outcome", "stall_time"),
            options=_SPEED,
            of_course=True,
        ),
        Metric(
            name="longest_stall",
            brief=True,
            definition="the longest of these waits",
            better=Better.LOWER,
            observe=observe.of_reader_model("longest_stall", 1_000),
            columns=("outcome", "longest_stall"),
            options=_SPEED,
            of_course=True,
        ),
        Metric(
            name="stall_ratio",
            definition="waited / (waited + reading)",
            better=Better.LOWER,
            observe=observe.of_reader_model("stall_ratio", 1_000_000_000),
            columns=("outcome", "stall_ratio"),
            options=_SPEED,
            of_course=True,
            ticks_per_unit=1_000_000_000,
            unit="ratio",
        ),
        Metric(
            name="cache_read_tokens",
            definition="prompt tokens that the server read from its cache, as it reported",
            better=Better.HIGHER,
            observe=observe.column("cache_read_tokens"),
            columns=("cache_read_tokens",),
            streaming=False,
            ticks_per_unit=1,
            unit="tokens",
        ),
        Metric(
            name="resume_gap",
            definition="last content before a connection broke, or asking, to the first new content over another",
            better=Better.LOWER,
            observe=observe.column("resume_gap"),
            columns=("resume_gap",),
        ),
        Metric(
            name="resume_lost",
            definition="numbered events that no connection of a resumed answer delivered",
            better=Better.LOWER,
            observe=observe.column("resume_lost"),
            columns=("resume_lost",),
            ticks_per_unit=1,
            unit="chunks",
        ),
        Metric(
            name="resume_duplicated",
            definition="content chunks that a resumed stream delivered again",
            better=Better.LOWER,
            observe=observe.column("resume_duplicated"),
            columns=("resume_duplicated",),
            ticks_per_unit=1,
            unit="chunks",
        ),
    ]
}
