"""Values as YAML, in the part of it that every reader takes: block mappings and sequences, and JSON's scalars."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def document(value: Mapping[str, Any], about: str) -> str:
    """One document, with a comment at its head."""
    return "".join(f"{line}\n" for line in (f"# {about}", *_lines(value)))


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inside in value.items():
            yield from _entry(f"{name}:", inside)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inside in value:
            yield from _item(inside)


def _entry(name: str, value: object) -> Iterator[str]:
    if _is_block(value):
        yield name
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{name} {_scalar(value)}"


def _item(value: object) -> Iterator[str]:
    """The first line of a block stands behind the dash."""
    lines = list(_lines(value)) if _is_block(value) else [_scalar(value)]
    yield f"- {lines[0]}"
    yield from (f"  {line}" for line in lines[1:])


def _is_block(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple) and bool(value)


def _scalar(value: object) -> str:
    """As JSON writes it, which is YAML, too; quotes keep `yes`, `1.0` and `a: b` texts."""
    return json.dumps(value, ensure_ascii=False)
