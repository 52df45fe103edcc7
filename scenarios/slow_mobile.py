"""Phones on slow links: what TTFT do people get behind a round trip of 150 to 300 ms?

Two thirds have slow 4G, one third 3G. Their TTFT includes the link's round trips (connect, request, answer);
`ttft_wire` is the TTFT before the link, which shows the server's part.
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
