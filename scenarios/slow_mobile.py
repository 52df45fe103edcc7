"""Phones on slow links: what is left of a good TTFT after 150 to 300 ms of radio?

Two thirds have slow 4G, one third 3G. Their TTFT holds the link's round trips (connecting, asking, the way back);
`ttft_wire` beside it is the server's own part, so that neither is blamed for the other.
"""

from streamgauge.scenario import StreamUser, between, task


class Commuter(StreamUser):
    weight = 2
    network = "slow_4g"
    wait_time = between(2, 6)

    @task
    def ask(self) -> None:
        self.stream()


class Villager(StreamUser):
    weight = 1
    network = "3g"
    prompts = "short"
    wait_time = between(2, 6)

    @task
    def ask(self) -> None:
        self.stream()
