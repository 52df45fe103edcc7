"""The client `anthropic`: an app that reads `messages.create(stream=True)` of the official SDK, event by event.

The body is the wire client's. The headers are the SDK's, overridden by the target's; the SDK's own API key is not
sent. The SDK uses httpx2, which no other client imports. The SDK must not retry: a retried refusal would look like a
slow first token.
"""

import logging
from functools import cache
from inspect import signature
from typing import Any

import anthropic
import httpcore2
import httpx2
import msgspec
from anthropic.resources.messages import Messages  # here, or the SDK would import it in the middle of a run

from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.clients.library import LibraryClient
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.protocols import for_target
from streamgauge.harness.drive.site import Site
from streamgauge.harness.errors import ScenarioError

_PROTOCOL = "anthropic_messages"
_PATH = "/v1/messages"
_REQUIRED = {"model", "max_tokens", "messages"}
_PARAMETERS = signature(Messages.create).parameters.keys()  # the SDK takes other keys of the body as `extra_body`
_CONTENT = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_IN_BLOCKS = {"text": ("text",), "thinking": ("thinking",), "redacted_thinking": ("data",)}


_EVERY_KIND: list[tuple[str, dict[str, Any]]] = [
    ("message_start", {"message": {"role": "assistant", "content": [], "usage": {}}}),
    ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
    *(("content_block_delta", {"index": 0, "delta": {"type": kind, text: "…"}}) for kind, text in _CONTENT.items()),
    ("content_block_stop", {"index": 0}),
    ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}),
    ("message_stop", {}),
]


@cache
def _warm() -> None:
    """Let the SDK read one event of each kind: for the first of a kind it builds a model, which takes 0.1 s."""
    events = (b"event: %b\ndata: %b\n\n" % (k.encode(), msgspec.json.encode({"type": k, **v})) for k, v in _EVERY_KIND)
    page = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b"".join(events))
    transport = httpx2.MockTransport(lambda _: page)
    with anthropic.Anthropic(api_key="none", http_client=httpx2.Client(transport=transport, trust_env=False)) as sdk:
        for _ in Messages(sdk).create(model="m", max_tokens=1, messages=[{"role": "user", "content": ""}], stream=True):
            pass


def _brings_content(event: Any) -> bool:
    """Whether the event is content, by the same rules as in the protocol."""
    if event.type == "content_block_delta":
        return bool(getattr(event.delta, _CONTENT.get(event.delta.type, ""), ""))
    if event.type == "content_block_start":
        return _begins_with_content(event.content_block)
    return event.type == "message_start" and any(map(_begins_with_content, event.message.content or ()))


def _begins_with_content(block: Any) -> bool:
    fields = ("name",) if block.type.endswith("tool_use") else _IN_BLOCKS.get(block.type, ())
    return any(getattr(block, field, None) for field in fields)


class _Transport(httpx2.HTTPTransport):
    """httpx2's own transport, on a pool with our backend. Its own `__init__` would make a TLS context needlessly."""

    def __init__(self, backend: Any, site: Site) -> None:
        self._pool = httpcore2.ConnectionPool(
            site.endpoint.tls,
            max_keepalive_connections=0,  # `WireClient` keeps the connection instead
            network_backend=backend,
        )


class AnthropicClient(LibraryClient):
    name = "anthropic"

    def __init__(self, site: Site, *, fresh: bool = False) -> None:
        self.check(site.target)
        super().__init__(site, fresh=fresh)
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs each request, and Locust would print that
        endpoint = site.endpoint
        prefix = site.protocol.path.removesuffix(_PATH)
        headers: dict[str, Any] = {"authorization": anthropic.omit, "accept-encoding": "identity"}
        headers |= site.own_headers
        self._sdk = anthropic.Anthropic(
            base_url=f"{endpoint.origin}{endpoint.base}{prefix}",
            api_key="none",  # keeps the SDK from reading one from the environment; it is not sent
            default_headers=headers,
            max_retries=0,
            timeout=None,
            http_client=httpx2.Client(transport=_Transport(self._backend, site), timeout=None, trust_env=False),
        )
        self._messages = Messages(self._sdk)

    @classmethod
    def check(cls, target: Target) -> None:
        """ScenarioError for a target that the SDK cannot ask; otherwise warms the SDK up."""
        if target.request is not None:
            raise ScenarioError(f"the client {cls.name!r} puts its questions itself; it cannot follow [target.request]")
        for key in _REQUIRED & set(target.omit):
            raise ScenarioError(f"the client {cls.name!r} cannot omit {key!r}: the SDK requires it")
        if target.protocol != _PROTOCOL:
            raise ScenarioError(f"the client {cls.name!r} speaks only {_PROTOCOL}; the target is {target.protocol}")
        path = for_target(target).path
        if not path.endswith(_PATH):
            raise ScenarioError(f"the client {cls.name!r} asks at …{_PATH}; target.path is {path!r}")
        _warm()

    def _use(self, question: Question, attempt: Any) -> None:
        prompt = question.prompt
        body = self._site.request_format.json(prompt)
        extra = {key: body.pop(key) for key in body.keys() - _PARAMETERS}
        headers = {} if question.last_id is None else {"last-event-id": question.last_id}
        answer = self._messages.create(**body, extra_headers=headers, extra_body=extra)
        if not prompt.streamed:
            attempt.chunk_handed_on()
            return
        for event in answer:
            if _brings_content(event):
                attempt.chunk_handed_on()

    def close(self) -> None:
        self._sdk.close()
        super().close()
