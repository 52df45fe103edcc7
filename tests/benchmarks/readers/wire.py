"""A streamgauge scenario with the client that the environment names."""

import os

from streamgauge.scenario import StreamUser, constant, task


class Reader(StreamUser):
    wait_time = constant(0)
    client = os.environ["BENCHMARK_CLIENT"]

    @task  # type: ignore[untyped-decorator]  # Locust ships no types
    def ask(self) -> None:
        self.stream()
