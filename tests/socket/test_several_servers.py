"""Several servers behind one name: which one answered is in the record, and one that is slow is found."""

import itertools
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent.pool import Pool

from streamgauge.harness.drive.wire import endpoint
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support import stacks
from tests.support.hostile import (
    CHUNKED,
    DONE,
    HEAD,
    LAST,
    ask,
    asked,
    chunk,
    client,
    content,
    observe,
    scripted,
    tokens,
)
from tests.support.record import judged
from tests.support.reference import reference_server

ADDRESSES = ("127.0.0.1", "127.0.0.2")
QUICK = ("--preset", "exact", "--itl", "1ms", "--tokens", "3")
EACH = 40  # streams of a server


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Two servers on one port of two addresses, the second with a slow model."""
    with reference_server(*QUICK, "--ttft", "10ms") as fast:
        port = fast.url.rpartition(":")[2]
        with reference_server(*QUICK, "--ttft", "400ms", "--host", ADDRESSES[1], "--port", port):
            yield f"http://localhost:{port}"


@pytest.fixture(autouse=True)
def name_with_two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name service alone is replaced: it answers with both addresses, and each time another one is first."""
    turn, numeric = itertools.count(), endpoint._getaddrinfo

    def answers(host: str, port: int, *rest: int) -> Any:
        if socket.AI_NUMERICHOST in rest:
            return numeric(host, port, *rest)
        first = next(turn) % 2
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in (ADDRESSES * 2)[first : first + 2]
        ]

    monkeypatch.setattr(endpoint, "_getaddrinfo", answers)


def test_the_slow_one_of_two_servers_behind_a_name_is_found(url: str, tmp_path: Path) -> None:
    def one(_: int) -> StreamObservation:
        person = client(url, fresh=True, protocol="anthropic_messages")
        try:
            return ask(person)
        finally:
            person.close()

    seen = Pool(6).map(one, range(2 * EACH))
    assert {each.outcome for each in seen} == {Outcome.COMPLETED}
    assert sorted(each.address for each in seen) == [ADDRESSES[0]] * EACH + [ADDRESSES[1]] * EACH
    findings = {each.id: each for each in judged(tmp_path / "run.db", seen).findings}
    assert findings["server_differs"].sentence.startswith(
        "The server at “127.0.0.2” differs from the others: its streams waited "
    )
    assert "two_kinds" not in findings, "it is told once"


@pytest.mark.parametrize("name", stacks.LIBRARIES)
def test_the_clients_on_a_library_keep_the_address_too(url: str, name: str) -> None:
    assert {stacks.observe(name, url).address for _ in range(2)} == {*ADDRESSES}


def test_a_kept_connection_keeps_its_address(url: str) -> None:
    person = client(url, protocol="anthropic_messages")
    assert len({ask(person).address for _ in range(3)}) == 1
    person.close()


def test_an_address_that_does_not_answer_is_in_the_record_of_the_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound on this address, and listening on none
        seen = observe(f"http://localhost:{taken.getsockname()[1]}")
    assert seen.outcome is Outcome.UNREACHABLE
    assert seen.address in ADDRESSES


def test_the_replica_is_what_the_header_of_the_config_says() -> None:
    answer = CHUNKED.replace(HEAD, HEAD + b"X-Served-By: pod-7\r\n") + chunk(tokens(2) + DONE) + LAST
    with scripted(asked(answer), asked(answer)) as server:
        named = observe(server.url, replica_header="x-Served-by")
        assert (content(named), named.replica) == (2, "pod-7")
        assert observe(server.url).replica is None
