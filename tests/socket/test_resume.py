"""An answer over several connections to the reference server: what its reader has of it in the end."""

import re
import time
from collections.abc import Iterator

import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Profile
from streamgauge.harness.drive import clients, network
from streamgauge.harness.drive.reading.resumption import Place
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import CONTENT, Outcome
from tests.support.hostile import (
    client,
    content,
    target,
)
from tests.support.reference import ReferenceServer, counts, reference_server
from tests.support.resuming import ask, lost_and_duplicated, replies, road, tried

TOKENS = 12
# 3 s, of which a busy server has begun with some and not with all when a link breaks after half of it.
SLOWLY = {"x-gauge-itl": "250ms"}
HALF = 1_500_000_000  # ns
PROTOCOLS = ("plain_sse", "openai_chat", "anthropic_messages")


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    quick = ("--preset", "exact", "--ttft", "10ms", "--itl", "20ms", "--tokens", str(TOKENS))
    with reference_server(*quick, "--resumable", "30s") as running:
        yield running


# Against the reference server


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_after_a_cell_change_the_rest_of_the_answer_comes_over_another_connection(
    server: ReferenceServer, protocol: str
) -> None:
    before = counts(server.url)["reference_streams_resumed_total"]
    first, second = tried(client(server.url, protocol=protocol, headers=SLOWLY), road(HALF), road())
    assert (first.outcome, second.outcome) == (Outcome.CANCELLED, Outcome.COMPLETED)
    assert 0 < first.content_chunks < TOKENS
    assert first.content_chunks + second.content_chunks == TOKENS
    assert lost_and_duplicated(second) == (0, 0)
    assert (first.resumed_from, first.resume_gap, *lost_and_duplicated(first)) == (None, None, None, None)
    assert first.request_id is not None
    assert re.fullmatch(first.request_id + r":\d+", second.resumed_from or "")
    assert second.first_content_at is not None
    assert first.last_content_at is not None
    assert second.resume_gap == pytest.approx(second.first_content_at - first.last_content_at, abs=1_000)  # rounded
    assert counts(server.url)["reference_streams_resumed_total"] == before + 1
    (row,) = [row for row in server.truth() if row["id"] == first.request_id]
    assert (row["outcome"], row["tokens"]) == ("completed", TOKENS)


def test_data_on_the_link_when_it_broke_is_sent_again_and_does_not_count_as_duplicated(server: ReferenceServer) -> None:
    """The question is there after 4.5 s; the first words take another 1.5 s to the person."""
    person = client(server.url, headers={"x-gauge-itl": "500ms"})
    moon = network.find("moon", {"moon": Profile(rtt=Duration.parse("3s"))})
    first, second = tried(person, road(7_500_000_000, moon), road(profile=moon))
    assert first.outcome is Outcome.CANCELLED
    assert first.content_chunks < sum(each.kind in CONTENT for each in first.chunks)
    assert first.content_chunks + second.content_chunks == TOKENS
    assert lost_and_duplicated(second) == (0, 0)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("cut@4", Outcome.TRUNCATED),
        ("close@4", Outcome.TRUNCATED),
        ("reset@4", Outcome.RESET),
        ("cut_event@4", Outcome.TRUNCATED),
    ],
)
def test_a_stream_that_the_server_breaks_fails_and_the_rest_is_still_resumed(
    server: ReferenceServer, fault: str, outcome: Outcome
) -> None:
    first, second = tried(client(server.url, headers={"x-gauge-fault": fault}), road(), road())
    assert (first.outcome, content(first)) == (outcome, 4)
    assert (second.outcome, content(second), *lost_and_duplicated(second)) == (Outcome.COMPLETED, TOKENS - 4, 0, 0)


@pytest.mark.parametrize(
    ("faults", "lost_and_twice"),
    [
        ("duplicate_id@3, reset@4", (0, 1)),  # the id before it is sent back, so that it comes again
        ("lost_id@3, reset@4", (0, 1)),
        ("lost_id@3, reset@6", (0, 0)),
        ("duplicate_id@3, reset@6", (0, 0)),
        ("lose@3, reset@6", (1, 0)),
        ("lose@3, reset@4", (0, 0)),  # nothing shows that an event is missing, and it comes with the rest
    ],
)
def test_the_record_counts_what_wrong_ids_lost_and_duplicated(
    server: ReferenceServer, faults: str, lost_and_twice: tuple[int, int]
) -> None:
    first, second = tried(client(server.url, headers={"x-gauge-fault": faults}), road(), road())
    assert (first.outcome, second.outcome) == (Outcome.RESET, Outcome.COMPLETED)
    assert lost_and_duplicated(second) == lost_and_twice
    lost, twice = lost_and_twice
    assert first.content_chunks + second.content_chunks == TOKENS - lost + twice


@pytest.mark.parametrize("name", clients.CLIENTS)
def test_every_client_can_resume(server: ReferenceServer, name: str) -> None:
    faulty = target(protocol="anthropic_messages", headers={"x-gauge-fault": "reset@4"})
    site = Site.of(server.url, faulty, RunClock.starting_at(time.time_ns()))
    first, second = tried(clients.find(name)(site), road(), road())
    assert (first.outcome, second.outcome) == (Outcome.RESET, Outcome.COMPLETED)
    assert (content(first), content(second), *lost_and_duplicated(second)) == (4, TOKENS - 4, 0, 0)


def test_the_retry_field_decides_how_long_to_wait(server: ReferenceServer) -> None:
    person = client(server.url, headers={"x-gauge-fault": "reset@4"})
    (reply,) = replies(person, road())
    assert reply.place is not None
    assert reply.place.retry == 0.5


def test_an_answer_that_is_no_longer_kept_begins_anew(server: ReferenceServer) -> None:
    person = client(server.url, headers={"x-gauge-fault": "reset@4"})
    stranger = Place(7, last_id="req_0123456789abcdef:4", prefix="req_0123456789abcdef:", number=4)
    reply = ask(person, road(), place=stranger)
    gone = reply.observation
    assert (gone.outcome, gone.http_status, gone.resumed_from) == (Outcome.REFUSED, 404, None)
    assert reply.place == Place(7)
    person.close()


def test_a_server_that_keeps_no_answers_is_asked_again(server: ReferenceServer) -> None:
    plain = client(server.url, headers={"x-gauge-resumable": "0s"})
    first, second = tried(plain, road(breaks_at=100_000_000), road())
    assert (first.outcome, second.outcome) == (Outcome.CANCELLED, Outcome.COMPLETED)
    assert second.content_chunks == TOKENS
    assert (second.resumed_from, second.resume_gap, *lost_and_duplicated(second)) == (None, None, None, None)
    assert first.request_id != second.request_id


def test_the_resume_gap_of_a_person_without_content_begins_with_the_question(server: ReferenceServer) -> None:
    person = client(server.url, headers={"x-gauge-ttft": "3s"}, protocol="anthropic_messages")
    first, second = tried(person, road(HALF), road())
    assert first.content_chunks == 0
    assert first.chunks, "events with ids, before the model said anything"
    assert second.first_content_at is not None
    assert second.resume_gap == pytest.approx(second.first_content_at - first.due_at, abs=1_000)  # rounded


def test_a_fault_on_a_connection_that_has_already_broken_does_not_spoil_the_answer(
    server: ReferenceServer,
) -> None:
    person = client(server.url, headers={**SLOWLY, "x-gauge-fault": "reset@10"})
    first, second = tried(person, road(HALF), road())
    assert (first.outcome, second.outcome, second.detail) == (Outcome.CANCELLED, Outcome.COMPLETED, "")
    assert first.content_chunks + second.content_chunks == TOKENS


def test_an_answer_is_resumed_over_several_broken_links(server: ReferenceServer) -> None:
    roads = [road(HALF * 2 // 3) for _ in range(12)]
    seen = tried(client(server.url, headers=SLOWLY), *roads)
    assert [each.outcome for each in seen] == [*[Outcome.CANCELLED] * (len(seen) - 1), Outcome.COMPLETED]
    assert len(seen) > 2
    assert sum(each.content_chunks for each in seen) == TOKENS
    assert {lost_and_duplicated(each) for each in seen[1:]} == {(0, 0)}
