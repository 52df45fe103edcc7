"""The openai package reads the dialect for OpenAI Responses, and judges each end of an answer as we do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.record.observation import Outcome
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.script import write_script
from streamgauge.reference_server.model.settings import ModelSettings
from tests.support.late import Late
from tests.support.reference import ReferenceServer
from tests.support.stacks import observe

if TYPE_CHECKING:
    import openai
else:
    openai = Late("openai")

PROMPT = "What does a gauge do?"
QUESTION: Any = {"model": "reference", "input": PROMPT}
TEXT = "".join(step.text for step in write_script(ModelSettings(tokens=(40, 40)), ModelInput(PROMPT)).steps)
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Höfn", "Passau"]}}},
    "strict": False,
}


@pytest.fixture(scope="module")
def client(server: ReferenceServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as running:
        yield running


def test_the_stream_helper_puts_the_answer_together(client: openai.OpenAI) -> None:
    with client.responses.stream(**QUESTION) as stream:
        events = list(stream)
        response = stream.get_final_response()
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
    assert response.output_text == TEXT
    assert (response.status, response.incomplete_details) == ("completed", None)
    assert response.usage is not None
    assert (response.usage.output_tokens, response.usage.total_tokens) == (40, response.usage.input_tokens + 40)
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_whole_answer_is_the_same(client: openai.OpenAI) -> None:
    response = client.responses.create(**QUESTION, instructions="Be brief.")
    assert (response.status, response.instructions) == ("completed", "Be brief.")
    assert len(response.output_text.split()) > 10
    assert str(response._request_id).startswith("req_")


def test_reasoning_comes_before_the_text_and_is_counted(client: openai.OpenAI) -> None:
    with client.responses.stream(**QUESTION, reasoning={"effort": "low"}) as stream:
        kinds = [event.type for event in stream if event.type.endswith("_text.delta")]
        response = stream.get_final_response()
    thoughts = kinds.count("response.reasoning_summary_text.delta")
    assert kinds == ["response.reasoning_summary_text.delta"] * thoughts + ["response.output_text.delta"] * 40
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens == thoughts > 0


def test_a_tool_is_called_in_pieces_and_its_result_is_answered_with_text(client: openai.OpenAI) -> None:
    with client.responses.stream(**QUESTION, tools=[WEATHER]) as stream:
        pieces = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
        (call,) = (item for item in stream.get_final_response().output if item.type == "function_call")
    assert len(pieces) > 1
    assert "".join(pieces) == call.arguments
    assert json.loads(call.arguments)["city"] in {"Höfn", "Passau"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "snow"}
    asked: Any = [{"role": "user", "content": PROMPT}, call.to_dict(), result]
    assert client.responses.create(model="reference", input=asked, tools=[WEATHER]).output_text


def test_a_cut_answer_is_incomplete_and_says_why(client: openai.OpenAI) -> None:
    with client.responses.stream(**QUESTION, max_output_tokens=5) as stream:
        last = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"


def test_mistakes_are_the_packages_own_errors(client: openai.OpenAI) -> None:
    ghost: Any = [{"role": "ghost", "content": "?"}]
    with pytest.raises(openai.BadRequestError, match=r"input\.0\.message\.role") as refused:
        client.responses.create(model="reference", input=ghost)
    assert refused.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="this server keeps no answers"):
        client.responses.create(**QUESTION, previous_response_id="resp_1")
    orphan: Any = [{"type": "function_call_output", "call_id": "c", "output": "snow"}]
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        client.responses.create(model="reference", input=orphan)


ENDS = [  # the fault, our outcome, and the last event that the package hands on or the error that it raises
    ("", Outcome.COMPLETED, "response.completed"),
    ("error@5", Outcome.SERVER_ERROR, "response.failed"),
    ("cut@5", Outcome.TRUNCATED, "response.output_text.delta"),
    ("close@5", Outcome.TRUNCATED, "APIConnectionError"),
    ("reset@5", Outcome.RESET, "APIConnectionError"),
    ("no_terminator", Outcome.TRUNCATED, "response.output_item.done"),
    ("http_429", Outcome.REFUSED, "RateLimitError"),
]


@pytest.mark.parametrize(("fault", "outcome", "last"), ENDS)
def test_both_judge_each_end_alike(
    server: ReferenceServer, client: openai.OpenAI, fault: str, outcome: Outcome, last: str
) -> None:
    headers = {"x-gauge-fault": fault} if fault else {}
    seen = ""
    try:
        for event in client.responses.create(**QUESTION, stream=True, extra_headers=headers):
            seen = event.type
    except openai.APIError as raised:
        seen = type(raised).__name__
    assert seen == last
    for stack in ("wire", "httpx"):
        assert observe(stack, server.url, protocol="openai_responses", headers=headers).outcome is outcome


def test_a_person_who_leaves_has_what_came_before(server: ReferenceServer) -> None:
    slow = {"x-gauge-itl": "100ms"}
    seen = observe("wire", server.url, Plan(leave_after_chunks=3), protocol="openai_responses", headers=slow)
    assert seen.outcome is Outcome.CANCELLED
    assert 3 <= seen.content_chunks < 40
    assert seen.first_content_at is not None
    assert seen.first_content_at >= seen.due_at
