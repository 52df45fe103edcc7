"""Reads streamgauge.toml into a Config. A ConfigError names the file, the place of the fault, and what exists there."""

import os
import re
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args, get_origin

import msgspec

from streamgauge.harness.config import checks
from streamgauge.harness.config.contents import contents
from streamgauge.harness.config.duration import decode
from streamgauge.harness.config.schema import Closed, Config, Profile
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.near_miss import listed

_MOST_BYTES = 4 * 2**20  # of the file
_DEFAULT = Path("streamgauge.toml")
_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)  # msgspec's


def load(path: str | os.PathLike[str] | None = None) -> Config:
    """Read a config file. Without a path: ./streamgauge.toml if there is one, else the defaults."""
    if path is None and not os.path.lexists(_DEFAULT):
        return Config()
    path = path or _DEFAULT
    try:
        text = contents(path, _MOST_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    return parse(text, str(path))


def parse(text: bytes, name: str = "streamgauge.toml") -> Config:
    """Parse the text of a config file; `name` is the file's name in errors."""
    try:
        config = msgspec.toml.decode(text, type=Config, dec_hook=decode)
    except msgspec.ValidationError as fault:
        raise ConfigError(f"{name}: {_name_network(_explain(str(fault)), text)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as fault:
        raise ConfigError(f"{name}: not valid TOML: {fault}") from None
    for problem in checks.faults(config):
        raise ConfigError(f"{name}: {problem}")
    return config


def _name_network(message: str, text: bytes) -> str:
    """Put the name of the faulty network into msgspec's message, which has only `networks[...]`."""
    if not message.startswith("networks[...]"):
        return message
    for name, table in msgspec.toml.decode(text)["networks"].items():
        try:
            msgspec.convert(table, Profile, dec_hook=decode)
        except msgspec.ValidationError:
            return message.replace("networks[...]", f"networks.{name}", 1)
    return message


def _explain(message: str) -> str:
    """msgspec's message rewritten: the place, the fault, and what exists at that place."""
    match = _MESSAGE.fullmatch(message)
    assert match is not None
    what, path = match["what"], (match["path"] or "$")
    place = path.removeprefix("$").removeprefix(".")
    before = f"{place}: " if place else ""
    unknown, missing = (re.search(rf"{how} field `([^`]*)`", what) for how in ("unknown", "missing required"))
    invalid = re.fullmatch(r"Invalid enum value '(.*)'", what, re.DOTALL)
    kind = _type_at(path)
    if missing:
        return f"{before}the key {missing[1]!r} is missing"
    if unknown and _is_struct(kind):
        there = listed(unknown[1], kind.__struct_encode_fields__, more=_elsewhere(unknown[1]))
        return f"{before}no key called {unknown[1]!r}; there are {there}"
    if invalid and get_origin(kind) is Literal:
        key = place.rpartition(".")[2]
        return f"{before}no {key} called {invalid[1]!r}; there are {listed(invalid[1], get_args(kind))}"
    return f"{before}{what[:1].lower()}{what[1:]}" if place else what


def _elsewhere(key: str) -> str:
    """`; it is a key of [load]` for one that stands in the wrong table; else ""."""
    places = {f"[{name}]": f"$.{name}" for name in _fields(Config)} | {"[[sla]]": "$.sla[0]"}
    having = [table for table, path in places.items() if key in _fields(_type_at(path))]
    return f"; it is a key of {' and '.join(having)}" if having else ""


def _type_at(path: str) -> Any:
    """The type that a path such as `$.target.timeouts` or `$.sla[0]` leads to; None if it leads nowhere."""
    kind: Any = Config
    for name, index in re.findall(r"\.(\w+)|(\[[^]]*\])", path):
        if name:
            kind = _fields(kind).get(name)
        elif index and not _is_struct(kind):  # a place of target.events may be a table or a list of tables
            kind = get_args(kind)[-1] if get_args(kind) else None
        if get_origin(kind) in {types.UnionType, typing.Union}:
            options = [option for option in get_args(kind) if option is not type(None)]
            kind = next(filter(_is_struct, options), options[0])
    return kind


def _is_struct(kind: Any) -> TypeGuard[type[Closed]]:
    return isinstance(kind, type) and issubclass(kind, Closed)


def _fields(kind: Any) -> dict[str, Any]:
    """The types of a struct's fields, by their keys in the file."""
    if not _is_struct(kind):
        return {}
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
