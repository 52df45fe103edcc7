"""Our times against the reference server's own log. The full size is in tests/benchmarks/truth.py."""

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from statistics import median

import gevent
import numpy as np
import pytest
from benchmarks.truth import Errors, errors
from hostile import IDENTITY, target
from reference import ReferenceServer, reference_server

from harness.clock import RunClock
from harness.drive import network, prompts
from harness.drive.behaviour import Plan
from harness.drive.clients import Site
from harness.drive.clients.wire import WireClient
from harness.observation import CONTENT, Outcome, StreamObservation

STREAMS, TOKENS = 50, 100  # 100 tokens at 20 ms: 2 s a round
IDENTITY_HERE = {**IDENTITY, "protocol": "anthropic_messages"}

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the server's log and the kernel's stamps share a clock"
)


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--tokens", str(TOKENS)) as running:
        yield running


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
    site = Site.of(url, target(protocol="anthropic_messages"), clock)
    prompt, direct = prompts.ask("How deep is the river?"), network.find("direct")

    def stream(person: WireClient) -> StreamObservation:
        try:
            link = network.Link(direct, Random(1))
            return person.stream(prompt, Plan(), link, time.monotonic_ns(), IDENTITY_HERE)
        finally:
            person.close()

    running = [gevent.spawn_later(0.02 * number / STREAMS, stream, WireClient(site)) for number in range(STREAMS)]
    gevent.joinall(running, raise_error=True)
    return [each.value for each in running]


def p99(values: "np.typing.NDArray[np.int64]") -> float:
    """In ms, whichever way the errors point."""
    return float(np.percentile(np.abs(values), 99)) / 1e6


def test_arrivals_are_those_of_the_servers_own_log(server: ReferenceServer) -> None:
    clock = RunClock.starting_at(time.time_ns())
    rounds: list[Errors] = []
    for _ in range(3):
        with undisturbed():
            seen = round_of(server.url, clock)
        assert {each.outcome for each in seen} == {Outcome.COMPLETED}
        assert sum(each.unstamped_reads for each in seen) == 0
        arrived = ((each.request_id or "", [c.at for c in each.chunks if c.kind in CONTENT]) for each in seen)
        rounds.append(errors(arrived, server.truth(), clock))
    # The two limits are those of the instrument's promise (ten and a hundred times what a quiet machine shows). The
    # median of three rounds, because the log is written after `send` returns: a server that is preempted in between
    # logs a time that is not the kernel's, and that is not our error.
    assert median(p99(each.ttft) for each in rounds) <= 2
    assert median(p99(each.itl) for each in rounds) <= 0.5
