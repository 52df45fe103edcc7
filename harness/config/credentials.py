"""The credentials that are dealt to the simulated users: keys, tenants, cookies. They are never stored or shown.

One credential a line: a text, which is its `key`, or a JSON object of named texts, as in `{"key": "…", "tenant": "a"}`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from streamgauge.harness.config import literals
from streamgauge.harness.config.contents import contents
from streamgauge.harness.config.redaction import SHORTEST, is_recognised
from streamgauge.harness.config.schema import Credentials
from streamgauge.harness.errors import ConfigError

_MOST_BYTES = 10 * 2**20
_NO_KEY = ("#", '"', "'", "[")  # a comment, or another format: sent as a key, every nth user would be refused

Credential = Mapping[str, str]


def load(credentials: Credentials | None, environ: Mapping[str, str] = os.environ) -> tuple[Credential, ...]:
    """The credentials in the order of their lines; () without a table. ConfigError without one, or for a wrong line."""
    if credentials is None:
        return ()
    text, source = _read(credentials, environ)
    found = [_parse(line, f"{source}:{number}") for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not found:
        raise ConfigError(f"target.credentials: {source} holds no credentials; write one on each line")
    for number, credential in enumerate(found):
        if short := next((name for name in credential if _is_short_secret(name, credential[name])), None):
            raise ConfigError(
                f"target.credentials: {source}: the {short} of credential {number + 1} has fewer than {SHORTEST} "
                f"characters, so it could not be blotted out where a server repeats it; use a longer one"
            )
        if credential.keys() != found[0].keys():
            raise ConfigError(
                f"target.credentials: {source}: credential {number + 1} has {_names(credential)}, "
                f"but the first has {_names(found[0])}"
            )
    return tuple(found)


def _read(credentials: Credentials, environ: Mapping[str, str]) -> tuple[str, str]:
    """The text and what to call its source."""
    if credentials.variable is not None:
        if credentials.variable not in environ:
            raise ConfigError(f"target.credentials: the environment has no variable {credentials.variable!r}; set it")
        return environ[credentials.variable], f"${credentials.variable}"
    path = Path(credentials.file or "")
    try:
        return contents(path, _MOST_BYTES).decode("utf-8-sig"), str(path)
    except OSError as fault:
        raise ConfigError(f"target.credentials: {path}: cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"target.credentials: {path}: is not UTF-8 text") from None


def _parse(line: str, place: str) -> Credential:
    """The messages never quote the line: it is a secret."""
    line = line.strip()
    if line.startswith(_NO_KEY):
        raise ConfigError(
            f"target.credentials: {place}: begins with {line[0]!r}, and keys do not: write the key alone, without "
            'comments, quotes and lists, or {"key": "…"}'
        )
    if not line.startswith("{"):
        return {"key": line}
    try:
        found: dict[str, str] = msgspec.json.decode(line, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError):
        raise ConfigError(f'target.credentials: {place}: not an object of texts such as {{"key": "…"}}') from None
    if not found:
        raise ConfigError(f"target.credentials: {place}: an object without names")
    return found


def _is_short_secret(name: str, value: str) -> bool:
    return literals.is_secret(name) and not is_recognised(value)


def _names(credential: Credential) -> str:
    return ", ".join(credential)
