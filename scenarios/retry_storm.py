"""Retries after refusals: does an overloaded server recover, or do the retries keep it overloaded?

Four of five users wait as long as retry-after says; one asks again at once, up to ten times. Every try is a stream of
its own with the label `retry`. Run it on a server with less capacity than users, or with a fault that refuses some.
"""

from streamgauge.scenario import StreamUser, between, task


class Polite(StreamUser):
    weight = 4
    network = "wifi"
    behaviour = "polite_retry"
    wait_time = between(1, 3)

    @task
    def ask(self) -> None:
        self.stream()


class Stormy(Polite):
    weight = 1
    behaviour = "retry_storm"
