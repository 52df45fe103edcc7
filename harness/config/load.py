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
from streamgauge.harness.config.schema import Config, Profile
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.near_miss import listed

_MOST_BYTES = 4 * 2**20  # of the file
_DEFAULT = Path("streamgauge.toml")
_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)  # msgspec's
_TYPES = {  # msgspec's names of them, in the words of one who writes TOML
    "array": "a list",
    "bool": "true or false",
    "date": "a date",
    "datetime": "a date and time",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a text in quotes",
    "time": "a time",
}


def load(path: str | os.PathLike[str] | None = None) -> Config:
    """Read a config file. Without a path: ./streamgauge.toml if there is one, else the defaults."""
    if path is None and not os.path.lexists(_DEFAULT):
        return Config()
    path = file_of(path)
    try:
        text = contents(path, _MOST_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    return parse(text, str(path))


def file_of(path: str | os.PathLike[str] | None) -> str:
    """The config file of this option, ./streamgauge.toml without one."""
    return str(path or _DEFAULT)


def parse(text: bytes, name: str = "streamgauge.toml") -> Config:
    """Parse the text of a config file; `name` is the file's name in errors."""
    try:
        config = msgspec.toml.decode(text, type=Config, dec_hook=decode)
    except msgspec.ValidationError as fault:
        raise ConfigError(f"{name}: {_name_network(_explain(str(fault), text), text)}") from None
    except (RecursionError, ValueError) as fault:
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


def _explain(message: str, text: bytes) -> str:
    """msgspec's message rewritten: the place, the fault, and what exists at that place."""
    match = _MESSAGE.fullmatch(message)
    assert match is not None
    what, path = match["what"], (match["path"] or "$")
    place = path.removeprefix("$").removeprefix(".")
    before = f"{place}: " if place else ""
    unknown, missing = (re.search(rf"{how} field `([^`]*)`", what) for how in ("unknown", "missing required"))
    invalid = re.fullmatch(r"Invalid (?:enum )?value '(.*)'", what, re.DOTALL)
    kind = _type_at(path, msgspec.toml.decode(text))
    if missing:
        return f"{before}the key {missing[1]!r} is missing"
    if unknown and _is_struct(kind):
        there = listed(unknown[1], kind.__struct_encode_fields__, more=_elsewhere(unknown[1]))
        return f"{before}no key called {unknown[1]!r}; there are {there}"
    if invalid and get_origin(kind) is Literal:
        key = place.rpartition(".")[2]
        return f"{before}no {key} called {invalid[1]!r}; there are {listed(invalid[1], map(str, get_args(kind)))}"
    one = next(iter(get_args(kind)), None)  # of a list
    if what == "Expected `array`, got `object`" and (_is_struct(one) or _tag_field(one)):
        return f"{before}write [[{place}]] with two brackets: there may be several"
    if what == "Expected `object`, got `array`" and _is_struct(kind):
        return f"{before}write [{place}] with single brackets: there is only one"
    what = re.sub(r"`([a-z |]+)`", _in_words, what)
    return f"{before}{what[:1].lower()}{what[1:]}" if place else what


def _in_words(types_named: re.Match[str]) -> str:
    """`int | null` as "a whole number". TOML has no null: it only means that the key may be left out."""
    names = [name for name in types_named[1].split(" | ") if name != "null"]
    return " or ".join(_TYPES.get(name, name) for name in names)


def _elsewhere(key: str) -> str:
    """`; it is a key of [load]` for one that stands in the wrong table; else ""."""
    places = {f"[{name}]": f"$.{name}" for name in _fields(Config)} | {"[[sla]]": "$.sla[0]"}
    having = [table for table, path in places.items() if key in _fields(_type_at(path, {}))]
    return f"; it is a key of {' and '.join(having)}" if having else ""


def _type_at(path: str, document: Any) -> Any:
    """The type that a path such as `$.target.timeouts` or `$.sla[0]` leads to; None if it leads nowhere.

    `document` is the config as it is written: the tag in a table says which of several structs it is.
    """
    kind: Any = Config
    for name, index in re.findall(r"\.(\w+)|(\[[^]]*\])", path):
        if name:
            kind = _tags(kind) if name == _tag_field(kind) else _fields(_chosen(kind, document)).get(name)
            document = document.get(name) if isinstance(document, dict) else None
        elif index and not _is_struct(kind):  # a place of target.events may be a table or a list of tables
            kind = get_args(kind)[-1] if get_args(kind) else None
            place = index.strip("[]")
            document = document[int(place)] if isinstance(document, list) and place.isdecimal() else None
        if get_origin(kind) in {types.UnionType, typing.Union} and _tag_field(kind) is None:
            options = [option for option in get_args(kind) if option is not type(None)]
            kind = next(filter(_is_struct, options), options[0])
    return _chosen(kind, document)


def _tag_field(kind: Any) -> str | None:
    """The key by which a table tells which struct of a union it is; None if that is no question."""
    first = next(iter(get_args(kind)), None)
    return first.__struct_config__.tag_field if _is_struct(first) else None


def _tags(kind: Any) -> Any:
    return Literal[*(option.__struct_config__.tag for option in get_args(kind))]


def _chosen(kind: Any, document: Any) -> Any:
    """Of a union, the struct that the table says it is."""
    tag_field = _tag_field(kind)
    if tag_field is None or not isinstance(document, dict):
        return kind
    tag = document.get(tag_field)
    return next((option for option in get_args(kind) if option.__struct_config__.tag == tag), kind)


def _is_struct(kind: Any) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _fields(kind: Any) -> dict[str, Any]:
    """The types of a struct's fields, by their keys in the file."""
    if not _is_struct(kind):
        return {}
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
