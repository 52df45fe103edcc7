"""Each fault as the harness's own client records it."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from gevent.pool import Pool

from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reference_server.faults.catalogue import FAULTS
from tests.support.hostile import content, observe
from tests.support.reference import ReferenceServer, met, reference_server

PROTOCOLS = [
    "anthropic_messages", "openai_chat", "openai_responses", "plain_sse", "ollama", "gemini", "ai_sdk", "ag_ui",
]  # fmt: skip
TOKENS = 12
QUICK = ("--preset", "exact", "--ttft", "10ms", "--itl", "3ms", "--tokens", str(TOKENS))


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*QUICK) as running:
        yield running


# What the harness records of each fault
# The outcome and the number of content chunks; then the server's outcome and tokens of the same answer.
RECORDED: dict[str, tuple[Outcome, int, str | None, int]] = {
    **{name: (Outcome.REFUSED, 0, None, 0) for name, fault in FAULTS.items() if fault.status},
    "slow_headers:100ms": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "stall:100ms@3": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "stall:10m@3": (Outcome.TIMED_OUT, 3, "disconnected", 3),
    "block:20ms@3": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "error@3": (Outcome.SERVER_ERROR, 3, "failed", 3),
    "error@0": (Outcome.SERVER_ERROR, 0, "failed", 0),
    "cut@3": (Outcome.TRUNCATED, 3, "disconnected", 3),
    "cut@0": (Outcome.TRUNCATED, 0, "disconnected", 0),
    "cut@99": (Outcome.TRUNCATED, TOKENS, "disconnected", TOKENS),  # after the last token, because there are fewer
    "close@3": (Outcome.TRUNCATED, 3, "disconnected", 3),
    "reset@3": (Outcome.RESET, 3, "disconnected", 3),
    "reset@0": (Outcome.RESET, 0, "disconnected", 0),
    "silence@3": (Outcome.TIMED_OUT, 3, "disconnected", 3),
    "silence@0": (Outcome.TIMED_OUT, 0, "disconnected", 0),
    "cut_event@3": (Outcome.TRUNCATED, 3, "disconnected", 4),
    "cut_character@3": (Outcome.TRUNCATED, 3, "disconnected", 4),
    "garbage@3": (Outcome.MALFORMED, 3, "completed", TOKENS),
    "repeat@3": (Outcome.COMPLETED, TOKENS + 1, "completed", TOKENS),
    "lose@3": (Outcome.COMPLETED, TOKENS - 1, "completed", TOKENS),
    "duplicate_id@3": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "lost_id@3": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "no_terminator": (Outcome.TRUNCATED, TOKENS, "completed", TOKENS),
    "batch:5": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "comments": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "crlf": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "cr": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "bom": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "gzip": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "buffer:100": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "buffer_time:20ms": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "deaf": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "half_cancel:stream": (Outcome.COMPLETED, TOKENS, "completed", TOKENS),
    "bom, crlf, comments, batch:2, cut@3, buffer:64": (Outcome.TRUNCATED, 3, "disconnected", 3),
    "cr, repeat@3, lose@5, no_terminator": (Outcome.TRUNCATED, TOKENS, "completed", TOKENS),
}


def test_every_fault_is_among_the_recorded_ones() -> None:
    assert {re.split("[:@]", name.strip())[0] for names in RECORDED for name in names.split(",")} == set(FAULTS)


@pytest.mark.parametrize("fault", RECORDED)
def test_the_harness_records_each_fault_with_its_outcome(server: ReferenceServer, fault: str) -> None:
    outcome, kept, server_outcome, tokens = RECORDED[fault]
    before = met(server)
    patience = {"idle" if kept else "first_token": "2s"} if outcome is Outcome.TIMED_OUT else {}

    def ask(protocol: str) -> StreamObservation:
        return observe(server.url, protocol=protocol, headers={"x-gauge-fault": fault}, timeouts=patience)

    seen = dict(zip(PROTOCOLS, Pool(len(PROTOCOLS)).map(ask, PROTOCOLS), strict=True))
    found = {protocol: (each.outcome, content(each)) for protocol, each in seen.items()}
    assert found == dict.fromkeys(PROTOCOLS, (outcome, kept)), {each.detail for each in seen.values()}
    truth = server.truth()
    for protocol, each in seen.items():
        rows = [(row["outcome"], row["tokens"], len(row["sent"])) for row in truth if row["id"] == each.request_id]
        assert rows == ([(server_outcome, tokens, tokens)] if server_outcome else []), protocol
    if outcome is Outcome.REFUSED:
        assert {each.http_status for each in seen.values()} == {FAULTS[fault].status}
    dealt = Counter(re.split("[:@]", name.strip())[0] for name in fault.split(","))
    times = len(PROTOCOLS)
    assert Counter(met(server)) - Counter(before) == {name: times * count for name, count in dealt.items()}


def test_after_all_faults_the_server_still_answers(server: ReferenceServer) -> None:
    assert observe(server.url).outcome is Outcome.COMPLETED
    assert server.active() == 0
