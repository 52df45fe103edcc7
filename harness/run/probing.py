"""How a monitor's probes differ from other runs: no rules end them, and they keep to a budget of tokens a day."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import msgspec

from streamgauge.harness.config.overrides import changed
from streamgauge.harness.config.schema import Config, Load, Target
from streamgauge.harness.drive.dispatcher import Dispatcher, Waiting
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols import for_target
from streamgauge.harness.drive.request import RequestFormat
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.near_miss import listed
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.harness.run.allowance import FREE, Allowance, Spent, most_of, output_limit
from streamgauge.harness.run.terminal import say

if TYPE_CHECKING:  # scenarios import this module, and start without the store
    from streamgauge.harness.judge.store.spent import TokenRow

DAY = 86_400  # seconds
_LOOK_EVERY = 0.05  # seconds


def as_probe(config: Config, name: str) -> Config:
    """The config for the probes of one [[monitor.target]]. ConfigError if there is none of this name."""
    targets = {target.name: target for target in config.monitor.target}
    if name not in targets:
        there = f"there are {listed(name, targets)}" if targets else "the config has no [[monitor.target]]"
        raise ConfigError(f"no target of the monitor called {name!r}; {there}")
    given = targets[name]
    target = changed(config.target, protocol=given.protocol, model=given.model, path=given.path, headers=[])
    load = Load(arrivals=f"every:{config.monitor.every}")
    return msgspec.structs.replace(config, sla=[], load=load, target=target)


def between_probes(dispatcher: Dispatcher, patience: float, waiting: Waiting = Waiting()) -> None:  # noqa: B008 - immutable
    """Return when a probe has just ended, and another process has the time until the next one to take over.

    After `patience` seconds in any case: probes may be so frequent that one is always under way.
    """
    before, until = dispatcher.arrivals, waiting.now() + patience * 1e9
    while (dispatcher.arrivals == before or dispatcher.busy) and waiting.now() < until:
        waiting.sleep(_LOOK_EVERY)


class Spending:
    """Lets streams begin as far as the budget of one target goes."""

    def __init__(self, config: Config, form: RequestFormat, rows: "Sequence[TokenRow]", now: float) -> None:
        """`form`: how the target is asked. `rows`: what its streams of the last day spent. `now`: s since 1970."""
        self._target, self._form = config.target, form
        self._cached_in_input = _cached_in_input(config.target)
        share = config.monitor.tokens_per_day / len(config.monitor.target)
        self._told: set[str] = set()
        longest = self._longest_answer(Prompt((("user", "?"),)))
        self._allowance = Allowance(share, _spent(rows, longest, self._cached_in_input), now)

    def may_ask(self, prompt: Prompt, stream: int) -> bool:
        """Whether the stream with this sequence may begin; what it could spend is then reserved."""
        question = self._form.path_for(prompt).encode() + self._form.encoded(prompt)
        most = most_of(question, self._longest_answer(prompt))
        if self._allowance.reserve(most, time.time(), stream):
            return True
        if most > self._allowance.at_once:
            self._say(
                f"a probe is never sent: it could spend {most:,} tokens, and a quarter of this target's tokens a day "
                f"is {self._allowance.at_once:,.0f}; raise monitor.tokens_per_day, or shorten the prompt or the answer"
            )
        else:
            self._say("some probes are skipped so that tokens_per_day is not exceeded: see docs/how-to/monitor.md")
        return False

    def _longest_answer(self, prompt: Prompt) -> int:
        """In tokens. If the request names no limit, as many as the config expects."""
        query = dict(parse_qsl(urlsplit(self._form.path_for(prompt)).query))
        limit = output_limit([self._form.json(prompt), query])
        if limit is None:
            self._say(
                "the request names no limit of output tokens, so an answer may take more than max_tokens, and "
                "tokens_per_day can be exceeded; if the server knows such a limit, write it into [target.body]"
            )
        return limit or prompt.max_tokens or self._target.max_tokens

    def recording(self, record: Callable[[StreamObservation], None]) -> Callable[[StreamObservation], None]:
        """`record`, and what each stream did not spend goes back."""

        def settled(seen: StreamObservation) -> None:
            self._allowance.settle(seen, cached_in_input=self._cached_in_input)
            record(seen)

        return settled

    def _say(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            say(f"streamgauge: {what}")


def _cached_in_input(target: Target) -> bool:
    own = target.prices.cached_in_input if target.prices is not None else None
    return bool(for_target(target).cached_in_input if own is None else own)


def _spent(rows: "Sequence[TokenRow]", longest: int, cached_in_input: bool) -> list[Spent]:
    """As `allowance.spent_by` would say, as far as the rows tell; what was reserved is not stored.

    `longest`: tokens of an answer, for what the server did not tell.
    """
    found = []
    for row in rows:
        told = (row.input or 0) + (row.output or 0) + (0 if cached_in_input else row.cached)
        whole = row.outcome == Outcome.COMPLETED and row.input is not None and row.output is not None
        free = row.outcome in FREE
        most = max(told, row.chunks, 0 if whole else longest)
        found.append(Spent(row.at, 0 if free else told if whole else most))
    return found
