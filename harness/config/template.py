"""Places such as `{prompt}` in [target.request] and target.path: checked with the config, filled in per request.

A place that is a whole string keeps its value's type: `{messages}` stays a list. A place without a value, such as
`{system}` for a question without a system prompt, leaves its key out, and a table or list that has nothing else.
`{{prompt}}` stands for the text `{prompt}`.
"""

import re
from collections.abc import Collection, Container, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from streamgauge.harness.near_miss import listed

_PLACE = re.compile(r"\{\{(?P<literal>\w+)\}\}|(?<!\$)\{(?P<name>[A-Za-z_]\w*)\}")  # not ${NAME}, a secret's variable
NAMES = (
    "prompt", "messages", "all_messages", "system", "model", "max_tokens", "stream", "tools", "user", "conversation",
    "turn",
)  # fmt: skip
OF_MESSAGE = ("role", "text", "number")  # in target.request.message
OF_TOOL = ("tool",)  # in target.request.tool
_QUESTIONS = frozenset({"prompt", "messages", "all_messages"})
_LISTS = frozenset({"messages", "all_messages", "tools"})

Values = Mapping[str, Any]  # by the names of places; a place without a value has no entry


class _Absent:
    pass


_ABSENT = _Absent()


def has_places(text: str) -> bool:
    return _PLACE.search(text) is not None


def faults(where: str, template: Any, names: Collection[str] = NAMES) -> Iterator[str]:
    """Each fault of a template that may have the places `names`, as a line that begins with `where`."""
    for place, text in _strings(where, template):
        for match in _PLACE.finditer(text):
            name = match["name"]
            if name and name not in names:
                stands = f"; {{{{{name}}}}} stands for the text"
                known = listed(f"{{{name}}}", [f"{{{each}}}" for each in names], stands)
                yield f"{place}: no place called {{{name}}}; there are {known}"
            elif name in _LISTS and match[0] != text:
                yield f"{place}: {{{name}}} is a list, so it must be the whole value, not a part of a text"


def asks(template: Any) -> bool:
    """Whether the question is in it."""
    return mentions(template, _QUESTIONS)


def mentions(template: Any, names: Container[str]) -> bool:
    """Whether one of these places is in it."""
    texts = (text for _, text in _strings("", template))
    return any(match["name"] in names for text in texts for match in _PLACE.finditer(text))


def fill(template: Any, values: Values) -> Any:
    """The template with its places filled in. A string, table or list of what TOML can hold."""
    filled = _fill(template, values)
    return type(template)() if filled is _ABSENT else filled


def fill_path(path: str, values: Values) -> str:
    """A URL's path with its places filled in, each quoted as one segment."""
    return _PLACE.sub(lambda match: match["literal"] or quote(text(values.get(match["name"], "")), safe=""), path)


def merged(old: Mapping[str, Any], new: Mapping[str, Any], whole: Container[str] = ()) -> dict[str, Any]:
    """`old` with `new`: tables are merged at any depth, but those called as in `whole`; all else is replaced."""
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if isinstance(before, dict) and isinstance(value, dict) and key not in whole:
            value = merged(before, value, whole)  # noqa: PLW2901 - the value that is kept
        result[key] = value
    return result


def text(value: Any) -> str:
    """A value as it stands in a path, a query, a form or the middle of a text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _fill(template: Any, values: Values) -> Any:
    if isinstance(template, dict):
        pairs = [(key, _fill(value, values)) for key, value in template.items()]
        table = {key: value for key, value in pairs if value is not _ABSENT}
        return _ABSENT if pairs and not table else table
    if isinstance(template, list):
        items = [value for value in (_fill(item, values) for item in template) if value is not _ABSENT]
        return _ABSENT if template and not items else items
    if not isinstance(template, str):
        return template
    whole = _PLACE.fullmatch(template)
    if whole is not None and whole["name"]:
        return values.get(whole["name"], _ABSENT)
    return _PLACE.sub(lambda match: _in_text(match, values), template)


def _in_text(match: re.Match[str], values: Values) -> str:
    return f"{{{match['literal']}}}" if match["literal"] else text(values.get(match["name"], ""))


def numbers(where: str, value: Any) -> Iterator[tuple[str, float]]:
    """Each number of a template, with its place in the config."""
    return ((place, leaf) for place, leaf in _leaves(where, value) if isinstance(leaf, float))


def _strings(where: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each string of a template, with its place in the config."""
    return ((place, leaf) for place, leaf in _leaves(where, value) if isinstance(leaf, str))


def _leaves(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(f"{where}.{key}", item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(f"{where}.{number}", item)
    else:
        yield where, value
