"""What ids of events tell of an answer over several connections, against servers that a test scripts."""

import time

import pytest

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.hostile import (
    CHUNKED,
    DONE,
    LAST,
    Peer,
    asked,
    chunk,
    client,
    scripted,
    token,
    tokens,
)
from tests.support.resuming import ask, lost_and_duplicated, replies, road, tried

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
def test_numbered_ids_show_what_a_server_skipped_or_repeated(
    of: str, again: range, lost_and_twice: tuple[int, int]
) -> None:
    (first, second), questions = broken_then(events(range(1, 4), of), events(again, of))
    assert (first.outcome, second.outcome) == (Outcome.TRUNCATED, Outcome.COMPLETED)
    assert lost_and_duplicated(second) == lost_and_twice
    assert second.resumed_from == of % 3
    assert b"last-event-id" not in questions[0]
    assert f"\r\nlast-event-id: {of % 3}\r\n".encode() in questions[1]


def test_the_resume_gap_ends_with_the_first_new_content() -> None:
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


def test_an_answer_with_other_ids_is_a_new_answer() -> None:
    (_, second), questions = broken_then(events(range(1, 4)), events(range(1, 9), "b:%d"))
    assert b"last-event-id: a:3" in questions[1]
    assert (second.content_chunks, second.resumed_from, *lost_and_duplicated(second)) == (8, None, None, None)


@pytest.mark.parametrize("ids", [["x7", "y1", "z3"], ["10", "200", "3000"]])
def test_ids_without_numbers_show_where_to_continue_but_not_what_was_lost(ids: list[str]) -> None:
    first = b"".join(f"id: {id}\ndata: word\n\n".encode() for id in ids)
    (_, second), questions = broken_then(first, b"id: other\ndata: word\n\n")
    assert f"last-event-id: {ids[-1]}\r\n".encode() in questions[1]
    assert (second.resumed_from, *lost_and_duplicated(second)) == (ids[-1], None, None)
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
def test_an_id_that_is_unsafe_in_a_header_is_not_sent_back(id: str) -> None:
    _, questions = broken_then(f"id: {id}\ndata: word\n\n".encode(), tokens(2))
    assert b"last-event-id" not in questions[1]


def test_a_secret_in_an_id_is_masked_in_the_record() -> None:
    with scripted(asked(CHUNKED + chunk(events(range(1, 4), "hunter2hunter2:%d")))) as server:
        first, second = tried(client(server.url, headers={"x-api-key": "hunter2hunter2"}), road(), road())
    assert second.resumed_from is not None
    assert "hunter2" not in f"{first}{second}"


def test_nobody_reconnects_after_a_204() -> None:
    with scripted(asked(CHUNKED + chunk(events(range(1, 4)))), asked(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        found = replies(client(server.url), road(), road(), road())
    assert len(found) == 2
    assert found[-1].place is None


@pytest.mark.parametrize("status", [b"429 Too Many Requests", b"503 Service Unavailable"])
def test_a_refused_reconnect_with_429_or_5xx_is_tried_again(status: bytes) -> None:
    refusal = b"HTTP/1.1 %b\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n" % status
    begun, rest = CHUNKED + chunk(events(range(1, 4))), CHUNKED + chunk(events(range(4, 9)) + DONE) + LAST
    with scripted(asked(begun), asked(refusal), asked(rest)) as server:
        seen = tried(client(server.url), road(), road(), road())
    assert [each.outcome for each in seen] == [Outcome.TRUNCATED, Outcome.REFUSED, Outcome.COMPLETED]
    assert lost_and_duplicated(seen[2]) == (0, 0)
    assert seen[2].resume_gap is not None


def test_a_first_refusal_and_an_error_of_the_model_are_final() -> None:
    refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    error = CHUNKED + chunk(events(range(1, 3)) + b'data: {"error": {"message": "no"}}\n\n') + LAST
    for answer in (refusal, error):
        with scripted(asked(answer)) as server:
            found = replies(client(server.url), road(), road())
        assert len(found) == 1
        assert found[0].place is None


def test_a_person_who_does_not_reconnect_has_no_place_to_resume() -> None:
    with scripted(asked(CHUNKED + chunk(events(range(1, 4))))) as server:
        person = client(server.url)
        reply = ask(person, road(), Plan())
        person.close()
    assert reply.place is None
