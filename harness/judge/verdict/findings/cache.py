"""Prompts that were not in the server's prompt cache, and what that cost."""

import numpy as np

from streamgauge.harness.judge.verdict.findings.chance import ALPHA, rank_sum
from streamgauge.harness.judge.verdict.findings.evidence import Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number

_FEWEST = 20  # streams with a hit, and without
_MOSTLY = 0.1  # of the streams are misses
_LONGER, _LONGER_MS = 1.3, 50.0
_SOURCE = "https://platform.claude.com/docs/en/build-with-claude/prompt-caching"


def cache_misses(evidence: Evidence) -> Finding | None:
    """Streams whose prompt was not in the cache waited clearly longer than those whose prompt was.

    At least 20 streams of each, 10 % misses; the median wait of a miss is 1.3 times and 50 ms longer, by user class
    and network (rank test). A run without any hit says nothing: the server may not cache at all.
    """
    sample = evidence.sample
    relative, cache = sample.relative(sample.wait), sample.text["cache"]
    known = ~np.isnan(relative)
    hit, miss = known & cache.are("hit"), known & cache.are("miss")
    hits, misses = int(hit.sum()), int(miss.sum())
    if min(hits, misses) < _FEWEST or misses < _MOSTLY * (hits + misses):
        return None
    before, after = float(np.median(sample.wait[hit])), float(np.median(sample.wait[miss]))
    times = float(np.median(relative[miss]) / np.median(relative[hit]))
    if times < _LONGER or after - before < _LONGER_MS or rank_sum(relative[miss], relative[hit]).p >= ALPHA:
        return None
    return Finding(
        id="cache_misses",
        advice="Prompts miss the cache: put what all prompts share first, unchanged to the byte",
        sentence=f"{misses:,} of {hits + misses:,} prompts were not in the cache, and waited {times:.1f} times as long",
        evidence=(
            Number("median wait without the cache", after, "ms"),
            Number("median wait with the cache", before, "ms"),
            Number("misses", misses, ""),
            Number("hits", hits, ""),
        ),
        meaning="The server computed prompts again that it could have known",
        change="Put what all prompts share first and leave it unchanged to the byte (no time or id in it), route one "
        "conversation to one replica, and keep entries for longer than people pause",
        source=_SOURCE,
        certainty=Certainty.SURE,
    )
