"""What options of a command say in place of keys of [target]: `--protocol`, `--model`, `--path`, `--header`."""

from collections.abc import Collection
from typing import Any

import msgspec

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.errors import ConfigError


def changed(
    target: Target,
    *,
    protocol: ProtocolName | None = None,
    model: str | None = None,
    path: str | None = None,
    headers: Collection[str] = (),
) -> Target:
    """The target with what was given; each header is written as `name: value`. ConfigError for what cannot be."""
    if path is not None and not path.startswith("/"):
        raise ConfigError(f"--path {path!r} does not begin with a slash")
    given = {"model": model, "path": path}
    for option, texts in {"--model": (model,), "--path": (path,), "--header": headers}.items():
        if any(text is not None and not _is_utf8(text) for text in texts):
            raise ConfigError(f"{option}: it is not text in UTF-8")
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if protocol is not None and protocol != target.protocol:
        events = target.events if protocol == "custom" else None
        if protocol == "custom" and events is None:
            raise ConfigError("--protocol custom needs [target.events] in the config; see docs/how-to/own-format.md")
        changes = {"protocol": protocol, "events": events, "path": None, **changes}
    changes["headers"] = {**target.headers, **dict(map(_header, headers))}
    return msgspec.structs.replace(target, **changes)


def _is_utf8(text: str) -> bool:
    """Python reads other bytes of a command line as halves of characters."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _header(text: str) -> tuple[str, str]:
    """The message does not quote the text: it may be a secret."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or any(char.isspace() for char in name.strip()):
        raise ConfigError("--header: write it as 'name: value'")
    return name.strip(), value.strip()
