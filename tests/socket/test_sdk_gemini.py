"""The google-genai package works with the reference server as with any server of that API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.late import Late
from tests.support.reference import ReferenceServer

if TYPE_CHECKING:
    from google import genai
    from google.genai import errors, types
else:
    genai = Late("google.genai")
    errors = Late("google.genai.errors")
    types = Late("google.genai.types")

ASKED: Any = {"model": "reference", "contents": "What does a gauge do?"}


def weather() -> types.Tool:
    return types.Tool(
        function_declarations=[
            types.FunctionDeclaration(
                name="weather",
                description="The weather in a city",
                parameters=types.Schema(
                    type=types.Type.OBJECT,
                    properties={"city": types.Schema(type=types.Type.STRING, enum=["Höfn", "Passau"])},
                ),
            )
        ]
    )


@pytest.fixture(scope="module")
def client(server: ReferenceServer) -> Iterator[genai.Client]:
    with connected(server) as running:
        yield running


def connected(server: ReferenceServer, **headers: str) -> genai.Client:
    return genai.Client(api_key="none", http_options=types.HttpOptions(base_url=server.url, headers=headers))


def parts(response: types.GenerateContentResponse) -> list[types.Part]:
    assert response.candidates
    assert response.candidates[0].content
    return response.candidates[0].content.parts or []


def reason(response: types.GenerateContentResponse) -> str | None:
    assert response.candidates
    found = response.candidates[0].finish_reason
    return None if found is None else found.value


def test_a_stream_is_the_same_answer_as_one_in_one_piece(client: genai.Client) -> None:
    chunks = list(client.models.generate_content_stream(**ASKED))
    whole = client.models.generate_content(**ASKED)
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert [reason(chunk) for chunk in chunks] == [None] * 40 + ["STOP"]
    for last in (chunks[-1], whole):
        usage = last.usage_metadata
        assert usage is not None
        assert usage.prompt_token_count
        assert usage.candidates_token_count == 40
        assert usage.total_token_count == usage.prompt_token_count + 40
        assert last.model_version == "reference"


def test_thoughts_are_told_apart_and_counted(client: genai.Client) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    chunks = list(client.models.generate_content_stream(**ASKED, config=config))
    thoughts = sum(bool(part.thought) for chunk in chunks for part in parts(chunk))
    assert chunks[-1].usage_metadata is not None
    assert chunks[-1].usage_metadata.thoughts_token_count == thoughts > 0
    assert chunks[-1].usage_metadata.candidates_token_count == 40


def test_a_function_is_called_and_its_result_is_answered_with_text(client: genai.Client) -> None:
    config = types.GenerateContentConfig(
        tools=[weather()], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )
    chunks = list(client.models.generate_content_stream(**ASKED, config=config))
    whole = client.models.generate_content(**ASKED, config=config)
    for responses in (chunks, [whole]):
        (call,) = (part.function_call for each in responses for part in parts(each) if part.function_call)
        assert (call.name, reason(responses[-1])) == ("weather", "STOP")
        assert call.args
        assert call.args["city"] in {"Höfn", "Passau"}
    turns: Any = [
        types.UserContent(ASKED["contents"]),
        whole.candidates[0].content if whole.candidates else None,
        types.UserContent(types.Part.from_function_response(name="weather", response={"is": "snow"})),
    ]
    assert client.models.generate_content(model="reference", contents=turns, config=config).text


def test_the_config_limits_and_stops_the_answer(client: genai.Client) -> None:
    cut = client.models.generate_content(**ASKED, config=types.GenerateContentConfig(max_output_tokens=5))
    assert reason(cut) == "MAX_TOKENS"
    text = client.models.generate_content(**ASKED).text or ""
    word = text.split()[5]
    config = types.GenerateContentConfig(stop_sequences=[word], system_instruction="")
    assert client.models.generate_content(**ASKED, config=config).text == text.partition(word)[0]


def test_a_mistake_and_a_failure_are_the_packages_own_errors(client: genai.Client, server: ReferenceServer) -> None:
    config = types.GenerateContentConfig(max_output_tokens=0)
    with pytest.raises(errors.ClientError, match="maxOutputTokens") as refused:
        client.models.generate_content(**ASKED, config=config)
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")
    with (
        connected(server, **{"x-gauge-fault": "error@3"}) as failing,
        pytest.raises(errors.APIError, match="the fault error was asked for"),
    ):
        list(failing.models.generate_content_stream(**ASKED))
