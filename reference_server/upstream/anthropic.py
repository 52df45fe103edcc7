"""The Anthropic API upstream, asked with the official SDK.

The upstream's events become the steps of a `model.answer.Source`. Each step is fetched only after the step before it
has been written, so a client that reads slowly slows the upstream down, and a client that leaves closes the upstream's
connection. This server's tools run here, between the upstream's turns. Nothing is retried: a retry would look like a
slow first token, and the client knows better whether it still wants an answer. httpx2 is imported for its errors, which
the SDK does not wrap in the middle of a stream.
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

from streamgauge.reference_server.dialects.question import Question
from streamgauge.reference_server.model import tools
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart, ModelFailed, Source
from streamgauge.reference_server.model.settings import MODEL_SETTINGS
from streamgauge.reference_server.model.steps import Step, ToolCall
from streamgauge.reference_server.model.turns import MAX_TOOL_ROUNDS
from streamgauge.reference_server.upstream.translation import Body, body, server_tools

_CONNECT_SECONDS = 5
_STATUSES = {  # by the type of an error in the middle of a stream; the response itself had status 200
    "invalid_request_error": 400,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
# These concern this server's key and account, so its clients cannot do anything about them.
_OWN_ACCOUNT = {401, 402, 403}
# The x-gauge-… headers are for a reference server as the upstream; a real one ignores them.
_PASSED_ON = {"anthropic-beta", "x-gauge-stream", *(f"x-gauge-{name}" for name in MODEL_SETTINGS)}
_BEGUN = Step("text", "")  # says only that the upstream has begun to answer


class Upstream:
    """The Anthropic API, or a server at `url` that speaks the same protocol. None: the SDK's default address."""

    def __init__(self, api_key: str, url: str | None, name: str, silence: float) -> None:
        self._name = name  # of the model to ask; "": the one that the question names
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=url,
            max_retries=0,
            timeout=anthropic.Timeout(silence, connect=_CONNECT_SECONDS, pool=_CONNECT_SECONDS),
        )

    async def ask(self, question: Question, sent: Body, headers: Mapping[str, str]) -> tuple[Source, AnswerStart]:
        """The answer, once the upstream has begun it.

        `sent` and `headers` are the question's body and headers as they came. Raises `ModelFailed`.
        """
        asked = body(question, sent, self._name)
        answer = _UpstreamAnswer(self._client, asked, server_tools(question), _passed_on(headers))
        steps = answer.steps()
        # Wait until the upstream has begun: only then is it known that it answers, and what its cache had of the
        # prompt. Also, a generator that has never been entered does not clean up when it is closed.
        await anext(steps)
        return Source(steps, answer.end), answer.start

    async def count(self, question: Question, sent: Body, headers: Mapping[str, str]) -> int:
        """The input tokens of a question. Raises `ModelFailed`."""
        asked = {name: value for name, value in body(question, sent, self._name).items() if name != "max_tokens"}
        with _as_model_failed():
            counted = await self._client.messages.count_tokens(
                model=asked.pop("model"),
                messages=asked.pop("messages"),
                extra_body=asked,
                extra_headers=_passed_on(headers),
            )
        return counted.input_tokens


class _UpstreamAnswer:
    """One answer: the upstream's turns, with runs of this server's tools between them."""

    def __init__(
        self, client: anthropic.AsyncAnthropic, asked: Body, server_tools: set[str], headers: dict[str, str]
    ) -> None:
        # Its input tokens are those of all turns so far.
        self.start = AnswerStart(secrets.token_hex(12), int(time.time()), 0)
        self._client = client
        self._asked = dict(asked)
        self._model: str = self._asked.pop("model")
        self._limit: int = self._asked.pop("max_tokens")
        self._messages: list[MessageParam] = self._asked.pop("messages")
        self._server_tools = server_tools  # names of the tools that run here
        self._headers = headers
        self._output = self._thinking = 0  # tokens of all turns that have ended
        self._stop_reason: Any = "end_turn"
        self._stop_sequence: str | None = None
        self._begun = False  # the answer
        self._turn_over = False
        self._calls: list[ToolCall] = []  # of the current turn
        self._pieces = 0  # of the latest call's input

    async def steps(self) -> AsyncGenerator[tuple[int, Step], None]:  # deep: closing this generator closes the upstream
        """All steps, after a first one, `_BEGUN`, that comes when the upstream has begun to answer."""
        with _as_model_failed():
            for turn in range(MAX_TOOL_ROUNDS + 1):
                async with self._turn() as events:
                    async for event in events:
                        for step in self._steps_of(event):
                            yield 0, step
                    if not self._turn_over:
                        raise ModelFailed(502, "the upstream ended in the middle of its answer")
                    content = events.current_message_snapshot.content
                if self._stop_reason != "tool_use":
                    return
                results = []
                for call in self._calls:
                    if not call.client_side:
                        yield 0, Step("tool_start", "", call)
                        results.append(await tools.execute(call))
                        yield 0, Step("tool_end", "", results[-1])
                if not results or len(results) < len(self._calls):
                    return  # the client runs the other tools
                self._messages = [*self._messages, {"role": "assistant", "content": content}, _results(results)]
                # A tool choice that forces a tool forces only the first one, or the answer would never end.
                more = turn + 1 < MAX_TOOL_ROUNDS
                self._asked["tool_choice"] = {"type": "auto" if more else "none"}

    def end(self, generated: int, thinking: int) -> AnswerEnd:
        """What is known of the answer now. Until the upstream counts tokens, at the end of a turn, its pieces count."""
        output, thought = (self._output, self._thinking) if self._turn_over else (generated, thinking)
        return AnswerEnd(self._stop_reason, output, thought, self._stop_sequence, self.start)

    def _turn(self) -> "AsyncMessageStreamManager[None]":
        self._turn_over, self._calls = False, []
        return self._client.messages.stream(
            model=self._model,
            max_tokens=self._limit,  # for each turn, as if the client ran the tools
            messages=self._messages,
            extra_body=self._asked,
            extra_headers=self._headers,
        )

    def _steps_of(self, event: "ParsedMessageStreamEvent[None]") -> Iterator[Step]:
        match event.type:
            case "message_start":
                self._add_input(event.message.usage)
                if not self._begun:
                    self._begun = True
                    yield _BEGUN
            case "text" if event.text:
                yield Step("text", _valid_utf8(event.text))
            case "thinking" if event.thinking:
                yield Step("thinking", _valid_utf8(event.thinking))
            case "signature":
                yield Step("signature", _valid_utf8(event.signature))
            case "content_block_start" if event.content_block.type == "redacted_thinking":
                yield Step("redacted_thinking", _valid_utf8(event.content_block.data))
            case "content_block_start" if event.content_block.type == "tool_use":
                name = _valid_utf8(event.content_block.name)
                id = _valid_utf8(event.content_block.id).removeprefix("toolu_")
                self._calls.append(ToolCall(id, name, {}, client_side=name not in self._server_tools))
                self._pieces = 0
            case "input_json" if event.partial_json:
                self._pieces += 1
                yield Step("tool_input", _valid_utf8(event.partial_json), self._calls[-1])
            case "content_block_stop" if event.content_block.type == "tool_use":
                call = self._calls[-1]
                if not self._pieces:  # the tool takes no input
                    yield Step("tool_input", "{}", call)
                # The input is only known now. All steps of the call share this object.
                call.input.update(event.content_block.input)
            case "message_delta":
                self._end_turn(event.delta.stop_reason, event.delta.stop_sequence, event.usage)
            case "message_stop":
                self._turn_over = True

    def _add_input(self, usage: Usage) -> None:
        read, write = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        self.start = replace(
            self.start,
            input_tokens=self.start.input_tokens + usage.input_tokens + read + write,
            cache_read=self.start.cache_read + read,
            cache_write=self.start.cache_write + write,
        )

    def _end_turn(self, stop_reason: Any, stop_sequence: str | None, usage: MessageDeltaUsage) -> None:
        self._stop_reason, self._stop_sequence = stop_reason, stop_sequence
        self._output += usage.output_tokens
        self._thinking += usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else 0


def _results(ran: list[ToolCall]) -> MessageParam:
    """The user turn that brings the results of the tools to the upstream."""
    return {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": f"toolu_{call.id}", "content": call.result, "is_error": call.failed}
            for call in ran
        ],
    }


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The client's headers that the upstream gets. The client's key is for this server and is not among them."""
    return {name: text for name, text in headers.items() if name in _PASSED_ON and text.isascii()}


@contextmanager
def _as_model_failed() -> Iterator[None]:
    """Turn the SDK's errors into ModelFailed, with sentences for the client. None of them contains the key."""
    try:
        yield
    # In the middle of a stream the SDK lets httpx2's errors through.
    except (anthropic.APITimeoutError, httpx2.TimeoutException):
        raise ModelFailed(504, "the upstream was silent for too long") from None
    except (anthropic.APIConnectionError, httpx2.TransportError):
        raise ModelFailed(502, "the upstream cannot be reached, or it closed the connection") from None
    except anthropic.APIStatusError as fault:
        raise _refusal(fault) from None


def _refusal(fault: anthropic.APIStatusError) -> ModelFailed:
    status = fault.status_code
    if status in _OWN_ACCOUNT:
        return ModelFailed(502, f"the upstream refuses this server's own key ({status} {fault.type})")
    if status < 400:  # an error in the middle of a stream
        status = _STATUSES.get(str(fault.type), 500)
    wait = fault.response.headers.get("retry-after")
    message = _valid_utf8(fault.api_message or "") or f"the upstream answered {status}"
    return ModelFailed(status, message, {} if wait is None else {"retry-after": wait})


def _valid_utf8(text: str) -> str:
    """Replace unpaired surrogates: JSON can contain them, UTF-8 cannot."""
    return text.encode(errors="replace").decode()
