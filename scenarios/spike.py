"""A sudden crowd: how fast does the server get over it?

Ten readers for a minute, sixty for half a minute, ten again. In the report, TTFT over time tells how long after the
spike the answers are late.
"""

from streamgauge.scenario import Spike, StreamUser, between, task


class Reader(StreamUser):
    network = "wifi"
    wait_time = between(1, 4)

    @task
    def ask(self) -> None:
        self.stream()


class Crowd(Spike):
    users = (10, 60)
    seconds = (60, 30, 90)
