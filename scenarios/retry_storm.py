"""Refused people who ask again: does a full server recover, or do the retries keep it full?

Four of five do as retry-after says; one asks again at once, up to ten times. Every try is a stream of its own with
the label `retry`. Give the server less room than there are users, or a fault that refuses some.
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
