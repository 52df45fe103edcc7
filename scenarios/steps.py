"""A staircase of load: at how many users do answers begin to queue?

The number of patient readers doubles every half minute. Look at TTFT and ITL over time in the report: the step at which
they start to rise is the server's knee.
"""

from streamgauge.scenario import Steps, StreamUser, between, task


class Reader(StreamUser):
    network = "wifi"
    wait_time = between(1, 4)

    @task
    def ask(self) -> None:
        self.stream()


class Staircase(Steps):
    users = (10, 20, 40, 80)
    seconds = 30
