"""Faults as text, in a request's header or in the option `--fault`.

    NAME[:ARGUMENT][@K]             in the header `x-gauge-fault`, several separated by commas: stall:2s@5, crlf
    NAME[:ARGUMENT][@K][:WHEN]…     as the option `--fault`: reset:0.01   http_429:2s:every=10   stall:2s@5:10s-20s:0.5

K: after this many tokens; without it, somewhere after 1 to 20 tokens. WHEN: a share of the answers, every nth answer,
or a time since the server's start. If there are several, all must hold.
"""

import re
from dataclasses import dataclass
from typing import Any

from streamgauge.reference_server import parsing
from streamgauge.reference_server.faults.catalogue import FAULTS, syntax

_PLACE = parsing.whole_number(0, 100_000)
_EVERY = parsing.whole_number(1, 1_000_000)
_SHARE = parsing.number(0, 1)
_WINDOW = re.compile(r"(.*[a-z])-(.*[a-z])")  # unlike 1e-3, which is a share


@dataclass(frozen=True, slots=True)
class RequestedFault:
    """`NAME[:ARGUMENT][@K]`, parsed."""

    name: str
    argument: Any = None  # as its parser returned it; None if there is none
    at: int | None = None  # after this many tokens; None: somewhere in the answer


@dataclass(frozen=True, slots=True)
class FaultRule:
    """Which answers get a fault: those for which all of this holds."""

    fault: RequestedFault
    share: float = 1  # of the answers
    every: int = 1  # the nth, 2nth, 3nth … answer of the server
    window: tuple[int, int] = (0, 1 << 62)  # since the server's start, ns


def parse_fault(text: str) -> RequestedFault:
    """`stall:2s@5` → a RequestedFault. ValueError, with a sentence for the user, for anything else."""
    wanted, mark, place = text.strip().partition("@")
    name, _, argument = wanted.partition(":")
    fault = FAULTS.get(name)
    if fault is None:
        raise ValueError(f"no fault called {name!r}; there are {', '.join(FAULTS)}")
    if mark and not fault.placed:
        raise ValueError(f"{name} does not happen at a token: leave @{place} out")
    if fault.argument is None and argument:
        raise ValueError(f"{name} takes no argument: leave :{argument} out")
    if fault.argument is not None and fault.argument.needed and not argument:
        raise ValueError(f"{name} lacks its argument: {syntax(name, fault)}")
    parsed = fault.argument.parse(argument) if fault.argument is not None and argument else None
    return RequestedFault(name, parsed, _PLACE(place) if mark else None)


def parse_rule(text: str) -> FaultRule:
    """`reset@12:0.01`, `http_503:every=10`, `stall:2s:10s-20s` → a FaultRule. ValueError as above."""
    parts = text.split(":")
    fault = FAULTS.get(parts[0].strip().partition("@")[0])
    own = 2 if fault and fault.argument and fault.argument.needed else 1  # parts that cannot be a WHEN
    when: dict[str, Any] = {}
    while len(parts) > own and (found := _when(parts[-1].strip())):
        if found.keys() & when.keys():
            raise ValueError(f"{text!r} has two conditions of one kind: leave {parts[-1].strip()} out")
        when |= found
        parts.pop()
    if fault and fault.argument is None and len(parts) > 1:
        raise ValueError(
            f"{parts[-1]!r} does not say when {parts[0].strip()} happens: "
            "write a share from 0 to 1, every=N or a time as 10s-20s"
        )
    return FaultRule(parse_fault(":".join(parts)), **when)


def _when(text: str) -> dict[str, Any]:
    """The field of a FaultRule that this WHEN sets; empty if the text is not a WHEN."""
    try:
        if text.startswith("every="):
            return {"every": _EVERY(text.removeprefix("every="))}
        if not (window := _WINDOW.fullmatch(text)):
            return {"share": _SHARE(text)}
    except ValueError:
        return {}
    first, last = map(parsing.moment, window.groups())
    if first >= last:
        raise ValueError(f"{text!r} ends before it begins: write the earlier time first, as in 10s-20s")
    return {"window": (first, last)}
