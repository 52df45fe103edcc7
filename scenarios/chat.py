"""Patient readers on a home network: what does ordinary chat feel like?

Everybody asks, reads the whole answer, thinks for a moment and asks on. Start here: it is the load that most
endpoints are built for, and the baseline to compare every other scenario with.
"""

from streamgauge.scenario import StreamUser, between, task


class Reader(StreamUser):
    network = "wifi"
    wait_time = between(1, 4)

    @task
    def ask(self) -> None:
        self.stream()
