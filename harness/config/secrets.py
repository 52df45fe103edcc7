"""`${NAME}` in the config: replaced from the environment when a value is used. Secrets are never stored or shown.

`${credential.NAME}` is replaced from the credential that was dealt to a simulated user: see `config.credentials`.
"""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from streamgauge.harness.config import credentials, literals
from streamgauge.harness.config.header_names import OF_SECRETS
from streamgauge.harness.config.redaction import SHORTEST, Redaction, decoded, is_recognised
from streamgauge.harness.config.schema import Metrics, Target
from streamgauge.harness.config.urls import is_url, public_url
from streamgauge.harness.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_BARE = re.compile(r"(?:[\w-]+\s+)?\$([A-Z_][A-Z0-9_]*)")  # a variable as a shell has it, which is not filled in here
_SCHEME = re.compile(r"([\w-]+)\s+(\S+)\Z")  # as in `Bearer 1234`
_TOO_SHORT = (
    f"has fewer than {SHORTEST} characters, so it could not be blotted out where a server repeats it; "
    f"use a longer one; if it is no secret, write it without ${{…}}, or name it so: STAGE, REGION, TENANT"
)
_WITHHELD = "${}"  # in place of a header's value; no config can have it, since no variable has an empty name


class Variables:
    """What `${NAME}` stands for, in the environment and in one user's credential. Remembers the values that it gave."""

    def __init__(self, environ: Mapping[str, str] = os.environ, credential: Mapping[str, str] | None = None) -> None:
        """`credential` None: the config has no credentials."""
        self._environ = environ
        self._credential = credential
        self.used: set[str] = set()

    def fill(self, place: str, value: Any) -> Any:
        """The value, which stands at `place`, with the variables in its strings replaced. ConfigError without one."""
        if isinstance(value, str):
            return _VARIABLE.sub(lambda match: self._value_of(match[1], place), value)
        if isinstance(value, dict):
            return {key: self.fill(f"{place}.{key}", item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(f"{place}.{number}", item) for number, item in enumerate(value)]
        return value

    def _value_of(self, name: str, place: str) -> str:
        prefix, _, field = name.partition(".")
        if prefix == "credential" and field:
            value = self._of_credential(field, place)
        elif name in self._environ:
            value = self._environ[name]
        else:
            raise ConfigError(
                f"{place}: the environment has no variable {name!r}; set it, or take ${{{name}}} out of the config"
            )
        self.used.add(value)
        for_key = (".headers." in place and OF_SECRETS.search(place)) or literals.is_secret(place.rpartition(".")[2])
        if for_key and not value.strip():
            raise ConfigError(f"{place}: {name} is empty: set it to the key (a CI withholds its secrets from forks)")
        if not is_recognised(value) and (for_key or (value and not literals.is_public(field or name))):
            raise ConfigError(f"{place}: {name} {_TOO_SHORT}")
        return value

    def _of_credential(self, field: str, place: str) -> str:
        if self._credential is None:
            raise ConfigError(f"{place}: ${{credential.{field}}} needs a table [target.credentials]")
        if field not in self._credential:
            raise ConfigError(f"{place}: the credentials have no {field!r}; they have {', '.join(self._credential)}")
        return self._credential[field]


def filled_headers(target: Target, variables: Variables) -> dict[str, str]:
    """The target's headers with `${NAME}` replaced. They hold secrets: do not store them."""
    return _fill_all("target.headers", target.headers, variables)


def filled_metrics(target: Target, variables: Variables | None = None) -> Metrics | None:
    """[target.metrics] with `${NAME}` replaced, also in the URL; None if there is none. Do not store it.

    ConfigError for a missing variable or a wrong URL.
    """
    metrics = target.metrics
    if metrics is None:
        return None
    variables = variables or Variables()
    url = variables.fill("target.metrics.url", metrics.url)
    if not is_url(url) and not (url.startswith("/") and not url.startswith("//")):
        raise ConfigError(
            f"target.metrics.url: {public_url(metrics.url)!r} is not a URL: write https://host:port/metrics, "
            f"or a path on the run's host such as /metrics"
        )
    headers = _fill_all("target.metrics.headers", metrics.headers, variables)
    return msgspec.structs.replace(metrics, url=url, headers=headers)


def known_here(target: Target, environ: Mapping[str, str] = os.environ) -> Redaction:
    """What this machine knows of the target's secrets. A master need not have those that only its workers use."""
    headers = [*target.headers.values(), *(target.metrics.headers.values() if target.metrics else ())]
    headers += literals.found(target).values()
    used = _VARIABLE.findall(msgspec.json.encode(target, enc_hook=str).decode())
    with suppress(ConfigError):  # the file is on the workers' machines only
        headers += [
            value for credential in credentials.load(target.credentials, environ) for value in credential.values()
        ]
    filled = (_VARIABLE.sub(lambda variable: environ.get(variable[1], ""), value) for value in headers)
    return Redaction([*filled, *(environ[name] for name in used if name in environ)])


def advice(target: Target) -> str:
    """What to tell somebody whose config holds secrets literally; "": it holds none."""
    places = list(literals.found(target))
    if not places:
        return ""
    hold = f"{', '.join(places[:5])}: {'holds a secret' if len(places) == 1 else 'hold secrets'}"
    return f"{hold} literally; write ${{NAME}} there, and set NAME in the environment"


def holds_secrets(target: Target) -> bool:
    """Whether requests to the run's host may hold secrets. A literal header of the config can be a key, too."""
    headers = target.headers or (target.metrics and target.metrics.headers)
    everything = msgspec.json.encode(target, enc_hook=str).decode()
    return bool(headers or target.credentials or literals.found(target) or _VARIABLE.search(everything))


def holds_key(name: str, value: str) -> bool:
    """Whether this header probably holds a secret as it is, and not as a variable."""
    return OF_SECRETS.search(name) is not None and not _VARIABLE.search(value)


def for_workers(target: Target) -> Target:
    """A target as it is sent to workers: without its metrics page, which the master reads, and without literal keys.

    A header whose name sounds like a key keeps its value only if that comes from the environment. See `with_own_keys`.
    """
    headers = {name: _WITHHELD if holds_key(name, value) else value for name, value in target.headers.items()}
    withheld = literals.changed(target, lambda _place, _value: _WITHHELD)
    return msgspec.structs.replace(withheld, headers=headers, metrics=None)


def with_own_keys(target: Target, own: Callable[[], Target]) -> Target:
    """The inverse of `for_workers`, at a worker: the headers that were not sent, from the worker's `own` target.

    ConfigError if it has no such header.
    """
    withheld = [name for name, value in target.headers.items() if value == _WITHHELD]
    elsewhere = msgspec.json.encode([target.body, target.request]).count(_WITHHELD.encode())
    if not withheld and not elsewhere:
        return target
    mine = own()
    if elsewhere:
        same = for_workers(mine)
        if (same.body, same.request) != (target.body, target.request):
            raise ConfigError(
                "target.body, target.request: keys that a config holds literally are not sent to workers: write them "
                "as ${NAME} in the master's config, or give this worker the same tables"
            )
        target = msgspec.structs.replace(target, body=mine.body, request=mine.request)
    here = mine.headers
    if absent := next((name for name in withheld if name not in here), None):
        raise ConfigError(
            f"target.headers.{absent}: keys that a config holds literally are not sent to workers: write it as "
            f"${{NAME}} in the master's config, or give this worker a config with that header"
        )
    return msgspec.structs.replace(target, headers=target.headers | {name: here[name] for name in withheld})


def public(target: Target) -> dict[str, Any]:
    """A target as it may be stored and shown: without its headers' values, literal secrets, and what a URL may hide."""
    target = literals.changed(target, lambda _place, _value: "…")
    shown: dict[str, Any] = msgspec.to_builtins(target, enc_hook=str)
    if target.headers:
        shown["headers"] = dict.fromkeys(target.headers, "…")
    if target.path is not None:
        shown["path"] = public_url(target.path)
    if target.metrics is not None:
        shown["metrics"]["url"] = public_url(target.metrics.url)
        if target.metrics.headers:
            shown["metrics"]["headers"] = dict.fromkeys(target.metrics.headers, "…")
    return shown


def _holds_short_key(value: str) -> bool:
    """Whether what follows the scheme, as in `Bearer 1234`, or a password in `Basic …`, is too short."""
    found = _SCHEME.match(value)
    if found is None:
        return False
    name, colon, password = decoded(found[2]).partition(":")
    return not is_recognised(found[2]) or bool(name and colon and password and not is_recognised(password))


def _fill_all(place: str, headers: Mapping[str, str], variables: Variables) -> dict[str, str]:
    for name, value in headers.items():
        if bare := _BARE.fullmatch(value):
            raise ConfigError(f"{place}.{name}: write ${{{bare[1]}}} with braces; ${bare[1]} would be sent as it is")
    filled: dict[str, str] = variables.fill(place, dict(headers))
    for name, value in filled.items():
        if _VARIABLE.search(headers[name]) and OF_SECRETS.search(name) and _holds_short_key(value):
            raise ConfigError(f"{place}.{name}: the key or password in it {_TOO_SHORT}")
        if "\n" in value or "\r" in value:
            raise ConfigError(f"{place}.{name}: a header's value cannot hold a line break")
        if any((char < " " and char != "\t") or char == "\x7f" for char in value):
            raise ConfigError(f"{place}.{name}: a header's value cannot hold control characters")
    return filled
