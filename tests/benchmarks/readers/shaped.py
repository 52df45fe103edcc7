"""People on phones. The seed of each stream's link is kept, so that the link can be drawn anew.

They ask all the time, or (BENCHMARK_READING) read each answer before they ask on.
"""

import os
from copy import copy
from typing import Any

import gevent

from streamgauge.harness.drive.clients import Reply
from streamgauge.scenario import StreamUser, constant, reading, task


class Shaped(StreamUser):
    abstract = True
    fresh_connections = True
    wait_time = reading() if os.environ.get("BENCHMARK_READING") else constant(0)

    def on_start(self) -> None:
        gevent.sleep(self.random.random())  # Locust lets in those of a second together

    @task  # type: ignore[untyped-decorator]  # Locust ships no types
    def ask(self) -> None:
        self.stream()

    def _once(self, prompt: Any, plan: Any, roads: Any, labels: dict[str, str], *more: Any) -> Reply:
        asked = {"link": str(next(copy(roads))), "bytes": str(len(self._run.site.request(prompt)))}
        return super()._once(prompt, plan, roads, {**labels, **asked}, *more)


class OnFast4g(Shaped):
    network = "fast_4g"


class OnSlow4g(Shaped):
    network = "slow_4g"


class On3g(Shaped):
    network = "3g"
