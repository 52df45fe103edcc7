"""No request makes the reference server fail: bodies that follow its OpenAPI document, and bodies that do not.

One in eight of the values in a body is anything at all; the others are as the document says.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import patient
from tests.support.reference import reference_server

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12).map(str.strip)
SETTINGS = ("ttft", "itl", "tokens", "spread", "seed", "flush", "thinking", "tools", "deadline", "pauses", "capacity")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    quick = ("--preset", "exact", "--ttft", "0ms", "--itl", "0ms", "--tokens", "5", "--deadline", "1s")
    with reference_server(*quick) as server, patient.Client(base_url=server.url) as running:
        yield running


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def values(schema: dict[str, Any], document: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that fit a JSON schema, and sometimes values that do not."""
    if "$ref" in schema:
        return values(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, depth + 1)
    right = _right(schema, document, depth)
    return st.integers(0, 31).flatmap(lambda draw: right if draw else ANYTHING)


def _right(schema: dict[str, Any], document: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return st.sampled_from(schema[several]).flatmap(lambda one: values(one, document, depth + 1))
    match schema.get("type"):
        case "object" if "properties" in schema:
            needed = set(schema.get("required", []))
            parts = {name: values(part, document, depth + 1) for name, part in schema["properties"].items()}
            return st.fixed_dictionaries(
                {name: part for name, part in parts.items() if name in needed},
                optional={name: part for name, part in parts.items() if name not in needed} if depth < 6 else {},
            )
        case "array":
            return st.lists(values(schema.get("items", {}), document, depth + 1), max_size=3 if depth < 6 else 1)
        case "string":
            return TEXT
        case "integer" | "number":
            return st.integers(schema.get("minimum", 0), 5_000)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return ANYTHING


def questions(document: dict[str, Any]) -> st.SearchStrategy[tuple[str, Any]]:
    """A path that accepts a body, and a body for it."""
    bodies = {
        path: values(operations["post"]["requestBody"]["content"]["application/json"]["schema"], document)
        for path, operations in document["paths"].items()
        if "requestBody" in operations.get("post", {})
    }
    return st.sampled_from(sorted(bodies)).flatmap(lambda path: st.tuples(st.just(path), bodies[path]))


def test_no_body_and_no_header_makes_the_server_fail(client: httpx.Client, document: dict[str, Any]) -> None:
    statuses = set()

    @settings(max_examples=400, deadline=None)
    @given(questions(document), st.dictionaries(st.sampled_from((*SETTINGS, "fault")), HEADER, max_size=1))
    def ask(question: tuple[str, Any], shaped: dict[str, str]) -> None:
        path, body = question
        headers = {f"x-gauge-{name}": value for name, value in shaped.items()}
        # Read the whole answer: a failure in the middle of it shows as an unfinished response.
        answer = client.post(path, json=body, headers=headers)
        assert answer.status_code in {200, 400, 504}, answer.text
        statuses.add(answer.status_code)

    ask()
    assert {200, 400} <= statuses


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["/v1/messages", "/v1/chat/completions", "/chat/stream"]), st.binary(max_size=60))
def test_no_bytes_make_the_server_fail(client: httpx.Client, path: str, body: bytes) -> None:
    assert client.post(path, content=body).status_code == 400


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["GET", "POST", "PUT", "HEAD"]), st.text(st.characters(codec="utf-8"), max_size=30))
def test_no_path_makes_the_server_fail(client: httpx.Client, method: str, path: str) -> None:
    assert client.request(method, "/" + quote(path, safe="/")).status_code < 500


def test_half_a_character_in_a_body_is_refused_or_accepted(client: httpx.Client) -> None:
    body = rb'{"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "\ud83d"}]}'
    for path in ("/v1/messages", "/v1/chat/completions", "/chat/stream"):
        assert client.post(path, content=body).status_code in {200, 400}
