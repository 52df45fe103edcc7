"""Streaming beside no streaming: what do people gain who see the first words at once?

Half have a page that streams, half an older one that waits for the whole answer, as a site that enhances progressively
serves both. Compare TTFT of `answer streamed` and `answer whole` in the report.
"""

from streamgauge.scenario import StreamUser, between, task


class Visitor(StreamUser):
    abstract = True
    network = "fast_4g"
    wait_time = between(1, 4)


class Streaming(Visitor):
    @task
    def ask(self) -> None:
        self.stream()


class Waiting(Visitor):
    @task
    def ask(self) -> None:
        self.fetch()
