"""What to try next: what an expert would point out in a run, with the evidence. docs/reference/findings.md lists them.

To add one, write a function from `Evidence` to a `Finding`, or None without the evidence, and add it to FINDINGS.

finding       what a finding is
evidence      what findings are computed from
collector     collects it in the pass that judges a run
chance        the tests, and the chance that all of them share
load          throughput limit, queueing, saturation
two_kinds     two kinds of TTFT, and what tells them apart
connections   new connections
cache         prompts that were not cached
path          buffers between the model and us
idle          timeouts on the way
refusals      rate limits and overload
stalls        pauses of the server, of single streams, of a link
answers       cut off by max_tokens, empty
one_of        one worker or server that differs
generator     the generator near its limit
"""

import dataclasses
from collections.abc import Callable, Mapping

from streamgauge.harness.judge.verdict.findings import (
    answers,
    cache,
    connections,
    generator,
    idle,
    load,
    one_of,
    path,
    refusals,
    stalls,
    two_kinds,
)
from streamgauge.harness.judge.verdict.findings.collector import Collector
from streamgauge.harness.judge.verdict.findings.evidence import Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number, line

__all__ = ["FINDINGS", "Certainty", "Collector", "Evidence", "Finding", "Number", "find", "line"]

# By id, in the order in which they are told.
FINDINGS: Mapping[str, Callable[[Evidence], Finding | None]] = {
    "generator_near_limit": generator.generator_near_limit,
    "rate_limited": refusals.rate_limited,
    "overloaded": refusals.overloaded,
    "idle_cut": idle.idle_cut,
    "empty_answers": answers.empty_answers,
    "throughput_limit": load.throughput_limit,
    "queueing": load.queueing,
    "saturation": load.saturation,
    "buffered": path.buffered,
    "server_paused": stalls.server_paused,
    "lone_stalls": stalls.lone_stalls,
    "link_stalls": stalls.link_stalls,
    "two_kinds": two_kinds.two_kinds,
    "cold_connections": connections.cold_connections,
    "cache_misses": cache.cache_misses,
    "server_differs": one_of.server_differs,
    "worker_differs": one_of.worker_differs,
    "cut_by_max_tokens": answers.cut_by_max_tokens,
}


def find(evidence: Evidence) -> list[Finding]:
    """What there is to point out, in the order of FINDINGS. In an invalid run, nothing but the generator is sure."""
    found = [finding for look in FINDINGS.values() if (finding := look(evidence)) is not None]
    if evidence.is_valid:
        return found
    return [
        each if each.id == "generator_near_limit" else dataclasses.replace(each, certainty=Certainty.POSSIBLE)
        for each in found
    ]
