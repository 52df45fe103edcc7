"""Streamed and whole answers side by side: how much sooner do people see the first words of a streamed one?

Half of the users have a page that streams, half a page that waits for the whole answer; a site with progressive
enhancement serves both. Compare TTFT of `answer streamed` and `answer whole` in the report.
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
