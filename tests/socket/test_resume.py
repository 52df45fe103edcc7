"""An answer over several connections: what its reader has of it in the end, and what the record says of that."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.drive import clients, network, prompts
from streamgauge.harness.drive.behaviour import Plan, Reconnect
from streamgauge.harness.drive.clients import Client, Place, Question, Reply, Site
from streamgauge.harness.drive.reading.resumption import follow
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.hostile import (
    CHUNKED,
    DONE,
    IDENTITY,
    LAST,
    Peer,
    asked,
    chunk,
    client,
    content,
    scripted,
    target,
    token,
    tokens,
)
from tests.support.record import judged, observation
from tests.support.reference import ReferenceServer, counts, reference_server

TOKENS = 12
GOES_ON = Plan(reconnect=Reconnect(5, seed=1))
PROTOCOLS = ("plain_sse", "openai_chat", "anthropic_messages")
NOTHING = re.compile("(?!)")  # to be blotted out


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    quick = ("--preset", "exact", "--ttft", "10ms", "--itl", "20ms", "--tokens", str(TOKENS))
    with reference_server(*quick, "--resumable", "5s") as running:
        yield running


def road(breaks_at: int | None = None, name: str = "direct") -> network.Link:
    link = network.Link(network.find(name), 1)
    link.breaks_at = breaks_at
    return link


def ask(person: Client, link: network.Link, plan: Plan = GOES_ON, place: Place | None = None) -> Reply:
    return person.stream(Question(prompts.ask("Hello?"), plan, link, time.monotonic_ns(), IDENTITY, place))


def replies(person: Client, *roads: network.Link) -> list[Reply]:
    """One answer, over these links one after another for as long as there may be more of it, without a wait."""
    found: list[Reply] = []
    for link in roads:
        if found and found[-1].place is None:
            break
        found.append(ask(person, link, place=found[-1].place if found else None))
    person.close()
    return found


def tried(person: Client, *roads: network.Link) -> list[StreamObservation]:
    return [reply.observation for reply in replies(person, *roads)]


def told(seen: StreamObservation) -> tuple[int | None, int | None]:
    return seen.resume_lost, seen.resume_duplicated


# Against the reference server


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_after_a_cell_change_the_rest_of_the_answer_comes_over_another_connection(
    server: ReferenceServer, protocol: str
) -> None:
    before = counts(server.url)["reference_streams_resumed_total"]
    first, second = tried(client(server.url, protocol=protocol), road(breaks_at=150_000_000), road())
    assert (first.outcome, second.outcome) == (Outcome.CANCELLED, Outcome.COMPLETED)
    assert 0 < first.content_chunks < TOKENS
    assert first.content_chunks + second.content_chunks == TOKENS
    assert told(second) == (0, 0)
    assert (first.resumed_from, first.resume_gap, *told(first)) == (None, None, None, None)
    assert first.request_id is not None
    assert re.fullmatch(first.request_id + r":\d+", second.resumed_from or "")
    assert second.first_content_at is not None
    assert first.last_content_at is not None
    assert second.resume_gap == pytest.approx(second.first_content_at - first.last_content_at, abs=1_000)  # rounded
    assert counts(server.url)["reference_streams_resumed_total"] == before + 1
    (row,) = [row for row in server.truth() if row["id"] == first.request_id]
    assert (row["outcome"], row["tokens"]) == ("completed", TOKENS)


def test_what_was_on_the_link_when_it_broke_comes_again_and_is_nothing_twice(server: ReferenceServer) -> None:
    """The question is there after 0.8 s, half a second of the answer is gone when the person has its first words."""
    person = client(server.url, headers={"x-gauge-itl": "40ms"})
    first, second = tried(person, road(1_100_000_000, "slow_3g"), road(name="slow_3g"))
    assert first.outcome is Outcome.CANCELLED
    assert first.content_chunks < sum(each.kind in CONTENT for each in first.chunks)
    assert first.content_chunks + second.content_chunks == TOKENS
    assert told(second) == (0, 0)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("cut@4", Outcome.TRUNCATED),
        ("close@4", Outcome.TRUNCATED),
        ("reset@4", Outcome.RESET),
        ("cut_event@4", Outcome.TRUNCATED),
    ],
)
def test_a_server_that_breaks_off_has_failed_and_the_rest_comes_all_the_same(
    server: ReferenceServer, fault: str, outcome: Outcome
) -> None:
    first, second = tried(client(server.url, headers={"x-gauge-fault": fault}), road(), road())
    assert (first.outcome, content(first)) == (outcome, 4)
    assert (second.outcome, content(second), *told(second)) == (Outcome.COMPLETED, TOKENS - 4, 0, 0)


@pytest.mark.parametrize(
    ("faults", "lost_and_twice"),
    [
        ("duplicate_id@3, reset@4", (0, 1)),  # the id before it is sent back, so that it comes again
        ("lost_id@3, reset@4", (0, 1)),
        ("lost_id@3, reset@6", (0, 0)),
        ("duplicate_id@3, reset@6", (0, 0)),
        ("lose@3, reset@6", (1, 0)),
        ("lose@3, reset@4", (0, 0)),  # nobody knows that there was something, and it comes with the rest
    ],
)
def test_what_ids_that_go_wrong_cost_is_told(
    server: ReferenceServer, faults: str, lost_and_twice: tuple[int, int]
) -> None:
    first, second = tried(client(server.url, headers={"x-gauge-fault": faults}), road(), road())
    assert (first.outcome, second.outcome) == (Outcome.RESET, Outcome.COMPLETED)
    assert told(second) == lost_and_twice
    lost, twice = lost_and_twice
    assert first.content_chunks + second.content_chunks == TOKENS - lost + twice


@pytest.mark.parametrize("name", clients.CLIENTS)
def test_every_client_can_go_on(server: ReferenceServer, name: str) -> None:
    faulty = target(protocol="anthropic_messages", headers={"x-gauge-fault": "reset@4"})
    site = Site.of(server.url, faulty, RunClock.starting_at(time.time_ns()))
    first, second = tried(clients.find(name)(site), road(), road())
    assert (first.outcome, second.outcome) == (Outcome.RESET, Outcome.COMPLETED)
    assert (content(first), content(second), *told(second)) == (4, TOKENS - 4, 0, 0)


def test_the_server_says_how_long_to_wait(server: ReferenceServer) -> None:
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
    assert (second.resumed_from, second.resume_gap, *told(second)) == (None, None, None, None)
    assert first.request_id != second.request_id


def test_who_had_nothing_yet_waited_from_asking(server: ReferenceServer) -> None:
    person = client(server.url, headers={"x-gauge-ttft": "300ms"}, protocol="anthropic_messages")
    first, second = tried(person, road(breaks_at=150_000_000), road())
    assert first.content_chunks == 0
    assert first.chunks, "events with ids, before the model said anything"
    assert second.first_content_at is not None
    assert second.resume_gap == pytest.approx(second.first_content_at - first.due_at, abs=1_000)  # rounded


def test_a_server_s_own_trouble_with_a_connection_that_is_gone_does_not_spoil_the_answer(
    server: ReferenceServer,
) -> None:
    person = client(server.url, headers={"x-gauge-fault": "reset@10"})
    first, second = tried(person, road(breaks_at=80_000_000), road())
    assert (first.outcome, second.outcome, second.detail) == (Outcome.CANCELLED, Outcome.COMPLETED, "")
    assert first.content_chunks + second.content_chunks == TOKENS


def test_links_may_break_again_and_again(server: ReferenceServer) -> None:
    roads = [road(breaks_at=120_000_000) for _ in range(12)]
    seen = tried(client(server.url, headers={"x-gauge-itl": "30ms"}), *roads)
    assert [each.outcome for each in seen] == [*[Outcome.CANCELLED] * (len(seen) - 1), Outcome.COMPLETED]
    assert len(seen) > 2
    assert sum(each.content_chunks for each in seen) == TOKENS
    assert {told(each) for each in seen[1:]} == {(0, 0)}


# Servers of other kinds


def events(numbers: range, of: str = "a:%d") -> bytes:
    return b"".join(b"id: %b\n%b" % ((of % number).encode(), token(number)) for number in numbers)


def broken_then(first: bytes, second: bytes) -> tuple[list[StreamObservation], list[bytes]]:
    """What is recorded of an answer that breaks off after `first` and whose next connection brings `second`, whole;
    and the questions."""
    questions = []

    def breaks_off(peer: Peer) -> None:
        questions.append(peer.request())
        peer.send(CHUNKED + chunk(first))

    def goes_on(peer: Peer) -> None:
        questions.append(peer.request())
        peer.answer(second + DONE)

    with scripted(breaks_off, goes_on) as server:
        return tried(client(server.url), road(), road()), questions


@pytest.mark.parametrize(
    ("again", "lost_and_twice"),
    [
        (range(4, 9), (0, 0)),
        (range(3, 9), (0, 1)),  # "from this id on", not "after it"
        (range(1, 9), (0, 3)),  # the whole answer once more
        (range(6, 9), (2, 0)),
    ],
)
@pytest.mark.parametrize("of", ["a:%d", "%d", "0-%d"])
def test_numbers_tell_what_a_server_left_out_or_brought_again(
    of: str, again: range, lost_and_twice: tuple[int, int]
) -> None:
    (first, second), questions = broken_then(events(range(1, 4), of), events(again, of))
    assert (first.outcome, second.outcome) == (Outcome.TRUNCATED, Outcome.COMPLETED)
    assert told(second) == lost_and_twice
    assert second.resumed_from == of % 3
    assert b"last-event-id" not in questions[0]
    assert f"\r\nlast-event-id: {of % 3}\r\n".encode() in questions[1]


def test_the_gap_ends_with_what_is_new() -> None:
    def slowly(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED + chunk(events(range(1, 4))))
        time.sleep(0.1)
        peer.send(chunk(events(range(4, 6)) + DONE) + LAST)

    with scripted(asked(CHUNKED + chunk(events(range(1, 4)))), slowly) as server:
        _, second = tried(client(server.url), road(), road())
    assert second.resume_duplicated == 3
    assert second.resume_gap is not None
    assert second.first_content_at is not None
    assert second.resume_gap > 100_000_000


def test_an_answer_with_ids_of_its_own_is_another_answer() -> None:
    (_, second), questions = broken_then(events(range(1, 4)), events(range(1, 9), "b:%d"))
    assert b"last-event-id: a:3" in questions[1]
    assert (second.content_chunks, second.resumed_from, *told(second)) == (8, None, None, None)


@pytest.mark.parametrize("ids", [["x7", "y1", "z3"], ["10", "200", "3000"]])
def test_ids_that_do_not_count_tell_where_to_go_on_but_not_what_was_missed(ids: list[str]) -> None:
    first = b"".join(f"id: {id}\ndata: word\n\n".encode() for id in ids)
    (_, second), questions = broken_then(first, b"id: other\ndata: word\n\n")
    assert f"last-event-id: {ids[-1]}\r\n".encode() in questions[1]
    assert (second.resumed_from, *told(second)) == (ids[-1], None, None)
    assert second.resume_gap is not None


def test_without_ids_the_answer_begins_anew() -> None:
    (_, second), questions = broken_then(tokens(3), tokens(8))
    assert b"last-event-id" not in questions[1]
    assert (second.content_chunks, second.resumed_from) == (8, None)


def test_an_id_of_one_answer_is_not_sent_for_another() -> None:
    questions = []

    def script(peer: Peer) -> None:
        questions.append(peer.request())
        peer.send(CHUNKED + chunk(events(range(1, 4)) if len(questions) == 1 else tokens(2)))

    with scripted(script) as server:
        tried(client(server.url), road(), road(), road())
    assert [b"last-event-id" in question for question in questions] == [False, True, False]


@pytest.mark.parametrize("id", ["ü", "a\tb", "x" * 2_000, "\x1b[31m"])
def test_an_id_that_is_no_word_for_a_header_is_not_sent_back(id: str) -> None:
    _, questions = broken_then(f"id: {id}\ndata: word\n\n".encode(), tokens(2))
    assert b"last-event-id" not in questions[1]


def test_an_id_that_holds_a_secret_does_not_bring_it_into_the_record() -> None:
    with scripted(asked(CHUNKED + chunk(events(range(1, 4), "hunter2hunter2:%d")))) as server:
        first, second = tried(client(server.url, headers={"x-api-key": "hunter2hunter2"}), road(), road())
    assert second.resumed_from is not None
    assert "hunter2" not in f"{first}{second}"


def test_who_is_told_that_there_is_no_more_does_not_come_back() -> None:
    with scripted(asked(CHUNKED + chunk(events(range(1, 4)))), asked(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        found = replies(client(server.url), road(), road(), road())
    assert len(found) == 2
    assert found[-1].place is None


@pytest.mark.parametrize("status", [b"429 Too Many Requests", b"503 Service Unavailable"])
def test_a_refusal_on_the_way_back_is_for_the_time_being(status: bytes) -> None:
    refusal = b"HTTP/1.1 %b\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n" % status
    begun, rest = CHUNKED + chunk(events(range(1, 4))), CHUNKED + chunk(events(range(4, 9)) + DONE) + LAST
    with scripted(asked(begun), asked(refusal), asked(rest)) as server:
        seen = tried(client(server.url), road(), road(), road())
    assert [each.outcome for each in seen] == [Outcome.TRUNCATED, Outcome.REFUSED, Outcome.COMPLETED]
    assert told(seen[2]) == (0, 0)
    assert seen[2].resume_gap is not None


def test_a_first_refusal_and_an_error_of_the_model_are_final() -> None:
    refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    error = CHUNKED + chunk(events(range(1, 3)) + b'data: {"error": {"message": "no"}}\n\n') + LAST
    for answer in (refusal, error):
        with scripted(asked(answer)) as server:
            found = replies(client(server.url), road(), road())
        assert len(found) == 1
        assert found[0].place is None


def test_who_does_not_reconnect_has_no_place() -> None:
    with scripted(asked(CHUNKED + chunk(events(range(1, 4))))) as server:
        person = client(server.url)
        reply = ask(person, road(), Plan())
        person.close()
    assert reply.place is None


# Judged


def test_the_rest_of_an_answer_has_a_gap_and_no_times_of_a_whole_one(tmp_path: Path) -> None:
    rest: dict[str, Any] = {"resumed_from": "a:3", "resume_gap": 700_000_000, "resume_lost": 0, "resume_duplicated": 0}
    chunks = [("text", 5.0), ("text", 25.0)]
    streams = [
        observation(output_tokens=3),
        observation(chunks, due=1_000, output_tokens=9, **rest),
        observation(chunks, due=2_000, outcome=Outcome.CANCELLED, **rest),
        observation([], due=3_000, outcome=Outcome.CANCELLED, **{**rest, "resume_gap": None}),
    ]
    found = judged(tmp_path / "run.db", streams, "max(resume_gap) < 1s")
    assert found.verdict == "met"
    assert found.metrics["resume_gap"].n == 2
    for name in ("ttft", "ttft_text", "ttft_wire", "e2e", "duration", "tpot"):
        assert (found.metrics[name].n, found.metrics[name].failed) == (1, 0), name
    failed = judged(tmp_path / "two.db", [*streams, observation([], outcome=Outcome.RESET)])
    assert failed.metrics["ttft"].failed == 1


# By itself


def piece(numbers: list[int], outcome: Outcome = Outcome.RESET) -> tuple[StreamObservation, bytes]:
    """A record of one chunk of content for each number, and its body."""
    body = b"".join(b"id: r:%d\n%b" % (number, token(number)) for number in numbers)
    return observation([("text", 10.0 * place) for place in range(len(numbers))], outcome=outcome), body


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(1, 21), st.integers(0, 20)), max_size=4))
def test_lost_and_twice_add_up_over_any_breaks(begun: int, pieces: list[tuple[int, int]]) -> None:
    """Each connection brings some numbers in a row from anywhere. Had = the highest − what was lost, and each once or
    more often."""
    seen, body = piece(list(range(1, begun + 1)))
    _, place = follow(seen, body, None, NOTHING, by_link=False)
    had, highest, lost, twice = list(range(1, begun + 1)), begun, 0, 0
    for start, count in pieces:
        numbers = list(range(start, start + count))
        seen, place = follow(*piece(numbers), place, NOTHING, by_link=False)
        lost += seen.resume_lost or 0
        twice += seen.resume_duplicated or 0
        had += numbers
        highest = max([highest, *numbers])
    # What was left out and came later after all is told as lost, and as brought again: nobody waits for it any more.
    assert highest - lost + twice == len(had)


@given(st.integers(1, 5), st.integers(0, 5), st.floats(0, 1e6), st.floats(0, 1e6), st.integers())
def test_nobody_comes_back_before_they_are_told_to_or_later_than_in_a_minute(
    times: int, barren: int, retry: float, after: float, seed: int
) -> None:
    plan = Reconnect(5, seed)
    assert min(60, max(retry, after)) <= plan.wait(times, barren, retry, after) <= 60
    assert 1 <= plan.wait(1, 0, None, None) <= 1.2
    assert min(60, 2**barren) <= plan.wait(times, barren, None, None) <= min(60, 1.2 * 2**barren)
    assert plan.wait(times, barren, retry, after) == plan.wait(times, barren, retry, after)
