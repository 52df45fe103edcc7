"""People on phones. Each stream's link seed is kept as a label, so that the benchmark can draw the same link again.

They ask all the time or, with BENCHMARK_READING, read each answer before they ask again.
"""

import os
from copy import copy
from typing import Any

import gevent

from streamgauge.harness.drive.clients.question import Reply
from streamgauge.scenario import StreamUser, constant, reading, task


class Shaped(StreamUser):
    abstract = True
    fresh_connections = True
    wait_time = reading() if os.environ.get("BENCHMARK_READING") else constant(0)

    def on_start(self) -> None:
        gevent.sleep(self.random.random())  # Locust starts all users of one second together

    @task  # type: ignore[untyped-decorator]  # Locust ships no types
    def ask(self) -> None:
        self.stream()

    def _one_stream(self, prompt: Any, plan: Any, link_seeds: Any, labels: dict[str, str], *more: Any) -> Reply:
        asked = {"link": str(next(copy(link_seeds))), "bytes": str(len(self._run.site.request(prompt)))}
        return super()._one_stream(prompt, plan, link_seeds, {**labels, **asked}, *more)


class OnFast4g(Shaped):
    network = "fast_4g"


class OnSlow4g(Shaped):
    network = "slow_4g"


class On3g(Shaped):
    network = "3g"
