"""The presets of `[[sla]] preset = "chat"`: lists of rules, by name. docs/reference/presets.md says where each is from.

A rule's text is parsed with all others, in `judge.verdict.rules`, which also lets a later rule replace one of these.
"""

from collections.abc import Iterable, Iterator

import msgspec

from streamgauge.harness.config.schema import Sla
from streamgauge.harness.errors import RuleError
from streamgauge.harness.near_miss import listed

PRESETS: dict[str, tuple[str, ...]] = {
    "chat": ("p95(ttft) < 1s", "p95(itl) < 200ms", "p95(longest_stall) < 1s", "error_rate < 1%"),
    "voice": ("p95(ttft_text) < 400ms", "p95(itl) < 200ms", "p95(longest_stall) < 500ms", "error_rate < 1%"),
    "agent": ("p95(ttft) < 3s", "p95(e2e) < 10s", "error_rate < 0.5%"),
    "article": ("p95(ttft) < 2s", "error_rate < 1%"),
    # MLPerf Inference's limits, by model. Without a model: Llama 2 70B's, the first that had both.
    "mlperf_server": ("p99(ttft) <= 2s", "p99(tpot) <= 200ms"),
    "mlperf_server:llama2-70b": ("p99(ttft) <= 2s", "p99(tpot) <= 200ms"),
    "mlperf_server:mixtral-8x7b": ("p99(ttft) <= 2s", "p99(tpot) <= 200ms"),
    "mlperf_server:llama3.1-8b": ("p99(ttft) <= 2s", "p99(tpot) <= 100ms"),
    "mlperf_server:llama3.1-405b": ("p99(ttft) <= 6s", "p99(tpot) <= 175ms"),
    "mlperf_server:deepseek-r1": ("p99(ttft) <= 2s", "p99(tpot) <= 80ms"),
    "mlperf_server:gpt-oss-120b": ("p99(ttft) <= 3s", "p99(tpot) <= 80ms"),
    "mlperf_interactive": ("p99(ttft) <= 450ms", "p99(tpot) <= 40ms"),
    "mlperf_interactive:llama2-70b": ("p99(ttft) <= 450ms", "p99(tpot) <= 40ms"),
    "mlperf_interactive:llama3.1-8b": ("p99(ttft) <= 500ms", "p99(tpot) <= 30ms"),
    "mlperf_interactive:llama3.1-405b": ("p99(ttft) <= 4.5s", "p99(tpot) <= 80ms"),
    "mlperf_interactive:deepseek-r1": ("p99(ttft) <= 1.5s", "p99(tpot) <= 15ms"),
    "mlperf_interactive:gpt-oss-120b": ("p99(ttft) <= 2s", "p99(tpot) <= 20ms"),
}


def expanded(written: Iterable[Sla]) -> Iterator[Sla]:
    """Each rule of a preset in place of the table that names it, with the table's other keys; own rules as they are.

    RuleError for a preset that does not exist, as in a database of somebody else.
    """
    for table in written:
        if table.rule or table.preset is None:
            yield table
        elif table.preset not in PRESETS:
            raise RuleError(f"no preset called {table.preset!r}; there are {listed(table.preset, PRESETS)}")
        else:
            yield from (msgspec.structs.replace(table, rule=rule) for rule in PRESETS[table.preset])
