"""The simulated model as the routes ask it: with its prompt cache, and the server's tools between its turns."""

import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamgauge.reference_server import model
from streamgauge.reference_server.delivery import Source
from streamgauge.reference_server.dialects import Answer, End, Question
from streamgauge.reference_server.model import PromptCache, Shape
from streamgauge.reference_server.tools import Turns


class Simulation:
    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._occasions = itertools.count(1)
        self._cache = PromptCache()

    def ask(self, question: Question, given: Mapping[str, Any]) -> tuple[Source, Answer]:
        """The answer, and what is known of it. `given`: what this question has its own way of the shape."""
        shape = replace(self._shape, **given) if given else self._shape
        # A pinned seed pins the pace, too; otherwise no two requests are served alike, as with any model.
        occasion = 0 if "seed" in given else next(self._occasions)
        ask = question.ask()
        cached = self._cache.use(ask.cache_prefixes, time.monotonic_ns())
        turns = Turns(lambda ask: model.plan(shape, ask, occasion, cached), ask)
        first = turns.plan

        def end(generated: int, thinking: int) -> End:
            last = turns.plan
            return End(last.stop_reason, generated, thinking, last.stop_sequence)

        # Without tools of our own nothing has to be waited for but time, and that is what delivery does best.
        ours = any(not tool.client_side for tool in ask.tools)
        source = Source(turns.steps() if ours else zip(first.waits, first.steps, strict=True), end)
        return source, Answer(secrets.token_hex(12), int(time.time()), first.input_tokens, *cached)
