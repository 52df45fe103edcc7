"""The HTTP request that asks a question: its method, its path and its body. Pure.

The body is the protocol's, without the keys that `target.omit` names, with `[target.body]` and the prompt's own `body`
merged into it. Or it is the team's own, as `[target.request]` writes it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec

from streamgauge.harness.config import template
from streamgauge.harness.config.schema import Target
from streamgauge.harness.config.secrets import Variables
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols import Protocol
from streamgauge.harness.drive.protocols.protocol import turns
from streamgauge.harness.errors import ConfigError

_CONTENT_TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
_SAMPLE = Prompt((("user", "…"),), system="…", tools=("…",))  # has every part that a protocol can put into a body


@dataclass(frozen=True, slots=True)
class RequestFormat:
    """How one user's questions are put. May hold secrets: do not store or show it."""

    target: Target
    protocol: Protocol
    user: str  # fills {user}
    path: str  # below the host's URL; may have places
    query: dict[str, Any]  # the template of target.request.query
    body: dict[str, Any] | None  # the template of target.request.body; None: the protocol's body is sent
    changes: dict[str, Any]  # target.body

    @classmethod
    def of(cls, target: Target, protocol: Protocol, variables: Variables, user: str) -> "RequestFormat":
        """ConfigError for a missing variable, or for an `omit` of a key that no request has."""
        _check_omit(target, protocol)
        request = target.request
        path = variables.fill("target.path", protocol.path)
        if re.search(r"[\x00-\x20\x7f]", path):
            raise ConfigError("target.path: holds a space or a line break; write %20 for a space")
        return cls(
            target,
            protocol,
            user,
            path,
            query={} if request is None else variables.fill("target.request.query", request.query),
            body=None if request is None else variables.fill("target.request.body", request.body),
            changes=variables.fill("target.body", target.body),
        )

    @property
    def method(self) -> str:
        return "POST" if self.target.request is None else self.target.request.method

    @property
    def content_type(self) -> str | None:
        """The header's value; None: the request has no body."""
        request = self.target.request
        if request is None:
            return _CONTENT_TYPES["json"]
        return None if request.method == "GET" else _CONTENT_TYPES[request.content_type]

    @property
    def personal(self) -> bool:
        """Whether what is sent may depend on the user or the conversation, apart from credentials."""
        return self.target.request is not None or self.path_varies

    @property
    def path_varies(self) -> bool:
        """Whether the path depends on the question."""
        return bool(self.query) or template.has_places(self.path)

    def path_for(self, prompt: Prompt) -> str:
        """The path of one request, with its query."""
        if not self.path_varies:
            return self.path
        values = self._values(prompt)
        path = template.fill_path(self.path, values)
        query = _flat(template.fill(self.query, values))
        return f"{path}{'&' if '?' in path else '?'}{query}" if query else path

    def json(self, prompt: Prompt) -> dict[str, Any]:
        """The body of one request as a JSON object."""
        if self.body is not None:
            body: dict[str, Any] = template.fill(self.body, self._values(prompt))
        else:
            body = _without(self.protocol.request(self.target, prompt, prompt.streamed), self.target.omit)
            body = template.merged(body, self.changes)
        return template.merged(body, msgspec.json.decode(prompt.body)) if prompt.body else body

    def encoded(self, prompt: Prompt) -> bytes:
        """The body of one request as bytes; b"" if its method has none."""
        if self.content_type is None:
            return b""
        body = self.json(prompt)
        return _flat(body).encode() if self.content_type == _CONTENT_TYPES["form"] else msgspec.json.encode(body)

    def _values(self, prompt: Prompt) -> dict[str, Any]:
        values = {
            "prompt": prompt.messages[-1][1],
            "messages": turns(prompt),
            "system": prompt.system,
            "model": self.target.model,
            "max_tokens": prompt.max_tokens or self.target.max_tokens,
            "stream": prompt.streamed,
            "tools": list(prompt.tools) or None,
            "user": self.user,
            "conversation": prompt.conversation,
        }
        return {name: value for name, value in values.items() if value is not None}


def _check_omit(target: Target, protocol: Protocol) -> None:
    body = protocol.request(target, _SAMPLE, True)
    for path in target.omit:
        if _without(body, (path,)) == body:
            raise ConfigError(f"target.omit: {protocol.name} sends no key {path!r}; it sends {', '.join(body)}")


def _without(body: dict[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """`body` without the keys at these dotted paths."""
    for path in paths:
        key, _, rest = path.partition(".")
        if not rest:
            body = {name: value for name, value in body.items() if name != key}
        elif isinstance(body.get(key), dict):
            body = {**body, key: _without(body[key], (rest,))}
    return body


def _flat(values: Mapping[str, Any]) -> str:
    """As a query or a form: tables and lists are written as JSON."""
    return urlencode({name: template.text(value) for name, value in values.items()})
