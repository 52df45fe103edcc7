"""Lines of streamgauge.toml: written for a person to paste, and applied to a target. Pure."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from streamgauge.harness.config import load
from streamgauge.harness.config.schema import Target
from streamgauge.harness.config.template import fill_path, merged
from streamgauge.harness.drive.protocols import PROTOCOLS

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_INLINE = ("headers", "query", "where", "text", "thinking", "tool", "error", "end")  # tables on one line
_WHOLE = ("protocol", "events", "omit")  # keys of the target that lines replace, and do not merge


def value(of: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(of, bool):
        return "true" if of else "false"
    if isinstance(of, str):
        return json.dumps(of, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(of, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {value(item)}" for name, item in of.items()) + " }" if of else "{}"
    if isinstance(of, list | tuple):
        return "[" + ", ".join(map(value, of)) + "]"
    if isinstance(of, datetime):
        return of.isoformat()
    return str(of)


def table(path: str, of: Mapping[str, Any]) -> str:
    """A table and the tables in it, each with a header of its own."""
    plain = {name: item for name, item in of.items() if not isinstance(item, Mapping) or name in _INLINE}
    below = [table(f"{path}.{_key(name)}", item) for name, item in of.items() if name not in plain]
    pairs = "".join(f"{_key(name)} = {value(item)}\n" for name, item in plain.items())
    return "\n".join([f"[{path}]\n{pairs}", *below] if pairs or not below else below)


def target(**keys: Any) -> str:
    """Lines that set these keys of [target]."""
    return table("target", keys)


def usual_path(protocol: str, model: str) -> str | None:
    """The path that a protocol has of its own; None if it has none."""
    found = next((each for name, each in PROTOCOLS.items() if name == protocol), None)
    return None if found is None else fill_path(found.path, {"model": model})


def written(of: Target) -> dict[str, Any]:
    """The keys of a target that are not the defaults, as they stand in a config."""
    found: dict[str, Any] = msgspec.to_builtins(of, enc_hook=str)
    return found


def applied(to: Target, lines: str) -> Target:
    """The target with these lines pasted into its config. ConfigError if they do not fit."""
    changes = msgspec.toml.decode(lines)["target"]
    before = written(to)
    if changes.get("protocol", "custom") != "custom":
        before.pop("events", None)
    if "protocol" in changes:
        before.pop("path", None)  # it was the old protocol's; lines that need one have it
    return load.parse(table("target", merged(before, changes, _WHOLE)).encode()).target


def joined(first: str, second: str) -> str:
    """The lines of both; where they set the same key, the second's."""
    both = [msgspec.toml.decode(text)["target"] for text in (first, second)]
    if "protocol" in both[1]:
        both[0].pop("path", None)
    return table("target", merged(both[0], both[1], _WHOLE))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else value(name)
