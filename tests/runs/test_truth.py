"""Our times against the reference server's own log. The full size is in tests/benchmarks/truth.py."""

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import numpy as np
import pytest
from numpy.typing import NDArray

from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.benchmarks.truth import errors
from tests.support.hostile import IDENTITY, target
from tests.support.reference import ReferenceServer
from tests.support.stamping import stamping

STREAMS, TOKENS = 50, 50  # 50 tokens at 20 ms: 1 s a round
ANSWER = {"x-gauge-ttft": "200ms", "x-gauge-itl": "20ms", "x-gauge-tokens": str(TOKENS)}
IDENTITY_HERE = {**IDENTITY, "protocol": "anthropic_messages"}

pytestmark = [
    pytest.mark.timing,
    pytest.mark.skipif(sys.platform != "linux", reason="the server's log and the kernel's stamps share a clock"),
]


@contextmanager
def undisturbed() -> Iterator[None]:
    """As the recorder has it in a run: the collector's pauses are the largest disturbance there is."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def round_of(url: str, clock: RunClock) -> list[StreamObservation]:
    """All streams at once, begun over one token's gap, so that they do not come in step."""
    site = Site.of(url, target(protocol="anthropic_messages", headers=ANSWER), clock)
    prompt, direct = prompts.ask("How deep is the river?"), network.find("direct")

    def stream(person: WireClient) -> StreamObservation:
        try:
            link = network.Link(direct, 1)
            return person.stream(Question(prompt, Plan(), link, time.monotonic_ns(), IDENTITY_HERE)).observation
        finally:
            person.close()

    running = [gevent.spawn_later(0.02 * number / STREAMS, stream, WireClient(site)) for number in range(STREAMS)]
    gevent.joinall(running, raise_error=True)
    return [each.value for each in running]


def p99(values: NDArray[np.int64]) -> float:
    """In ms, whichever way the errors point."""
    return float(np.percentile(np.abs(values), 99)) / 1e6


def test_arrivals_match_the_servers_own_log(server: ReferenceServer) -> None:
    clock = RunClock.starting_at(time.time_ns())
    rounds = []
    for _ in range(5):
        with stamping(), undisturbed():
            seen = round_of(server.url, clock)
        assert {each.outcome for each in seen} == {Outcome.COMPLETED}
        assert sum(each.unstamped_reads for each in seen) == 0
        arrived = ((each.request_id or "", [c.at for c in each.chunks if c.kind in CONTENT]) for each in seen)
        found = errors(arrived, server.truth(), clock)
        rounds.append((p99(found.ttft), p99(found.itl)))
        # The limits are those of the instrument's promise; a quiet machine shows 0.1 and 0.03 ms. One good round of up
        # to five will do, for whatever disturbs only adds: the server writes its log after `send` has returned, so
        # when it is preempted in between, it is the log that is off.
        if p99(found.ttft) <= 2 and p99(found.itl) <= 0.5:
            return
    raise AssertionError(f"p99 errors of TTFT and ITL in ms, by round: {rounds}")
