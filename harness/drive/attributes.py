"""Attributes of a scenario's class that are probably misspelt. Pure.

A scenario's class may have attributes of its own, so an unknown name alone is no mistake. It is one if it is almost the
name of an attribute that exists, and the scenario's own code never reads it: then nothing would come of it.
"""

import difflib
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

_ALIKE = 0.8  # difflib's ratio: behavior and behaviour have 0.94, netwrok and network 0.86, users and user 0.89


def misspelt(kind: type, base: type, settable: Sequence[str]) -> Iterator[str]:
    """A sentence for each. `settable`: the attributes of `base` that a scenario may set."""
    known = [name for name in settable if hasattr(base, name)]
    own = [each for each in kind.__mro__ if each not in base.__mro__]
    read = _names_read(own)
    for each in own:
        for name, value in vars(each).items():
            if name.startswith("_") or hasattr(base, name) or hasattr(value, "locust_task_weight") or name in read:
                continue
            for meant in difflib.get_close_matches(name.lower(), known, n=1, cutoff=_ALIKE):
                yield (
                    f"{each.__name__}.{name}: there is no such attribute, and nothing in the class reads it; "
                    f"did you mean {meant!r}?"
                )


def _names_read(classes: Sequence[type]) -> set[str]:
    """The names that the functions of these classes use, and of the classes in them, such as task sets."""
    names: set[str] = set()
    waiting: list[Any] = list(classes)
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        value = getattr(value, "fget", None) or getattr(value, "__func__", None) or value
        if isinstance(value, FunctionType):
            names |= _names_of(value.__code__)
        elif isinstance(value, type):
            waiting += [*vars(value).values(), *getattr(value, "tasks", ())]
    return names


def _names_of(code: CodeType) -> set[str]:
    inside = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*(_names_of(each) for each in inside))
