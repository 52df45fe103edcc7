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
from streamgauge.harness.config.schema import Request, Target
from streamgauge.harness.config.secrets import Variables
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols import Protocol
from streamgauge.harness.drive.protocols.places import values
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
    whole_path: str | None  # the same for answers in one piece; None: as `path`
    request: Request  # target.request; its body is a template, or None: the protocol's body is sent
    changes: dict[str, Any]  # target.body

    @classmethod
    def of(cls, target: Target, protocol: Protocol, variables: Variables, user: str) -> "RequestFormat":
        """ConfigError for a missing variable, or for an `omit` of a key that no request has."""
        _check_omit(target, protocol)
        request = target.request or Request()
        filled = {
            key: variables.fill(f"target.request.{key}", getattr(request, key))
            for key in ("query", "body", "message", "tool")
        }
        whole_path = protocol.whole_path
        return cls(
            target,
            protocol,
            user,
            _path("target.path", protocol.path, variables),
            None if whole_path is None else _path("target.whole_path", whole_path, variables),
            request=msgspec.structs.replace(request, **filled),
            changes=variables.fill("target.body", target.body),
        )

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def content_type(self) -> str | None:
        """The header's value; None: the request has no body."""
        return None if self.request.method == "GET" else _CONTENT_TYPES[self.request.content_type]

    @property
    def personal(self) -> bool:
        """Whether what is sent may depend on the user or the conversation, apart from credentials."""
        return self.target.request is not None or self.path_varies or self.protocol.names_conversation

    @property
    def path_varies(self) -> bool:
        """Whether the path of a question for a stream depends on the question."""
        return bool(self.request.query) or template.has_places(self.path)

    def path_for(self, prompt: Prompt) -> str:
        """The path of one request, with its query."""
        path = self.path if prompt.streamed or self.whole_path is None else self.whole_path
        if not (self.request.query or template.has_places(path)):
            return path
        found = self._values(prompt)
        path = template.fill_path(path, found)
        query = _flat(template.fill(self.request.query, found))
        return f"{path}{'&' if '?' in path else '?'}{query}" if query else path

    def json(self, prompt: Prompt) -> dict[str, Any]:
        """The body of one request as a JSON object."""
        if self.request.body is not None:
            body: dict[str, Any] = template.fill(self.request.body, self._values(prompt))
        else:
            body = self.protocol.request(self.target, prompt, prompt.streamed)
            if self.target.omit:
                body = _without(body, self.target.omit)
            if self.changes:
                body = template.merged(body, self.changes)
        return template.merged(body, msgspec.json.decode(prompt.body)) if prompt.body else body

    def encoded(self, prompt: Prompt) -> bytes:
        """The body of one request as bytes; b"" if its method has none."""
        kind = self.content_type
        if kind is None:
            return b""
        body = self.json(prompt)
        return _flat(body).encode() if kind == _CONTENT_TYPES["form"] else msgspec.json.encode(body)

    def _values(self, prompt: Prompt) -> dict[str, Any]:
        return {**values(self.target, prompt, self.request), "user": self.user}


def _path(key: str, path: str, variables: Variables) -> str:
    filled: str = variables.fill(key, path)
    if re.search(r"[\x00-\x20\x7f]", filled):
        raise ConfigError(f"{key}: holds a space or a line break; write %20 for a space")
    return filled


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
