"""How `doctor` cancels an answer by its id: what a person may name, and which ids of a server it sends."""

import json

import pytest

from streamgauge.harness.doctor.cancelling import Way, known, named, parsed, why_not
from streamgauge.harness.drive.reading.framing import decoded, decoder

OWN = "POST /v1/answers/{id}/cancel"


@pytest.mark.parametrize(
    ("text", "way", "places"),
    [
        (OWN, Way("POST", "/v1/answers/{id}/cancel"), ["id"]),
        (" delete  /answers/{answer.id}?now=1 ", Way("DELETE", "/answers/{answer.id}?now=1"), ["answer.id"]),
        ("PUT /a%20b/{id}?c=(d);e", Way("PUT", "/a%20b/{id}?c=(d);e"), ["id"]),
        ("PUT /stop/{x-request-id}", Way("PUT", "/stop/{x-request-id}"), ["x-request-id"]),
        ('POST /abort {"rid": "{id}", "user": "me"}', Way("POST", "/abort", '{"rid": "{id}", "user": "me"}'), ["id"]),
    ],
)
def test_a_cancel_is_a_method_a_path_and_perhaps_a_body(text: str, way: Way, places: list[str]) -> None:
    assert (parsed(text), parsed(text).places) == (way, places)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "begins with ''"),
        ("/v1/answers/{id}", "begins with '/v1/answers/{id}'"),
        ("GET /v1/answers/{id}", "write POST, DELETE, PUT, PATCH"),
        ("POST https://other.example/{id}", "a path on the URL's host"),
        ("POST //other.example/{id}", "a path on the URL's host"),
        ("POST answers/{id}", "a path on the URL's host"),
        ("POST /answers/cancel", "no place for the answer's id"),
        ("POST /answers/{id}\r\nx: y", "others than printable ASCII"),
        ("POST /answers/é/{id}", "others than printable ASCII"),
        (f"POST /{'a' * 2_000}/{{id}}", "longer than 1,000 characters"),
        ("POST /answers/{id}?key=${KEY}", "a variable of the environment"),
        ("POST /answers/{id", "path with '{': write a place as {id}"),
        ("POST /answers/{id}/{1}", "path with '{}': write a place as {id}"),
        ("POST /answers/{a..id}", "path with '{}': write a place as {id}"),
        ("POST /answers/{id}#now", "path with '#': write a place as {id}, and such a character as %23"),
        ("POST /answers/%zz/{id}", "path with '%'"),
        ("POST /answers/{id} now", "a body that is no JSON object"),
    ],
)
def test_a_cancel_that_cannot_be_sent_is_refused_with_what_to_write(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=r"^it ") as told:
        parsed(text)
    assert fault in str(told.value)


def test_of_the_protocols_only_responses_has_a_cancel_and_below_the_path_that_was_asked() -> None:
    way = known("openai_responses", "/openai", "/v1/responses?api-version=3", reference=False)
    assert way is not None
    assert (way.path, way.asking) == (
        "/openai/v1/responses/{response.id}/cancel?api-version=3",
        {"background": True, "store": True},
    )
    assert known("openai_chat", "", "/v1/chat/completions", reference=False) is None
    reference = known("anthropic_messages", "/llm", "/v1/messages", reference=True)
    assert reference is not None
    assert (reference.path, reference.places) == ("/llm/streams/{request-id}/cancel", ["request-id"])


def stream(*tables: object) -> bytes:
    return b": hello\n\ndata: no JSON\n\n" + b"".join(b"data: %b\n\n" % json.dumps(table).encode() for table in tables)


@pytest.mark.parametrize(
    ("tables", "headers", "sent"),
    [
        ([{"id": "run-1"}], {"id": "of a header"}, "/v1/answers/run-1/cancel"),
        ([{"type": "start"}, {"id": 17}], {}, "/v1/answers/17/cancel"),
        ([{"id": ""}, {"id": None}], {"id": "chatcmpl-a_b.c:d~e="}, "/v1/answers/chatcmpl-a_b.c:d~e=/cancel"),
    ],
)
def test_the_id_comes_from_an_event_or_else_from_a_header(
    tables: list[object], headers: dict[str, str], sent: str
) -> None:
    way, events = parsed(OWN), list(decoded(decoder("sse"), stream(*tables), lambda: None))
    values = named(way, events, headers)
    assert why_not(way, values) == ""
    assert way.filled(values) == (sent, b"")


HOSTILE = [
    "../../admin",
    "..",
    ".",
    "a..b",
    "a/b",
    "a%2fb",
    "a b",
    "a\r\nx: y",
    "a?b",
    "a#b",
    'a"b',
    "{id}",
    "é",
    "-",
    "a" * 201,
    "${HOME}",
]


@pytest.mark.parametrize("id", HOSTILE)
def test_an_id_that_could_mean_something_else_in_a_request_is_not_sent(id: str) -> None:
    way, events = parsed(OWN), list(decoded(decoder("sse"), stream({"id": id}), lambda: None))
    told = why_not(way, named(way, events, {}))
    assert "not safe to send" in told
    assert told.isprintable()
    assert len(told) < 300


@pytest.mark.parametrize("odd", [[], {}, True, 1.5, None, [["a"]]])
def test_an_id_that_is_no_text_and_no_whole_number_is_none(odd: object) -> None:
    way, events = parsed(OWN), list(decoded(decoder("sse"), stream({"id": odd}), lambda: None))
    assert why_not(way, named(way, events, {})).startswith("the stream had no `id` in its first chunks")
