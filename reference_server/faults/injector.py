"""Decides which answer gets which faults: those of its request's header, or else those of the server's rules."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

from starlette.exceptions import HTTPException
from starlette.types import Scope

from streamgauge.reference_server.delivery.connection import CONNECTION, SEND
from streamgauge.reference_server.dialects.question import Framing
from streamgauge.reference_server.faults.catalogue import FAULTS
from streamgauge.reference_server.faults.faulty_connection import FaultyConnection
from streamgauge.reference_server.faults.rules import FaultRule, RequestedFault, parse_fault

_LATEST = 20  # tokens after which a fault without a place happens at the latest


class FaultInjector:
    """The same seed, rules and order of requests give the same faults. Windows count from when this was made."""

    def __init__(self, rules: Sequence[FaultRule], seed: int, injected: Counter[str]) -> None:
        self._rules = [(rule, Random(f"{seed} {number}")) for number, rule in enumerate(rules)]
        self._places = Random(seed)
        self._injected = injected  # how often, by name
        self._answers = 0
        self._began = time.monotonic_ns()

    def inject(self, header: str | None, scope: Scope, framing: Framing | None) -> FaultyConnection | None:
        """Put a faulty connection into the scope of an answer that gets faults; None: it gets none.

        Raises HTTPException if the fault is a status, which then is the whole answer, or if the header is wrong. An
        answer that is not streamed, and so has no `framing`, gets statuses only.
        """
        if header is None and not self._rules:
            return None
        if header is None:
            faults = self.by_rule(time.monotonic_ns() - self._began)
        else:
            faults = _by_header(header, streamed=framing is not None)
        refusal = next((fault for fault in faults if FAULTS[fault.name].status), None)
        if refusal is not None:
            self._injected[refusal.name] += 1
            raise _refusal(refusal)
        if not faults or framing is None:
            return None
        self._injected.update(fault.name for fault in faults)
        connection = FaultyConnection(scope[CONNECTION], scope[SEND], framing)
        for fault in sorted(faults, key=lambda fault: list(FAULTS).index(fault.name)):
            at = self._places.randint(1, _LATEST) if fault.at is None else fault.at
            kind = FAULTS[fault.name]
            action = None if kind.of_sse and framing != "sse" else kind.apply(connection, fault.argument)
            if action is not None:
                connection.at(at, action)
        scope[CONNECTION], scope[SEND] = connection, connection.send
        return connection

    def by_rule(self, now: int) -> list[RequestedFault]:
        """The faults of the next answer, `now` ns after the server's start."""
        self._answers += 1
        # Each rule draws for each answer, so that no rule changes which answers another one hits.
        drawn = [(rule, random.random()) for rule, random in self._rules]
        return [
            rule.fault
            for rule, number in drawn
            if number < rule.share and self._answers % rule.every == 0 and rule.window[0] <= now < rule.window[1]
        ]


def _by_header(header: str, *, streamed: bool) -> list[RequestedFault]:
    try:
        faults = [parse_fault(text) for text in header.split(",") if text.strip()]
    except ValueError as fault:
        raise HTTPException(400, f"header x-gauge-fault: {fault}") from None
    for each in faults:
        if not streamed and not FAULTS[each.name].status:
            raise HTTPException(400, f"header x-gauge-fault: {each.name} needs a streamed answer; ask for one")
    return faults


def _refusal(fault: RequestedFault) -> HTTPException:
    retry_after = {} if fault.argument is None else {"retry-after": str(math.ceil(fault.argument / 1e9))}
    return HTTPException(FAULTS[fault.name].status, f"the fault {fault.name} was asked for", retry_after)
