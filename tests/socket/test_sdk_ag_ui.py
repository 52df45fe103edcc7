"""The ag-ui-protocol package decodes the dialect's events and the corpus, and its question is answered."""

from typing import Any

import pytest
from ag_ui.core import Event, EventType, RunAgentInput, RunFinishedSuccessOutcome, Tool, UserMessage
from pydantic import TypeAdapter, ValidationError

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.reading import sse
from streamgauge.harness.record.observation import Outcome
from tests.support import patient
from tests.support.corpus import Stream, streams
from tests.support.reference import ReferenceServer
from tests.support.stacks import observe

EVENT: TypeAdapter[Any] = TypeAdapter(Event)
STREAMS = [stream for stream in streams() if stream.target.protocol == "ag_ui" and stream.status == 200]
WEATHER = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Höfn", "Passau"]}}}
ENDS = {  # the fault, our outcome, and the type of the last event that the package decodes
    "": (Outcome.COMPLETED, EventType.RUN_FINISHED),
    "error@5": (Outcome.SERVER_ERROR, EventType.RUN_ERROR),
    "cut@5": (Outcome.TRUNCATED, EventType.TEXT_MESSAGE_CONTENT),
    "no_terminator": (Outcome.TRUNCATED, EventType.TEXT_MESSAGE_END),
    "buffer:1000": (Outcome.COMPLETED, EventType.RUN_FINISHED),
}


def decoded(body: bytes) -> list[Any]:
    return [EVENT.validate_json(event.data) for event in sse.Decoder().feed(body)]


def run(server: ReferenceServer, fault: str = "", **more: Any) -> list[Any]:
    """The events of one run, asked for with the package's own question."""
    asked = RunAgentInput(
        thread_id="t1",
        run_id="r1",
        messages=[UserMessage(id="1", content="Hello?")],
        **{"state": {}, "tools": [], "context": [], "forwarded_props": {}, **more},
    )
    body = asked.model_dump_json(by_alias=True)
    answer = patient.post(f"{server.url}/agent", content=body, headers={"x-gauge-fault": fault} if fault else {})
    assert answer.status_code == 200, answer.text
    return decoded(answer.content)


def test_a_run_is_a_message_between_its_start_and_its_end(server: ReferenceServer) -> None:
    first, started, *text, ended, last = run(server)
    assert (first.type, first.thread_id, first.run_id) == (EventType.RUN_STARTED, "t1", "r1")
    assert (started.type, ended.type) == (EventType.TEXT_MESSAGE_START, EventType.TEXT_MESSAGE_END)
    assert {event.message_id for event in (started, *text, ended)} == {started.message_id}
    assert len("".join(event.delta for event in text)) > 60
    assert isinstance(last.outcome, RunFinishedSuccessOutcome)
    assert last.usage[0].output_tokens == len(text) == 40
    ours = observe("wire", server.url, protocol="ag_ui")
    assert (ours.content_chunks, ours.output_tokens, ours.stop_reason) == (40, 40, "success")


def test_thoughts_and_a_tool_call_are_messages_of_their_own(server: ReferenceServer) -> None:
    tools = [Tool(name="weather", description="", parameters=WEATHER)]
    events = run(server, tools=tools, forwarded_props={"thinking": True})
    types = [event.type for event in events]
    assert EventType.REASONING_MESSAGE_CONTENT in types
    assert types.index(EventType.REASONING_END) < types.index(EventType.TOOL_CALL_START)
    (call,) = [event for event in events if event.type is EventType.TOOL_CALL_START]
    assert call.tool_call_name == "weather"
    assert events[-1].outcome.pending_tool_call_ids == [call.tool_call_id]


@pytest.mark.parametrize("fault", ENDS)
def test_both_judge_each_end_alike(server: ReferenceServer, fault: str) -> None:
    outcome, last = ENDS[fault]
    assert run(server, fault)[-1].type is last
    headers = {"x-gauge-fault": fault} if fault else {}
    for stack in ("wire", "httpx"):
        assert observe(stack, server.url, protocol="ag_ui", headers=headers).outcome is outcome


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_the_package_does_not_contradict_what_the_corpus_says(stream: Stream) -> None:
    if "although" in stream.table:
        with pytest.raises(ValidationError):
            decoded(stream.body)
        return
    last = decoded(stream.body)[-1]
    finished = last.type is EventType.RUN_FINISHED
    cancelled = finished and last.outcome is not None and last.outcome.type == "cancelled"
    failed = last.type is EventType.RUN_ERROR or cancelled
    outcome = stream.reading["outcome"]
    assert (outcome in {"completed", "empty"}, outcome == "server_error") == (finished and not cancelled, failed)


def test_a_person_who_leaves_has_what_came_before(server: ReferenceServer) -> None:
    seen = observe("wire", server.url, Plan(leave_after_chunks=3), protocol="ag_ui", headers={"x-gauge-itl": "100ms"})
    assert seen.outcome is Outcome.CANCELLED
    assert 3 <= seen.content_chunks < 40
    assert seen.first_content_at is not None
    assert seen.first_content_at >= seen.due_at
