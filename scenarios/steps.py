"""A staircase of load: at how many users does the answer begin to wait?

Every half minute there are twice as many patient readers. Look at TTFT and ITL over time in the report: the step
at which they leave the floor is the server's knee.
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
