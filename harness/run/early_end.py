"""Ends a run that has missed a rule with `abort`, while it goes on."""

from collections.abc import Callable
from contextlib import suppress

import gevent

from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.verdict.abort import AbortRules
from streamgauge.harness.run.recording import Recording

_EVERY = 1.0  # seconds between two evaluations of the rules


def watch(rules: AbortRules, recording: Recording, abort: Callable[[str], None]) -> None:
    """Evaluate the rules every second, until one is missed; then call `abort` with a sentence that says so."""
    missed = None
    while missed is None:
        gevent.sleep(_EVERY)
        now = recording.clock.now()
        with suppress(StoreError):  # the next evaluation reads the same rows
            missed = rules.check(recording.store, recording.run.id, now)
    abort(f"{missed.rule} was missed after {now / 1e9:,.0f} s: {missed.reason}")
