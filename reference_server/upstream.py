"""Upstream mode: a real model in place of the simulated one, by the official SDK.

What it sends becomes the steps of a `delivery.Source`, and each is asked for when the one before has been made into
events: a client that reads slowly slows the upstream down, and one that leaves closes the upstream's connection. The
tools of this server are run here, between the upstream's turns. Nothing is tried again: a retry would look like a slow
first token, and the client knows better whether it still wants an answer.
Stands on the SDK and, for what goes wrong in the middle of a stream, on the httpx2 beneath it.
"""

import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anthropic
import httpx2
from anthropic.lib.streaming import AsyncMessageStreamManager, ParsedMessageStreamEvent
from anthropic.types import MessageDeltaUsage, MessageParam, Usage

from streamgauge.reference_server import model, tools
from streamgauge.reference_server.delivery import Source
from streamgauge.reference_server.dialects import Answer, End, Question
from streamgauge.reference_server.model import Failed, Step, ToolCall
from streamgauge.reference_server.translation import Body, body, server_tools

_CONNECT_SECONDS = 5
_STATUSES = {  # of an error in the middle of a stream, whose own status was 200
    "invalid_request_error": 400,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_OURS = {401, 402, 403}  # the key and the account are this server's: none of its clients can do anything about them
# The last two are for a reference server as the upstream; a real one takes no notice of them.
_PASSED_ON = {"anthropic-beta", "x-gauge-stream", *(f"x-gauge-{name}" for name in model.SETTINGS)}
_BEGUN = Step("text", "")


class Upstream:
    """The Anthropic API, or what speaks like it at `url` (None: where the SDK finds it)."""

    def __init__(self, api_key: str, url: str | None, name: str, silence: float) -> None:
        self._name = name  # of the model, whatever a question names; "": what it names
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=url,
            max_retries=0,
            timeout=anthropic.Timeout(silence, connect=_CONNECT_SECONDS, pool=_CONNECT_SECONDS),
        )

    async def ask(self, question: Question, sent: Body, headers: Mapping[str, str]) -> tuple[Source, Answer]:
        """The answer, which has begun. `sent` and `headers` are the question's, as they came. Raises `Failed`."""
        asked = body(question, sent, self._name)
        answering = _Answering(self._client, asked, server_tools(question), _passed_on(headers))
        steps = answering.steps()
        # Until the upstream has begun: only now is it known that it does, and what of the prompt its cache had. And a
        # generator that nobody has been in yet does not clean up when it is closed.
        await anext(steps)
        return Source(steps, answering.end), answering.answer

    async def count(self, question: Question, sent: Body, headers: Mapping[str, str]) -> int:
        """The input tokens of a question. Raises `Failed`."""
        asked = {name: value for name, value in body(question, sent, self._name).items() if name != "max_tokens"}
        with _told():
            counted = await self._client.messages.count_tokens(
                model=asked.pop("model"),
                messages=asked.pop("messages"),
                extra_body=asked,
                extra_headers=_passed_on(headers),
            )
        return counted.input_tokens


class _Answering:
    """One answer: the upstream's turns, and its tools' runs between them."""

    def __init__(self, client: anthropic.AsyncAnthropic, asked: Body, ours: set[str], headers: dict[str, str]) -> None:
        self.answer = Answer(secrets.token_hex(12), int(time.time()), 0)  # its input: of all turns so far
        self._client = client
        self._asked = dict(asked)
        self._model: str = self._asked.pop("model")
        self._limit: int = self._asked.pop("max_tokens")
        self._messages: list[MessageParam] = self._asked.pop("messages")
        self._ours = ours  # names of the tools that are run here
        self._headers = headers
        self._output = self._thinking = 0  # tokens of all turns that are over
        self._stop_reason: Any = "end_turn"
        self._stop_sequence: str | None = None
        self._begun = False  # the answer
        self._over = False  # the turn
        self._calls: list[ToolCall] = []  # of the turn
        self._pieces = 0  # of the latest call's input

    async def steps(self) -> AsyncGenerator[tuple[int, Step], None]:
        """All steps; before them one that is none, when the upstream has begun to answer."""
        with _told():
            for turn in range(tools.MAX_ITERATIONS + 1):
                async with self._turn() as events:
                    async for event in events:
                        for step in self._taken(event):
                            yield 0, step
                    if not self._over:
                        raise Failed(502, "the upstream broke off in the middle of its answer")
                    said = events.current_message_snapshot.content
                if self._stop_reason != "tool_use":
                    return
                results = []
                for call in self._calls:
                    if not call.client_side:
                        yield 0, Step("tool_start", "", call)
                        results.append(await tools.execute(call))
                        yield 0, Step("tool_end", "", results[-1])
                if not results or len(results) < len(self._calls):
                    return  # the client runs the others
                self._messages = [*self._messages, {"role": "assistant", "content": said}, _results(results)]
                # A choice that forced a tool has been followed; one more of it and the answer would never end.
                more = turn + 1 < tools.MAX_ITERATIONS
                self._asked["tool_choice"] = {"type": "auto" if more else "none"}

    def end(self, generated: int, thinking: int) -> End:
        """What is known of the answer now. The upstream counts tokens at a turn's end only: until then pieces count."""
        output, thought = (self._output, self._thinking) if self._over else (generated, thinking)
        return End(self._stop_reason, output, thought, self._stop_sequence, self.answer)

    def _turn(self) -> "AsyncMessageStreamManager[None]":
        self._over, self._calls = False, []
        return self._client.messages.stream(
            model=self._model,
            max_tokens=self._limit,  # of each turn, as if the client ran the tools
            messages=self._messages,
            extra_body=self._asked,
            extra_headers=self._headers,
        )

    def _taken(self, event: "ParsedMessageStreamEvent[None]") -> Iterator[Step]:
        match event.type:
            case "message_start":
                self._paid(event.message.usage)
                if not self._begun:
                    self._begun = True
                    yield _BEGUN
            case "text" if event.text:
                yield Step("text", _sound(event.text))
            case "thinking" if event.thinking:
                yield Step("thinking", _sound(event.thinking))
            case "signature":
                yield Step("signature", _sound(event.signature))
            case "content_block_start" if event.content_block.type == "redacted_thinking":
                yield Step("redacted_thinking", _sound(event.content_block.data))
            case "content_block_start" if event.content_block.type == "tool_use":
                name = _sound(event.content_block.name)
                id = _sound(event.content_block.id).removeprefix("toolu_")
                self._calls.append(ToolCall(id, name, {}, client_side=name not in self._ours))
                self._pieces = 0
            case "input_json" if event.partial_json:
                self._pieces += 1
                yield Step("tool_input", _sound(event.partial_json), self._calls[-1])
            case "content_block_stop" if event.content_block.type == "tool_use":
                call = self._calls[-1]
                if not self._pieces:  # of a tool that takes nothing
                    yield Step("tool_input", "{}", call)
                # Only now is it known; the steps of the call all share this object.
                call.input.update(event.content_block.input)
            case "message_delta":
                self._ended(event.delta.stop_reason, event.delta.stop_sequence, event.usage)
            case "message_stop":
                self._over = True

    def _paid(self, usage: Usage) -> None:
        read, write = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        self.answer = replace(
            self.answer,
            input_tokens=self.answer.input_tokens + usage.input_tokens + read + write,
            cache_read=self.answer.cache_read + read,
            cache_write=self.answer.cache_write + write,
        )

    def _ended(self, stop_reason: Any, stop_sequence: str | None, usage: MessageDeltaUsage) -> None:
        self._stop_reason, self._stop_sequence = stop_reason, stop_sequence
        self._output += usage.output_tokens
        self._thinking += usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else 0


def _results(ran: list[ToolCall]) -> MessageParam:
    """The turn that tells the upstream what its tools gave."""
    return {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": f"toolu_{call.id}", "content": call.result, "is_error": call.failed}
            for call in ran
        ],
    }


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """What of a client's headers is for the upstream. Its key is not: that is for this server."""
    return {name: text for name, text in headers.items() if name in _PASSED_ON and text.isascii()}


@contextmanager
def _told() -> Iterator[None]:
    """What the SDK raises, as what a client is told. The key is in none of it."""
    try:
        yield
    except (anthropic.APITimeoutError, httpx2.TimeoutException):  # in the middle of a stream the SDK lets httpx2's pass
        raise Failed(504, "the upstream was silent for too long") from None
    except (anthropic.APIConnectionError, httpx2.TransportError):
        raise Failed(502, "the upstream cannot be reached, or it broke off") from None
    except anthropic.APIStatusError as fault:
        raise _refused(fault) from None


def _refused(fault: anthropic.APIStatusError) -> Failed:
    status = fault.status_code
    if status in _OURS:
        return Failed(502, f"the upstream refuses this server's own key ({status} {fault.type})")
    if status < 400:  # the error came in the middle of a stream
        status = _STATUSES.get(str(fault.type), 500)
    wait = fault.response.headers.get("retry-after")
    said = _sound(fault.api_message or "") or f"the upstream answered {status}"
    return Failed(status, said, {} if wait is None else {"retry-after": wait})


def _sound(text: str) -> str:
    """Without halves of characters: JSON can say them, UTF-8 cannot."""
    return text.encode(errors="replace").decode()
