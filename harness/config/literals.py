"""Secrets that a config holds as they are, in place of `${NAME}`: recognised by the names of their keys.

They are sent as they are written, and otherwise treated like those from the environment.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from streamgauge.harness.config.header_names import OF_SECRETS
from streamgauge.harness.config.schema import Request, Target

# A name of several words, as in `x-api-key` or `clientSecret`, is that of a secret if one of these words is in it,
_ANYWHERE = {"secret", "password", "passwd", "passphrase", "apikey", "authorization", "bearer"}
_ANYWHERE |= {"credential", "credentials"}
_LAST = {"key", "token", "auth", "cookie", "jwt", "pwd", "pin", "otp"}  # or if it ends with one of these, but for
_HARMLESS = {"cache", "stop", "eos", "bos", "pad", "start", "end", "begin", "sep", "unk", "mask", "idempotency", "sort"}
_HARMLESS |= {"next", "page", "continuation", "primary", "foreign", "partition", "language", "pre", "fill", "first"}
_HARMLESS |= {"last"}
# Of a variable or a field of credentials: its value may be short, since it is no secret.
_PUBLIC = {"build", "branch", "deployment", "env", "environment", "group", "host", "id", "lang", "language", "locale"}
_PUBLIC |= {"mode", "model", "name", "number", "org", "organization", "plan", "port", "project", "region", "role"}
_PUBLIC |= {"seed", "size", "stage", "team", "tenant", "tier", "user", "version", "zone"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NO_SECRET = re.compile(r".*\$\{|\{\w+\}\Z|\s*\Z", re.DOTALL)  # with a variable; a place of the template; nothing

Change = Callable[[str, str], str]  # (place, value) → what takes its place


def found(target: Target) -> dict[str, str]:
    """The secrets that the config holds literally, by their places: `target.body.api_key`."""
    values = {
        f"target.headers.{name}": value
        for name, value in target.headers.items()
        if OF_SECRETS.search(name) and "${" not in value
    }

    def note(place: str, value: str) -> str:
        values[place] = value
        return value

    changed(target, note)
    for key in ("path", "whole_path"):
        values |= {f"target.{key}?{name}": value for name, value in _in_query(getattr(target, key) or "")}
    return values


def _in_query(path: str) -> Iterator[tuple[str, str]]:
    """The secrets behind a path's question mark."""
    for pair in path.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        if is_secret(name) and not _NO_SECRET.match(value):
            yield name, value


def changed(target: Target, change: Change) -> Target:
    """The target with other values in place of the secrets in its body and in its own request."""
    body = _walked("target.body", target.body, change)
    request = target.request
    if request is not None:
        own = _walked("target.request", msgspec.to_builtins(request), change)
        request = msgspec.convert(own, Request)
    return msgspec.structs.replace(target, body=body, request=request)


def _walked(place: str, value: Any, change: Change) -> Any:
    if isinstance(value, dict):
        return {
            name: (_hidden if is_secret(name) else _walked)(f"{place}.{name}", item, change)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_walked(f"{place}.{number}", item, change) for number, item in enumerate(value)]
    return value


def _hidden(place: str, value: Any, change: Change) -> Any:
    """Every text of this value is a secret."""
    if isinstance(value, dict):
        return {name: _hidden(f"{place}.{name}", item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [_hidden(f"{place}.{number}", item, change) for number, item in enumerate(value)]
    return change(place, value) if isinstance(value, str) and not _NO_SECRET.match(value) else value


def is_public(name: str) -> bool:
    """Whether a variable or a field of this name, as in `STAGE` or `user_id`, surely holds no secret."""
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(words) and words[-1] in _PUBLIC and not is_secret(name)


def is_secret(name: str) -> bool:
    """Whether a key or a field of this name probably holds a secret."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    *before, last = words
    return not _ANYWHERE.isdisjoint(words) or (last in _LAST and _HARMLESS.isdisjoint(before))
