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
by_load       whether refusals grow with the load
stalls        pauses of the server, of single streams, of a link
answers       cut off by max_tokens, empty
one_of        one worker or server that differs
generator     the generator near its limit
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

from streamgauge.harness.judge.measure.rates import OF_FAILURES, OF_ONE_KIND
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
from streamgauge.harness.judge.verdict.validity import Validity

__all__ = ["FINDINGS", "Certainty", "Collector", "Evidence", "Finding", "Number", "find", "line", "next_step"]

# By id, in the order in which they are told, but for what broke the rules.
FINDINGS: Mapping[str, Callable[[Evidence], Finding | None]] = {
    "rate_limited": refusals.rate_limited,
    "overloaded": refusals.overloaded,
    "idle_cut": idle.idle_cut,
    "empty_answers": answers.empty_answers,
    "throughput_limit": load.throughput_limit,
    "queueing": load.queueing,
    "saturation": load.saturation,
    "buffered": path.buffered,
    "lone_stalls": stalls.lone_stalls,  # before a pause, which may be short: these are long
    "server_paused": stalls.server_paused,
    "link_stalls": stalls.link_stalls,
    "two_kinds": two_kinds.two_kinds,
    "cold_connections": connections.cold_connections,
    "cache_misses": cache.cache_misses,
    "server_differs": one_of.server_differs,
    "worker_differs": one_of.worker_differs,
    "generator_near_limit": generator.generator_near_limit,
    "cut_by_max_tokens": answers.cut_by_max_tokens,
}


_WAITED = frozenset({"ttft", "ttft_text", "ttft_wire", "headers", "e2e", "goodput"})  # names of figures
_STOOD_STILL = frozenset(
    {"stall_count", "stall_time", "longest_stall", "stall_ratio", "itl", "itl_wire", "tpot", "goodput"}
)
# Figures of rules that a finding explains. Those of all that a run missed come first.
_EXPLAINS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("rate_limited", "overloaded"), OF_FAILURES),
    "idle_cut": OF_FAILURES | {"truncation_rate", "timeout_rate"},
    "empty_answers": OF_FAILURES | {"empty_rate"},
    **dict.fromkeys(("queueing", "two_kinds", "cold_connections", "cache_misses"), _WAITED),
    **dict.fromkeys(("throughput_limit", "saturation", "buffered"), _WAITED | _STOOD_STILL),
    **dict.fromkeys(("server_paused", "lone_stalls", "link_stalls"), _STOOD_STILL),
    **dict.fromkeys(("server_differs", "worker_differs"), _WAITED | OF_FAILURES | OF_ONE_KIND.keys()),
}

# What to do about a missed rule that no finding explains, by the figures of rules.
_NEXT: Sequence[tuple[frozenset[str], str]] = (
    (
        OF_FAILURES | OF_ONE_KIND.keys(),
        "nothing found explains the failures: read their messages, and the server’s log at that time",
    ),
    (
        _WAITED,
        "nothing found explains the late first tokens: run it with half the users. If they then come sooner, requests "
        "wait for a free slot; if not, the prompt or the model takes the time",
    ),
    (
        _STOOD_STILL,
        "nothing found explains the waits in the middle of answers: look at the streams that stood still longest, and "
        "at the server’s log at that time. A run with half the users shows whether load causes them",
    ),
)


def next_step(found: Collection[Finding], missed: Collection[str]) -> str:
    """What to try about the figures that `missed` their limits if none of the findings explains them; "" otherwise."""
    explained = frozenset[str]().union(*(_EXPLAINS.get(each.id, frozenset()) for each in found))
    unexplained = {*missed} - explained
    return next((advice for figures, advice in _NEXT if figures & unexplained), "")


def find(evidence: Evidence, missed: Collection[str] = ()) -> list[Finding]:
    """What there is to point out: first what explains the figures that `missed` their limits, then as in FINDINGS.

    In an invalid run, nothing but the generator is sure, and that comes first.
    """
    found = [finding for look in FINDINGS.values() if (finding := look(evidence)) is not None]
    if evidence.validity is not Validity.INVALID:
        return sorted(found, key=lambda each: _EXPLAINS.get(each.id, frozenset()).isdisjoint(missed))
    unsure = [
        each if each.id == "generator_near_limit" else dataclasses.replace(each, certainty=Certainty.POSSIBLE)
        for each in found
    ]
    return sorted(unsure, key=lambda each: each.id != "generator_near_limit")
