"""The simulated model as the routes use it: scripts, its prompt cache, and the server's tools between its turns."""

import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart, Source
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.prompt_cache import PromptCache
from streamgauge.reference_server.model.script import Script, write_script
from streamgauge.reference_server.model.settings import ModelSettings
from streamgauge.reference_server.model.turns import Turns


class SimulatedModel:
    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._occasions = itertools.count(1)
        self._cache = PromptCache()

    def answer(self, given: ModelInput, overrides: Mapping[str, Any]) -> tuple[Source, AnswerStart]:
        """The answer's steps, and what is known before the first. `overrides`: settings of this request only."""
        settings = replace(self._settings, **overrides) if overrides else self._settings
        # A request that sets the seed gets the same pace each time. Without one no two requests are served alike.
        occasion = 0 if "seed" in overrides else next(self._occasions)
        cached = self._cache.use(given.cache_prefixes, time.monotonic_ns())
        turns = Turns(lambda given: write_script(settings, given, occasion, cached), given)
        first = turns.script
        start = AnswerStart(secrets.token_hex(12), int(time.time()), first.input_tokens, *cached)
        if any(not tool.client_side for tool in given.tools):
            return Source(turns.steps(), lambda *tokens: _end(turns.script, *tokens), len(first.steps)), start
        # An answer that runs no tool of the server only waits for time, and delivery does that best without coroutines.
        # It does not refer to the question, which can be a megabyte.
        steps = zip(first.waits, first.steps, strict=True)
        return Source(steps, lambda *tokens: _end(first, *tokens), len(first.steps)), start


def _end(last: Script, generated: int, thinking: int) -> AnswerEnd:
    return AnswerEnd(last.stop_reason, generated, thinking, last.stop_sequence)
