"""Who meets which fault: by a request's header, and without one by the server's rules.

    NAME[:ARGUMENT][@K]             in the header `x-gauge-fault`, several with commas between: stall:2s@5, crlf
    NAME[:ARGUMENT][@K][:WHEN]…     as the option `--fault`: reset:0.01   http_429:2s:every=10   stall:2s@5:10s-20s:0.5

K: after so many tokens; without it, after 1 to 20. WHEN: a share of the answers, each nth of them, or a time since the
server began; of several, all have to hold. An answer that meets nothing is not touched.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Scope

from streamgauge.reference_server import model
from streamgauge.reference_server.connection import CONNECTION, SEND
from streamgauge.reference_server.faults import FAULTS, counted, syntax
from streamgauge.reference_server.trouble import Trouble

_SOMEWHERE = 20  # tokens after which a fault without a place happens at the latest
_PLACE = model.whole(100_000)
_SPAN = re.compile(r"(.*[a-z])-(.*[a-z])")  # unlike 1e-3


@dataclass(frozen=True, slots=True)
class Order:
    """One fault as it was asked for: `NAME[:ARGUMENT][@K]`."""

    name: str
    argument: Any = None  # as its reader made it; None where none was given
    at: int | None = None  # after so many tokens; None: somewhere in the answer


@dataclass(frozen=True, slots=True)
class Rule:
    """Which answers meet a fault: those to which all of this applies."""

    order: Order
    share: float = 1  # of them
    every: int = 1  # the nth, 2nth, 3nth … of the server's answers
    window: tuple[int, int] = (0, 1 << 62)  # since the server began, ns


def order(text: str) -> Order:
    """`stall:2s@5` → an Order. ValueError for what is none."""
    wanted, mark, place = text.strip().partition("@")
    name, _, argument = wanted.partition(":")
    fault = FAULTS.get(name)
    if fault is None:
        raise ValueError(f"no fault called {name!r}; there are {', '.join(FAULTS)}")
    if mark and not fault.placed:
        raise ValueError(f"{name} happens at no token: leave @{place} out")
    if fault.argument is None and argument:
        raise ValueError(f"{name} takes no argument: leave :{argument} out")
    if fault.argument is not None and fault.argument.needed and not argument:
        raise ValueError(f"{name} lacks its argument: {syntax(name, fault)}")
    read = fault.argument.read(argument) if fault.argument is not None and argument else None
    return Order(name, read, _PLACE(place) if mark else None)


def rule(text: str) -> Rule:
    """`reset@12:0.01`, `http_503:every=10`, `stall:2s:10s-20s` → a Rule. ValueError for what is none."""
    parts = text.split(":")
    fault = FAULTS.get(parts[0].strip().partition("@")[0])
    own = 2 if fault and fault.argument and fault.argument.needed else 1  # parts that cannot be about when
    when: dict[str, Any] = {}
    while len(parts) > own and (found := _when(parts[-1].strip())):
        if found.keys() & when.keys():
            raise ValueError(f"{text!r} says twice when, and both cannot be: leave {parts[-1].strip()} out")
        when |= found
        parts.pop()
    if fault and fault.argument is None and len(parts) > 1:
        raise ValueError(f"{parts[-1]!r} does not say when {parts[0].strip()} happens: {_WHEN}")
    return Rule(order(":".join(parts)), **when)


_WHEN = "write a share from 0 to 1, every=N or a time as 10s-20s"


def _when(text: str) -> dict[str, Any]:
    """The field of a Rule that this is about; none when it is not about when."""
    try:
        if text.startswith("every="):
            return {"every": counted(1_000_000)(text.removeprefix("every="))}
        if span := _SPAN.fullmatch(text):
            first, last = map(model.duration, span.groups())
            return {"window": (first, last)} if first < last else {}
        return {"share": model.number(0, 1)(text)}
    except ValueError:
        return {}


class Faults:
    """Deals faults out to answers: by a request's header, and without one by the server's rules.

    The same seed, rules and order of requests: the same faults. The time counts from when this was made.
    """

    def __init__(self, rules: Sequence[Rule], seed: int, met: Counter[str]) -> None:
        self._rules = [(rule, Random(f"{seed} {number}")) for number, rule in enumerate(rules)]
        self._places = Random(seed)
        self._met = met  # how often each was dealt out
        self._answers = 0
        self._began = time.monotonic_ns()

    def meet(self, header: str | None, scope: Scope, *, streamed: bool) -> Trouble | None:
        """What this answer meets, put into its scope; None: nothing. HTTPException where that is a status or nonsense.

        A status is all that an answer meets, and all that one meets which is not streamed.
        """
        if header is None and not self._rules:
            return None
        orders = self.chosen(time.monotonic_ns() - self._began) if header is None else _asked(header, streamed=streamed)
        refusal = next((order for order in orders if FAULTS[order.name].status), None)
        if refusal is not None:
            self._met[refusal.name] += 1
            raise _refusal(refusal)
        if not orders or not streamed:
            return None
        self._met.update(order.name for order in orders)
        trouble = Trouble(scope[CONNECTION], scope[SEND])
        for order in sorted(orders, key=lambda order: list(FAULTS).index(order.name)):
            at = self._places.randint(1, _SOMEWHERE) if order.at is None else order.at
            act = FAULTS[order.name].apply(trouble, order.argument)
            if act is not None:
                trouble.at(at, act)
        scope[CONNECTION], scope[SEND] = trouble, trouble.send
        return trouble

    def chosen(self, now: int) -> list[Order]:
        """What the next answer meets by the rules, `now` ns after the server began."""
        self._answers += 1
        drawn = [(rule, random.random()) for rule, random in self._rules]  # all, so that no rule changes another's luck
        return [
            rule.order
            for rule, luck in drawn
            if luck < rule.share and self._answers % rule.every == 0 and rule.window[0] <= now < rule.window[1]
        ]


def _asked(header: str, *, streamed: bool) -> list[Order]:
    try:
        orders = [order(text) for text in header.split(",") if text.strip()]
    except ValueError as fault:
        raise HTTPException(400, f"header x-gauge-fault: {fault}") from None
    for each in orders:
        if not streamed and not FAULTS[each.name].status:
            raise HTTPException(400, f"header x-gauge-fault: {each.name} is for streamed answers; ask for one")
    return orders


def _refusal(order: Order) -> HTTPException:
    retry_after = {} if order.argument is None else {"retry-after": str(math.ceil(order.argument / 1e9))}
    return HTTPException(FAULTS[order.name].status, f"the fault {order.name} was asked for", retry_after)
